"""`python -m benchmarks precision`: that it computes what it says, and that its page follows from its JSON."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

pytest.importorskip("torch", reason="the extra `benchmarks` is not installed")

from benchmarks import precision, results

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "precision.json"


@pytest.fixture
def record() -> dict:
    reference = {"steps": [10, 20, 30, 100], "fooled": [True, True, True, False], "score": [50.0, 100.0]}
    row = {
        "name": "bfloat16",
        "correlations": [0.9, 0.8, 0.95, 0.85],
        "steps": [11, 20, 35, 7],
        "fooled": [True, True, True, True],
        "float32_fooled": [True, False, True, False],
        "score": [45.0, 110.0],
    }
    machine = {"cpu": "A processor", "instruction_set": "AVX2", "versions": {"jax": "1"}}
    about = {"machine": machine, "date": "2025-01-31", "images": 4, "classes": [76, 1], "num_steps": 2}
    return about | {"reference": reference, "rows": [row]}


def test_figures_follow_from_the_lists(record):
    found = precision.summary(record["rows"][0], record["reference"])
    assert found.pop("steps") == [1, 0.5, 3]
    assert found.pop("score") == pytest.approx([0, -0.1, 0.1])
    assert found == pytest.approx(
        {
            "float32_steps": 20,
            "correlation": 0.875,
            "least_correlation": 0.8,
            "same_steps": 1 / 3,
            "same_outcome": 0.75,
            "float32_fooled": 0.5,
            "mean_score": 155 / 150 - 1,
        }
    )


def page(folder, record):
    (folder / "precision.json").write_text(json.dumps(record))
    results.write_page(folder / "precision.json", summary=precision.summary)
    return (folder / "precision.md").read_text()


def test_page(record, tmp_path):
    text = page(tmp_path, record)
    assert "| bfloat16 | 0.8750 (0.8000) | +1 (+0.5 to +3) | 75% | 50% | +0.0% (-10% to +10%) |" in text
    assert "fools with 75% of the images, after 20 steps in the median" in text
    assert "| 76 | 50.0 | 45.0 |" in text


def test_page_shows_the_results_in_the_repository(tmp_path):
    assert page(tmp_path, results.read(RESULTS)) == RESULTS.with_suffix(".md").read_text()


def measured(model, images):
    return precision.measured(
        model, images, start=images[:2], labels=np.arange(6) % 7, classes=np.array([1, 2]), num_steps=3
    )


def test_float32_beside_itself_is_equal(linear, linear_images):
    found = measured(linear.model, linear_images)
    assert found["fooled"].all()
    assert found["steps"].max() > 1
    row = precision.compared(found, measured(linear.model, linear_images), linear.model)
    summary = precision.summary(row, {name: found[name].tolist() for name in ("steps", "fooled", "score")})
    assert summary.pop("float32_steps") > 1
    assert summary.pop("steps") == summary.pop("score") == [0, 0, 0]
    exact = {"correlation", "least_correlation", "same_steps", "same_outcome", "float32_fooled"}
    assert summary == pytest.approx({name: float(name in exact) for name in summary}, abs=1e-12)


def test_another_model_beside_it_is_not(linear, linear_images):
    other = jax.tree.map(lambda leaf: leaf[::-1], linear.model)
    reference, found = (measured(model, linear_images) for model in (linear.model, other))
    summary = precision.summary(precision.compared(found, reference, linear.model), reference)
    assert summary["correlation"] < 0.5
    assert summary["same_steps"] < 1
    assert summary["float32_fooled"] < 1
    assert summary["score"][0] != 0


@pytest.mark.parametrize("bits", [7, 10])
def test_operands_are_rounded_forward_and_backward_and_results_are_not(bits):
    model = nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0))
    x, cotangent = (np.random.default_rng(0).standard_normal((1, 8, 8, c), np.float32) for c in (3, 4))
    exact, pullback = jax.vjp(model, x)

    def off(x):
        """To the nearest number of so many bits."""
        fraction, exponent = np.frexp(np.asarray(x, np.float64))
        return np.ldexp(np.round(fraction * 2 ** (bits + 1)) / 2 ** (bits + 1), exponent).astype(np.float32)

    def convolve(x):
        kernel = jnp.asarray(off(model.kernel))
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    y, expected_pullback = jax.vjp(convolve, off(x))
    (gradient,) = expected_pullback(off(cotangent))
    found, rounded_pullback = jax.vjp(jax.jit(precision.rounded(model, bits=bits)), x)
    np.testing.assert_allclose(found, y, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(rounded_pullback(cotangent)[0], gradient, rtol=1e-5, atol=1e-5)
    assert jnp.abs(found - exact).max() > 2.0 ** -(bits + 3)
    assert jnp.abs(gradient - pullback(cotangent)[0]).max() > 2.0 ** -(bits + 3)
