"""Evaluates a traced program (a jaxpr) with some of its operations changed."""

import contextlib
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
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
    zeros = zeros_of(jaxpr)
    others = [equation for equation in jaxpr.eqns if not zeros.issuperset(equation.outvars)]
    return len(others) == 1 and compares(others[0], "max", zeros)


def compares(equation: Any, name: str, zeros: Container[core.Var] = ()) -> bool:
    """Whether this is the named primitive of a variable and the number 0; `zeros` are variables of this value."""
    if equation.primitive.name != name:
        return False
    first, second = equation.invars
    return isinstance(first, core.Var) and first not in zeros and _is_zero(second, zeros)


def zeros_of(jaxpr: core.Jaxpr) -> set[core.Var]:
    """The variables of a program that are the number 0 in another form, such as one that varies over devices."""
    zeros: set[core.Var] = set()
    for equation in jaxpr.eqns:
        if equation.primitive.name in _SAME_VALUE and all(_is_zero(atom, zeros) for atom in equation.invars):
            zeros.update(equation.outvars)
    return zeros


_SAME_VALUE = ("broadcast_in_dim", "convert_element_type", "pvary", "pcast")


def _is_zero(atom: Any, zeros: Container[core.Var]) -> bool:
    return bool((np.asarray(atom.val) == 0).all()) if isinstance(atom, core.Literal) else atom in zeros
