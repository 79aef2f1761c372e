"""`jaxviz batch --ray`: the records and arrays of a run without Ray, whichever nodes die and join."""

import contextlib
import importlib.resources
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest
import ray
from PIL import Image

from jaxviz.batch import on_ray
from jaxviz.batch.work import Sizes, versions

pytestmark = pytest.mark.usefixtures("quick_processes")

PROGRAM = "import sys; from jaxviz.cli import main; sys.argv[0] = 'jaxviz'; main()"
SECONDS = 300  # after which a process is taken for one that hangs
PROGRAMS = Path(__file__).with_name("programs")


def photos(folder, count):
    """Pieces of a photograph under many names, some of them broken."""
    folder.mkdir()
    with Image.open(str(importlib.resources.files("skimage.data") / "chelsea.png")) as photo:
        for i in range(20):
            photo.crop((5 * i, 3 * i, 5 * i + 300, 3 * i + 240)).save(folder / f"{i:05d}.jpg")
    contents = [path.read_bytes() for path in sorted(folder.iterdir())]
    for i in range(count):
        content = contents[i % len(contents)]
        (folder / f"{i:05d}.jpg").write_bytes(content[: len(content) // 3] if i % 97 == 5 else content)
    return folder


def start(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "batch", "saliency", *map(str, arguments)],
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    """What a process has printed when it has ended; it is killed after a while, so that no test waits for ever."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return SimpleNamespace(code=process.returncode, out=out, err=err)


def run(*arguments, **environment):
    with start(*arguments, **environment) as process:
        return ended(process)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def wait_until(condition, process):
    last = time.monotonic() + SECONDS
    while not condition() and process.poll() is None and time.monotonic() < last:
        time.sleep(0.1)
    running = process.poll() is None
    if not (running and condition()):
        process.kill()
        pytest.fail("the run took too long" if running else "the run ended early")


class Program:
    """A program that takes orders by lines, and answers each with a line."""

    def __init__(self, name, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, PROGRAMS / name, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.started = self.process.stdout.readline().strip()

    def tell(self, order):
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == order

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate()


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        (("--ray",), ""),
        (("--ray", "--json"), ""),
        (("--ray", "10.0.0.1:6379"), "10.0.0.1:6379"),
        (("--json", "--ray", "ray://head:10001"), "ray://head:10001"),
        (("--ray", "auto", "--json"), "auto"),
    ],
)
def test_the_address_may_be_left_out(command, tmp_path, monkeypatch, arguments, address):
    def cluster(address):
        raise ValueError(f"address {address!r}")

    photos(tmp_path / "photos", 20)
    monkeypatch.setattr(on_ray, "cluster", cluster)
    assert f"address {address!r}" in command("batch", "saliency", "photos", *arguments).err
    assert f"address {address!r}" in command("batch", *arguments, "saliency", "photos").err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--ray", "127.0.0.1:9"), "no Ray cluster at 127.0.0.1:9: "),
        (("--ray", "ray://127.0.0.1:9"), "no Ray cluster at ray://127.0.0.1:9: "),
        (("--ray", "--part", "0/2"), "--part is for runs without --ray"),
    ],
)
def test_mistakes(command, tmp_path, arguments, error):
    photos(tmp_path / "photos", 20)
    done = command("batch", "saliency", "photos", *arguments)
    assert done.code == 1
    assert done.err.startswith(f"error: {error}")


def test_the_address_of_the_environment(command, tmp_path, monkeypatch):
    photos(tmp_path / "photos", 20)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    assert "no Ray cluster at 127.0.0.1:9: " in command("batch", "saliency", "photos", "--ray").err


def test_without_the_extra(command, tmp_path, monkeypatch):
    photos(tmp_path / "photos", 20)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert 'pip install "jaxviz[ray]"' in command("batch", "saliency", "photos", "--ray").err


def test_an_actor_needs_the_files_and_the_versions_of_the_driver(tmp_path, monkeypatch):
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "10.0.0.2")
    sizes = Sizes(1, 1, 1, 224, 256)
    job = on_ray.Job("saliency", {}, sizes, tmp_path, tmp_path, [tmp_path], versions(), lambda: None)
    on_ray._check(job)
    with pytest.raises(FileNotFoundError, match=r"the Ray node 10\.0\.0\.2 has no .*0\.png; use a shared folder"):
        on_ray._check(job._replace(needed=[tmp_path, tmp_path / "0.png"]))
    with pytest.raises(ValueError, match=r"10\.0\.0\.2 has jaxviz .*, and the driver jaxviz 9\.9; install the same"):
        on_ray._check(job._replace(versions={"jaxviz": "9.9"}))


@pytest.mark.parametrize(
    ("line", "needed"),
    [("photos/00000.jpg", "photos/00000.jpg"), ("{here}/photos/00000.jpg", "photos/00000.jpg"), ("missing.jpg", None)],
)
def test_a_node_needs_the_first_image_that_the_driver_has(command, tmp_path, monkeypatch, line, needed):
    """And not the folder of the list, where its images are elsewhere."""
    jobs = []
    photos(tmp_path / "photos", 20)
    (tmp_path / "list.txt").write_text(line.format(here=tmp_path))
    monkeypatch.setattr(on_ray, "cluster", lambda address: contextlib.nullcontext())
    monkeypatch.setattr(on_ray, "run", lambda job, *_: jobs.append(job) or [])
    command("batch", "saliency", "list.txt", "--output", "out", "--ray")
    assert jobs[0].needed == [tmp_path / "out", *([tmp_path / needed] if needed else [])]


@pytest.mark.parametrize(
    "arguments",
    [
        ("saliency", "photos"),
        ("fool", "photos", "--target", "stingray", "--max-steps", "3"),
        ("visualize", "classes.txt", "--num-steps", "3", "--size", "64", "--seed", "5"),
    ],
    ids=["saliency", "fool", "visualize"],
)
def test_an_actor_computes_the_shards_of_every_method_in_any_order(command, tmp_path, monkeypatch, arguments):
    photos(tmp_path / "photos", 20)
    (tmp_path / "classes.txt").write_text("tarantula\nsnail\n7\n113\n6\n")

    def run(job, network, items, pending, advance):
        actor = on_ray._Actor(pickle.loads(pickle.dumps(job)))
        monkeypatch.setattr(ray, "get", lambda reference: reference)
        for shard in reversed(pending):
            yield actor.compute([network], shard, {place: items[place] for place in job.sizes.places(shard)})

    monkeypatch.setattr(on_ray, "cluster", lambda address: contextlib.nullcontext())
    monkeypatch.setattr(on_ray, "run", run)
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "10.0.0.2")
    whole = command("batch", *arguments, "--shard-size", "2", "--output", "whole")
    assert command("batch", *arguments, "--shard-size", "2", "--output", "out", "--ray").code == whole.code
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert len(contents(tmp_path / "out")) > 6


@pytest.mark.parametrize(
    ("nodes", "resources", "count"),
    [
        ([{"CPU": 4}, {"CPU": 8}], {"num_cpus": 1}, 12),
        ([{"CPU": 4}, {"CPU": 8, "GPU": 2}, {"CPU": 8, "GPU": 1}], {"num_gpus": 1}, 3),
        ([{"CPU": 4}, {"CPU": 8, "TPU": 4}, {"CPU": 8, "TPU": 4}], {"resources": {"TPU": 4}}, 2),
        ([{}], {"num_cpus": 1}, 1),
    ],
)
def test_an_actor_for_each_accelerator_or_core(monkeypatch, nodes, resources, count):
    total = {name: sum(node.get(name, 0) for node in nodes) for name in {name for node in nodes for name in node}}
    monkeypatch.setattr(ray, "cluster_resources", lambda: total)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Resources": node} for node in nodes])
    options, found = on_ray._places()
    assert options | resources == options
    assert found == count
    assert options.get("runtime_env", {}).get("env_vars", {}).get("JAX_NUM_CPU_DEVICES") == (
        "1" if "num_cpus" in options else None
    )


def test_a_new_ray_on_this_machine_gives_the_same(tmp_path):
    """And so it does after Ctrl-C, when no process and no part of a file stays behind."""
    source, out = photos(tmp_path / "photos", 160), tmp_path / "out"
    options = (source, "--shard-size", "4", "--output")
    assert run(*options, tmp_path / "whole").code == 1  # for the damaged files
    with start(*options, out, "--ray", "--json") as process:
        wait_until(lambda: len(list(out.glob("*.jsonl"))) > 2, process)
        process.send_signal(signal.SIGINT)
        stopped = ended(process)
    assert stopped.code == 130
    assert "Traceback" not in stopped.err
    assert 2 < len(list(out.glob("*.jsonl"))) < 40
    done = run(*options, out, "--ray", "--json")
    assert done.code == 1
    assert done.out.startswith("[")  # Ray prints nothing between
    assert "2 of the items failed" in done.err
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.slow
def test_two_nodes_die_and_one_joins(tmp_path):
    """Three processes are then on two nodes: the last one gets its place when another has nothing left to do."""
    source, out = photos(tmp_path / "photos", 1000), tmp_path / "out"
    options = (source, "--shard-size", "16", "--output")

    def finished():
        return len(list(out.glob("*.jsonl")))

    with Program("ray_cluster.py") as cluster, start(*options, out, "--ray", cluster.started, "--json") as process:
        wait_until(lambda: finished() >= 12, process)
        cluster.tell("remove")
        wait_until(lambda: finished() >= 24, process)
        cluster.tell("remove")
        wait_until(lambda: finished() >= 30, process)
        cluster.tell("add")
        done = ended(process)
    assert done.code == 1
    assert done.out.startswith("[")
    assert "11 of the items failed" in done.err
    assert run(*options, tmp_path / "whole").code == 1
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.slow
def test_a_store_that_stops_for_a_while(tmp_path, monkeypatch):
    """Ray repeats the shards of that time; without Ray, the run ends and the next one goes on."""
    source = photos(tmp_path / "photos", 400)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "name",
        "AWS_SECRET_ACCESS_KEY": "kept-to-itself",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    options = ("--shard-size", "8", "--output")
    assert run(source, *options, tmp_path / "whole").code == 1
    with Program("s3_server.py", str(port)) as server:
        store = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
        store.mkdir("bucket")
        store.put(str(source), "bucket/photos", recursive=True)

        def finished(out):
            return len([name for name in store.find(out) if name.endswith(".jsonl")])

        for out, ray_option in (("bucket/with-ray", ["--ray"]), ("bucket/without", [])):
            with start("s3://bucket/photos", *options, f"s3://{out}", *ray_option) as process:
                wait_until(lambda out=out: finished(out) >= 6, process)
                server.tell("stop")
                time.sleep(10)
                server.tell("start")
                done = ended(process)
            assert "kept-to-itself" not in done.err
            if not ray_option:
                assert done.err.splitlines()[-1].startswith("error: s3://bucket/")
                assert 6 <= finished(out) < 50
                assert run("s3://bucket/photos", *options, f"s3://{out}").code == 1
            else:
                assert "5 of the items failed" in done.err
            found = {name.rsplit("/", 1)[-1]: store.cat_file(name) for name in store.find(out)}
            assert found == contents(tmp_path / "whole")
