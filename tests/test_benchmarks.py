"""The benchmark's own machinery. Nothing here depends on how long anything takes."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

import weights_convert
from weights_convert.tables import TORCHVISION, convert

torch = pytest.importorskip("torch", reason="the extra `benchmarks` is not installed")
torchvision = pytest.importorskip("torchvision", reason="the extra `benchmarks` is not installed")

from benchmarks import __main__ as command  # noqa: E402
from benchmarks import checks, forms, networks, page, plot, results, speed, workloads  # noqa: E402
from benchmarks.worker_process import FailedError, WorkerProcess  # noqa: E402

ROOT = Path(__file__).parents[1]
SMALL = workloads.Workload("saliency, 2 small images", "saliency", 2, 2, size=64, compiled=False)


def form(family: str, repeats: list[float], peak: float = 100.0) -> dict:
    made = {"family": family, "repeats_s": repeats, "peak_mb": peak, "loaded_mb": 50.0, "setup_s": 1.0, "first_s": 2.0}
    results.summarize(made)
    return made | {"gradients": 32, "agreement": {}}


@pytest.fixture
def record() -> dict:
    """Two rows, in one of which a form is missing and another failed."""
    rates = {"torch": 100.0, "jax": 80.0}
    first = workloads.Workload("saliency, 32 images", "saliency", 3, 32)._asdict() | {
        "forms": {
            "jaxviz": form("jaxviz", [0.1, 0.3, 0.2]),
            "jaxviz, data_parallel": form("jaxviz", [0.1, 0.1, 0.1], peak=60.0),
            "JAX, plain": form("jax", [0.05]),
            "PyTorch, contiguous": form("pytorch", [0.5, 0.4, 0.6]),
            "PyTorch, channels_last": form("pytorch", [0.25, 0.2, 0.3], peak=120.0),
            "PyTorch, torch.compile": {"family": "pytorch", "unavailable": "no | compiler"},
            "captum, Saliency": {"family": "library", "error": "maps differ"},
        }
    }
    second = workloads.Workload("saliency, 8 images", "saliency", 3, 8)._asdict() | {
        "forms": {"jaxviz": form("jaxviz", [1.5]), "PyTorch, contiguous": form("pytorch", [1.2])}
    }
    rows = [row | {"date": "2025-01-31", "gemm_gflops": rates, "flop_per_image": 5e8} for row in (first, second)]
    machine = {"cpu": "A processor", "cores": 2, "system": "Linux", "python": "3.11", "precision": "float32"}
    return {"machine": machine | {"versions": {"jax": "1", "torch": "2"}}, "rows": rows}


def test_figures_follow_from_the_repeats(record):
    row = record["rows"][0]
    assert row["forms"]["jaxviz"]["median_s"] == pytest.approx(0.2)
    assert row["forms"]["jaxviz"]["quartiles_s"] == pytest.approx([0.15, 0.25])
    assert results.fastest(row, "pytorch") == "PyTorch, channels_last"
    assert results.fastest(row, "library") is None
    assert results.ratio(row, "jaxviz", "pytorch") == pytest.approx(1.25)
    assert results.ratio(row, "jaxviz", "library") is None
    assert results.milliseconds_per_image(row, "jaxviz") == pytest.approx(200 / 32)
    assert results.gemm_share(row, "jaxviz") == pytest.approx(32 * 0.5 / 0.2 / 100)


def test_readme_table(record):
    lines = page.readme_table(record).splitlines()
    assert lines[2] == (
        "| saliency, 32 images | 100 ms (jaxviz, data_parallel) | 250 ms (PyTorch, channels_last) "
        "| 2.50 | 60 MB | 120 MB |"
    )
    assert "A processor, 2 cores" in lines[-1]


def test_page_keeps_what_people_wrote(record, tmp_path):
    file = tmp_path / "speed.md"
    page.write(file, record)
    file.write_text(file.read_text() + "What bounds it.\n")
    record["rows"][0]["forms"]["jaxviz"]["median_s"] = 0.125
    page.write(file, record)
    text = file.read_text()
    assert text.endswith("What bounds it.\n")
    assert text.count("## saliency, 32 images") == 1
    assert "| jaxviz | 125 ms | 150 ms to 250 ms | 2.00 | 128% | 50 MB | 100 MB | 1.0 s | 2.0 s |" in text
    assert "unavailable: no \\| compiler" in text
    assert "error: maps differ" in text


def test_plot(record, tmp_path):
    plot.write(tmp_path / "speed.png", record)
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_the_legend_of_the_plot_names_the_lines_of_both_panels(tmp_path, monkeypatch):
    named = []
    monkeypatch.setattr(Figure, "legend", lambda figure, handles, names, **options: named.extend(names))
    plot.write(tmp_path / "speed.png", results.read(ROOT / "benchmarks" / "results" / "speed.json"))
    assert {"PyTorch, torch.compile", "jaxviz", "captum, Saliency"} <= set(named)
    assert len(named) == len(set(named))


def test_readme_shows_the_results_in_the_repository():
    file = ROOT / "benchmarks" / "results" / "speed.json"
    if not file.exists():
        pytest.skip("benchmarks/results/speed.json is not there: no run is recorded yet")
    table = f"<!-- speed -->\n{page.readme_table(results.read(file))}<!-- /speed -->"
    assert table in (ROOT / "README.md").read_text()


def test_rows_of_another_machine_are_not_mixed(record, tmp_path):
    results.write(tmp_path / "speed.json", record)
    assert results.opened(tmp_path / "speed.json", record["machine"]) == record
    with pytest.raises(ValueError, match="another machine"):
        results.opened(tmp_path / "speed.json", record["machine"] | {"cores": 3})


def test_weights_written_back_give_equal_scores(squeezenet):
    arrays = weights_convert.caffe().arrays
    state = networks.to_torchvision(arrays, TORCHVISION["squeezenet1_1"])
    again = convert(state, TORCHVISION["squeezenet1_1"])
    assert all(np.array_equal(again[name], arrays[name]) for name in arrays)
    model = torchvision.models.squeezenet1_1().eval()
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    image = np.random.default_rng(0).standard_normal((1, 64, 64, 3), np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(image).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(squeezenet(jnp.asarray(image)), expected, rtol=1e-4, atol=1e-4)


def test_maps_that_differ_are_no_agreement():
    maps = np.random.default_rng(0).random((8, 4, 4))
    assert checks.compare(SMALL, {"maps": maps}, {"maps": maps}) == {"map difference": 0}
    for wrong in (maps * 1.01, np.full_like(maps, np.nan)):
        with pytest.raises(checks.DisagreementError, match="maps differ"):
            checks.compare(SMALL, {"maps": wrong}, {"maps": maps})


def test_fooling_that_differs_is_no_agreement():
    same = {"steps": np.full(20, 9), "fooled": np.ones(20, bool)}
    assert checks.compare(SMALL._replace(method="fooling"), same, same)["same outcome"] == 1
    for name, wrong in (("steps", np.arange(20)), ("fooled", np.arange(20) > 3)):
        with pytest.raises(checks.DisagreementError, match="same outcome"):
            checks.compare(SMALL._replace(method="fooling"), same | {name: wrong}, same)
    with pytest.raises(checks.DisagreementError, match="fooled"):
        checks.compare_library({"fooled": np.arange(20) > 15})


def test_climbs_that_differ_are_no_agreement():
    scores = np.linspace(1, 100, 40)[None].repeat(8, 0)
    assert (
        checks.compare(SMALL._replace(method="visualization"), {"scores": scores}, {"scores": scores})["last scores"]
        == 0
    )
    late, early = scores.copy(), scores.copy()
    late[:, 20:] *= 1.2
    early[3, 1] *= 1.01
    for wrong in (late, early):
        with pytest.raises(checks.DisagreementError, match="scores of the first"):
            checks.compare(SMALL._replace(method="visualization"), {"scores": wrong}, {"scores": scores})


@pytest.mark.parametrize("method", ["saliency", "fooling", "visualization"])
def test_inputs_have_no_flat_regions(method, squeezenet):
    """There max pooling would meet ties, which each form breaks by its own rounding."""
    images = speed.inputs(SMALL._replace(method=method, examples=4), squeezenet)["images"]
    assert images.dtype == np.float32
    for axis in (1, 2):
        assert not (np.diff(images, axis=axis) == 0).all(-1).any()


@pytest.mark.parametrize("method", ["saliency", "fooling", "visualization"])
def test_every_workload_has_its_reference_first(method):
    for workload in (*workloads.FULL, *workloads.QUICK):
        if workload.method == method:
            assert forms.forms_of(workload)[0].name == forms.REFERENCE[method]
    names = [form.name for form in forms.FORMS[method]]
    assert len(set(names)) == len(names)


class FakeWorker:
    """Answers as a worker does; the form "JAX, plain" gives other maps, and captum's ends."""

    def __init__(self, form, workload, folder):
        self.name = form.name

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def ready(self):
        if self.name.startswith("captum"):
            raise FailedError("MemoryError")
        return {"setup_s": 1.0, "loaded_mb": 10.0}

    def first(self, save):
        np.savez(save, maps=np.full((2, 4, 4), 2.0 if self.name == "JAX, plain" else 1.0))
        return {"first_s": 1.0, "peak_mb": 20.0}

    def repeat(self):
        return {"seconds": 0.5, "peak_mb": 30.0}


