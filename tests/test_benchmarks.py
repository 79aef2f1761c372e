"""The benchmark's own machinery. Nothing here depends on how long anything takes."""

import contextlib
import json
import multiprocessing
import os
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from safetensors.torch import load_file
from typer.testing import CliRunner

import weights_convert
from weights_convert.tables import TORCHVISION, convert

torch = pytest.importorskip("torch", reason="the extra `benchmarks` is not installed")
torchvision = pytest.importorskip("torchvision", reason="the extra `benchmarks` is not installed")

from benchmarks import __main__ as command  # noqa: E402
from benchmarks import inputs, jax_forms, results, speed, worker, workloads  # noqa: E402

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SMALL = workloads.Workload("saliency, 2 small images", "saliency", 2, 2, size=64)


def run(*arguments: object):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "clean_environment", lambda instructions: None)  # this process is for other tests, too
        return CliRunner().invoke(command.app, [str(argument) for argument in arguments])


def form(family: str, median: float, peak: float = 100.0) -> dict:
    times = {"repeats_s": [median], "median_s": median, "quartiles_s": [median - 0.05, median + 0.05]}
    about = {"peak_mb": peak, "loaded_mb": 50.0, "setup_s": 1.0, "first_s": 2.0, "gradients": 32, "agreement": {}}
    return {"family": family} | times | about


@pytest.fixture
def record() -> dict:
    """Two rows, in one of which a form is missing and another failed."""
    first = workloads.Workload("saliency, 32 images", "saliency", 3, 32)._asdict() | {
        "forms": {
            "jaxviz": form("jaxviz", 0.2),
            "jaxviz, data_parallel": form("jaxviz", 0.1, peak=60.0),
            "PyTorch, contiguous": form("pytorch", 0.5),
            "PyTorch, channels_last": form("pytorch", 0.25, peak=120.0),
            "PyTorch, torch.compile": {"family": "pytorch", "unavailable": "no | compiler"},
            "captum, Saliency": form("library", 0.01) | {"error": "maps differ"},
        }
    }
    second = workloads.Workload("saliency, 8 images", "saliency", 3, 8)._asdict() | {
        "forms": {"jaxviz": form("jaxviz", 1.5), "PyTorch, contiguous": form("pytorch", 1.2)}
    }
    measured = {"date": "2025-01-31", "gemm_gflops": {"torch": 100.0, "jax": 80.0}, "flop_per_image": 5e8}
    machine = {"cpu": "A processor", "instruction_set": "AVX2", "cores": 2, "system": "Linux", "python": "3.11"}
    machine |= {"precision": "float32", "versions": {"jax": "1", "torch": "2"}}
    return {"machine": machine, "rows": [first | measured, second | measured]}


def save(folder: Path, record: dict) -> Path:
    (folder / "speed.json").write_text(json.dumps(record))
    return folder / "speed.json"


def test_figures_follow_from_the_medians(record):
    row = record["rows"][0]
    assert results.fastest(row, "pytorch") == "PyTorch, channels_last"
    assert results.fastest(row, "library") is None
    assert results.ratio(row, "jaxviz") == pytest.approx(1.25)


def test_readme_gets_the_table_of_the_json_and_keeps_the_rest(record, tmp_path, monkeypatch):
    save(tmp_path, record)
    (tmp_path / "README.md").write_text("Above.\n<!-- speed -->\nold\n<!-- /speed -->\nBelow.\n")
    monkeypatch.setattr(command, "_ROOT", tmp_path)
    assert run("readme", "--output", tmp_path).exit_code == 0
    before, *lines, after, below = (tmp_path / "README.md").read_text().splitlines()
    assert (before, lines[0], after, below) == ("Above.", "<!-- speed -->", "<!-- /speed -->", "Below.")
    forms = "100 ms (jaxviz, data_parallel) | 250 ms (PyTorch, channels_last)"
    assert lines[3] == f"| saliency, 32 images | {forms} | 2.50 | 60 MB | 120 MB |"
    assert not any("saliency, 8 images" in line for line in lines)
    assert "A processor (AVX2), 2 cores, float32; jax 1, torch 2." in lines[-1]
    (tmp_path / "README.md").write_text("No place.\n")
    with pytest.raises(ValueError, match="no place between <!-- speed -->"):
        results.put_between(tmp_path / "README.md", "speed", "")


