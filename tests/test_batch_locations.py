"""`jaxviz batch` from and to URLs: the records and arrays of local folders, whatever the store does."""

import io
import json
import tarfile
import tracemalloc

import fsspec
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from upath import UPath

import jaxviz
from jaxviz.batch import items, locations
from jaxviz.batch.items import Item
from jaxviz.batch.shards import Shards

pytestmark = pytest.mark.usefixtures("toy_networks")

WEIGHTS = jnp.asarray(np.random.default_rng(0).standard_normal((3, 1000)), jnp.float32)
RUN = ("--shard-size", "2", "--output")


@pytest.fixture(autouse=True)
def small_model(monkeypatch):
    model = Partial(lambda weights, x: jnp.square(x).mean((1, 2)) @ weights, WEIGHTS)
    monkeypatch.setattr(jaxviz, "load_model", lambda name, weights: model)


@pytest.fixture
def store(photos):
    """A store in memory, with the photographs in `photos`."""
    filesystem = fsspec.filesystem("memory")
    filesystem.put(str(photos), "/bucket/photos", recursive=True)
    yield filesystem
    filesystem.rm("/", recursive=True)


@pytest.fixture
def stopped(store):
    """A function after which the store does not answer about a folder; its error is none of Python's own."""

    class EndpointError(Exception):
        pass

    def stop(patch, folder):
        def refusing(operation):
            def answer(self, path, *arguments, **options):
                if folder in str((path, *arguments)):
                    raise EndpointError("Could not connect\nto the endpoint URL")
                return operation(self, path, *arguments, **options)

            return answer

        for name in ("cat_file", "put_file", "find"):  # of the class: each thread has an instance
            patch.setattr(type(store), name, refusing(getattr(type(store), name)))

    return stop


def in_store(filesystem, folder):
    return {path.rsplit("/", 1)[-1]: filesystem.cat_file(path) for path in filesystem.find(folder)}


