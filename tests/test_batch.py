"""`jaxviz batch`: the records and arrays of any number of images, whatever stops it."""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from jax.tree_util import Partial

import jaxviz
from jaxviz import images
from jaxviz.batch import methods, work

pytestmark = pytest.mark.usefixtures("toy_networks")

SIZE = 5  # items; two shards of two and one of one
WEIGHTS = jnp.asarray(np.random.default_rng(0).standard_normal((3, 1000)), jnp.float32)
MODEL = Partial(lambda weights, x: jnp.square(x).mean((1, 2)) @ weights, WEIGHTS)  # a map of each image its own


@pytest.fixture(autouse=True)
def small_model(monkeypatch):
    monkeypatch.setattr(jaxviz, "load_model", lambda name, weights: MODEL)


def loaded(folder, names="0124"):
    return images.load([folder / f"{name}.png" for name in names])


def read(folder):
    """The records of all shards, each with its row of the arrays; a NaN in them would be no JSON."""
    records = []
    for file in sorted(folder.glob("*.jsonl")):
        arrays = safetensors.numpy.load_file(file.with_suffix(".safetensors"))
        for line in file.read_text().splitlines():
            record = json.loads(line, parse_constant=pytest.fail)
            if "row" in record:
                record["arrays"] = {name: array[record["row"]] for name, array in arrays.items()}
            records.append(record)
    return records


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("shard_size", ["2", "5"], ids=["batches of a shard", "a shard of two batches"])
def test_saliency_of_a_folder(command, photos, tmp_path, monkeypatch, shard_size):
    monkeypatch.setattr(methods, "_CPU_BATCH", 1)  # on each of the three devices
    done = command("batch", "saliency", str(photos), "--output", "out", "--shard-size", shard_size, "--json")
    assert done.code == 1
    assert "1 of the items failed" in done.err
    [summary] = done.records
    assert (summary["items"], summary["done_now"], summary["errors"]) == (5, 5, 1)
    records = read(tmp_path / "out")
    assert [record["file"] for record in records] == [f"{i}.png" for i in range(SIZE)]
    assert "3.png: damaged" in records.pop(3)["error"]
    batch = loaded(photos)
    labels = MODEL(batch).argmax(1)
    maps = jaxviz.saliency_maps(MODEL, batch, labels)
    for i, record in enumerate(records):
        assert (record["label"], record["label_name"]) == (labels[i], jaxviz.labels.name(int(labels[i])))
        np.testing.assert_allclose(record["score"], MODEL(batch)[i, labels[i]], rtol=1e-5)
        np.testing.assert_allclose(record["probability"], jax.nn.softmax(MODEL(batch)[i])[labels[i]], rtol=1e-4)
        np.testing.assert_allclose(record["arrays"]["maps"], maps[i], rtol=1e-5)
        np.testing.assert_allclose(record["norm"], np.linalg.norm(maps[i]), rtol=1e-5)


def test_saliency_of_a_list_with_classes(command, photos, tmp_path):
    (photos / "list.txt").write_text("2.png\tstingray\n0.png\t7\n")
    assert command("batch", "saliency", str(photos / "list.txt"), "--output", "out").code == 0
    found = read(tmp_path / "out")
    assert [(record["file"], record["label"]) for record in found] == [("2.png", 6), ("0.png", 7)]
    maps = jaxviz.saliency_maps(MODEL, loaded(photos, "20"), [6, 7])
    np.testing.assert_allclose([record["arrays"]["maps"] for record in found], maps, rtol=1e-5)


def test_fool(command, photos, tmp_path):
    options = ("--target", "stingray", "--step-size", "3", "--max-steps", "7", "--shard-size", "3")
    assert command("batch", "fool", str(photos), "--output", "out", *options).code == 1
    records = read(tmp_path / "out")
    assert "error" in records.pop(3)
    batch = loaded(photos)
    expected = jaxviz.fooling_images(
        MODEL, batch, [6] * 4, step_size=3, max_steps=7, bounds=images.IMAGENET_BOUNDS, levels=256
    )
    assert min(expected.steps) > 0
    for i, record in enumerate(records):
        assert (record["label"], record["target"]) == (MODEL(batch)[i].argmax(), 6)
        assert (record["steps"], record["fooled"], record["stalled"]) == (
            expected.steps[i],
            expected.fooled[i],
            expected.stalled[i],
        )
        picture = record["arrays"]["images"]
        np.testing.assert_array_equal(picture, images.to_uint8(expected.images[i]))
        np.testing.assert_allclose(record["score"], MODEL(images.from_uint8(picture)[None])[0, 6], rtol=1e-4)
        change = picture.astype(int) - np.asarray(images.to_uint8(batch[i]))
        assert record["largest_change_in_levels"] == abs(change).max()
        np.testing.assert_allclose(record["l2_norm"], np.sqrt(np.square(change / 255).sum()), rtol=1e-6)


