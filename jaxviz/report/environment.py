"""The environment of a report."""

import importlib.metadata
import os
import platform
from typing import Any

import jax

_PACKAGES = ("jaxviz", "jax", "jaxlib", "flax", "numpy", "scipy", "pillow", "matplotlib")


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
