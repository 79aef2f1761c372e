"""One method on many devices: each device computes its part of the batch independently."""

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

# The sharding of the batch. `data_parallel` passes it to the program inside a method, whose public signature has no
# devices. It is part of JAX's own context, and therefore of every jit cache key.
_batch_sharding = jax.make_user_context(None)
_NO_MESH = AbstractMesh((), ())


def jit_over_examples(*static: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`jax.jit` of a function of a batch, with the examples split over devices.

    The devices are those of `data_parallel` or, without it, those over which the batch is already split. Otherwise the
    program is that of plain `jax.jit`.

    The function takes (model, *examples, **settings) and returns results. Examples and results are pytrees of arrays
    with leading axis n, and each result depends only on its own example. Model and settings are shared.

    Args:
        static: names of the settings that are compiled in.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def program(model: Any, *examples: Any, sharding: NamedSharding | None, **settings: Any) -> Any:
            def work(*examples: Any) -> Any:
                return function(model, *_varying(examples, (model, settings)), **settings)

            if sharding is None:
                return work(*examples)
            mesh, batch = sharding.mesh, sharding.spec
            return jax.shard_map(work, mesh=mesh, in_specs=batch, out_specs=batch, check_vma=False)(*examples)

        program.__name__ = function.__name__  # shown in profiles and logs
        program = jax.jit(program, static_argnames=("sharding", *static))

        @functools.wraps(function)
        def run(model: Any, *examples: Any, **settings: Any) -> Any:
            sharding = _batch_sharding.value or _split_already(examples)
            if sharding is None:
                return program(model, *examples, sharding=None, **settings)
            count = jax.tree.leaves(examples)[0].shape[0]
            sharding = _without_idle_devices(sharding, count, (model, examples))
            # Pad and cut outside the program: inside, the cut would need communication between devices.
            padding = -count % sharding.num_devices if sharding.spec == P(sharding.mesh.axis_names) else 0
            if padding:
                rows = jnp.minimum(jnp.arange(count + padding), count - 1)
                examples = jax.tree.map(lambda leaf: leaf[rows], examples)
            model, examples = _placed(model, NamedSharding(sharding.mesh, P())), _placed(examples, sharding)
            with jax.sharding.use_abstract_mesh(_NO_MESH):  # not the mesh of `jax.set_mesh`
                results = program(model, *examples, sharding=sharding, **settings)
            return jax.tree.map(lambda leaf: leaf[:count], results) if padding else results

        return run

    return decorate


def _varying(examples: Any, others: Any) -> Any:
    """Inside `jax.shard_map`: the examples, marked as varying over every axis that any of the arrays varies over.

    There, a loop's initial carry must vary over the same axes as the carry after a step.
    """
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return examples
    arrays = (leaf for leaf in jax.tree.leaves((examples, others)) if isinstance(leaf, jax.Array))
    zeros = (jnp.zeros_like(array, shape=(), dtype=bool) for array in arrays)
    varying = functools.reduce(jnp.logical_or, zeros)  # zeros like an array vary over the same axes
    return jax.tree.map(lambda leaf: jnp.where(varying, leaf, leaf), examples)


def _split_already(examples: Any) -> NamedSharding | None:
    """The sharding of a batch that is already split over several devices, if it is visible."""
    for leaf in jax.tree.leaves(examples):
        sharding = None if isinstance(leaf, Tracer) else getattr(leaf, "sharding", None)
        if isinstance(sharding, NamedSharding) and sharding.num_devices > 1 and sharding.spec and sharding.spec[0]:
            return _over(sharding.mesh, P(sharding.spec[0]))
    return None


def _over(mesh: Any, spec: P) -> NamedSharding:
    """The sharding on the mesh's devices, without its axis types: `shard_map` needs automatic axes."""
    return NamedSharding(Mesh(mesh.devices, mesh.axis_names), spec)


def _without_idle_devices(sharding: NamedSharding, count: Any, arrays: Any) -> NamedSharding:
    """With fewer examples than devices, uses one device for each example."""
    mesh: Any = sharding.mesh
    traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(arrays))
    if traced or mesh.is_multi_process or count >= mesh.size:
        return sharding
    return NamedSharding(Mesh(mesh.devices.flat[:count], ("batch",)), P("batch"))


