"""A model's traced program, cut at a named value."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend import core

from jaxviz._core.model import CALLS, FlatModel, apply
from jaxviz._rewrite.jaxprs import any_equation, bind, evaluate, evaluate_part
from jaxviz._rewrite.tags import Tag, tag_of, tag_p, tagging


class Program(NamedTuple):
    """A model's program for images of one shape: inputs are the weights, then the images."""

    closed: core.ClosedJaxpr
    result: Any  # structure of the output
    named: dict[str, Any]  # in the order of computation
    own_derivative: frozenset[str]  # names inside of functions with custom derivatives
    hidden: frozenset[str]  # tags inside of `while` and `cond`, which have no one value

    @property
    def images(self) -> core.Var:
        return self.closed.jaxpr.invars[-1]

    def run(self, model: FlatModel, images: Any, outputs: Sequence[Any], given: dict[core.Var, Any]) -> list[Any]:
        """The values of some variables; those in `given` are not computed."""
        jaxpr = self.closed.jaxpr
        known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*self.closed.consts, *model.leaves, images), strict=True))
        equations, _ = _needed(jaxpr.eqns, outputs, given)
        return evaluate_part(equations, known | given, outputs, apply=bind)

    def cut(self, name: str) -> Any:
        """The variable of this name; an error if the scores do not depend on the images through it alone."""
        variable, jaxpr = self.named[name], self.closed.jaxpr
        if name in self.own_derivative:
            raise ValueError(
                f"`name` {name!r} lies in a function with its own derivative (`jax.custom_jvp` or `jax.custom_vjp`), "
                f"which a cut would lose; `jaxviz.capture` gives its value."
            )
        equations, inputs = _needed(jaxpr.eqns, jaxpr.outvars, [variable])
        if variable not in inputs:
            raise ValueError(f"`name` {name!r} is computed, but the scores do not depend on it{self._next(name)}.")
        if self.images in inputs:
            others = " and ".join(dict.fromkeys(self._around(equations, variable)))
            raise ValueError(
                f"`name` {name!r} does not separate the model: the scores also depend on {others}{self._next(name)}."
            )
        return variable

    def _next(self, name: str) -> str:
        """The next value in which the model can be cut, as the end of an error."""
        jaxpr, names = self.closed.jaxpr, list(self.named)
        for other in names[names.index(name) + 1 :]:
            variable = self.named[other]
            inputs = _needed(jaxpr.eqns, jaxpr.outvars, [variable])[1]
            if variable in inputs and self.images not in inputs and other not in self.own_derivative:
                return f"; {other!r} is the next layer that does"
        return ""

    def _around(self, equations: list[Any], variable: core.Var) -> Iterator[str]:
        """The values that join what depends on a variable, without depending on it, but on the images."""
        after, of_images = {variable}, self._depends({self.images})
        for equation in equations:
            if _variables(equation.invars) & after:
                after.update(equation.outvars)
                others = (atom for atom in equation.invars if isinstance(atom, core.Var))
                yield from (self._describe(other) for other in others if other in of_images - after)

    def _depends(self, variables: set[core.Var]) -> set[core.Var]:
        depends = set(variables)
        for equation in self.closed.jaxpr.eqns:
            if _variables(equation.invars) & depends:
                depends.update(equation.outvars)
        return depends

    def _describe(self, variable: core.Var) -> str:
        """The name of a value, or of the nearest named value before it."""
        names = {named: name for name, named in self.named.items()}
        aval: Any = variable.aval
        shape = aval.str_short()
        equations, _ = _needed(self.closed.jaxpr.eqns, [variable])
        for equation in reversed(equations):
            for output in equation.outvars:
                if output in names:
                    same = output is variable
                    return f"{names[output]!r}" if same else f"a value {shape} computed from {names[output]!r}"
        return "the images" if variable is self.images else f"a value {shape} computed from the images"


def traced(model: FlatModel, images: Any) -> tuple[core.ClosedJaxpr, Any]:
    """The program of a model with its submodules' outputs tagged, and the structure of its output."""
    structure = None

    def scores(leaves: list[Any], images: Array) -> list[Any]:
        nonlocal structure
        module = model.structure.unflatten(leaves)
        with tagging(module):
            outputs, structure = jax.tree.flatten(apply(module, images))
        return outputs

    with jax.disable_jit(False):  # otherwise the model's loops would be unrolled
        closed = jax.make_jaxpr(scores)(model.leaves, images)
    return closed, structure


