"""Replaces gradient operations that are slow in XLA's CPU backend, for any model.

A gradient function is traced to a jaxpr once, after autodiff. The jaxpr is evaluated with a few primitives replaced by
equal, faster operations. The replacements apply only on CPU (`lax.platform_dependent`): on a TPU or a GPU the
original primitives are faster. A primitive that is not known to be safe to replace stays.

Only this package and the check for training mode (`jaxviz._core.model`) depend on the internals of jaxprs.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import jax
from jax import Array, lax
from jax.extend import core

from jaxviz._rewrite.jaxprs import annotated, bind, compares, is_relu, map_programs
from jaxviz._rewrite.replacements import replaceable, replacement
from jaxviz._rewrite.tags import tag_of

_F = TypeVar("_F", bound=Callable[..., Any])
_Platform = Literal["cpu", "tpu"]


def accelerate(gradient_function: _F) -> _F:
    """The same function, faster on CPU: same arguments, values and derivatives.

    For functions that differentiate a convolutional network with respect to its input. Call the result inside
    `jax.jit`. It can be differentiated again (in both modes, in images and weights), mapped, and exported. All methods
    of this package use it, for any model.

    Replaced on CPU: max pooling and its gradient; convolutions of 1 x 1, by matrix products; of 3 x 3, by forms with
    fewer multiplications or on more cores, where their shapes make these faster; input gradients of other convolutions,
    which XLA compiles badly inside loops; concatenations of channels. This includes the bodies of loops and branches.
    Arrays with explicit shardings are not touched.

    Args:
        gradient_function: takes and returns pytrees of arrays.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> gradient = jax.jit(jaxviz.accelerate(jax.grad(lambda x: jnp.square(x).sum())))
        >>> gradient(jnp.array([1.0, 2.0]))
        Array([2., 4.], dtype=float32)
    """

    @functools.wraps(gradient_function)
    def accelerated(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = jax.tree.flatten((args, kwargs))

        def flat(*leaves: Any) -> Any:
            args, kwargs = structure.unflatten(leaves)
            return gradient_function(*args, **kwargs)

        programs = for_platforms(flat, *leaves)
        if programs.cpu is programs.default:
            return programs.default(*leaves)
        return lax.platform_dependent(*leaves, **programs._asdict())

    return accelerated  # pyright: ignore[reportReturnType]


class Programs(NamedTuple):
    """The best program of one function for each platform."""

    cpu: Callable[..., Any]
    tpu: Callable[..., Any]
    default: Callable[..., Any]


def for_platforms(function: Callable[..., Any], *args: Any) -> Programs:
    """Traces a function once for arguments like these. If nothing is replaced, all three programs are the same."""
    structure = jax.tree.structure(args)

    def flat(*leaves: Any) -> Any:
        return function(*structure.unflatten(leaves))

    with jax.disable_jit(False):  # otherwise the function's loops would be unrolled
        closed, shape = jax.make_jaxpr(flat, return_shape=True)(*jax.tree.leaves(args))
    results = jax.tree.structure(shape)

    def program(platform: _Platform | None) -> Callable[..., Any]:
        def evaluate(*args: Any) -> Any:
            return results.unflatten(_evaluate(closed.jaxpr, closed.consts, *jax.tree.leaves(args), platform=platform))

        return evaluate

    default = program(None)
    if not _worthwhile(closed.jaxpr):
        return Programs(default, default, default)
    return Programs(program("cpu"), program("tpu"), default)


def _evaluate(jaxpr: core.Jaxpr, consts: Sequence[Any], *args: Any, platform: _Platform | None) -> list[Any]:
    values: dict[Any, Any] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))
    untagged: dict[Any, Any] = {}  # from a tagged value to the value: tags must not hide what comes before

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values[untagged.get(atom, atom)]

    rectified: dict[Any, Any] = {}  # from a ReLU's input to its output
    for equation in jaxpr.eqns:
        source: Any = next((untagged.get(atom, atom) for atom in equation.invars if isinstance(atom, core.Var)), None)
        if tag_of(equation) is not None and source is not None:
            untagged[equation.outvars[0]] = source
            continue
        on_tpu = platform == "tpu"
        if on_tpu and equation.primitive.name == "reduce_window_max" and source not in rectified.values():
            values[source] = _kept(values[source])  # the pooling's gradient reads it, too
        inputs = [read(atom) for atom in equation.invars]
        if on_tpu and source in rectified and compares(equation, "gt"):
            inputs[0] = values[rectified[source]]  # the ReLU's output serves as mask; its input is no longer needed
        with annotated(equation):
            outputs = _apply(equation, inputs, platform)
        if on_tpu and is_relu(equation):
            outputs, rectified[source] = [_kept(outputs[0])], equation.outvars[0]
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _kept(x: Array) -> Array:
    """The same array, behind a barrier, so that the TPU's compiler writes it only once.

    Without the barrier the compiler writes one array for the gradient and another for the next layer: before and after
    the ReLU (it turns max(x, 0) > 0 into x > 0), or before and after the bias.
    """
    return lax.optimization_barrier(x) if replaceable([jax.typeof(x)]) else x


def _apply(equation: Any, inputs: list[Any], platform: _Platform | None) -> list[Any]:
    if platform == "cpu" and (fast := replacement(equation)) is not None:
        return [fast(*inputs)]
    if platform is None or equation.primitive.name not in _WITH_JAXPRS:
        return bind(equation, inputs)

    def rewritten(program: core.ClosedJaxpr) -> core.ClosedJaxpr:
        if not _worthwhile(program.jaxpr):
            return program
        evaluate = functools.partial(_evaluate, program.jaxpr, program.consts, platform=platform)
        return jax.make_jaxpr(evaluate)(*program.in_avals)

    return bind(equation, inputs, map_programs(equation.params, rewritten))


# Primitives whose parameters contain programs to rewrite. Excluded: custom derivatives (`custom_jvp_call` must stay one
# call for further differentiation), rematerialization and `shard_map`.
_WITH_JAXPRS = ("jit", "pjit", "closed_call", "while", "scan", "cond")


def _worthwhile(jaxpr: core.Jaxpr) -> bool:
    """Whether a program has anything to replace; otherwise it stays unchanged, including its name."""
    return any(
        replacement(equation) is not None
        or (equation.primitive.name in _WITH_JAXPRS and any(map(_worthwhile, core.jaxprs_in_params(equation.params))))
        for equation in jaxpr.eqns
    )
