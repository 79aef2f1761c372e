"""The rate of a large float32 matrix product, the roof of the figures: `python -m benchmarks.gemm torch` or `jax`."""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.machine import cores
from benchmarks.worker_process import environment

_SIZE, _REPEATS = 2048, 20


def rates() -> dict[str, float]:
    """GFLOP/s by framework, each measured in a process of its own."""
    found = {}
    for framework in ("torch", "jax"):
        command = [sys.executable, "-m", "benchmarks.gemm", framework]
        done = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True)
        found[framework] = float(done.stdout.split()[-1])
    return found


def _product(framework: str) -> Callable[[], Any]:
    if framework == "torch":
        import torch

        torch.set_num_threads(cores())
        a = torch.randn(_SIZE, _SIZE)
        return lambda: a @ a
    import jax

    b = jax.random.normal(jax.random.key(0), (_SIZE, _SIZE))
    product = jax.jit(lambda b: b @ b)
    return lambda: product(b).block_until_ready()


def _best_seconds(function: Callable[[], Any]) -> float:
    function()
    best = float("inf")
    for _ in range(_REPEATS):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


if __name__ == "__main__":
    print(2 * _SIZE**3 / _best_seconds(_product(sys.argv[1])) / 1e9)