def _placed(tree: Any, sharding: NamedSharding) -> Any:
    """Moves arrays that the user has committed to other devices; `jax.jit` places the rest faster."""

    def moved(leaf: Any) -> Any:
        if isinstance(leaf, Tracer) or not getattr(leaf, "committed", False):
            return leaf
        explicit = AxisType.Explicit in jax.typeof(leaf).sharding.mesh.axis_types  # from the user's own mesh
        there = leaf.sharding.is_equivalent_to(sharding, leaf.ndim) and not explicit
        return leaf if there else jax.device_put(leaf, sharding)

    return jax.tree.map(moved, tree)


class DataParallel(Generic[_Arguments, _Result]):
    """Result of `data_parallel`: the method on the devices of `mesh`."""

    def __init__(self, method: Callable[_Arguments, _Result], mesh: Mesh):
        functools.update_wrapper(self, method)
        self._method = method
        self.mesh = mesh

    def __call__(self, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with _batch_sharding(_over(self.mesh, P(self.mesh.axis_names))):
            return self._method(*args, **kwargs)

    def lower(self, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Lowered:
        """The lowered program for these arguments, as `jax.jit(...).lower` returns it.

        Args:
            args: the method's arguments; arrays may be `jax.ShapeDtypeStruct`.
            kwargs: the method's options. Arrays, shapes and floats stay arguments of the program; other values (an
                integer, a string, an optimizer) are compiled in.
        """
        static = [name for name, value in kwargs.items() if not _is_argument(value)]
        arguments: list[Any] = list(args)
        if jax.tree_util.all_leaves(arguments[:1]):  # a plain function, which `jax.jit` accepts only wrapped
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

    Each device holds the whole model and computes its part of the batch. Devices do not communicate. A batch of another
    size is padded with its last example, and the padding is cut off. With fewer examples than devices, each example has
    its own device. The results stay split over the devices. Without `data_parallel`, a method follows the sharding of
    images that are already split over devices. Inside your own `jax.jit` the sharding is not visible: use
    `data_parallel` there.

    JAX treats a CPU as one device by default. These methods are fastest with one device per core:
    `jax.config.update("jax_num_cpu_devices", os.cpu_count())` before the first computation.

    A model on one device is copied to the others in every call. To copy it once, place it:
    `model = jax.device_put(model, jax.sharding.NamedSharding(parallel.mesh, jax.P()))`.

    Args:
        method: any function of jaxviz that takes a model and a batch (`saliency_maps`, `fooling_images`, `pgd`, ...),
            or a function that calls one. Both may be inside your own `jax.jit`.
        devices: the devices to use; by default, all of `jax.devices()`.
        mesh: the devices as a mesh, instead of `devices`; the batch is split over all its axes.

    Returns:
        A callable with the method's signature, and with `.lower` like a jitted function.

    Raises:
        ValueError: both `devices` and `mesh` are given, or no device.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> saliency_maps = jaxviz.data_parallel(jaxviz.saliency_maps)
        >>> saliency_maps(lambda images: images.sum((1, 2)), jnp.ones((5, 2, 2, 3)), jnp.arange(5) % 3).shape
        (5, 2, 2)
    """
    if devices is not None and mesh is not None:
        raise ValueError("`devices` and `mesh` are alternatives; give one of them.")
    if mesh is None:
        devices = jax.devices() if devices is None else devices
        if not len(devices):
            raise ValueError("`devices` must be one device or more, got none.")
        return DataParallel(method, Mesh(np.array(devices), ("batch",)))
    return DataParallel(method, mesh)
