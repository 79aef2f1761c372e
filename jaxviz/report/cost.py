"""What a topic costs, and the environment of a report."""

import contextlib
import importlib.metadata
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax

_PACKAGES = ("jaxviz", "jax", "jaxlib", "flax", "numpy", "scipy", "pillow", "matplotlib")


@contextlib.contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Fills in the seconds of the block, the processor seconds of this process, and its peak memory so far in MB."""
    cost: dict[str, float] = {}
    start, processor_start = time.perf_counter(), time.process_time()
    yield cost
    cost["seconds"] = time.perf_counter() - start
    cost["processor_seconds"] = time.process_time() - processor_start
    unit = 1 if sys.platform == "darwin" else 1024
    cost["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


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
