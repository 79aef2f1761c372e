"""The command `jaxviz`: the files it writes, what it prints, what it does about mistakes."""

import importlib
import importlib.metadata
import importlib.resources
import json
import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name
from jax.tree_util import Partial
from PIL import Image

import jaxviz
from jaxviz import cli, figures, images

pytestmark = pytest.mark.usefixtures("toy_networks")

CHELSEA, COFFEE = (str(importlib.resources.files("skimage.data") / name) for name in ("chelsea.png", "coffee.png"))
STINGRAY = 6


WEIGHTS = jnp.asarray(np.random.default_rng(0).standard_normal((3, 1000)), jnp.float32).at[:, STINGRAY].set(5)


@pytest.fixture
def toy(monkeypatch):
    """A linear model in place of the real one, where it does not matter what is seen."""
    monkeypatch.setattr(
        jaxviz, "load_model", lambda name, weights: Partial(lambda weights, x: x.mean((1, 2)) @ weights, WEIGHTS)
    )


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image)


def test_predict(command, squeezenet):
    result = command("predict", CHELSEA, COFFEE, "--top", "3", "--json")
    assert result.code == 0
    assert [record["file"] for record in result.records] == [CHELSEA, COFFEE]
    scores = np.asarray(squeezenet(images.load([CHELSEA, COFFEE])), np.float64)
    for record, expected in zip(result.records, scores, strict=True):
        best = np.argsort(-expected)[:3]
        probabilities = np.exp(expected - expected.max())[best] / np.exp(expected - expected.max()).sum()
        assert [found["index"] for found in record["classes"]] == best.tolist()
        assert [found["name"] for found in record["classes"]] == [jaxviz.labels.name(int(index)) for index in best]
        np.testing.assert_allclose([found["score"] for found in record["classes"]], expected[best], rtol=1e-4)
        np.testing.assert_allclose([found["probability"] for found in record["classes"]], probabilities, rtol=1e-3)
    table = command("predict", CHELSEA, COFFEE, "--top", "2").out
    for text in ("chelsea.png", "coffee.png", "tiger cat", "282", "espresso"):
        assert text in table


def test_saliency_of_a_class(command, tmp_path):
    result = command("saliency", CHELSEA, "--label", "Egyptian cat", "--output", "maps", "--json")
    assert result.code == 0
    (record,) = result.records
    assert record["class"]["index"] == 285
    assert record["largest"] > 0
    assert record["output"] == ["maps/chelsea-saliency.png"]
    assert (tmp_path / "maps" / "chelsea-saliency.png").stat().st_size > 10000


def test_fool_until_confident(command, squeezenet):
    result = command("fool", CHELSEA, "--target", "hay", "--confidence", "0.9", "--json")
    assert result.code == 0
    (record,) = result.records
    scores = np.asarray(squeezenet(images.load(record["output"][0], size=224, resize=224))[0])
    assert 1 / np.exp(scores - scores[958]).sum() >= 0.899
    assert record["target"]["probability"] == record["fooled"]["probability"] >= 0.899


def test_fool_that_cannot_succeed(command, tmp_path):
    result = command("fool", CHELSEA, "--target", "stingray", "--max-steps", "1", "--confidence", "0.9")
    assert result.code == 1
    assert f"{CHELSEA}: not stingray after 1 steps; raise --max-steps or --step-size" in result.err
    assert pixels(tmp_path / "jaxviz-output" / "chelsea-fooled.png").shape == (224, 224, 3)


def test_whether_the_model_is_fooled_is_decided_by_the_file(command, toy, monkeypatch):
    arguments = ("fool", CHELSEA, "--target", "stingray", "--step-size", "9", "--json")
    assert command(*arguments).records[0]["success"]
    save = images.save
    monkeypatch.setattr(images, "save", lambda path, image: save(path, jnp.zeros_like(image) - 1))
    result = command(*arguments)
    assert result.code == 1
    assert not result.records[0]["success"]


def test_fool_that_stalls(command, monkeypatch):
    dead = Partial(lambda bias, x: 0 * x.sum((1, 2, 3))[:, None] + bias[None], WEIGHTS[0])
    monkeypatch.setattr(jaxviz, "load_model", lambda name, weights: dead)
    result = command("fool", CHELSEA, "--target", "snail", "--json")
    assert result.code == 1
    assert result.records[0]["stalled"]
    assert "not snail after 0 steps; its gradient became zero" in result.err


