"""The same results on one device, on eight, and on eight that two processes share."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_processes")]

PROGRAM = Path(__file__).parent / "programs" / "devices.py"


def run(processes: int, devices: int, output: Path) -> dict[str, dict[str, np.ndarray]]:
    """What the processes find on all their devices, and where there is one process, on its first device alone."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    workers = [
        subprocess.Popen(
            [sys.executable, PROGRAM, *map(str, (process, processes, devices, port, output))],
            env={**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for process in range(processes)
    ]
    try:
        said = [worker.communicate(timeout=1200)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0] * processes, "\n".join(said)
    with np.load(output) as arrays:
        named = [(*name.split(" ", 1), array) for name, array in arrays.items()]
    return {devices: {name: array for of, name, array in named if of == devices} for devices, *_ in named}


@pytest.fixture(scope="module")
def one_process(tmp_path_factory, quick_processes):
    return run(1, 8, tmp_path_factory.mktemp("one") / "found.npz")


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory, quick_processes):
    return run(2, 4, tmp_path_factory.mktemp("two") / "found.npz")


@pytest.mark.parametrize("processes", ["one_process", "two_processes"])
def test_equal_to_one_device(one_process, processes, request):
    one_device, found = one_process["one"], request.getfixturevalue(processes)["all"]
    assert found.keys() == one_device.keys()
    assert len(set(one_device["['fooling']['steps']"])) > 2
    for name, expected in one_device.items():
        if np.issubdtype(expected.dtype, np.floating):
            np.testing.assert_allclose(found[name], expected, atol=1e-5, rtol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], expected, err_msg=name)
