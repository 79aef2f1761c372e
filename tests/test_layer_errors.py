"""Bad inputs of layers and of the methods on them: each error names the argument and says what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.tree_util import Partial

import jaxviz

pytestmark = pytest.mark.usefixtures("toy_networks", "unchecked")

IMAGES = np.ones((2, 8, 8, 3), np.float32)
KEY = jax.random.key(0)


class Residual(nnx.Module):
    def __init__(self):
        self.conv = nnx.Conv(3, 3, (3, 3), rngs=nnx.Rngs(0))
        self.norm = nnx.BatchNorm(3, rngs=nnx.Rngs(0))
        self.linear = nnx.Linear(3, 4, rngs=nnx.Rngs(0))

    def __call__(self, images):
        x = checkpoint_name(images + self.norm(self.conv(images)), "sum")
        checkpoint_name(x * 2, "unused")
        x = jax.lax.while_loop(lambda x: x.sum() > 1e9, lambda x: checkpoint_name(x / 2, "halved"), x)
        x = jax.lax.scan(lambda x, _: (checkpoint_name(x * 2, "doubled"), None), x, None, length=2)[0]
        return self.linear(x.mean((1, 2)))


MODEL = Residual()
MODEL.eval()
TOKENS = np.ones((2, 5, 3), np.float32)
ACTIVATIONS = np.ones((2, 4, 4, 3), np.float32)
HEAD = Partial(lambda x: x.reshape(len(x), -1, 3).mean(1))


def split(name, model=MODEL, images=IMAGES):
    return jaxviz.split(model, images, name)


def cam(activations=ACTIVATIONS, labels=(0, 1), **options):
    return jaxviz.grad_cam(HEAD, activations, labels, **options)


def occlude(**options):
    return jaxviz.occlusion(HEAD, IMAGES, (0, 1), **{"window": 4, "stride": 2} | options)


def mask(**options):
    return jaxviz.rise(HEAD, IMAGES, (0, 1), **{"key": KEY, "num_masks": 2, "cell": 2} | options)


def expect(baselines=IMAGES, **options):
    return jaxviz.expected_gradients(HEAD, IMAGES, (0, 1), baselines=baselines, **{"key": KEY} | options)


def visualize(**options):
    return jaxviz.class_visualizations(HEAD, [0], **{"key": KEY, "image_shape": (8, 8, 3), "num_steps": 1} | options)


def decode(channels=3, **options):
    parametrization = jaxviz.fourier(**options)
    return parametrization.decode(parametrization.init(KEY, (8, 8, channels)))


CASES = [
    (lambda: split("con"), ValueError, r"`name` 'con' is unknown; near it are 'conv'.*`jaxviz.layers` lists all"),
    (lambda: split("nothing like it"), ValueError, "`name` 'nothing like it' is unknown; near it are 'conv', 'norm'"),
    (lambda: split("x", model=lambda x: x.sum((1, 2))), ValueError, "the model has no named values. Pass the module"),
    (lambda: split("conv"), ValueError, "does not separate .* depend on the images; 'sum' is the next layer that does"),
    (lambda: split("unused"), ValueError, "'unused' is computed, but the scores do not depend on it; 'doubled"),
    (lambda: split("halved"), ValueError, "'halved' lies in a `while_loop` of an unknown number of iterations"),
    (lambda: split("doubled"), ValueError, r"'doubled' has 2 values, .* choose one of them, such as 'doubled\[1\]'"),
    (lambda: split("doubled[2]"), ValueError, r"'doubled\[2\]' is unknown; near it are .*'doubled\[1\]'"),
    (lambda: split("sum", images=IMAGES.astype(int)), ValueError, "`images` must be floating point"),
    (lambda: split("sum", images=np.float32(1)), ValueError, r"`images` must be floating point of shape \(n, ...\)"),
    (lambda: split("sum", images=IMAGES[:0]), ValueError, "`images` must be .* none of them 0"),
    (lambda: split("sum", model=3), ValueError, "`model` must be callable"),
    (lambda: split("sum", model=Residual()), ValueError, r"training mode.*call `model.eval\(\)` first"),
    (
        lambda: split("sum")[1](jnp.ones((2, 8, 8, 4))),
        ValueError,
        r"`activations` of 'sum' must be float32 of shape \(n",
    ),
    (lambda: split("sum")[1](jnp.ones((2, 8, 8, 3), jnp.bfloat16)), ValueError, "must be float32 .* got bfloat16"),
    (lambda: jaxviz.capture(MODEL, IMAGES, ["summ"]), ValueError, "`name` 'summ' is unknown; near it are 'sum'"),
    (
        lambda: jaxviz.capture(MODEL, IMAGES, "sum"),
        ValueError,
        r"`names` must be a list of names, .* write `\['sum'\]`",
    ),
    (lambda: jaxviz.relu_rule(MODEL, "lrp"), ValueError, '`rule` must be "guided" or "deconv", got \'lrp\''),
    (lambda: jaxviz.relu_rule(MODEL, "guided")(IMAGES), ValueError, "`model` has no ReLU"),
    (lambda: cam(variant="score_cam"), ValueError, "`variant` must be one of grad_cam, grad_cam.*got 'score_cam'"),
    (lambda: cam(TOKENS), ValueError, r"`activations` must have shape \(n, h, w, c\).*tokens need `grid`"),
    (lambda: cam(np.ones((2, 7), np.float32)), ValueError, "`activations` must have shape"),
    (lambda: cam(ACTIVATIONS, grid=(2, 2)), ValueError, r"`activations` must have shape \(n, t, c\), .* got \(2, 4, 4"),
    (
        lambda: cam(TOKENS, grid=(2, 3)),
        ValueError,
        "`grid` must have at most .* got 2 x 3 for 5",
    ),
    (lambda: cam(TOKENS, grid=4), ValueError, r"`grid` must be \(rows, columns\), two sizes of 1 or more, got 4"),
    (lambda: cam(TOKENS, grid=(2, 0)), ValueError, r"`grid` must be \(rows, columns\)"),
    (lambda: cam(labels=[0]), ValueError, "`labels` must be as many as the images"),
    (lambda: cam(labels=[0, 3]), IndexError, "`labels` must be in 0 to 2, got 3"),
    (lambda: occlude(window=9), ValueError, "`window` must be an integer in 1 to 8, got 9"),
    (lambda: occlude(window=0), ValueError, "`window` must be an integer in 1 to 8, got 0"),
    (lambda: occlude(stride=5), ValueError, "`stride` must be an integer in 1 to 4, got 5"),
    (lambda: occlude(baseline="grey"), ValueError, "`baseline` must be a number"),
    (lambda: mask(keep=0), ValueError, "`keep` must be finite and in 0.01 to 1, got 0"),
    (lambda: mask(cell=9), ValueError, "`cell` must be an integer in 1 to 8, got 9"),
    (lambda: mask(num_masks=0), ValueError, "`num_masks` must be an integer of 1 or more, got 0"),
    (lambda: mask(key=0), ValueError, "`key` must be a typed key"),
    (lambda: expect(IMAGES[0]), ValueError, r"`baselines` must have shape \(n, h, w, c\)"),
    (lambda: expect(IMAGES[:, :4]), ValueError, r"`baselines` must be float32 of shape \(m, 8, 8, 3\), as the images"),
    (lambda: expect(num_samples=0), ValueError, "`num_samples` must be an integer of 1 or more"),
    (lambda: jaxviz.attention_rollout([]), ValueError, "`attentions` must be weights of shape .* got none"),
    (lambda: jaxviz.attention_rollout([np.ones((2, 3, 3))]), ValueError, r"`attentions` must .* got \(2, 3, 3\)"),
    (lambda: jaxviz.attention_rollout([np.ones((1, 1, 2, 2), int)]), ValueError, "`attentions` must be floating"),
    (lambda: visualize(parametrization=jaxviz.fourier(), bounds=(0, 1)), ValueError, "omit `init_images` and `bounds`"),
    (
        lambda: visualize(parametrization=jaxviz.fourier(decorrelate=False, bounds=(0, [1, 1]))),
        ValueError,
        "`bounds` must be numbers, or one for each of the 3 channels, got 2",
    ),
    (lambda: visualize(parametrization=(lambda key, shape: KEY, 3)), ValueError, "must be functions, got 3"),
    (lambda: visualize(transform=3), ValueError, "`parametrization` and `transform` must be functions, got 3"),
    (lambda: decode(channels=1), ValueError, "set `decorrelate=False`"),
    (
        lambda: visualize(parametrization=jaxviz.maco(photographs=IMAGES[:, :4])),
        ValueError,
        "`photographs` must have the size",
    ),
    (lambda: jaxviz.fourier(decay=-1), ValueError, "`decay` must be finite and in 0"),
    (lambda: jaxviz.fourier(bounds=(1, 0)), ValueError, "`bounds` must have lower < upper"),
]


@pytest.mark.parametrize(("call", "error", "message"), CASES)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
