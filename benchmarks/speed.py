"""The run: each workload in each form, a worker process for each, repeats in turn."""

import contextlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxviz
from benchmarks import checks, gemm, machine, networks, results
from benchmarks.forms import REFERENCE, Form, forms_of
from benchmarks.inputs import flop_per_image, inputs
from benchmarks.worker_process import FailedError, WorkerProcess
from benchmarks.workloads import Workload

# PyTorch's idle threads spin for a while before they sleep, in the way of whoever comes next.
_SETTLE_SECONDS = 0.3


def run(workloads: Sequence[Workload], file: Path, *, only_forms: str = "", keep: bool = False) -> bool:
    """Measures the workloads, and writes the JSON after each of them.

    Args:
        workloads: what to time.
        file: the JSON.
        only_forms: a part of the names of the forms to time beside the reference; all by default.
        keep: whether rows of other workloads that the JSON holds stay.

    Returns:
        Whether every form ran and agreed with the reference.
    """
    jax.config.update("jax_default_matmul_precision", "highest")
    here = machine.description()
    record = results.opened(file, here) if keep and file.exists() else {"machine": here, "rows": []}
    print("matrix products", flush=True)
    rates = gemm.rates()
    good = True
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        for workload in workloads:
            print(workload.name, flush=True)
            row = _measured(workload, Path(folder), only_forms)
            row |= {"date": machine.today(), "gemm_gflops": rates}
            results.put(record, row)
            results.write(file, record)
            good &= not any("error" in form for form in row["forms"].values())
    return good


def _measured(workload: Workload, folder: Path, only_forms: str) -> dict[str, Any]:
    if not (folder / f"{workload.network}-jaxviz.safetensors").exists():
        networks.write(workload.network, folder)
    model = jaxviz.load_model(workload.network, weights=folder / f"{workload.network}-jaxviz.safetensors")
    np.savez(folder / "inputs.npz", allow_pickle=False, **inputs(workload, model))
    row: dict[str, Any] = workload._asdict() | {"flop_per_image": flop_per_image(workload, model)}
    del model  # a VGG16 of the parent's would only take memory
    reference = REFERENCE[workload.method]
    forms = [form for form in forms_of(workload) if only_forms in form.name or form.name == reference]
    row["forms"] = {form.name: {"family": form.family} for form in forms}
    with contextlib.ExitStack() as stack:
        ready = {}
        for form in forms:
            worker = stack.enter_context(WorkerProcess(form, workload, folder))
            found = row["forms"][form.name]
            _start(worker, form, workload, folder, found)
            if "first_s" in found:
                ready[form.name] = worker
            print(f"  {form.name}: {_said(found)}", flush=True)
        for _ in range(workload.repeats):
            for name in list(ready):
                if not _repeat(ready[name], row["forms"][name]):
                    del ready[name]
                time.sleep(_SETTLE_SECONDS)
    for name, form in row["forms"].items():
        results.summarize(form)
        if "median_s" in form:
            print(f"  {name}: {form['median_s']:.4g} s", flush=True)
    return row


def _start(worker: WorkerProcess, form: Form, workload: Workload, folder: Path, found: dict[str, Any]) -> None:
    """The first call, whose results must agree before anything is timed."""
    file = folder / "results.npz"
    kept = folder / "reference.npz"
    try:
        found |= worker.ready()
        first = worker.first(file)
        if "unavailable" in first:
            found |= first
            return
        arrays = _loaded(file)
        if form.name == REFERENCE[workload.method]:
            file.replace(kept)
        if form.family == "library" and workload.method == "fooling":
            found["agreement"] = checks.compare_library(arrays)
        else:
            found["agreement"] = checks.compare(workload, arrays, _loaded(kept))
        found["gradients"] = checks.gradients_taken(workload.method, arrays)
        found |= first | {"repeats_s": []}
    except (FailedError, checks.DisagreementError) as error:
        found["error"] = str(error)


def _repeat(worker: WorkerProcess, found: dict[str, Any]) -> bool:
    """One more repeat, or why there is none; whether there may be another."""
    try:
        answer = worker.repeat()
    except FailedError as error:
        found["error"] = str(error)
        return False
    found["repeats_s"].append(answer["seconds"])
    found["peak_mb"] = answer["peak_mb"]
    return True


def _loaded(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as arrays:
        return dict(arrays)


def _said(found: dict[str, Any]) -> str:
    if "error" in found:
        return f"ERROR, {found['error']}"
    if "unavailable" in found:
        return f"unavailable, {found['unavailable']}"
    return f"first call {found['first_s']:.1f} s, " + ", ".join(f"{k} {v:.2g}" for k, v in found["agreement"].items())
