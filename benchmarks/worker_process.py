"""The other end of a worker's pipe."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.forms import Form
from benchmarks.workloads import Workload


class FailedError(Exception):
    """A worker ended before it answered; with the last line that it wrote."""


def environment() -> dict[str, str]:
    """For a child that finds this package as its parent did, and no compiled program of an earlier run."""
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    unset = {"JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS", "OMP_NUM_THREADS", "TORCHINDUCTOR_CACHE_DIR"}
    return {name: value for name, value in os.environ.items() if name not in unset} | {"PYTHONPATH": path}


class WorkerProcess:
    """A form that is ready to run, in a process that lives as long as the `with` block."""

    def __init__(self, form: Form, workload: Workload, folder: Path):
        self._compiled = tempfile.TemporaryDirectory(prefix="benchmark-")
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in __exit__)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", form.name, json.dumps(workload), str(folder)],
            env=environment() | {"TORCHINDUCTOR_CACHE_DIR": self._compiled.name},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()
        self._compiled.cleanup()

    def ready(self) -> dict[str, Any]:
        """Waits for imports and model: `setup_s`, `loaded_mb`."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._log.seek(0)
            lines = self._log.read().strip().splitlines()
            raise FailedError(lines[-1] if lines else f"ended with status {self._process.returncode}")
        return json.loads(line)

    def first(self, save: Path) -> dict[str, Any]:
        """The first call: `first_s` and `peak_mb`, and its results in a file; or why it is `unavailable`."""
        return self._ask({"do": "first", "save": str(save)})

    def repeat(self) -> dict[str, Any]:
        """One more repeat: `seconds`, and `peak_mb` so far."""
        return self._ask({"do": "repeat"})

    def _ask(self, order: dict[str, str]) -> dict[str, Any]:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has ended; why, the missing answer tells
            print(json.dumps(order), file=self._process.stdin, flush=True)
        return self.ready()