def test_visualize(command, tmp_path):
    (tmp_path / "classes.txt").write_text("tarantula\nsnail\ntarantula\n")
    options = ("--num-steps", "3", "--size", "32", "--seed", "4", "--step-size", "9", "--shard-size", "2")
    assert command("batch", "visualize", "classes.txt", "--output", "out", *options).code == 0
    found = read(tmp_path / "out")
    expected = jaxviz.class_visualizations(
        MODEL,
        [76, 113, 76],
        key=jax.random.key(4),
        image_shape=(32, 32, 3),
        num_steps=3,
        step_size=9,
        bounds=images.IMAGENET_BOUNDS,
    )
    assert [record["target"] for record in found] == [76, 113, 76]
    np.testing.assert_array_equal([record["arrays"]["images"] for record in found], images.to_uint8(expected.images))
    np.testing.assert_allclose([record["arrays"]["scores"] for record in found], expected.scores, rtol=1e-4)
    scores = MODEL(expected.images)[np.arange(3), np.array([76, 113, 76])]
    np.testing.assert_allclose([record["score"] for record in found], scores, rtol=1e-4)


@pytest.mark.parametrize("method", ["saliency", "fool"])
def test_results_that_are_not_finite_are_errors(command, photos, tmp_path, monkeypatch, method):
    means = loaded(photos).mean((1, 2, 3))
    limit = jnp.median(means)  # between the two darker images and the two brighter ones
    broken = Partial(lambda limit, x: jnp.where(x.mean((1, 2, 3))[:, None] > limit, MODEL(x), jnp.nan), limit)
    options = ("--target", "stingray", "--max-steps", "2") if method == "fool" else ()
    assert command("batch", method, str(photos), "--output", "whole", *options).code == 1
    monkeypatch.setattr(jaxviz, "load_model", lambda name, weights: broken)
    done = command("batch", method, str(photos), "--output", "out", *options)
    assert done.code == 1
    assert "3 of the items failed" in done.err
    whole, records = read(tmp_path / "whole"), read(tmp_path / "out")
    del whole[3], records[3]  # the damaged image
    for i, (record, expected) in enumerate(zip(records, whole, strict=True)):
        if means[i] < limit:
            assert list(record) == ["file", "error"]
            assert "results are not finite: score nan, " in record["error"]
        else:
            arrays, expected_arrays = record.pop("arrays"), expected.pop("arrays")
            assert record | {"row": None} == expected | {"row": None}
            np.testing.assert_array_equal(list(arrays.values()), list(expected_arrays.values()))


def test_a_visualization_that_is_not_finite_names_its_class(command, tmp_path, monkeypatch):
    broken = Partial(lambda weights, x: MODEL(x) * weights, jnp.full((1, 1000), jnp.nan))
    monkeypatch.setattr(jaxviz, "load_model", lambda name, weights: broken)
    (tmp_path / "classes.txt").write_text("snail\n")
    assert command("batch", "visualize", "classes.txt", "--output", "out", "--num-steps", "1", "--size", "32").code == 1
    [record] = read(tmp_path / "out")
    assert (record["target"], record["target_name"]) == (113, "snail")
    assert "not finite: score nan" in record["error"]


def test_a_network_that_loses_nan_does_not_hide_it(squeezenet):
    """Compiled on a CPU, its max pooling takes NaN for the smallest number, and its scores are finite."""
    picture = jnp.zeros((1, 224, 224, 3)).at[0, 100, 100].set(jnp.nan)
    found = methods._predictions(squeezenet, picture, None)
    assert np.isnan(found.scores).all()


def test_batches_to_fool_are_split_evenly_over_the_devices(command, photos, monkeypatch):
    """What `data_parallel` pads would be fooled in full."""

    def run(self, *_):
        raise ValueError(f"batches of {self._sizes.batch}")

    monkeypatch.setattr(work.Work, "run", run)
    done = command("batch", "fool", str(photos), "--output", "out", "--target", "snail", "--shard-size", "4")
    assert "batches of 6" in done.err


