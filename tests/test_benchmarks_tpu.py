"""Programs compiled for TPUs that are not there, and the figures read off them. No TPU, no time."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import page, precision_page, results, tpu, tpu_page
from benchmarks.chips import CHIPS
from benchmarks.tpu_traffic import hbm_bytes

ROOT = Path(__file__).parents[1]
# GB that the program moves per image, with what the chip's own memory takes of it and without: as compiled by libtpu
# 0.0.52, and one in a hundred
MOST_BYTES, MOST_HBM_BYTES = 0.0497, 0.0245
needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="the extra `tpu-aot` is not installed"
)


def in_a_process(*arguments: str) -> subprocess.CompletedProcess:
    """Apart from the tests' devices; with libtpu installed, any process that may look for a TPU complains of none."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of the smallest program."""
    folder = tmp_path_factory.mktemp("tpu")
    arguments = ("--topology", "v5e:2x2", "--only", "SqueezeNet 1.1 saliency, bfloat16", "--output", str(folder))
    done = in_a_process("-m", "benchmarks", "tpu", *arguments)
    assert done.returncode == 0, done.stderr
    assert "collectives: none" in done.stdout
    assert done.stderr == ""
    return folder


@needs_libtpu
def test_squeezenet_saliency_for_four_chips(compiled):
    [row] = results.read(compiled / "tpu.json")["rows"]
    assert row["name"] == "SqueezeNet 1.1 saliency, bfloat16, v5e:2x2"
    assert (row["chips"], row["images"], row["in_flight"], row["collectives"]) == (4, 256, 256, [])
    assert row["compile_s"] > 0
    # one batch: in a loop of one image at a time, the operations of one image alone would have been counted
    assert 1.2 < row["gflop"] / row["images"] < 1.6
    assert 0 < row["hbm_gb"] < row["gb"]
    assert 0 < row["temporary_gb"] < row["peak_gb"] < 16
    bound = row["images"] / row["images_per_s"]
    assert bound == pytest.approx(max(row["gflop"] / 197e3, row["hbm_gb"] / 819))
    fitting = row["largest_batch"] / row["images"] * row["temporary_gb"]
    assert 0.9 * 15.75 * 1.024**3 < fitting < 15.75 * 1.024**3


@needs_libtpu
def test_bytes_moved_stay_as_few_as_they_became(compiled):
    [row] = results.read(compiled / "tpu.json")["rows"]
    assert row["gb"] / row["images"] <= MOST_BYTES
    assert row["hbm_gb"] / row["images"] <= MOST_HBM_BYTES


@needs_libtpu
def test_the_page_follows_from_the_json(compiled):
    record = results.read(compiled / "tpu.json")
    [row] = record["rows"]
    text = (compiled / "tpu.md").read_text()
    assert "compiled, not run" in text
    assert tpu_page.measured(record) in text
    assert f"| {row['gflop']:.0f} | {row['gb']:.2f} | {row['hbm_gb']:.2f} |" in text


LOOPS = """
import jax, jax.numpy as jnp
import jaxviz
from benchmarks.tpu_program import devices_of

def model(images):
    return jnp.tanh(images.reshape(len(images), -1) @ jnp.ones((8 * 8 * 3, 128)))

split = jaxviz.data_parallel(jaxviz.class_visualizations, devices=devices_of("v5e:2x2"))
classes, images = jax.ShapeDtypeStruct((32,), jnp.int32), jax.ShapeDtypeStruct((32, 8, 8, 3), jnp.float32)
for steps in (10, 20):
    lowered = split.lower(model, classes, key=jax.random.key(0), init_images=images, num_steps=steps, max_jitter=2)
    print(lowered.compile().cost_analysis()["flops"])
"""


@needs_libtpu
def test_the_compiler_counts_the_body_of_a_loop_once():
    done = in_a_process("-c", LOOPS)
    assert done.returncode == 0, done.stderr
    ten, twenty = map(float, done.stdout.split())
    assert ten == pytest.approx(twenty, rel=0.01)