def trace(model: FlatModel, images: Any, wanted: Collection[str] | None = None) -> Program:
    """Traces a model with named values, for images like these.

    Functions, loops over layers and rematerializations that contain a wanted name are inlined, so that each named value
    is a variable of the program. Without `wanted`, all names are.
    """
    bases = None if wanted is None else {base for name in wanted for base in _bases(name)}

    def has_names(equation: Any) -> bool:
        tag = tag_of(equation)
        return tag is not None and (bases is None or tag.name in bases)

    structure = None

    def scores(leaves: list[Any], images: Array) -> list[Any]:
        nonlocal structure
        closed, structure = traced(FlatModel(leaves, model.structure), images)
        return _inlined(closed, has_names, *leaves, images)

    with jax.disable_jit(False):
        flat = jax.make_jaxpr(scores)(model.leaves, images)
    counts: Counter[Tag] = Counter()
    named, own_derivative = {}, set()
    for equation in flat.jaxpr.eqns:
        tag = tag_of(equation)
        if tag is None:
            continue
        counts[tag] += 1
        name = tag.name + (f":{counts[tag]}" if counts[tag] > 1 else "") + tag.place
        named[name] = equation.outvars[0]
        if tag.own_derivative:
            own_derivative.add(name)
    return Program(flat, structure, named, frozenset(own_derivative), frozenset(_nested_tags(flat.jaxpr)))


def _nested_tags(jaxpr: core.Jaxpr) -> Iterator[str]:
    for equation in jaxpr.eqns:
        for inner in core.jaxprs_in_params(equation.params):
            yield from (tag.name for inner_equation in inner.eqns if (tag := tag_of(inner_equation)))
            yield from _nested_tags(inner)


def _bases(name: str) -> set[str]:
    """The tags that may have got this name: without a place ("[3]"), and without a number (":2")."""
    unplaced = re.sub(r"(\[\d+\])*$", "", name)
    return {name, unplaced, re.sub(r":\d+$", "", unplaced)}


def _inlined(closed: core.ClosedJaxpr, has_names: Callable[[Any], bool], *args: Any) -> list[Any]:
    """Evaluates a program, with the calls and loops that contain wanted names opened."""

    def run(jaxpr: core.Jaxpr, consts: Sequence[Any], args: Iterable[Any], place: str, own: bool) -> list[Any]:
        def apply(equation: Any, inputs: list[Any]) -> Sequence[Any]:
            kind, params = equation.primitive.name, equation.params
            if (tag := tag_of(equation)) is not None:
                inner = Tag(tag.name, place + tag.place, own or tag.own_derivative)
                return [tag_p.bind(*inputs, name=inner)]
            program = next((params[name] for name in ("jaxpr", "call_jaxpr") if name in params), None)
            if program is None or not any_equation(getattr(program, "jaxpr", program), has_names):
                return bind(equation, inputs)
            consts = getattr(program, "consts", ())
            program = getattr(program, "jaxpr", program)
            if kind == "scan":
                return unrolled(equation, inputs, place, own)
            if kind in CALLS:
                return run(program, consts, inputs, place, own)
            if kind in ("custom_jvp_call", "custom_vjp_call"):
                return run(program, consts, inputs, place, True)
            return bind(equation, inputs)  # `while`, `cond`: a value of an unknown number of iterations

        return evaluate(jaxpr, consts, *args, apply=apply)

    def unrolled(equation: Any, inputs: list[Any], place: str, own: bool) -> list[Any]:
        params = equation.params
        body, length, fixed = params["jaxpr"], params["length"], params["num_consts"]
        split = fixed + params["num_carry"]
        consts, carry, rows = inputs[:fixed], inputs[fixed:split], inputs[split:]
        outputs: list[Any] = [None] * length
        for i in reversed(range(length)) if params["reverse"] else range(length):
            row = [values[i] for values in rows]
            results = run(body.jaxpr, body.consts, (*consts, *carry, *row), f"{place}[{i}]", own)
            carry, outputs[i] = results[: len(carry)], results[len(carry) :]
        return [*carry, *(jnp.stack(values) for values in zip(*outputs, strict=True))]

    return run(closed.jaxpr, closed.consts, args, "", False)


def _needed(
    equations: list[Any], outputs: Iterable[Any], given: Iterable[core.Var] = ()
) -> tuple[list[Any], set[core.Var]]:
    """The equations that compute the outputs, where some variables are given; and the inputs that they read."""
    given = set(given)
    wanted, kept = _variables(outputs), []
    for equation in reversed(equations):
        if (wanted - given) & set(equation.outvars):
            kept.append(equation)
            wanted |= _variables(equation.invars)
    return kept[::-1], wanted - {output for equation in kept for output in equation.outvars}


def _variables(atoms: Iterable[Any]) -> set[core.Var]:
    return {atom for atom in atoms if isinstance(atom, core.Var)}