def test_padding_is_given_up_at_once(squeezenet, photos, caplog):
    """Without NaN, and by the program of the whole batches."""
    pixels = np.asarray(images.to_uint8(loaded(photos, "01")))[[0, 1, 1]]
    with jax.debug_nans(True):
        fool = methods.fool(squeezenet, max_steps=1, confidence=1.0)
        whole = jax.device_get(fool.start(pixels, np.arange(3), np.array([6, 7, 7], np.int32)))
        with jax.log_compiles():
            padded = jax.device_get(fool.start(pixels, np.array([0, 1, 1]), np.array([6, 7, 7], np.int32)))
    assert not [record for record in caplog.records if "Compiling" in record.getMessage()]
    np.testing.assert_array_equal(whole[1].steps, [1, 1, 1])
    np.testing.assert_array_equal(padded[1].steps, [1, 1, 0])
    np.testing.assert_array_equal(padded[1].images[:2], whole[1].images[:2])
    np.testing.assert_array_equal(padded[1].images[2], pixels[2])
    rows, _ = fool.finish(padded)
    assert all(np.isfinite(values).all() for values in rows.values())


def test_two_processes_write_what_one_writes(command, photos, tmp_path):
    run = ("batch", "saliency", str(photos), "--shard-size", "2", "--output")
    assert command(*run, "whole").code == 1
    assert command(*run, "parts", "--part", "1/2").code == 1  # the damaged image is in the second shard
    assert sorted(path.name for path in Path("parts").glob("*.jsonl")) == ["00001.jsonl"]
    assert command(*run, "parts", "--part", "0/2").code == 0
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_an_interrupted_run_goes_on_where_it_was(command, photos, tmp_path, monkeypatch):
    run = ("batch", "saliency", str(photos), "--shard-size", "1", "--output")
    command(*run, "whole")
    write = work.Shards.write

    def interrupt(self, number, *arguments):
        if number == 2:
            raise KeyboardInterrupt
        write(self, number, *arguments)

    monkeypatch.setattr(work.Shards, "write", interrupt)
    monkeypatch.setattr("os._exit", sys.exit)
    assert command(*run, "stopped").code == 130
    monkeypatch.setattr(work.Shards, "write", write)
    assert sorted(path.name for path in Path("stopped").glob("*.jsonl")) == ["00000.jsonl", "00001.jsonl"]
    before = {path.name: path.stat().st_mtime_ns for path in Path("stopped").iterdir()}
    [summary] = command(*run, "stopped", "--json").records
    assert (summary["done_now"], summary["errors"]) == (3, 1)
    assert {name: (tmp_path / "stopped" / name).stat().st_mtime_ns for name in before} == before
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    [summary] = command(*run, "stopped", "--json").records
    assert (summary["done_now"], summary["errors"]) == (0, 1)


def test_the_folder_of_other_work_is_refused(command, photos, monkeypatch):
    run = ("batch", "saliency", str(photos), "--output", "out")
    command(*run)
    for change in (("--label", "stingray"), ("--resize", "300"), ("--shard-size", "2")):
        assert "holds the results of another run" in command(*run, *change).err
    other = jax.tree.map(lambda leaf: 2 * leaf, MODEL)
    monkeypatch.setattr(jaxviz, "load_model", lambda name, weights: other)
    assert "its weights_sha256 was" in command(*run).err
    (photos / "5.png").write_bytes((photos / "0.png").read_bytes())
    assert "its items was 5, not 6" in command(*run).err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("saliency", "missing"), "No such file"),
        (("fool", "photos"), "fool needs --target"),
        (("fool", "photos/list.txt", "--target", "snail"), "has classes of its own"),
        (("saliency", "photos", "--max-steps", "3"), "--max-steps is no option of saliency"),
        (("saliency", "photos", "--part", "2/2"), "--part must be I/N"),
        (("visualize", "photos"), "list of classes"),
    ],
)
def test_mistakes(command, photos, arguments, error):
    (photos / "list.txt").write_text("0.png\t3\n")
    done = command("batch", *arguments, "--output", "out")
    assert done.code == 1
    assert error in done.err
    assert not list(Path("out").glob("*.jsonl"))


def test_without_the_extra(command, photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    assert 'pip install "jaxviz[batch]"' in command("batch", "saliency", str(photos)).err