def on_disk(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_in_a_store_gives_what_a_folder_on_disk_gives(command, photos, store, tmp_path):
    assert command("batch", "saliency", "photos", *RUN, "local").code == 1
    done = command("batch", "saliency", "memory://bucket/photos", *RUN, "memory://bucket/maps")
    assert done.code == 1
    found, expected = in_store(store, "/bucket/maps"), on_disk(tmp_path / "local")
    assert json.loads(found["00001.jsonl"].splitlines()[1])["error"].startswith("3.png: damaged")
    assert found == expected
    [summary] = command("batch", "saliency", "memory://bucket/photos", *RUN, "memory://bucket/maps", "--json").records
    assert (summary["done_now"], summary["errors"]) == (0, 1)


def test_a_list_may_have_urls_and_tar_files(command, photos, store, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("0.png", "1.png", "3.png"):
            tar.add(photos / name, f"deep/{name}")
            text = tarfile.TarInfo(f"deep/{name[0]}.cls")
            text.size = 1
            tar.addfile(text, io.BytesIO(b"7"))
    store.put_file(str(tmp_path / "a.tar"), "/bucket/tars/a.tar")
    store.pipe_file("/bucket/list.txt", b"photos/4.png\ntars/a.tar\nmemory://bucket/photos/2.png\n")
    assert command("batch", "saliency", "memory://bucket/list.txt", *RUN, "memory://bucket/out").code == 1
    records = [json.loads(line) for i in range(3) for line in store.cat_file(f"/bucket/out/0000{i}.jsonl").splitlines()]
    files = ["photos/4.png", *(f"tars/a.tar/deep/{i}.png" for i in (0, 1, 3)), "memory://bucket/photos/2.png"]
    assert [record["file"] for record in records] == files
    assert records[3]["error"].startswith("tars/a.tar/deep/3.png: damaged")
    assert command("batch", "saliency", "photos", *RUN, "local").code == 1
    local = [
        json.loads(line) for i in range(3) for line in (tmp_path / f"local/0000{i}.jsonl").read_bytes().splitlines()
    ]
    for record, expected in zip(records, [local[i] for i in (4, 0, 1, 3, 2)], strict=True):
        assert record.get("score") == expected.get("score")


def test_a_tar_file_by_itself_and_in_a_folder(photos, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(photos / "2.png", "2.png")
    expected = items.of_images(tmp_path / "a.tar")
    [(file, class_index, (tar_file, start, end))] = expected
    assert (file, class_index, tar_file) == ("a.tar/2.png", None, "a.tar")
    assert locations.read(tmp_path / "a.tar", start, end) == (photos / "2.png").read_bytes()
    assert [*items.of_images(tmp_path)] == [*expected, *(Item(f"photos/{i}.png", None) for i in range(5))]
    (tmp_path / "a.tar").write_bytes((photos / "2.png").read_bytes())
    with pytest.raises(ValueError, match=r"a\.tar is damaged, compressed or no tar file"):
        items.of_images(tmp_path)


@pytest.mark.parametrize("folder", ["/bucket/photos/4.png", "/bucket/maps/00001.jsonl", "/bucket/maps"])
def test_a_store_that_does_not_answer_ends_the_run_and_the_next_one_goes_on(command, store, stopped, folder):
    """It is no error of an image, which would stay in the records."""
    run = ("batch", "saliency", "memory://bucket/photos", *RUN, "memory://bucket/maps")
    with pytest.MonkeyPatch.context() as patch:
        stopped(patch, folder)
        done = command(*run)
    assert done.code == 1
    [error] = done.err.splitlines()
    assert error.startswith(f"error: memory:/{folder}")
    assert error.endswith("no answer (Could not connect to the endpoint URL)")
    assert sum(name.endswith(".jsonl") for name in store.find("/bucket/maps")) == (0 if folder.endswith("maps") else 1)
    assert command(*run).code == 1  # for the damaged image
    assert command(*run[:-1], "memory://bucket/again").code == 1
    assert in_store(store, "/bucket/maps") == in_store(store, "/bucket/again")


@pytest.mark.parametrize(
    ("file", "content", "error"),
    [
        ("list.txt", b"\xff\xd8\xff\xe0", "is no text in UTF-8"),
        ("a.tar", b"no tar" * 200, "is damaged, compressed or no tar"),
    ],
)
def test_a_file_of_another_kind_is_not_taken_for_a_store_that_does_not_answer(store, file, content, error):
    store.pipe_file(f"/bucket/{file}", content)
    with pytest.raises(ValueError, match=error):
        items.of_images(UPath(f"memory://bucket/{file}"))


@pytest.mark.parametrize("source", ["memory://nowhere", "memory://bucket/missing.txt"])
def test_what_is_missing_in_a_store_is_one_line(command, store, source):
    done = command("batch", "saliency", source)
    assert done.code == 1
    assert done.err.startswith(f"error: {source}: no such file, folder or bucket")


def test_a_file_of_a_list_that_is_missing_is_a_record_with_its_reason(command, store, tmp_path):
    (tmp_path / "photos" / "list.txt").write_text("0.png\nmissing.png\n")
    store.put_file("photos/list.txt", "/bucket/photos/list.txt")
    assert command("batch", "saliency", "photos/list.txt", "--output", "local").code == 1
    assert command("batch", "saliency", "memory://bucket/photos/list.txt", "--output", "remote").code == 1
    local, remote = (
        json.loads((tmp_path / name / "00000.jsonl").read_text().splitlines()[1]) for name in ("local", "remote")
    )
    assert local == {"file": "missing.png", "error": "missing.png: No such file or directory"}
    assert remote["error"].startswith("memory://bucket/photos/missing.png: no such file, folder or bucket")


def test_an_unfinished_shard_is_not_there(store):
    shards = Shards(UPath("memory://bucket/out"))
    shards.claim({"method": "saliency"})
    arrays = {"maps": np.zeros((1, 2, 2), np.float32)}
    put, names = store.put_file, []

    def first_alone(local, remote, **options):
        names.append(remote)
        if len(names) == 2:
            raise TimeoutError
        put(local, remote, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "put_file", first_alone)
        with pytest.raises(ConnectionError, match=r"memory://bucket/out/00000\.jsonl: no answer \(TimeoutError\)"):
            shards.write(0, [{"row": 0}], arrays)
    assert shards.finished() == set()
    shards.write(0, [{"row": 0}], arrays)
    assert shards.finished() == {0}
    with pytest.raises(ValueError, match="its method was saliency, not fool"):
        shards.claim({"method": "fool"})


def test_memory_does_not_grow_with_the_list(tmp_path):
    source, peaks = tmp_path / "list.txt", []
    for count in (2_000, 30_000):  # the classes' names are loaded with the first
        source.write_text("".join(f"folder/{i:07d}.jpg\t{i % 1000}\n" for i in range(count)))
        tracemalloc.start()
        found = items.of_images(source)
        assert (len(found), found[count - 1]) == (count, Item(f"folder/{count - 1:07d}.jpg", (count - 1) % 1000))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000  # bytes; the lines are 0.8 MB
