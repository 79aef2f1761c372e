"""The forms of a convolution on a CPU against XLA's own, and where each is chosen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxviz
from jaxviz._rewrite.convolution import multiply_then_shift
from jaxviz._rewrite.winograd import winograd

LAYOUT = ("NHWC", "HWIO", "NHWC")


def normal(*shape, seed=0, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def direct(x, kernel, padding):
    return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=LAYOUT)


def multiply(x, kernel):
    y = jnp.tensordot(x, kernel, ((-1,), (-2,)))
    return y.reshape(*x.shape[:-1], *kernel.shape[:-2], -1)


@pytest.mark.parametrize("form", [winograd, multiply_then_shift])
@pytest.mark.parametrize("size", [(6, 8), (7, 6), (3, 5)])
@pytest.mark.parametrize(
    "padding", [((1, 1), (1, 1)), ((0, 0), (0, 0)), ((2, 1), (0, 2)), ((3, 2), (2, 2)), ((-1, 1), (1, 0))]
)
def test_forms_equal_the_direct_sum(form, size, padding):
    x, kernel = normal(2, *size, 5), normal(3, 3, 5, 4, seed=1)
    found, expected = form(x, kernel, padding, multiply=multiply), direct(x, kernel, padding)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5)


# VGG16's and SqueezeNet's: height, input and output channels
LAYERS = [(56, 128, 256), (28, 512, 256), (14, 512, 512), (13, 256, 64)]


@pytest.mark.parametrize("form", [winograd, multiply_then_shift])
@pytest.mark.parametrize(("size", "inputs", "outputs"), LAYERS)
def test_rounding_is_at_most_four_times_that_of_xla(form, size, inputs, outputs):
    x = jnp.maximum(normal(1, size, size, inputs), 0)
    kernel = normal(3, 3, inputs, outputs, seed=1) * np.float32(np.sqrt(2 / 9 / inputs))
    padding = ((1, 1), (1, 1))
    with jax.enable_x64(True):
        expected = np.asarray(direct(x.astype(jnp.float64), kernel.astype(jnp.float64), padding))
    errors = [
        np.abs(np.asarray(jax.jit(f)(x, kernel)) - expected)
        for f in (
            lambda x, kernel: form(x, kernel, padding, multiply=multiply),
            lambda x, kernel: direct(x, kernel, padding),
        )
    ]
    assert errors[0].max() < 4 * errors[1].max()
    assert np.sqrt(np.square(errors[0]).mean()) < 4 * np.sqrt(np.square(errors[1]).mean())


def primitives(f, *args):
    """How often the program of a CPU has convolutions, and matrix products."""
    text = jax.jit(jaxviz.accelerate(f)).trace(*args).lower(lowering_platforms=("cpu",)).as_text()
    return text.count("stablehlo.convolution"), text.count("stablehlo.dot_general")


@pytest.mark.parametrize(
    ("size", "inputs", "outputs", "dtype", "expected"),
    [
        (28, 512, 512, jnp.float32, (0, 16)),  # Winograd's form
        (56, 256, 256, jnp.bfloat16, (1, 0)),  # it would round in between
        (28, 64, 64, jnp.float32, (1, 0)),  # it would save too little
        (224, 64, 64, jnp.float32, (1, 0)),  # its values would fill too much memory
        (13, 256, 64, jnp.float32, (0, 1)),  # product, then shifts
        (13, 256, 64, jnp.bfloat16, (1, 0)),  # sums of rounded products
        (13, 64, 256, jnp.float32, (1, 0)),  # more products than inputs
        (112, 128, 64, jnp.float32, (1, 0)),  # products that fill too much memory
    ],
)
def test_the_form_follows_from_the_shapes(size, inputs, outputs, dtype, expected):
    x = jax.ShapeDtypeStruct((1, size, size, inputs), dtype)
    kernel = jax.ShapeDtypeStruct((3, 3, inputs, outputs), dtype)
    assert primitives(lambda x, kernel: direct(x, kernel, "SAME"), x, kernel) == expected


@pytest.mark.usefixtures("toy_networks")
def test_derivatives_of_a_layer_in_winograds_form():
    x, kernel = normal(1, 28, 28, 512) / 20, normal(3, 3, 512, 512, seed=1) / 70

    def gradient(x, kernel):
        return jax.grad(lambda x: jnp.square(jax.nn.relu(direct(x, kernel, "SAME"))).sum())(x)

    def transformed(gradient, x):
        second = jax.grad(lambda x: jnp.square(gradient(x, kernel)).sum())(x)
        tangent = jax.jvp(lambda x: gradient(x, kernel), (x,), (jnp.cos(x),))[1]
        return gradient(x, kernel), tangent, second, jax.vmap(gradient, (0, None))(jnp.stack([x, -x]), kernel)

    assert primitives(gradient, x, kernel) == (0, 32)
    fast, plain = (jax.jit(lambda x, g=g: transformed(g, x))(x) for g in (jaxviz.accelerate(gradient), gradient))
    for a, b in zip(fast, plain, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(b).max()))