def test_a_form_that_disagrees_is_reported_and_fails_the_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(speed, "WorkerProcess", FakeWorker)
    monkeypatch.setattr(speed, "_SETTLE_SECONDS", 0)
    monkeypatch.setattr(speed.gemm, "rates", lambda: {"torch": 100.0, "jax": 100.0})
    monkeypatch.setattr(command, "QUICK", (SMALL,))
    assert command.main(["speed", "--quick", "--output", str(tmp_path)]) == 1
    found = json.loads((tmp_path / "speed.json").read_text())["rows"][0]["forms"]
    assert "maps differ by 1.0e+00" in found["JAX, plain"]["error"]
    assert found["captum, Saliency"]["error"] == "MemoryError"
    assert "repeats_s" not in found["JAX, plain"]
    assert found["jaxviz"]["repeats_s"] == [0.5, 0.5]
    assert "JAX, plain: ERROR, maps differ" in capsys.readouterr().out
    assert "error: maps differ" in (tmp_path / "speed.md").read_text()
    # without those forms, the run is good, and takes the row's place
    assert command.main(["speed", "--quick", "--only", "small", "--forms", "jaxviz", "--output", str(tmp_path)]) == 0
    [row] = json.loads((tmp_path / "speed.json").read_text())["rows"]
    assert list(row["forms"]) == ["PyTorch, contiguous", "jaxviz", "jaxviz, data_parallel"]


def test_unknown_workload(capsys):
    assert command.main(["speed", "--only", "no such"]) == 1
    assert "VGG16 saliency, 8 images" in capsys.readouterr().err


def test_a_real_worker(tmp_path, squeezenet):
    networks.write("squeezenet1_1", tmp_path)
    np.savez(tmp_path / "inputs.npz", allow_pickle=False, **speed.inputs(SMALL, squeezenet))
    [jaxviz_form] = [form for form in forms.forms_of(SMALL) if form.name == "jaxviz"]
    with WorkerProcess(jaxviz_form, SMALL, tmp_path) as worker:
        assert worker.ready()["loaded_mb"] > 10
        assert worker.first(tmp_path / "results.npz")["first_s"] > 0
        assert worker.repeat()["seconds"] > 0
    with np.load(tmp_path / "results.npz") as found:
        assert found["maps"].shape == (2, 64, 64)
        assert found["maps"].max() > 0


def test_a_worker_that_fails_says_why(tmp_path):
    with WorkerProcess(forms.forms_of(SMALL)[0], SMALL, tmp_path) as worker, pytest.raises(FailedError, match="inputs"):
        worker.ready()
