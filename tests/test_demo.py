"""`jaxviz demo`, run once: the three methods on real photographs, with what they must show."""

import importlib.resources
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from jaxviz import cli, images

pytestmark = pytest.mark.slow

CHELSEA, COFFEE = (str(importlib.resources.files("skimage.data") / name) for name in ("chelsea.png", "coffee.png"))
STINGRAY, TARANTULA, GOLDFISH = 6, 76, 1


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    output = tmp_path_factory.mktemp("demo") / "made" / "if need be"
    return output, CliRunner().invoke(cli.app, ["demo", "--output", str(output), "--seed", "3"], env={"COLUMNS": "200"})


def test_demo_writes_every_file(demo):
    output, result = demo
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in output.iterdir()) == [
        "chelsea-fooled.png",
        "chelsea-fooling.png",
        "chelsea-saliency.png",
        "coffee-fooled.png",
        "coffee-fooling.png",
        "coffee-saliency.png",
        "results.json",
        "visualize-goldfish.png",
        "visualize-tarantula.png",
    ]
    for path in output.glob("*.png"):
        assert path.name in result.output
        with Image.open(path) as image:
            image.load()


@pytest.mark.parametrize("photograph", [CHELSEA, COFFEE])
def test_demo_fools_the_model_with_the_file(demo, squeezenet, photograph):
    output, _ = demo
    fooled = output / f"{Path(photograph).stem}-fooled.png"
    with Image.open(fooled) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (224, 224))
    before = images.load(photograph)
    after = images.load(fooled, size=224, resize=224)
    assert squeezenet(before).argmax() != STINGRAY
    assert squeezenet(after).argmax() == STINGRAY
    (record,) = (r for r in json.loads((output / "results.json").read_text())["records"] if str(fooled) in r["output"])
    changed = np.asarray(images.to_uint8(after), int) - np.asarray(images.to_uint8(before))
    assert record["largest_change_in_levels"] == abs(changed).max() < 60
    assert record["l2_norm"] == pytest.approx(np.sqrt(np.square(changed / 255).sum()))


def test_the_fooled_file_is_taken_for_the_target_by_predict(demo):
    fooled = str(demo[0] / "chelsea-fooled.png")
    result = CliRunner().invoke(cli.app, ["predict", fooled, "--resize", "224", "--json"])
    assert json.loads(result.stdout)[0]["classes"][0]["index"] == STINGRAY


def test_demo_visualizes(demo, squeezenet):
    """The scores climb; what a single image of a chaotic climb is seen as depends on the processor, and is told."""
    output, result = demo
    records = json.loads((output / "results.json").read_text())["records"][4:]
    for record, (name, index) in zip(records, (("tarantula", TARANTULA), ("goldfish", GOLDFISH)), strict=True):
        assert np.mean(record["scores"][-20:]) > 5 * record["scores"][0]
        file = output / f"visualize-{name}.png"
        with Image.open(file) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (224, 224))
        scores = squeezenet(images.load(file, size=224, resize=224))[0]
        assert record["target"]["index"] == index
        assert record["target"]["score"] == pytest.approx(float(scores[index]), rel=0.1)
        prediction = record["prediction"]
        assert prediction["score"] == pytest.approx(float(scores[prediction["index"]]), rel=0.1)
        assert prediction["score"] >= record["target"]["score"]
        told = f"seen as {prediction['name']}, {prediction['probability']:.1%}" in result.output
        assert told == (prediction["index"] != index)


def test_demo_results(demo):
    results = json.loads((demo[0] / "results.json").read_text())
    assert (results["model"], results["weights"], results["seed"]) == ("squeezenet1_1", None, 3)
    records = results["records"]
    assert [(record["method"], record["file"]) for record in records] == [
        ("saliency", CHELSEA),
        ("saliency", COFFEE),
        ("fool", CHELSEA),
        ("fool", COFFEE),
        ("visualize", None),
        ("visualize", CHELSEA),
    ]
    assert [record["class"]["name"] for record in records[:2]] == ["tiger cat", "espresso"]
    for record in records[2:4]:
        assert record["success"]
        assert record["fooled"]["index"] == record["target"]["index"] == STINGRAY
        assert 0 < record["steps"] <= 100
    for record in records[4:]:
        assert len(record["scores"]) == 200