def test_visualize_is_reproducible(command, tmp_path):
    options = ("--num-steps", "3", "--size", "64", "--json")
    first = command("visualize", "snail", "244", *options)
    assert first.code == 0
    assert [Path(record["output"][0]).name for record in first.records] == [
        "visualize-snail.png",
        "visualize-Tibetan-mastiff.png",
    ]
    assert [len(record["scores"]) for record in first.records] == [3, 3]
    snail = pixels(tmp_path / first.records[0]["output"][0])
    assert snail.shape == (64, 64, 3)
    again = command("visualize", "snail", "--output", "again", *options)
    np.testing.assert_array_equal(pixels(tmp_path / again.records[0]["output"][0]), snail)
    other = command("visualize", "snail", "--output", "other", "--seed", "1", *options)
    assert (pixels(tmp_path / other.records[0]["output"][0]) != snail).mean() > 0.5


def test_visualize_starts_from_a_photograph(command, toy, tmp_path):
    still = ("--step-size", "0", "--blur-sigma", "0", "--num-steps", "3", "--size", "64")
    assert command("visualize", "snail", "--init-image", CHELSEA, *still).code == 0
    written = pixels(tmp_path / "jaxviz-output" / "visualize-snail.png")
    np.testing.assert_array_equal(written, images.to_uint8(images.load(CHELSEA, size=64)[0]))


def test_visualize_keeps_to_valid_pixels(command, toy):
    large = ("--step-size", "10000", "--num-steps", "2", "--size", "64")
    (record,) = command("visualize", "stingray", *large, "--json").records
    written = images.load(record["output"][0], size=64, resize=64)
    seen = float((written.mean((1, 2)) @ WEIGHTS)[0, STINGRAY])
    assert record["target"]["score"] == pytest.approx(seen, rel=0.02)


def test_visualize_says_what_the_image_is_seen_as_where_it_is_not_the_target(command, toy):
    climb = ("--init-image", CHELSEA, "--num-steps", "1", "--size", "64")
    (record,) = command("visualize", "stingray", "--step-size", "10000", *climb, "--json").records
    assert record["prediction"] == record["target"]
    assert "seen as" not in command("visualize", "stingray", "--step-size", "10000", *climb).out
    (record,) = command("visualize", "snail", "--step-size", "0", *climb, "--json").records
    prediction = record["prediction"]
    assert prediction["index"] != record["target"]["index"] == 113
    assert prediction["score"] > record["target"]["score"]
    out = command("visualize", "snail", "--step-size", "0", *climb).out
    assert f"seen as {prediction['name']}, {prediction['probability']:.1%}" in out


@pytest.mark.parametrize(
    "arguments",
    [("saliency", CHELSEA, "--label"), ("fool", CHELSEA, "--target"), ("visualize", "snail")],
    ids=lambda arguments: arguments[0],
)
def test_unknown_and_ambiguous_classes(command, tmp_path, arguments):
    result = command(*arguments, "stingrey")
    assert result.code == 1
    assert result.err.startswith("error: 'stingrey' is no ImageNet class; near names: 'stingray' (6)")
    result = command(*arguments, "crane")
    assert result.code == 1
    assert "'crane bird' (134), 'construction crane' (517)" in result.err
    assert "got 1000" in command(*arguments, "1000").err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [("predict",), ("saliency",), ("fool", "--target", "6", "--step-size", "9")])
def test_bad_files_among_good_ones(command, toy, tmp_path, arguments):
    Path("text.png").write_text("not an image")
    result = command(*arguments, CHELSEA, "text.png", "missing.png", COFFEE, "--json")
    assert result.code == 1
    assert [record["file"] for record in result.records] == [CHELSEA, "text.png", "missing.png", COFFEE]
    assert ["error" in record for record in result.records] == [False, True, True, False]
    assert result.err.count("error: ") == 2
    assert "text.png: not an image that Pillow can read" in result.err
    assert "missing.png" in result.err
    for record in (result.records[0], result.records[-1]):
        assert all((tmp_path / name).exists() for name in record.get("output", []))
    good = ("coffee" in name for name in command(*arguments, CHELSEA, "text.png", COFFEE).out.splitlines())
    assert any(good)