def test_readme_shows_the_results_in_the_repository():
    table = results.render("readme.md.jinja", record=results.read(RESULTS / "speed.json"))
    assert table.count("\n| ") == 5
    assert f"<!-- speed -->\n{table}<!-- /speed -->" in (ROOT / "README.md").read_text()


def test_page_keeps_what_people_wrote(record, tmp_path):
    page, file = tmp_path / "speed.md", save(tmp_path, record)
    results.write_page(file, tolerances=speed.TOLERANCES)
    page.write_text(page.read_text() + "What bounds it.\n")
    record["rows"][0]["forms"]["jaxviz"]["median_s"] = 0.125
    results.write_page(save(tmp_path, record), tolerances=speed.TOLERANCES)
    text = page.read_text()
    assert text.endswith("What bounds it.\n")
    assert text.count("## saliency, 32 images") == 1
    assert "| jaxviz | 125 ms | 150 ms to 250 ms | 1 | 2.00 | 128% | 50 MB | 100 MB | 1.0 s | 2.0 s |" in text
    assert "unavailable: no \\| compiler" in text
    assert "error: maps differ" in text


def test_resnet50_equals_that_of_torchvision(tmp_path):
    inputs.write_weights("resnet50", tmp_path)
    state = load_file(tmp_path / "resnet50-torchvision.safetensors")
    theirs = torchvision.models.resnet50()
    theirs.load_state_dict(state)
    images = np.random.default_rng(0).standard_normal((2, 64, 64, 3), np.float32)
    with torch.no_grad():
        expected = theirs.eval()(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    ours = jax_forms.load("resnet50", tmp_path)(jnp.asarray(images))
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["speed", "speed-avx2", "speed-gpu"])
def test_page_shows_the_results_in_the_repository(name, tmp_path):
    shutil.copy(RESULTS / f"{name}.json", tmp_path)
    results.write_page(tmp_path / f"{name}.json", tolerances=speed.TOLERANCES)
    measured, _ = (tmp_path / f"{name}.md").read_text().split("<!-- /measured -->")
    assert (RESULTS / f"{name}.md").read_text().startswith(measured)
    for row in results.read(RESULTS / f"{name}.json")["rows"]:
        assert all(results.ratio(row, form) for form in results.timed(row))


def test_a_package_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr(results, "_PACKAGES", ("jax", "not-a-package"))
    assert list(results.machine()["versions"]) == ["jax"]
    assert "gpu" not in results.machine()


