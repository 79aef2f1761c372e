"""What a section costs, and what the report was made with."""

import contextlib
import importlib.metadata
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

_PACKAGES = ("jaxviz", "jax", "jaxlib", "flax", "numpy", "scipy", "pillow", "matplotlib")


@contextlib.contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Fills in what the block cost this process: seconds, those of its processors, and peak memory in megabytes."""
    cost: dict[str, float] = {}
    with contextlib.suppress(OSError):  # where the peak cannot be forgotten, it is that of the process so far
        Path("/proc/self/clear_refs").write_text("5")
    start, start_of_processors = time.perf_counter(), time.process_time()
    try:
        yield cost
    finally:
        cost["seconds"] = time.perf_counter() - start
        cost["processor_seconds"] = time.process_time() - start_of_processors
        cost["peak_mb"] = _peak() / 1e6


def _peak() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1 if sys.platform == "darwin" else 1024)
    [kibibytes] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(kibibytes) * 1024


def environment() -> dict[str, Any]:
    """Versions and devices, nothing that names the machine."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "backend": jax.default_backend(),
        "matmul_precision": str(getattr(jax.config, "jax_default_matmul_precision", None)),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }
