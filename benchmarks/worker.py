"""One form in a process of its own: `python -m benchmarks.worker FORM WORKLOAD FOLDER`.

Orders come as JSON lines on stdin, answers go as JSON lines to stdout.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from benchmarks.forms import forms_of
from benchmarks.machine import forget_peak, memory_mb
from benchmarks.prepared import Prepared
from benchmarks.workloads import Workload

# A repeat lasts this long at least, in as many calls as it takes: one call of milliseconds, after the wait for the
# other forms, would measure cold caches and sleeping threads.
_LEAST_SECONDS = 0.3


def main() -> None:
    """Prepares the form, then answers one order after the other until stdin ends."""
    name, workload, folder = sys.argv[1], Workload(*json.loads(sys.argv[2])), Path(sys.argv[3])
    answers = _answers()
    start = time.perf_counter()
    [form] = [form for form in forms_of(workload) if form.name == name]
    with np.load(folder / "inputs.npz") as file:
        arrays = dict(file)
    module = importlib.import_module(f"benchmarks.{form.module}")
    prepared: Prepared = module.prepare(workload, arrays, folder, **form.options)
    _answer(answers, setup_s=time.perf_counter() - start, loaded_mb=memory_mb("VmRSS"))
    forget_peak()
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "first":
            _answer(answers, **_first(prepared, Path(order["save"]), may_fail=form.compiles))
        elif order["do"] == "repeat":
            _answer(answers, seconds=_repeat(prepared), peak_mb=memory_mb("VmHWM"))


def _answers() -> TextIO:
    """Stdout for the answers alone; whatever the libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _answer(answers: TextIO, **fields: Any) -> None:
    print(json.dumps(fields), file=answers, flush=True)


def _first(prepared: Prepared, file: Path, *, may_fail: bool) -> dict[str, Any]:
    """The first call, which compiles, and what it found."""
    start = time.perf_counter()
    try:
        result = prepared.run()
    except Exception as error:
        if not may_fail:
            raise
        return {"unavailable": f"{type(error).__name__}: {_first_line(error)}"}
    seconds = time.perf_counter() - start
    peak = memory_mb("VmHWM")  # before the results are copied
    np.savez(file, allow_pickle=False, **prepared.arrays(result))
    return {"first_s": seconds, "peak_mb": peak}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")


def _repeat(prepared: Prepared) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    prepared.run()
    once = time.perf_counter() - start
    if once >= _LEAST_SECONDS:
        return once
    calls = 0  # that one was the warm-up
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < _LEAST_SECONDS:
        prepared.run()
        calls += 1
    return elapsed / calls


if __name__ == "__main__":
    main()
