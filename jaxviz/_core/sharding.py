"""One method over many devices: each works through its own part of the batch, and none waits for another."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.stages import Lowered
from jax.tree_util import Partial

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

# How `data_parallel` reaches the program inside a method, whose public signature says nothing of devices: the sharding
# of the batch. As a part of JAX's own context it is in the key of every jit's cache.
_batch_sharding = jax.make_user_context(None)
_NO_MESH = AbstractMesh((), ())


def jit_over_examples(*static: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`jax.jit` of a function of a batch, whose examples are split over the devices that the caller wants.

    These are the devices of `data_parallel` or, without it, those over which the batch is split already; where neither
    is, the program is `jax.jit`'s alone.

    The function takes (model, *examples, **settings) and returns results. Examples and results are pytrees of arrays of
    leading axis n, and no result depends on another's example. Model and settings are the same for all.

    Args:
        static: names of the settings that are no arrays, and part of what is compiled.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def program(model: Any, *examples: Any, sharding: NamedSharding | None, **settings: Any) -> Any:
            def work(*examples: Any) -> Any:
                return function(model, *_varying(examples, (model, settings)), **settings)

            if sharding is None:
                return work(*examples)
            mesh, batch = sharding.mesh, sharding.spec
            return jax.shard_map(work, mesh=mesh, in_specs=batch, out_specs=batch, check_vma=False)(*examples)

        program.__name__ = function.__name__  # what profiles and logs show
        program = jax.jit(program, static_argnames=("sharding", *static))

        @functools.wraps(function)
        def run(model: Any, *examples: Any, **settings: Any) -> Any:
            sharding = _batch_sharding.value or _split_already(examples)
            if sharding is None:
                return program(model, *examples, sharding=None, **settings)
            count = jax.tree.leaves(examples)[0].shape[0]
            sharding = _without_idle_devices(sharding, count, (model, examples))
            # Padded and cut here: within the program, the cut would be traffic between the devices.
            padding = -count % sharding.num_devices if sharding.spec == P(sharding.mesh.axis_names) else 0
            if padding:
                rows = jnp.minimum(jnp.arange(count + padding), count - 1)
                examples = jax.tree.map(lambda leaf: leaf[rows], examples)
            model, examples = _placed(model, NamedSharding(sharding.mesh, P())), _placed(examples, sharding)
            with jax.sharding.use_abstract_mesh(_NO_MESH):  # that of `jax.set_mesh`, if any, is another one
                results = program(model, *examples, sharding=sharding, **settings)
            return jax.tree.map(lambda leaf: leaf[:count], results) if padding else results

        return run

    return decorate


def _varying(examples: Any, others: Any) -> Any:
    """Inside a `jax.shard_map`: the examples, varying over every axis that they or the other arrays vary over.

    There the carry of a loop must vary from its start on as it does after a step.
    """
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return examples
    arrays = (leaf for leaf in jax.tree.leaves((examples, others)) if isinstance(leaf, jax.Array))
    zeros = (jnp.zeros_like(array, shape=(), dtype=bool) for array in arrays)
    varying = functools.reduce(jnp.logical_or, zeros)  # zeros like an array vary as it does
    return jax.tree.map(lambda leaf: jnp.where(varying, leaf, leaf), examples)


def _split_already(examples: Any) -> NamedSharding | None:
    """How the batch lies on several devices already, where that can be seen."""
    for leaf in jax.tree.leaves(examples):
        sharding = None if isinstance(leaf, Tracer) else getattr(leaf, "sharding", None)
        if isinstance(sharding, NamedSharding) and sharding.num_devices > 1 and sharding.spec and sharding.spec[0]:
            return _over(sharding.mesh, P(sharding.spec[0]))
    return None


def _over(mesh: Any, spec: P) -> NamedSharding:
    """On the devices of a mesh alone: `shard_map` wants every axis left to the compiler."""
    return NamedSharding(Mesh(mesh.devices, mesh.axis_names), spec)


def _without_idle_devices(sharding: NamedSharding, count: Any, arrays: Any) -> NamedSharding:
    """Of fewer examples than devices, each has its own device."""
    mesh: Any = sharding.mesh
    traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(arrays))
    if traced or mesh.is_multi_process or count >= mesh.size:
        return sharding
    return NamedSharding(Mesh(mesh.devices.flat[:count], ("batch",)), P("batch"))


def _placed(tree: Any, sharding: NamedSharding) -> Any:
    """Arrays that the user has bound to devices, moved where they are needed; `jax.jit` places the rest, and faster."""

    def moved(leaf: Any) -> Any:
        if isinstance(leaf, Tracer) or not getattr(leaf, "committed", False):
            return leaf
        explicit = AxisType.Explicit in jax.typeof(leaf).sharding.mesh.axis_types  # of the user's own mesh
        there = leaf.sharding.is_equivalent_to(sharding, leaf.ndim) and not explicit
        return leaf if there else jax.device_put(leaf, sharding)

    return jax.tree.map(moved, tree)


class DataParallel(Generic[_Arguments, _Result]):
    """What `data_parallel` returns: the method over the devices of `mesh`."""

    def __init__(self, method: Callable[_Arguments, _Result], mesh: Mesh):
        functools.update_wrapper(self, method)
        self._method = method
        self.mesh = mesh

    def __call__(self, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with _batch_sharding(_over(self.mesh, P(self.mesh.axis_names))):
            return self._method(*args, **kwargs)

    def lower(self, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Lowered:
        """The program of these arguments before its compilation, as of `jax.jit(...).lower`.

        Args:
            args: as of the method; arrays may be `jax.ShapeDtypeStruct`.
            kwargs: as of the method. Arrays, shapes and floats stay arguments of the program; all else (an integer, a
                string, an optimizer) becomes part of it.
        """
        static = [name for name, value in kwargs.items() if not _is_argument(value)]
        arguments: list[Any] = list(args)
        if jax.tree_util.all_leaves(arguments[:1]):  # a plain function, which `jax.jit` takes when it is wrapped
            arguments[0] = Partial(arguments[0])
        return jax.jit(self, static_argnames=static).lower(*arguments, **kwargs)


def _is_argument(value: Any) -> bool:
    leaves = jax.tree.leaves(value)
    return bool(leaves) and all(hasattr(leaf, "dtype") or isinstance(leaf, float) for leaf in leaves)


def data_parallel(
    method: Callable[_Arguments, _Result],
    *,
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
    mesh: Mesh | None = None,
) -> DataParallel[_Arguments, _Result]:
    """The same method with the batch split over devices: same arguments, same results.

    Each device holds the whole model and works through its own part of the batch, without traffic between them. A
    batch that they do not divide is padded with its last example, and the padding cut off again; of fewer examples than
    devices, each has its own. The results stay split over the devices. Without `data_parallel`, a method follows images
    that are split over devices already; inside your own `jax.jit`, where it cannot see that, use `data_parallel`.

    A CPU is one device for JAX unless told otherwise. To make each core one, which for these methods is the fastest way
    to use them all: `jax.config.update("jax_num_cpu_devices", os.cpu_count())` before anything is computed.

    A model that lies on one device is copied to the others in every call. To copy it once, place it:
    `model = jax.device_put(model, jax.sharding.NamedSharding(parallel.mesh, jax.P()))`.

    Args:
        method: any function of jaxviz that takes a model and a batch (`saliency_maps`, `fooling_images`, `pgd`, ...),
            or a function that calls one. A `jax.jit` of your own may go around either.
        devices: where to work; all of `jax.devices()` without.
        mesh: the devices as a mesh, instead of `devices`; the batch is split over all its axes.

    Returns:
        A callable with the method's signature, and `.lower` like a jitted function's.

    Raises:
        ValueError: both `devices` and `mesh`, or no device.

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
    return DataParallel(method, mesh)
