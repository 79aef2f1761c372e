"""Programs compiled for TPUs that are not there, and the figures read off them. No TPU, no time."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("typer", reason="the extra `app` is not installed")

from benchmarks import __main__ as command
from benchmarks import results, tpu

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
# GB that SqueezeNet's saliency accesses and takes for temporaries per image: as compiled by libtpu 0.0.52, and 1 % more
MOST_BYTES, MOST_TEMPORARY_BYTES = 0.0497, 0.00536
needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="the extra `tpu-aot` is not installed"
)


def run(*arguments: object):
    return CliRunner().invoke(command.app, ["tpu", *(str(argument) for argument in arguments)])


def in_a_process(*arguments: str) -> str:
    """Apart from the tests' devices; with libtpu installed, any process that may look for a TPU complains of none."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


PROGRAMS = """
import json, sys
import jax, jax.numpy as jnp
import jaxviz
from flax import nnx
from benchmarks import tpu

class Small(nnx.Module):
    def __init__(self, *, dtype, rngs):
        self.conv = nnx.Conv(3, 128, (3, 3), strides=4, dtype=dtype, param_dtype=dtype, rngs=rngs)

    def __call__(self, images):
        return self.conv(images).mean((1, 2)).astype(jnp.float32)

devices = tpu.devices_of("v5e:2x2")
found = {}

# the whole row of a case, of a small network
tpu.NETWORKS["SqueezeNet 1.1"] = Small
[case] = tpu.cases(["v5e:2x2"], ["SqueezeNet 1.1 saliency, bfloat16"])
found["row"] = tpu.measured(case, devices)

# operations of 10 and of 20 steps
def model(images):
    return jnp.tanh(images.reshape(len(images), -1) @ jnp.ones((8 * 8 * 3, 128)))

split = jaxviz.data_parallel(jaxviz.class_visualizations, devices=devices)
classes, images = jax.ShapeDtypeStruct((32,), jnp.int32), jax.ShapeDtypeStruct((32, 8, 8, 3), jnp.float32)
for steps in (10, 20):
    lowered = split.lower(model, classes, key=jax.random.key(0), init_images=images, num_steps=steps, max_jitter=2)
    found[steps] = lowered.compile().cost_analysis()["flops"]

# SqueezeNet's programs, not compiled
network = nnx.eval_shape(lambda: jaxviz.models.SqueezeNet("1_1", dtype=jnp.bfloat16, rngs=nnx.Rngs(0)))
named = "select_and_scatter", "reduce_window", "optimization_barrier", "while"
for method in ("saliency", "fooling"):
    text = tpu.lowered(case._replace(method=method), devices, 256, network, size=64).as_text()
    counts = [text.count(f"stablehlo.{name}") for name in named]
    found[method] = [*counts, "tensor<256x1x31x31x64xbf16>" in text, "tensor<128x1x31x31x64xbf16>" in text]

found["wrong"] = []
for topology in ("v9:2x2", "v5e:7x9", "v5e"):
    try:
        tpu.devices_of(topology)
    except tpu.NoCompilerError as error:
        found["wrong"].append(str(error))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def compiled() -> dict:
    return json.loads(in_a_process("-c", PROGRAMS).splitlines()[-1])


@needs_libtpu
def test_the_row_of_a_case(compiled, tmp_path):
    row = compiled["row"]
    assert row["name"] == "SqueezeNet 1.1 saliency, bfloat16, v5e:2x2"
    assert (row["chips"], row["images"], row["in_flight"], row["collectives"]) == (4, 256, 256, [])
    # the convolution and its input gradient, for each image of the batch: of one at a time, one alone would be counted
    assert row["gflop"] / 256 == pytest.approx(2 * 2 * 27 * 128 * 56**2 / 1e9, rel=0.5)
    assert row["gb"] > 2 * 256 * 2 * 224**2 * 3 / 1e9 * 0.5
    assert 0 < row["temporary_gb"] < row["peak_gb"] < 16
    assert 0.8 < row["largest_batch"] / 256 * row["peak_gb"] / (15.75 * 1.024**3) < 1.2


@needs_libtpu
def test_the_compiler_counts_the_body_of_a_loop_once(compiled):
    assert compiled["10"] == pytest.approx(compiled["20"], rel=0.01)


@needs_libtpu
def test_a_slice_gets_the_forms_for_tpus(compiled):
    """Pooling as it was, ReLUs written once, all images of a chip at once, and of fooling's queue 128."""
    assert compiled["saliency"] == [5, 5, 30, 0, True, False]
    assert (compiled["fooling"][0], compiled["fooling"][-2:]) == (5, [False, True])