def test_files_of_the_same_name(command, toy, tmp_path):
    for number, name in enumerate(["a/x.png", "b/x.png", "X.jpg", "x-2.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (300, 300), (60 * number, 0, 0)).save(tmp_path / name)
    result = command("fool", "a/x.png", "b/x.png", "X.jpg", "x-2.png", "--target", "6", "--step-size", "0", "--json")
    written = [Path(record["output"][0]).name for record in result.records]
    assert written == ["x-fooled.png", "x-2-fooled.png", "X-3-fooled.png", "x-2-2-fooled.png"]
    reds = [pixels(tmp_path / "jaxviz-output" / name)[..., 0].mean() for name in written]
    np.testing.assert_allclose(reds, [0, 60, 120, 180], atol=2)


def test_names_that_look_like_markup(command, toy, monkeypatch):
    name = "photo [copy] :cat:.png"
    Image.new("RGB", (300, 300)).save(name)
    assert name in command("predict", name).out
    Path(name).write_text("not an image")
    assert f"error: {name}: not an image" in command("predict", name).err
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal, where there is a progress bar
    assert f" {name} " in command("predict", CHELSEA, name).err


def test_bad_files_among_several_that_are_computed_together(command, toy):
    Path("bad.png").write_text("not an image")
    files = ["missing.png", CHELSEA, "bad.png", COFFEE, CHELSEA]
    result = command("fool", *files, "--target", "stingray", "--step-size", "9", "--json")
    assert result.code == 1
    assert [record["file"] for record in result.records] == files
    assert ["error" in record for record in result.records] == [True, False, True, False, False]
    alone = command("fool", COFFEE, "--target", "stingray", "--step-size", "9", "--json").records[0]
    assert {**result.records[3], "output": []} == {**alone, "output": []}


def test_a_class_is_visualized_the_same_whatever_the_others(command, toy, tmp_path):
    options = ("--size", "32", "--num-steps", "3", "--output")
    assert command("visualize", "snail", "stingray", *options, "both").code == 0
    assert command("visualize", "stingray", *options, "one").code == 0
    both, one = (pixels(tmp_path / folder / "visualize-stingray.png") for folder in ("both", "one"))
    np.testing.assert_array_equal(both, one)


@pytest.mark.parametrize("arguments", [("saliency", CHELSEA, COFFEE, "coffee.png"), ("demo",)])
def test_an_interrupt_keeps_what_is_finished(command, toy, monkeypatch, arguments):
    save = figures.save

    def interrupted(path, figure):
        if path.stem == "coffee-saliency":
            raise KeyboardInterrupt
        save(path, figure)

    monkeypatch.setattr(figures, "save", interrupted)
    left_at_once = []
    monkeypatch.setattr(os, "_exit", lambda code: left_at_once.append(code) or sys.exit(code))
    result = command(*arguments, "--output", "kept", "--json")
    assert result.code == 130
    assert left_at_once == [130]
    assert result.err == "error: interrupted; finished files are written\n"
    first, second = result.records
    assert Path(first["output"][0]).exists()
    assert (second["method"], second["file"]) == ("saliency", COFFEE)
    if arguments == ("demo",):
        assert json.loads(Path("kept/results.json").read_text())["records"] == result.records


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("saliency", CHELSEA, "--output", CHELSEA), 1, "chelsea.png"),
        (("predict", CHELSEA, "--weights", "nonsense"), 1, "`weights` of squeezenet1_1 must be"),
        (("predict", CHELSEA, "--weights", "missing.safetensors"), 1, "missing.safetensors"),
        (("fool", CHELSEA, "--target", "6", "--step-size", "-1"), 1, "`step_size` must be finite and in 0 to inf"),
        (("visualize", "6", "--num-steps", "0"), 1, "`num_steps` must be an integer of 1 or more"),
        (("export", "fool", "--output", "x.npz", "--num-steps", "9"), 1, "`num_steps` is no option of fool, which has"),
        (("export", "fool", "--output", "x.npz", "--lanes", "0"), 1, "`lanes` must be an integer of 1 or more"),
        (("export", "saliency", "--output", "missing/x.npz", "--size", "32"), 1, "cannot write to missing"),
        (("export", "saliency", "--output", CHELSEA + "/x.npz", "--weights", "x.safetensors"), 1, "x.safetensors"),
        (("export", "predict", "--output", "x.npz"), 2, "is not one of"),
        (("export", "saliency"), 2, "--output"),
        (("predict", CHELSEA, "--top", "0"), 2, "--top"),
        (("predict", CHELSEA, "--model", "resnet"), 2, "--model"),
        (("predict",), 2, "IMAGE"),
        (("fool", CHELSEA), 2, "--target"),
    ],
)
def test_mistakes(command, arguments, code, message):
    result = command(*arguments)
    assert result.code == code
    assert message in result.err
    assert not result.out


def test_a_cache_folder_that_cannot_be_made(command, toy, monkeypatch, compiled_programs):
    Path("file").touch()
    monkeypatch.setenv("JAXVIZ_CACHE", "file")
    jax.config.update("jax_compilation_cache_dir", None)
    assert command("predict", CHELSEA).code == 0
    assert jax.config.jax_compilation_cache_dir is None
    jax.config.update("jax_compilation_cache_dir", str(compiled_programs))


