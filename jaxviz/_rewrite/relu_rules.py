"""Guided backpropagation (Springenberg et al. 2015) and deconvolution (Zeiler and Fergus 2014), of any JAX model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend import core
from jax.typing import ArrayLike

from jaxviz._core.model import FlatModel, Model, as_model
from jaxviz._rewrite.jaxprs import bind, compares, evaluate, is_relu, map_programs, zeros_of
from jaxviz._rewrite.programs import traced

Rule = Literal["guided", "deconv"]


def relu_rule(model: Model, rule: Rule) -> "ReluRule":
    r"""The same model with another backward rule at every ReLU: the scores are equal, the gradients are not.

    .. math::
        g_x = \begin{cases} \max(g_y, 0) \, [x > 0] & \text{guided} \\ \max(g_y, 0) & \text{deconv} \end{cases}

    where g_y is the gradient with respect to the ReLU's output and g_x the one with respect to its input x. Use the
    result in place of the model: `saliency_maps(relu_rule(model, "guided"), images, labels)`. For the signed values in
    each channel, `jax.grad(lambda images: relu_rule(model, "guided")(images)[:, label].sum())(images)`.

    ReLUs are `jax.nn.relu` and maxima of a value and 0, also in functions, loops and branches of the model. The rules
    have no forward mode (`jax.jvp`). Maps of both rules depend little on the class and on the weights of the last
    layers (Adebayo et al., arXiv:1810.03292): use them as pictures of edges, not as explanations.

    Args:
        model: a callable pytree, `model(images (n, ...)) -> scores`, or a plain function.
        rule: "guided" or "deconv".

    Returns:
        A model: a callable pytree with the model's weights as leaves.

    Raises:
        ValueError: an unknown rule; on the first call, a model without a ReLU.

    Reference:
        Springenberg et al., Striving for simplicity: the all convolutional net, arXiv:1412.6806; Zeiler and Fergus,
        Visualizing and understanding convolutional networks, arXiv:1311.2901.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> model = lambda images: jax.nn.relu(images).sum((1, 2)) * jnp.array([[1.0, -1.0]])
        >>> images = jnp.array([[[[2.0, 2.0]]]])  # one pixel; its two channels are the classes
        >>> jaxviz.saliency_maps(model, images, [1])
        Array([[[1.]]], dtype=float32)
        >>> jaxviz.saliency_maps(jaxviz.relu_rule(model, "guided"), images, [1])  # negative gradients stop
        Array([[[0.]]], dtype=float32)
    """
    if rule not in ("guided", "deconv"):
        raise ValueError(f'`rule` must be "guided" or "deconv", got {rule!r}.')
    return ReluRule(as_model(model), rule)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ReluRule:
    """Result of `relu_rule`."""

    model: FlatModel
    rule: Rule = field(metadata={"static": True})

    def __call__(self, images: ArrayLike) -> Any:
        """The model's scores."""
        return _scores(self, images)


@partial(jax.jit, inline=True)
def _scores(model: ReluRule, images: Array) -> Any:
    closed, structure = traced(model.model, images)
    if not _has_relu(closed.jaxpr):
        raise ValueError("`model` has no ReLU, so a ReLU rule would change nothing; use the model itself.")
    return jax.tree.unflatten(structure, _evaluate(closed, model.rule, *model.model.leaves, images))


def _evaluate(closed: core.ClosedJaxpr, rule: Rule, *args: Any) -> list[Any]:
    zeros = zeros_of(closed.jaxpr)

    def apply(equation: Any, inputs: list[Any]) -> Sequence[Any]:
        if _is_relu(equation, zeros):
            return [_relu(inputs[0], rule)]
        if not any(map(_has_relu, core.jaxprs_in_params(equation.params))):
            return bind(equation, inputs)
        if equation.primitive.name in ("jit", "pjit", "closed_call"):
            return _evaluate(equation.params["jaxpr"], rule, *inputs)
        if equation.primitive.name in ("custom_jvp_call", "custom_vjp_call"):
            return bind(equation, inputs)  # its own derivative counts
        return bind(equation, inputs, map_programs(equation.params, changed))

    def changed(program: core.ClosedJaxpr) -> core.ClosedJaxpr:
        return jax.make_jaxpr(partial(_evaluate, program, rule))(*program.in_avals)

    return evaluate(closed.jaxpr, closed.consts, *args, apply=apply)


def _is_relu(equation: Any, zeros: set[core.Var]) -> bool:
    return is_relu(equation) or compares(equation, "max", zeros)


def _has_relu(jaxpr: core.Jaxpr) -> bool:
    zeros = zeros_of(jaxpr)
    return any(
        _is_relu(equation, zeros) or any(map(_has_relu, core.jaxprs_in_params(equation.params)))
        for equation in jaxpr.eqns
    )


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _relu(x: Array, rule: Rule) -> Array:
    return jnp.maximum(x, 0)


def _forward(x: Array, rule: Rule) -> tuple[Array, Array | None]:
    return _relu(x, rule), x > 0 if rule == "guided" else None


def _backward(rule: Rule, positive: Array | None, gradient: Array) -> tuple[Array]:
    gradient = jnp.maximum(gradient, 0)
    return (gradient if positive is None else jnp.where(positive, gradient, 0),)


_relu.defvjp(_forward, _backward)
