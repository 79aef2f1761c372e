"""The networks against torchvision's on the same random weights: every stage, the scores and the input gradient."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torchvision.models

import jaxviz
from weights_convert.verify import differences

pytestmark = pytest.mark.parity

TOLERANCE = 1e-4
# which odd edges the poolings see depends on the size; 224 is no test of them for SqueezeNet 1.1 and VGG16
SQUEEZENET_SIZES = [224, 227, (192, 256), *(pytest.param(size, marks=pytest.mark.slow) for size in (192, 256, 299))]
VGG16_SIZES = [(96, 160), *(pytest.param(size, marks=pytest.mark.slow) for size in (192, 224, 256))]


class Pair(NamedTuple):
    name: str
    model: Any
    torch_model: torch.nn.Module
    file: Path


def random_pair(name: str, folder: Path) -> Pair:
    """torchvision's network with random weights, and ours with the same ones through a .pth file."""
    torch.manual_seed(0)
    torch_model = torchvision.models.get_model(name).eval()
    for parameter in torch_model.parameters():
        if parameter.ndim == 1:  # torchvision starts the biases at 0, where a lost one would not show
            torch.nn.init.normal_(parameter, std=0.1)
    file = folder / f"{name}.pth"
    torch.save(torch_model.state_dict(), file)
    return Pair(name, jaxviz.load_model(name, weights=file), torch_model, file)


@pytest.fixture(scope="module")
def pair_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    """Makes each pair once: VGG16's weights take 0.5 GB on either side."""
    pairs: dict[str, Pair] = {}

    def made(name: str) -> Pair:
        if name not in pairs:
            pairs[name] = random_pair(name, tmp_path_factory.mktemp(name))
        return pairs[name]

    return made


def assert_equal(pair: Pair, size: int | tuple[int, int]) -> None:
    found = differences(pair.model, pair.torch_model, size)
    assert [stage for stage, _ in found][-2:] == ["scores", "input gradient"]
    wrong = {stage: difference for stage, difference in found if not difference < TOLERANCE}
    assert not wrong


@pytest.mark.parametrize("size", SQUEEZENET_SIZES)
@pytest.mark.parametrize("name", ["squeezenet1_0", "squeezenet1_1"])
def test_squeezenet_equals_torchvision(name, size, pair_of):
    assert_equal(pair_of(name), size)


@pytest.mark.parametrize("size", VGG16_SIZES)
def test_vgg16_equals_torchvision(size, pair_of):
    assert_equal(pair_of("vgg16"), size)


@pytest.mark.parametrize(("name", "smallest"), [("squeezenet1_0", 21), ("squeezenet1_1", 17), ("vgg16", 32)])
def test_the_smallest_image_is_torchvisions(name, smallest, pair_of):
    pair = pair_of(name)
    assert_equal(pair, smallest)
    with pytest.raises(RuntimeError, match="too small"):
        pair.torch_model(torch.zeros(1, 3, smallest - 1, smallest))
    with pytest.raises(ValueError, match=rf"h and w >= {smallest}, got \(1, {smallest - 1}, {smallest}, 3\)"):
        pair.model(jnp.zeros((1, smallest - 1, smallest, 3)))


@pytest.mark.parametrize(
    "name", ["squeezenet1_1", *(pytest.param(name, marks=pytest.mark.slow) for name in ("squeezenet1_0", "vgg16"))]
)
def test_bfloat16_scores_are_float32_and_close(name, pair_of):
    pair = pair_of(name)
    half = jaxviz.load_model(name, weights=pair.file, dtype=jnp.bfloat16)
    images = jnp.asarray(np.random.default_rng(0).standard_normal((1, 64, 64, 3), np.float32))
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {jnp.dtype(jnp.bfloat16)}
    scores, expected = (jax.jit(type(model).__call__)(model, images) for model in (half, pair.model))
    assert scores.dtype == jnp.float32
    # 8 bits of mantissa through 26 layers; 0.005 to 0.007 was measured
    np.testing.assert_allclose(scores, expected, rtol=0, atol=0.02 * np.abs(expected).max())