LOWERED = """
import jax, jax.numpy as jnp
import jaxviz
from benchmarks.tpu_program import Case, abstract_model, devices_of

model = abstract_model(Case("saliency", "SqueezeNet 1.1", "bfloat16", "v5e:2x2"))
images, classes = jax.ShapeDtypeStruct((1024, 64, 64, 3), jnp.bfloat16), jax.ShapeDtypeStruct((1024,), jnp.int32)
for method in (jaxviz.saliency_maps, jaxviz.fooling_images):
    text = jaxviz.data_parallel(method, devices=devices_of("v5e:2x2")).lower(model, images, classes).as_text()
    named = "select_and_scatter", "reduce_window", "optimization_barrier", "while"
    counts = [text.count(f"stablehlo.{name}") for name in named]
    print(*counts, "tensor<256x1x31x31x64xbf16>" in text, "tensor<128x1x31x31x64xbf16>" in text)
"""


@needs_libtpu
def test_a_slice_gets_the_forms_for_tpus():
    """Pooling as it was, ReLUs written once, all images of a chip at once, and of fooling's queue 128."""
    done = in_a_process("-c", LOWERED)
    assert done.returncode == 0, done.stderr
    saliency, fooling = (line.split() for line in done.stdout.splitlines())
    assert saliency == ["5", "5", "27", "0", "True", "False"]
    assert (fooling[0], fooling[-2:]) == ("5", ["False", "True"])


PROGRAM = """\
HloModule made_up

%inner (i: bf16[100,200]) -> bf16[16,128] {
  %i = bf16[100,200]{1,0:T(8,128)} parameter(0)
  ROOT %k = bf16[16,128]{1,0:T(8,128)} slice(%i), slice={[0:16], [0:128]}
}

%fused (p: bf16[100,200], q: f32[8,128]) -> bf16[100,200] {
  %p = bf16[100,200]{1,0:T(8,128)} parameter(0)
  %q = f32[8,128]{1,0:T(8,128)S(1)} parameter(1)
  %j = bf16[16,128]{1,0:T(8,128)} fusion(%p), kind=kLoop, calls=%inner
  ROOT %n = bf16[100,200]{1,0:T(8,128)} custom-call(%j, %q)
}

%body (t: (bf16[8,128])) -> (bf16[8,128]) {
  %t = (bf16[8,128]{1,0:T(8,128)}) parameter(0)
  %g = bf16[8,128]{1,0:T(8,128)} get-tuple-element(%t), index=0
  %c = bf16[8,128]{1,0:T(8,128)S(1)} copy(%g)
  ROOT %r = (bf16[8,128]{1,0:T(8,128)}) tuple(%g)
}

ENTRY %main (a: bf16[100,200], b: (bf16[8,128])) -> bf16[100,200] {
  %a = bf16[100,200]{1,0:T(8,128)} parameter(0)
  %b = (bf16[8,128]{1,0:T(8,128)}) parameter(1)
  %w = (bf16[8,128]{1,0:T(8,128)}) while(%b), condition=%cond, body=%body
  %s = ((bf16[100,200]{1,0:T(8,128)}), f32[8,128]{1,0:T(8,128)S(1)}, u32[]{:S(2)}) slice-start(%a), slice={[0:8]}
  %d = f32[8,128]{1,0:T(8,128)S(1)} slice-done(%s)
  ROOT %f = bf16[100,200]{1,0:T(8,128)} fusion(%a, /*index=1*/%d), kind=kLoop, calls=%fused
}
"""


def test_bytes_to_and_from_hbm():
    whole, tile = 2 * 104 * 256, 8 * 128  # in whole tiles of 8 x 128
    # what the fusion writes and the piece that it reads, the slice, and what the loop reads, once
    assert hbm_bytes(PROGRAM) == (whole + 2 * 2 * tile) + 4 * tile + 2 * tile
    in_vmem = PROGRAM.replace("ROOT %f = bf16[100,200]{1,0:T(8,128)}", "ROOT %f = bf16[100,200]{1,0:T(8,128)S(1)}")
    assert hbm_bytes(in_vmem) == hbm_bytes(PROGRAM) - whole
    all_read = PROGRAM.replace("custom-call(%j, %q)", "custom-call(%j, %q, %p)")
    assert hbm_bytes(all_read) == hbm_bytes(PROGRAM) - 2 * 2 * tile + whole


