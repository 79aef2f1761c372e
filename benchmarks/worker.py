"""A form in a process of its own, both ends of its pipe, and the memory of a process. Imports no framework."""

import contextlib
import importlib
import math
import multiprocessing
import os
import resource
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workloads import Form, Prepared, Workload

_SPAWN = multiprocessing.get_context("spawn")
# A repeat lasts this long at least, in as many calls as it takes: one call of milliseconds, after the wait for the
# other forms, would measure cold caches and sleeping threads.
_LEAST_SECONDS = 0.3
_GEMM_SIZE, _GEMM_REPEATS = 2048, 20


class FailedError(Exception):
    """A form raised an error, or its process died."""


@contextlib.contextmanager
def started(form: Form, workload: Workload, folder: Path) -> Iterator[Callable[[str], Any]]:
    """A process, killed when the block ends; the folder has the weights and the inputs.

    Yields:
        A function that asks the process, and raises a `FailedError`. First to "prepare": `setup_s` and `loaded_mb`;
        then for the "first" call: `first_s`, `peak_mb` and what was computed; then to "repeat": `seconds`, `peak_mb`.
    """
    pipe, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(theirs, form, workload, folder))
    process.start()
    theirs.close()  # or the end of the process would not end the pipe

    def ask(order: str) -> Any:
        try:
            pipe.send(order)
            answer = pipe.recv()
        except (EOFError, OSError) as error:
            process.join()
            raise FailedError(f"process ended with exit code {process.exitcode}") from error
        if isinstance(answer, str):
            raise FailedError(answer)
        return answer

    try:
        yield ask
    finally:
        process.kill()
        process.join()


def _serve(pipe: Connection, form: Form, workload: Workload, folder: Path) -> None:
    """The child's end: answers one order after the other."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(dir=folder)
    prepared: Any = None
    with contextlib.suppress(EOFError):
        while True:
            order = pipe.recv()
            try:
                if order == "prepare":
                    start = time.perf_counter()
                    prepared = _prepared(form, workload, folder)
                    loaded = prepared.peak_bytes() / 1e6 if prepared.peak_bytes else _memory_mb("VmRSS")
                    pipe.send({"setup_s": time.perf_counter() - start, "loaded_mb": loaded})
                else:
                    with contextlib.suppress(
                        OSError
                    ):  # on Linux alone; elsewhere the peak is that of the process so far
                        Path("/proc/self/clear_refs").write_text("5")
                    pipe.send(_first(prepared) if order == "first" else _repeat(prepared))
            except Exception as error:
                pipe.send(f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}")


def _prepared(form: Form, workload: Workload, folder: Path) -> Prepared:
    with np.load(folder / "inputs.npz") as arrays:
        module, name = form.function.split(".")
        function = getattr(importlib.import_module(f"benchmarks.{module}"), name)
        return function(workload, dict(arrays), folder, **form.options)


def _first(prepared: Prepared) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    start = time.perf_counter()
    result = prepared.run()
    about = {"first_s": time.perf_counter() - start, "peak_mb": _peak_mb(prepared)}
    return about, prepared.arrays(result)


def _repeat(prepared: Prepared) -> dict[str, float]:
    seconds = timeit.timeit(prepared.run, number=1)
    if seconds < _LEAST_SECONDS:  # that one was the warm-up
        calls = math.ceil(_LEAST_SECONDS / seconds)
        seconds = timeit.timeit(prepared.run, number=calls) / calls
    return {"seconds": seconds, "peak_mb": _peak_mb(prepared)}


def _peak_mb(prepared: Prepared) -> float:
    return prepared.peak_bytes() / 1e6 if prepared.peak_bytes else _memory_mb("VmHWM")


def _memory_mb(field: str) -> float:
    """Of this process: its memory now ("VmRSS") or at its peak ("VmHWM"); the peak alone where there is no /proc."""
    try:
        [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:")]
    except OSError:  # macOS, whose unit is the byte
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return int(line.split()[1]) * 1024 / 1e6


def gemm_rates(precisions: Sequence[str]) -> dict[str, float]:
    """GFLOP/s of a large matrix product in torch in each precision, in a process of its own."""
    with ProcessPoolExecutor(1, _SPAWN) as pool:
        return dict(zip(precisions, pool.map(_gemm_rate, precisions), strict=True))


def _gemm_rate(precision: str) -> float:
    import torch

    torch.set_num_threads(cores())
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    device, size = ("cuda", 4 * _GEMM_SIZE) if torch.cuda.is_available() else ("cpu", _GEMM_SIZE)
    matrix = torch.randn(size, size, device=device, dtype=torch.bfloat16 if precision == "bfloat16" else torch.float32)

    def product() -> None:
        torch.mm(matrix, matrix)
        if device == "cuda":
            torch.cuda.synchronize()

    return 2 * size**3 / min(timeit.repeat(product, number=1, repeat=_GEMM_REPEATS)) / 1e9


def clean_environment(instruction_set: str | None) -> None:
    """For this process and those that it starts: all cores, default flags, no compiled program of an earlier run.

    An instruction set, such as "AVX2", limits what XLA's and oneDNN's compilers use, to stand in for an older CPU.
    """
    for name in ("JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS", "ONEDNN_MAX_CPU_ISA", "OMP_NUM_THREADS"):
        os.environ.pop(name, None)
    if instruction_set:
        os.environ |= {"XLA_FLAGS": f"--xla_cpu_max_isa={instruction_set}", "ONEDNN_MAX_CPU_ISA": instruction_set}


def share_gpu() -> None:
    """For this process and those that it starts: no process takes a GPU's memory ahead of its need."""
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
