"""What is in the folder of a batch run, and what is not when something stops it in between."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from jaxviz.batch.shards import Shards

RECORDS = [{"file": "a.png", "row": 0}, {"file": "b.png", "error": "damaged"}]
ARRAYS = {"maps": np.arange(4, dtype=np.float32).reshape(1, 2, 2)}


def claimed(folder, manifest):
    store = Shards(folder)
    store.claim(manifest)
    return store


def test_what_is_written_is_what_was_given(tmp_path):
    store = claimed(tmp_path / "made", {"method": "saliency"})
    assert store.finished() == set()
    store.write(3, RECORDS, ARRAYS)
    assert store.finished() == {3}
    assert store.errors(3) == 1
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == [
        "00003.jsonl",
        "00003.safetensors",
        "manifest.json",
    ]
    lines = (tmp_path / "made" / "00003.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == RECORDS
    np.testing.assert_array_equal(
        safetensors.numpy.load_file(tmp_path / "made" / "00003.safetensors")["maps"], ARRAYS["maps"]
    )


@pytest.mark.parametrize("replaced", [0, 1], ids=["before the arrays", "before the records"])
def test_stopped_in_between_the_shard_is_not_there_and_is_written_again(tmp_path, monkeypatch, replaced):
    """As a kill does it: nothing after the last replacement happens, and temporary files stay behind."""
    store = claimed(tmp_path, {})
    count = 0
    replace, unlink = Path.replace, Path.unlink

    def stop(self, target):
        nonlocal count
        if count == replaced:
            raise KeyboardInterrupt
        count += 1
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", stop)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt):
        store.write(0, RECORDS, ARRAYS)
    assert store.finished() == set()
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".00000-")]
    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(Path, "unlink", unlink)
    store.write(0, RECORDS, ARRAYS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.jsonl", "00000.safetensors", "manifest.json"]


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (events.append("on disk"), fsync(handle)))
    monkeypatch.setattr(Path, "replace", lambda self, target: (events.append("named"), replace(self, target)))
    claimed(tmp_path, {}).write(0, RECORDS, ARRAYS)
    assert events == ["on disk", "named"] * 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_does_not_have_is_not_written(tmp_path, value):
    with pytest.raises(ValueError, match="JSON"):
        claimed(tmp_path, {"settings": {"step_size": value}})
    store = claimed(tmp_path, {})
    with pytest.raises(ValueError, match="JSON"):
        store.write(0, [{"file": "a.png", "score": value, "row": 0}], ARRAYS)
    assert store.finished() == set()


def test_the_folder_of_another_run_is_refused(tmp_path):
    claimed(tmp_path, {"method": "saliency", "items": 3})
    claimed(tmp_path, {"method": "saliency", "items": 3})
    with pytest.raises(ValueError, match="its items was 3, not 4"):
        claimed(tmp_path, {"method": "saliency", "items": 4})
    with pytest.raises(ValueError, match="its resize was None, not 256"):
        claimed(tmp_path, {"method": "saliency", "items": 3, "resize": 256})


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    store = claimed(tmp_path, {})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(OSError, match="No space left on device"):
        store.write(0, RECORDS, ARRAYS)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
