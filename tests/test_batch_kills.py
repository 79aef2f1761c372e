"""SIGKILL at random moments to both processes of a batch run, again and again: nothing is lost, torn or doubled."""

import importlib.resources
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_processes")]

PARTS, KILLS_EACH = 2, 2
ITEMS, SHARD_SIZE = 80, 4
PROGRAM = "import sys; from jaxviz.cli import main; sys.argv[0] = 'jaxviz'; main()"


@pytest.fixture
def source(tmp_path):
    """A list of 80 files, a few photographs again and again and one that is damaged."""
    with Image.open(str(importlib.resources.files("skimage.data") / "chelsea.png")) as photo:
        for i in range(7):
            photo.crop((20 * i, 5 * i, 20 * i + 250, 5 * i + 240)).save(tmp_path / f"{i}.jpg")
    (tmp_path / "3.jpg").write_bytes((tmp_path / "3.jpg").read_bytes()[:1000])
    (tmp_path / "list.txt").write_text("".join(f"{i % 7}.jpg\n" for i in range(ITEMS)))
    return tmp_path / "list.txt"


def start(source: Path, output: Path, part: str) -> subprocess.Popen[bytes]:
    arguments = ("batch", "saliency", str(source), "--output", str(output), "--part", part)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments, "--shard-size", str(SHARD_SIZE)],
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def finished(output: Path, part: int) -> int:
    return sum(int(file.stem) % PARTS == part for file in output.glob("[0-9]*.jsonl"))


def kill_again_and_again(source: Path, output: Path, part: int, exits: list[int]) -> None:
    """Each time after none, one or two more shards, and up to half a second; then lets the process end."""
    chance = random.Random(part)
    for _ in range(KILLS_EACH):
        more = chance.choice((0, 1, 2))
        wanted = finished(output, part) + more
        with start(source, output, f"{part}/{PARTS}") as process:
            while process.poll() is None and finished(output, part) < wanted:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.5 if more else 3.0))
            process.send_signal(signal.SIGKILL)
            exits.append(process.wait())
    with start(source, output, f"{part}/{PARTS}") as process:
        exits.append(process.wait())


def test_the_records_are_those_of_an_undisturbed_run(source, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with start(source, whole, "0/1") as process:
        assert process.wait() == 1  # for the damaged file
    exits: list[list[int]] = [[] for _ in range(PARTS)]
    threads = [
        threading.Thread(target=kill_again_and_again, args=(source, killed, part, exits[part])) for part in range(PARTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert exits == [[-signal.SIGKILL] * KILLS_EACH + [1]] * PARTS
    names = [path.name for path in whole.iterdir()]
    assert len(names) == 2 * ITEMS // SHARD_SIZE + 1
    assert sorted(path.name for path in killed.iterdir()) == sorted(names)
    assert [name for name in names if (whole / name).read_bytes() != (killed / name).read_bytes()] == []
