"""The same results on one device, on eight, and on eight that two processes share."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).parent / "programs" / "devices.py"


def run(processes: int, devices: int, output: Path) -> dict[str, np.ndarray]:
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
        said = [worker.communicate(timeout=300)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0] * processes, "\n".join(said)
    with np.load(output) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    return run(1, 1, tmp_path_factory.mktemp("one") / "found.npz")


@pytest.mark.parametrize(("processes", "devices"), [(1, 2), (1, 8), (2, 4)])
def test_equal_to_one_device(one_device, tmp_path, processes, devices):
    found = run(processes, devices, tmp_path / "found.npz")
    assert found.keys() == one_device.keys()
    assert len(set(one_device["['fooling']['steps']"])) > 2
    for name, expected in one_device.items():
        if np.issubdtype(expected.dtype, np.floating):
            np.testing.assert_allclose(found[name], expected, atol=1e-5, rtol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], expected, err_msg=name)