def test_an_older_instruction_set_is_for_both_sides_and_in_the_record(monkeypatch):
    monkeypatch.setattr(os, "environ", {"XLA_FLAGS": "--other", "OMP_NUM_THREADS": "1"})
    worker.clean_environment("AVX2")
    assert os.environ == {"XLA_FLAGS": "--xla_cpu_max_isa=AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    assert results.machine()["max_isa"] == "AVX2"
    worker.clean_environment(None)
    assert os.environ == {}
    assert "max_isa" not in results.machine()


def test_the_legend_of_the_plot_names_the_lines_of_both_panels(tmp_path, monkeypatch):
    named, draw = [], Figure.legend
    monkeypatch.setattr(Figure, "legend", lambda figure, h, names, **o: named.extend(names) or draw(figure, h, names))
    results.plot(tmp_path / "speed.png", results.read(RESULTS / "speed.json"))
    assert {"PyTorch, torch.compile", "jaxviz", "captum, Saliency"} <= set(named)
    assert len(named) == len(set(named))
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_rows_of_another_machine_are_not_mixed(record, tmp_path):
    file = save(tmp_path, record)
    assert results.opened(file, record["machine"], keep=True) == record
    assert results.opened(file, record["machine"], keep=False)["rows"] == []
    with pytest.raises(ValueError, match="another machine"):
        results.opened(file, record["machine"] | {"instruction_set": "AVX-512"}, keep=True)


def test_weights_written_back_give_equal_scores(squeezenet):
    arrays = weights_convert.caffe().arrays
    state = inputs.to_torchvision(arrays, TORCHVISION["squeezenet1_1"])
    again = convert(state, TORCHVISION["squeezenet1_1"])
    assert all(np.array_equal(again[name], arrays[name]) for name in arrays)
    model = torchvision.models.squeezenet1_1().eval()
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    image = np.random.default_rng(0).standard_normal((1, 64, 64, 3), np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(image).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(squeezenet(jnp.asarray(image)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["saliency", "fooling", "visualization"])
def test_inputs_have_no_flat_regions(method, squeezenet):
    """There max pooling would meet ties, which each form breaks by its own rounding."""
    images = inputs.inputs(SMALL._replace(method=method, examples=4), squeezenet)["images"]
    assert images.dtype == np.float32
    for axis in (1, 2):
        assert not (np.diff(images, axis=axis) == 0).all(-1).any()


@pytest.mark.parametrize("workload", [*workloads.FULL, *workloads.GPU, *workloads.QUICK], ids=lambda w: w.name)
def test_the_reference_comes_first_and_names_are_unique(workload):
    names = [form.name for form in workloads.forms_of(workload)]
    assert names[0].endswith(", contiguous")
    assert len(set(names)) == len(names)
    assert ("PyTorch, torch.compile" in names) == workload.compiled


def compare(found: dict, expected: dict | None, workload: workloads.Workload = SMALL, at: int = 0) -> dict[str, float]:
    return speed.compare(workload, workloads.forms_of(workload)[at], found, expected)


def test_maps_that_differ_are_no_agreement():
    maps = np.random.default_rng(0).random((8, 4, 4))
    assert compare({"maps": maps}, {"maps": maps}) == {"map difference": 0}
    for wrong in (maps * 1.01, np.full_like(maps, np.nan)):
        with pytest.raises(speed.DisagreementError, match="map difference"):
            compare({"maps": wrong}, {"maps": maps})
        with pytest.raises(speed.DisagreementError, match="map difference"):
            compare({"maps": wrong[:2]}, {"maps": maps[:2]})
    with pytest.raises(speed.DisagreementError, match="no reference"):
        compare({"maps": maps}, None)
    rough = SMALL._replace(precision="bfloat16")
    assert compare({"maps": maps * 1.4}, {"maps": maps}, rough)["map difference"] == pytest.approx(0.4)
    with pytest.raises(speed.DisagreementError, match="map difference"):
        compare({"maps": maps * 1.4}, {"maps": maps}, rough._replace(precision="tf32"))


def test_fooling_that_differs_is_no_agreement():
    fooling = workloads.Workload("fooling, 20 images", "fooling", 1, 20, steps=100)
    same = {"steps": np.full(20, 9), "fooled": np.ones(20, bool)}
    assert set(compare(same, same, fooling).values()) == {0}
    for name, wrong in (("steps", np.arange(20)), ("fooled", np.arange(20) > 3)):
        with pytest.raises(speed.DisagreementError, match="other"):
            compare(same | {name: wrong}, same, fooling)
    compare({"fooled": np.arange(20) > 5}, same, fooling, at=-1)
    with pytest.raises(speed.DisagreementError, match="not fooled"):
        compare({"fooled": np.arange(20) > 15}, same, fooling, at=-1)


def test_class_visualizations_that_differ_are_no_agreement():
    visualization = workloads.Workload("class visualization, 8 classes", "visualization", 1, 8, steps=40)
    scores = np.linspace(1, 100, 40)[None].repeat(8, 0)
    assert set(compare({"scores": scores}, {"scores": scores}, visualization).values()) == {0}
    late, early = scores.copy(), scores.copy()
    late[:, 20:] *= 1.2
    early[3, 1] *= 1.01
    for name, wrong in (("last scores", late), ("first scores", early)):
        with pytest.raises(speed.DisagreementError, match=name):
            compare({"scores": wrong}, {"scores": scores}, visualization)


@contextlib.contextmanager
def fake(form, workload, folder):
    """Answers as a worker does; the form "JAX, plain" gives other maps, and captum's dies at its second repeat."""
    answers = iter([{"seconds": 0.5, "peak_mb": 30.0}] * (1 if form.name.startswith("captum") else 9))

    def ask(order):
        if order == "prepare":
            return {"setup_s": 1.0, "loaded_mb": 10.0}
        if order == "first":
            maps = np.full((2, 4, 4), 2.0 if form.name == "JAX, plain" else 1.0)
            return {"first_s": 30.0 if form.name == "PyTorch, channels_last" else 1.0, "peak_mb": 20.0}, {"maps": maps}
        for answer in answers:
            return answer
        raise worker.FailedError("process ended with exit code -9")

    yield ask


def test_a_form_that_disagrees_or_dies_is_reported_and_fails_the_run(monkeypatch, tmp_path):
    monkeypatch.setattr(worker, "started", fake)
    monkeypatch.setattr(worker, "gemm_rates", lambda precisions: dict.fromkeys(precisions, 100.0))
    monkeypatch.setattr(speed, "_SETTLE_SECONDS", 0)
    monkeypatch.setattr(command, "QUICK", (SMALL,))
    done = run("speed", "--quick", "--output", tmp_path)
    assert done.exit_code == 1
    assert "JAX, plain: map difference: 1.0e+00" in done.output
    found = json.loads((tmp_path / "speed.json").read_text())["rows"][0]["forms"]
    assert "map difference: 1.0e+00" in found["JAX, plain"]["error"]
    assert "repeats_s" not in found["JAX, plain"]
    assert found["captum, Saliency"]["error"] == "process ended with exit code -9"
    assert found["jaxviz"] | {"repeats_s": [0.5, 0.5], "quartiles_s": [0.5, 0.5], "peak_mb": 30} == found["jaxviz"]
    assert found["PyTorch, channels_last"]["repeats_s"] == [30.0]  # longer than the time of a form, and not repeated
    assert "error: process ended with exit code -9" in (tmp_path / "speed.md").read_text()
    # without those forms, the run is good, and takes the row's place
    forms = "--only", "small", "--forms", "jaxviz", "--forms", "channels"
    assert run("speed", "--quick", *forms, "--output", tmp_path).exit_code == 0
    [row] = json.loads((tmp_path / "speed.json").read_text())["rows"]
    assert list(row["forms"]) == ["PyTorch, contiguous", "jaxviz", "jaxviz, data_parallel", "PyTorch, channels_last"]


def test_unknown_workload():
    done = run("speed", "--only", "no such")
    assert done.exit_code == 1
    assert "VGG16 saliency, 8 images" in done.stderr


def test_a_real_worker_computes_and_reports_its_death(tmp_path, squeezenet):
    inputs.write_weights("squeezenet1_1", tmp_path)
    np.savez(tmp_path / "inputs.npz", allow_pickle=False, **inputs.inputs(SMALL, squeezenet))
    [jaxviz_form] = [form for form in workloads.forms_of(SMALL) if form.name == "jaxviz"]
    with worker.started(jaxviz_form, SMALL, tmp_path) as ask:
        assert ask("prepare")["loaded_mb"] > 10
        about, arrays = ask("first")
        assert about["first_s"] > 0
        assert arrays["maps"].shape == (2, 64, 64)
        assert arrays["maps"].max() > 0
        assert ask("repeat").keys() == {"seconds", "peak_mb"}
        [process] = multiprocessing.active_children()
        process.kill()
        with pytest.raises(worker.FailedError, match="ended with exit code -9"):
            ask("repeat")


def test_a_form_that_cannot_load_says_why(tmp_path):
    reference = workloads.forms_of(SMALL)[0]
    with worker.started(reference, SMALL, tmp_path) as ask, pytest.raises(worker.FailedError, match=r"inputs\.npz"):
        ask("prepare")