@pytest.fixture
def record() -> dict:
    row = {
        "name": "VGG16 fooling, float32, v6e:2x2", "method": "fooling", "network": "VGG16", "dtype": "float32",
        "topology": "v6e:2x2", "chips": 4, "images": 128, "in_flight": 64, "gflop": 640.0, "gb": 6.4, "hbm_gb": 3.2,
        "peak_gb": 2.5, "temporary_gb": 2.0, "collectives": [], "compile_s": 12.3, "largest_batch": 77,
        "compute_s": 0.001, "hbm_s": 0.002, "images_per_s": 32000.0, "highest_images_per_s": 10666.7,
    }  # fmt: skip
    return {"machine": {"versions": {"jax": "1", "libtpu": "2"}}, "rows": [row]}


def test_tables(record):
    work = "VGG16 fooling, a step, float32"
    assert work not in tpu_page.readme_table(record)
    expected = f"| {work} | 64 | 640 | 6.40 | 3.20 | 100 | 2.50 GB | 77 | 32000/s (HBM) | 10667/s | none | 12 s |"
    assert expected in tpu_page.measured(record)
    record["rows"][0] |= {"dtype": "bfloat16"}
    work = "VGG16 fooling, a step, bfloat16"
    assert f"| {work} | v6e | 10 | 100 (50) | 77 | 32000/s (HBM) |" in tpu_page.readme_table(record)
    record["rows"][0] |= {"collectives": ["all-reduce"], "hbm_s": 0.0, "topology": "v6e:4x4"}
    assert "32000/s (operations) | 10667/s | all-reduce |" in tpu_page.measured(record)
    assert work not in tpu_page.readme_table(record)


def test_readme_shows_every_table(record, tmp_path, monkeypatch):
    for name in ("speed", "precision"):
        shutil.copy(ROOT / "benchmarks" / "results" / f"{name}.json", tmp_path)
    results.write(tmp_path / "tpu.json", record)
    marks = "<!-- speed -->\n<!-- /speed -->\nBetween.\n<!-- tpu -->\nold\n<!-- /tpu -->\nBelow.\n"
    marks += "<!-- precision -->\n<!-- /precision -->\n"
    (tmp_path / "README.md").write_text(marks)
    monkeypatch.setattr(command, "_ROOT", tmp_path)
    assert command.main(["readme", "--output", str(tmp_path)]) == 0
    speed, precision = (results.read(tmp_path / f"{name}.json") for name in ("speed", "precision"))
    filled = (
        f"<!-- speed -->\n{page.readme_table(speed)}<!-- /speed -->\nBetween.\n"
        f"<!-- tpu -->\n{tpu_page.readme_table(record)}<!-- /tpu -->\nBelow.\n"
        f"<!-- precision -->\n{precision_page.readme_table(precision)}<!-- /precision -->\n"
    )
    assert (tmp_path / "README.md").read_text() == filled


def test_the_results_in_the_repository():
    record = results.read(ROOT / "benchmarks" / "results" / "tpu.json")
    assert tpu_page.measured(record) in (ROOT / "benchmarks" / "results" / "tpu.md").read_text()
    assert not any(row["collectives"] for row in record["rows"])
    readme = (ROOT / "README.md").read_text()
    assert f"<!-- tpu -->\n{tpu_page.readme_table(record)}<!-- /tpu -->" in readme


def test_every_case_has_its_chip_and_a_name_of_its_own():
    cases = tpu.cases(tpu.TOPOLOGIES, ())
    assert len({case.name for case in cases}) == len(cases) == 48
    assert {case.topology.split(":")[0] for case in cases} == set(CHIPS)


def test_without_a_compiler_one_line_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert command.main(["tpu", "--output", str(tmp_path)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "The compiler for TPUs is missing; install it with: pip install 'jaxviz[tpu-aot]'"
    ]
    assert not list(tmp_path.iterdir())


@needs_libtpu
@pytest.mark.parametrize("topology", ["v9:2x2", "v5e:7x9", "v5e"])
def test_a_slice_that_is_none(topology):
    done = in_a_process("-m", "benchmarks", "tpu", "--topology", topology)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert topology in line


def test_unknown_program(capsys):
    assert command.main(["tpu", "--only", "no such"]) == 1
    assert "SqueezeNet 1.1 saliency, bfloat16, v5e:2x2" in capsys.readouterr().err
