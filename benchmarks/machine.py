"""What the figures were taken on: processor, versions, and the memory of a process. Imports no framework."""

import datetime
import importlib.metadata
import os
import platform
import resource
import sys
from pathlib import Path
from typing import Any

_PACKAGES = ("jaxviz", "jax", "jaxlib", "flax", "numpy", "torch", "torchvision", "captum", "torchattacks")
_MEGABYTE = 1e6


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def description() -> dict[str, Any]:
    """The machine and the versions, nothing that names its owner."""
    return {
        "cpu": _cpu(),
        "cores": cores(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "precision": 'float32 (jax_default_matmul_precision "highest", torch.set_float32_matmul_precision "highest")',
    }


def today() -> str:
    """The date, as 2025-01-31."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {name.strip(): value.strip() for name, value in fields.items()}
    return named.get("model name", platform.machine())


def forget_peak() -> None:
    """Starts the peak memory of this process anew; where the system cannot, it goes on from the process's start."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def memory_mb(field: str) -> float:
    """Of this process: its memory now ("VmRSS") or at its peak ("VmHWM"); the peak alone where there is no /proc."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1 if sys.platform == "darwin" else 1024) / _MEGABYTE
    [kibibytes] = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(kibibytes) * 1024 / _MEGABYTE
