"""How the command starts: what it waits for, on which devices it works, what it keeps for the next call."""

import importlib.resources
import os
import subprocess
import sys

import pytest

CHELSEA, COFFEE = (str(importlib.resources.files("skimage.data") / name) for name in ("chelsea.png", "coffee.png"))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from jaxviz.cli import main; sys.argv[0] = 'jaxviz'; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def test_help_waits_for_no_framework():
    heavy = {"jax", "numpy", "flax", "matplotlib", "jinja2"}
    program = f"import sys, jaxviz.cli; print(*sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert "saliency" in run("--help").stdout


@pytest.mark.slow
def test_a_second_call_compiles_nothing(tmp_path):
    environment = {"JAXVIZ_CACHE": str(tmp_path), "JAX_LOG_COMPILES": "1"}
    arguments = ("saliency", CHELSEA, COFFEE, "--output", str(tmp_path / "output"))
    hit = "Persistent compilation cache hit for 'jit__saliency_maps'"
    assert hit not in run(*arguments, **environment).stderr
    kept = sorted((tmp_path / "compiled").iterdir())
    assert hit in run(*arguments, **environment).stderr
    assert sorted((tmp_path / "compiled").iterdir()) == kept


def test_each_core_is_a_device():
    program = "import jax; from jaxviz.cli import options; options.configure(); print(jax.device_count())"
    for environment, expected in (({}, len(os.sched_getaffinity(0))), ({"JAX_NUM_CPU_DEVICES": "5"}, 5)):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(done.stdout) == expected