def test_the_entry_point():
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="jaxviz")
    assert entry.load() is cli.main


def test_without_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("jaxviz.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit, match=r"needs the extra `app` .*typer.*: pip install \"jaxviz\[app\]\""):
        importlib.import_module("jaxviz.cli")


def test_without_a_part_of_the_extra(command, toy, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    result = command("demo")
    assert result.code == 1
    assert 'pip install "jaxviz[app]"' in result.err
    assert "skimage" in result.err


def figure_pixels(record):
    with Image.open(record["output"][0]) as image:
        return np.asarray(image.convert("RGB"))


def test_layers_are_listed_by_name_and_shape(command):
    records = command("layers", "--json").records
    assert {"name": "fire9", "shape": [13, 13, 512]} in records
    assert "13 x 13 x 512" in command("layers").out


@pytest.mark.parametrize("variant", ["grad_cam", "layer_cam"])
def test_cam_writes_the_map_of_the_layer(command, squeezenet, variant):
    result = command("cam", CHELSEA, COFFEE, "--layer", "fire8", "--variant", variant, "--json")
    assert result.code == 0
    batch = images.load([CHELSEA, COFFEE])
    features, head = jaxviz.split(squeezenet, batch, "fire8")
    labels = [record["class"]["index"] for record in result.records]
    maps = jaxviz.grad_cam(head, features(batch), labels, variant=variant)
    largest = jax.image.resize(maps, (2, 224, 224), "linear").max((1, 2))
    for record, expected in zip(result.records, largest, strict=True):
        assert (record["method"], record["layer"], record["variant"]) == ("cam", "fire8", variant)
        np.testing.assert_allclose(record["largest"], expected, rtol=1e-3)
        assert figure_pixels(record).std() > 10


def test_cam_of_an_unknown_layer_names_the_near_ones(command):
    result = command("cam", CHELSEA, "--layer", "fire10")
    assert result.code == 1
    assert "`name` 'fire10' is unknown; near it are 'fire" in result.err


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("method", ["smooth", "integrated", "occlusion", "rise"])
def test_saliency_by_each_method(command, method):
    result = command("saliency", CHELSEA, "--method", method, "--label", "stingray", "--json")
    assert result.code == 0
    [record] = result.records
    assert (record["method"], record["map"]) == ("saliency", method)
    assert record["largest"] > 0
    assert figure_pixels(record).std() > 10


@pytest.mark.usefixtures("toy")
def test_guided_saliency_of_a_model_without_relu_says_so(command):
    result = command("saliency", CHELSEA, "--method", "guided")
    assert result.code == 1
    assert "has no ReLU" in result.err


@jax.numpy_dtype_promotion("standard")  # optax's adam does not keep to the strict one
def test_visualize_channels_of_a_layer(command, squeezenet):
    layer = "fires/3/expand3x3"  # before the ReLU: no channel is inactive
    options = ("--size", "64", "--num-steps", "3", "--parametrization", "fourier", "--json")
    result = command("visualize", "--layer", layer, "--channel", "3", "--channel", "12", *options)
    assert result.code == 0
    for record, channel in zip(result.records, (3, 12), strict=True):
        assert (record["layer"], record["channel"], len(record["scores"])) == (layer, channel, 3)
        assert Path(record["output"][0]).name == f"visualize-fires-3-expand3x3-{channel}.png"
        image = images.load(record["output"][0], size=64, resize=64)
        activations = jaxviz.capture(squeezenet, image, [layer])[layer]
        np.testing.assert_allclose(record["activation"], activations[0, ..., channel].mean(), rtol=0.1, atol=0.1)
    assert f"{layer}, channel 3" in command("visualize", "--layer", layer, "--channel", "3", *options[:-1]).out


def test_an_inactive_channel_is_an_error_that_says_what_to_do(command, monkeypatch):
    inactive = Partial(lambda w, x: checkpoint_name(jax.nn.relu(0 * x - 1), "off").mean((1, 2)) @ w, WEIGHTS)
    monkeypatch.setattr(jaxviz, "load_model", lambda name, weights: inactive)
    result = command("visualize", "--layer", "off", "--channel", "2", "--size", "64", "--num-steps", "1")
    assert result.code == 1
    assert "inactive from the start, so its gradient is zero; take a layer before the ReLU" in result.err


@pytest.mark.parametrize(
    "arguments", [(), ("--layer", "fire5"), ("--channel", "3"), ("snail", "--layer", "fire5", "--channel", "3")]
)
def test_visualize_needs_classes_or_a_layer_and_channels(command, arguments):
    result = command("visualize", *arguments)
    assert result.code == 1
    assert "give classes, or a layer and its channels" in result.err
