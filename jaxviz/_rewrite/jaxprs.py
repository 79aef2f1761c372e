"""Evaluates a traced program (a jaxpr) with some of its operations changed."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from jax.extend import core, source_info_util

Apply: TypeAlias = Callable[[Any, list[Any]], Sequence[Any]]


def evaluate(jaxpr: core.Jaxpr, consts: Sequence[Any], *args: Any, apply: Apply) -> list[Any]:
    """The outputs for these inputs; `apply(equation, inputs)` computes each equation."""
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))
    return evaluate_part(jaxpr.eqns, known, jaxpr.outvars, apply=apply)


def evaluate_part(
    equations: Sequence[Any], known: dict[core.Var, Any], outputs: Sequence[Any], *, apply: Apply
) -> list[Any]:
    """The outputs of some equations of a program, where the values that they read are known."""
    values = dict(known)

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values[atom]

    for equation in equations:
        inputs = [read(atom) for atom in equation.invars]
        with annotated(equation):
            values.update(zip(equation.outvars, apply(equation, inputs), strict=True))
    return [read(atom) for atom in outputs]


@contextlib.contextmanager
def annotated(equation: Any) -> Iterator[None]:
    """Keeps the author's annotations of an operation: named scopes, metadata, compute location."""
    names = source_info_util.current_name_stack() + equation.source_info.name_stack
    with source_info_util.user_context(equation.source_info.traceback, name_stack=names), equation.ctx.manager:
        yield


def bind(equation: Any, inputs: Sequence[Any], params: dict[str, Any] | None = None) -> list[Any]:
    """The equation's operation, with other parameters if given."""
    primitive = equation.primitive
    outputs = primitive.bind(*inputs, **primitive.get_bind_params(equation.params if params is None else params))
    return list(outputs) if primitive.multiple_results else [outputs]


def map_programs(params: dict[str, Any], change: Callable[[core.ClosedJaxpr], core.ClosedJaxpr]) -> dict[str, Any]:
    """The parameters, with each program in them changed."""

    def changed(value: Any) -> Any:
        if isinstance(value, core.ClosedJaxpr):
            return change(value)
        if isinstance(value, core.Jaxpr) and not value.constvars:  # rematerialization
            return change(core.ClosedJaxpr(value, [])).jaxpr
        if isinstance(value, tuple) and value and all(isinstance(item, core.ClosedJaxpr) for item in value):
            return tuple(map(changed, value))
        return value

    return {name: changed(value) for name, value in params.items()}


def any_equation(jaxpr: core.Jaxpr, test: Callable[[Any], bool]) -> bool:
    """Whether an equation passes the test, also in the programs inside of equations."""
    return any(
        test(equation) or any(any_equation(inner, test) for inner in core.jaxprs_in_params(equation.params))
        for equation in jaxpr.eqns
    )


def is_relu(equation: Any) -> bool:
    """Whether this is `jax.nn.relu` inside its custom derivative."""
    if equation.primitive.name != "custom_jvp_call":
        return False
    jaxpr = equation.params["call_jaxpr"].jaxpr
    while len(jaxpr.eqns) == 1 and jaxpr.eqns[0].primitive.name in ("jit", "pjit"):
        jaxpr = jaxpr.eqns[0].params["jaxpr"].jaxpr
    return len(jaxpr.eqns) == 1 and compares(jaxpr.eqns[0], "max")


def compares(equation: Any, name: str) -> bool:
    """Whether this is the named primitive of a variable and the number 0."""
    if equation.primitive.name != name:
        return False
    first, second = equation.invars
    return isinstance(first, core.Var) and isinstance(second, core.Literal) and bool(second.val == 0)