@needs_libtpu
def test_a_slice_that_is_none(compiled):
    assert all(name in message for name, message in zip(("v9:2x2", "v5e:7x9", "v5e"), compiled["wrong"], strict=True))


@needs_libtpu
@pytest.mark.slow
def test_bytes_accessed_and_temporaries_stay_as_few_as_they_became(tmp_path):
    name = "SqueezeNet 1.1 saliency, bfloat16"
    in_a_process("-m", "benchmarks", "tpu", "--topology", "v5e:2x2", "--only", name, "--output", str(tmp_path))
    [row] = results.read(tmp_path / "tpu.json")["rows"]
    assert 1.2 < row["gflop"] / row["images"] < 1.6
    assert row["gb"] / row["images"] <= MOST_BYTES
    assert row["temporary_gb"] / row["images"] <= MOST_TEMPORARY_BYTES
    assert "compiled, not run" in (tmp_path / "tpu.md").read_text()


def page(folder: Path, record: dict) -> str:
    (folder / "tpu.json").write_text(json.dumps(record))
    results.write_page(folder / "tpu.json", chips=tpu.CHIPS)
    return (folder / "tpu.md").read_text()


def test_page(tmp_path):
    row = {
        "name": "VGG16 fooling, float32, v6e:2x2", "method": "fooling", "network": "VGG16", "dtype": "float32",
        "topology": "v6e:2x2", "chips": 4, "images": 128, "in_flight": 64, "gflop": 640.0, "gb": 6.4, "peak_gb": 2.5,
        "temporary_gb": 2.0, "collectives": [], "compile_s": 12.3,
    }  # fmt: skip
    record = {"machine": {"versions": {"jax": "1", "libtpu": "2"}}, "rows": [row]}
    work = "| VGG16 fooling, a step, float32 | 64 | 640 | 6.40 | 100 | 2.50 GB |"
    assert f"{work}  | 91800/s | 15300/s | 16400/s | none | 12 s |" in page(tmp_path, record)
    row |= {"dtype": "bfloat16", "collectives": ["all-reduce"], "largest_batch": 77}
    text = page(tmp_path, record)
    assert "bfloat16 | 64 | 640 | 6.40 | 100 | 2.50 GB | 77 | 91800/s |  | 16400/s | all-reduce |" in text


def test_the_results_in_the_repository(tmp_path):
    shutil.copy(RESULTS / "tpu.json", tmp_path)
    results.write_page(tmp_path / "tpu.json", chips=tpu.CHIPS)
    measured, _ = (tmp_path / "tpu.md").read_text().split("<!-- /measured -->")
    assert (RESULTS / "tpu.md").read_text().startswith(measured)
    rows = results.read(RESULTS / "tpu.json")["rows"]
    assert not any(row["collectives"] for row in rows)
    [squeezenet] = [row for row in rows if row["name"] == "SqueezeNet 1.1 saliency, bfloat16, v5e:2x2"]
    assert squeezenet["gb"] / squeezenet["images"] <= MOST_BYTES
    assert squeezenet["temporary_gb"] / squeezenet["images"] <= MOST_TEMPORARY_BYTES


def test_every_case_has_its_chip_and_a_name_of_its_own():
    cases = tpu.cases(tpu.TOPOLOGIES)
    assert len({case.name for case in cases}) == len(cases) == 48
    assert {case.topology.split(":")[0] for case in cases} == set(tpu.CHIPS)


def test_without_a_compiler_one_line_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = run("--output", tmp_path)
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "The compiler for TPUs is missing; install it with: pip install 'jaxviz[app,tpu-aot]'"
    ]
    assert not list(tmp_path.iterdir())


def test_unknown_program():
    done = run("--only", "no such")
    assert done.exit_code == 1
    assert "SqueezeNet 1.1 saliency, bfloat16, v5e:2x2" in done.stderr
