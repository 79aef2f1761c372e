"""One method over many devices: each works through its own part of the batch, and none waits for another."""

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.stages import Lowered
from jax.tree_util import Partial

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

# The methods' arguments that are no arrays, and part of what is compiled.
_STATIC = ("image_shape", "lanes", "norm", "num_samples", "num_steps", "optimizer", "snapshot_every", "targeted")


@dataclass
class _Split:
    """One call through `data_parallel`."""

    by: "DataParallel[..., Any]"
    reached: bool = False


# How `data_parallel` reaches the program inside a method, whose public signature says nothing of devices.
_split: ContextVar[_Split | None] = ContextVar("_split", default=None)


def platform() -> str:
    """Where the method at hand will run: "cpu", "gpu" or "tpu"."""
    split = _split.get()
    return jax.default_backend() if split is None else split.by.mesh.devices.flat[0].platform


def batch_program(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.jit(function)`; within `data_parallel`, with the examples split over the devices.

    Args:
        function: (model, *examples, **settings) -> results. Examples and results are pytrees of arrays of leading axis
            n, and no result depends on another's example. Model and settings are the same for all.
    """

    def program(model: Any, *examples: Any, mesh: Mesh | None, **settings: Any) -> Any:
        def work(*examples: Any) -> Any:
            return function(model, *examples, **settings)

        if mesh is None:
            return work(*examples)
        batch = P(mesh.axis_names)
        return jax.shard_map(work, mesh=mesh, in_specs=batch, out_specs=batch, check_vma=False)(*examples)

    program.__name__ = function.__name__  # what profiles and logs show
    program = jax.jit(program, static_argnames=("mesh", *_STATIC))

    @functools.wraps(function)
    def run(model: Any, *examples: Any, **settings: Any) -> Any:
        split = _split.get()
        if split is None:
            return program(model, *examples, mesh=None, **settings)
        split.reached, mesh = True, split.by.mesh
        count = jax.tree.leaves(examples)[0].shape[0]
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((model, examples)))
        if count < mesh.size and not traced and not mesh.is_multi_process:
            mesh = Mesh(mesh.devices.flat[:count], ("batch",))  # a device without an example is left out
        # Padded and cut here: within the program, the cut would be traffic between the devices.
        padding = -count % mesh.size
        if padding:
            rows = jnp.minimum(jnp.arange(count + padding), count - 1)
            examples = jax.tree.map(lambda leaf: leaf[rows], examples)
        model, examples = split.by.placed(model, mesh), _placed(examples, mesh, P(mesh.axis_names))
        results = program(model, *examples, mesh=mesh, **settings)
        return jax.tree.map(lambda leaf: leaf[:count], results) if padding else results

    return run


def _placed(tree: Any, mesh: Mesh, spec: P) -> Any:
    """Arrays that the user has bound to devices, moved to the mesh; `jax.jit` places the rest, and faster."""
    sharding = NamedSharding(mesh, spec)

    def moved(leaf: Any) -> Any:
        if isinstance(leaf, Tracer) or not getattr(leaf, "committed", False) or leaf.sharding == sharding:
            return leaf
        return jax.device_put(leaf, sharding)

    return jax.tree.map(moved, tree)


def _same(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(map(operator.is_, a, b))


class DataParallel(Generic[_Arguments, _Result]):
    """What `data_parallel` returns: the method over the devices of `mesh`."""

    def __init__(self, method: Callable[_Arguments, _Result], mesh: Mesh):
        functools.update_wrapper(self, method)
        self._method = method
        self._last: tuple[Mesh, list[Any], list[Any]] | None = None
        self.mesh = mesh

    def __call__(self, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        split = _Split(self)
        token = _split.set(split)
        try:
            result = self._method(*args, **kwargs)
        finally:
            _split.reset(token)
        if not split.reached:
            raise ValueError("`method` must be a method of jaxviz, or call one without a `jax.jit` of its own around.")
        return result

    def placed(self, model: Any, mesh: Mesh) -> Any:
        """The model on every device; the last one stays there, since copying it can take longer than the work."""
        leaves, structure = jax.tree.flatten(model)
        if not all(isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer) for leaf in leaves):
            return _placed(model, mesh, P())
        last = self._last
        if last is None or last[0] != mesh or not _same(last[1], leaves):
            self._last = last = mesh, leaves, jax.device_put(leaves, NamedSharding(mesh, P()))
        return structure.unflatten(last[2])

    def lower(self, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Lowered:
        """The program of these arguments before its compilation, as of `jax.jit(...).lower`.

        Args:
            args: as of the method; arrays may be `jax.ShapeDtypeStruct`.
            kwargs: as of the method.
        """
        static = [name for name in _STATIC if name in inspect.signature(self).parameters]
        arguments: list[Any] = list(args)
        if jax.tree_util.all_leaves(arguments[:1]):  # a plain function, which `jax.jit` takes when it is wrapped
            arguments[0] = Partial(arguments[0])
        return jax.jit(self, static_argnames=static).lower(*arguments, **kwargs)


def data_parallel(
    method: Callable[_Arguments, _Result],
    *,
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
    mesh: Mesh | None = None,
) -> DataParallel[_Arguments, _Result]:
    """The same method with the batch split over devices: same arguments, same results.

    Each device holds the whole model and works through its own part of the batch, without traffic between them. A
    batch that they do not divide is padded with its last example, and the padding cut off again; of fewer examples than
    devices, each has its own. The results stay split over the devices.

    A CPU is one device for JAX unless told otherwise. To make each core one, which for these methods is the fastest way
    to use them all: `jax.config.update("jax_num_cpu_devices", os.cpu_count())` before anything is computed.

    The arrays of the last model stay on the devices as long as the result lives, so that calls with the same ones do
    not copy them again: keep the result, and use it for several calls.

    Args:
        method: any function of jaxviz that takes a model and a batch (`saliency_maps`, `fooling_images`, `pgd`, ...),
            or a function that calls one. A `jax.jit` of your own goes around the result, not into the method.
        devices: where to work; all of `jax.devices()` without.
        mesh: the devices as a mesh, instead of `devices`; the batch is split over all its axes.

    Returns:
        A callable with the method's signature, and `.lower` like a jitted function's.

    Raises:
        ValueError: both `devices` and `mesh`, no device, or, when called, a method that is none of jaxviz's.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> saliency_maps = jaxviz.data_parallel(jaxviz.saliency_maps)
        >>> saliency_maps(lambda images: images.sum((1, 2)), jnp.ones((5, 2, 2, 3)), jnp.arange(5) % 3).shape
        (5, 2, 2)
    """
    if devices is not None and mesh is not None:
        raise ValueError("`devices` and `mesh` say the same in two ways; give one of them.")
    if mesh is None:
        devices = jax.devices() if devices is None else devices
        if not len(devices):
            raise ValueError("`devices` must be one device or more, got none.")
        return DataParallel(method, Mesh(np.array(devices), ("batch",)))
    # Of the user's mesh the devices alone: `shard_map` wants every axis left to the compiler.
    return DataParallel(method, Mesh(mesh.devices, mesh.axis_names))
