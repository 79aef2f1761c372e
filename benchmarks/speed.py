"""The run: each workload in each form, a process for each form, results compared, repeats in turns."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import results, worker
from benchmarks.inputs import flop_per_image, inputs, write_weights
from benchmarks.jax_forms import load
from benchmarks.workloads import Form, Workload, forms_of

Arrays = dict[str, np.ndarray]
# PyTorch's idle threads spin for a while before they sleep, and take time from the next form.
_SETTLE_SECONDS = 0.3
# How far the results of a form may be from the reference's; the page, pages/speed.md.jinja, says why.
TOLERANCES = {
    "map_difference": 1e-4,
    "map_difference_random": 3e-3,
    "map_jump": 5e-3,
    "map_difference_tf32": 0.2,
    "map_difference_bfloat16": 0.5,
    "fewest_for_median": 8,
    "first_steps": 3,
    "first_scores": 1e-3,
    "last_scores": 0.1,
    "last_scores_of_one": 0.25,
    "other_outcome": 0.10,
    "other_steps": 0.15,
    "library_not_fooled": 0.5,
}


class DisagreementError(Exception):
    """The results of a form are not those of the reference."""


def run(
    workloads: Sequence[Workload], file: Path, *, only_forms: Sequence[str] = (), seconds: float, keep: bool = False
) -> bool:
    """Measures the workloads, and writes the JSON after each of them, with its rows of others where `keep`.

    Each form is repeated until its `seconds` are spent; `only_forms` are parts of the names of the forms to time beside
    the reference. Returns whether every form ran and agreed with the reference.
    """
    jax.config.update("jax_default_matmul_precision", "highest")
    record = results.opened(file, results.machine(), keep=keep)
    rates = worker.gemm_rates(sorted({workload.precision for workload in workloads}))
    good = True
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        for workload in workloads:
            print(workload.name, flush=True)
            row = _measured(workload, Path(folder), only_forms, seconds)
            rate = {"torch": rates[workload.precision]}
            results.write(file, record, row | {"date": time.strftime("%Y-%m-%d"), "gemm_gflops": rate})
            good &= not any("error" in form for form in row["forms"].values())
    return good


def _measured(workload: Workload, folder: Path, only_forms: Sequence[str], seconds: float) -> results.Row:
    if not (folder / f"{workload.network}-torchvision.safetensors").exists():
        write_weights(workload.network, folder)
    model = load(workload.network, folder)
    np.savez(folder / "inputs.npz", allow_pickle=False, **inputs(workload, model))
    row: results.Row = workload._asdict() | {"seconds": seconds, "flop_per_image": flop_per_image(workload, model)}
    del model  # a VGG16 of the parent's would only take memory
    reference, *others = forms_of(workload)
    forms = [reference, *(form for form in others if not only_forms or any(part in form.name for part in only_forms))]
    measured: dict[str, dict[str, Any]] = {form.name: {"family": form.family} for form in forms}
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(worker.started(form, workload, folder)) for form in forms]
        # Imports on a GPU's host, which has more cores, take longer than the work.
        pool = stack.enter_context(ThreadPoolExecutor(len(forms) if workload.device == "gpu" else 1))
        prepared = [pool.submit(ask, "prepare") for ask in started]
        workers, expected = {}, None
        for form, ask, preparing in zip(forms, started, prepared, strict=True):
            found = measured[form.name]
            try:
                about = preparing.result()
                first, arrays = ask("first")
                expected = arrays if form == reference else expected
                agreement = compare(workload, form, arrays, expected)
            except worker.FailedError as error:
                found["unavailable" if form.compiles else "error"] = str(error)
            except DisagreementError as error:
                found["error"] = str(error)
            else:
                gradients = int(arrays["steps"].sum()) if "steps" in arrays else workload.examples * workload.steps
                found |= about | first | {"agreement": agreement, "gradients": gradients, "repeats_s": []}
                eager = form.family in ("pytorch", "library") and not form.compiles
                if eager and first["first_s"] > 2 * seconds:  # nothing was compiled
                    found["repeats_s"] = [first["first_s"]]
                else:
                    workers[form.name] = ask
            problem = found.get("error") or found.get("unavailable")
            print(f"  {form.name}: {problem or str(found['agreement'])}", flush=True)
        _repeat_in_turns(workload, workers, measured, seconds)
    for found in measured.values():
        if found.get("repeats_s"):
            low, found["median_s"], high = np.quantile(found["repeats_s"], [0.25, 0.5, 0.75]).tolist()
            found["quartiles_s"] = [low, high]
    return row | {"forms": measured}


def _repeat_in_turns(
    workload: Workload, workers: dict[str, Callable[[str], Any]], forms: dict[str, dict[str, Any]], seconds: float
) -> None:
    spent = dict.fromkeys(workers, 0.0)
    for _ in range(workload.repeats):
        for name in [name for name in workers if spent[name] < seconds]:
            start = time.perf_counter()
            try:
                answer = workers[name]("repeat")
            except worker.FailedError as error:
                forms[name]["error"] = str(error)
                del workers[name]
                continue
            forms[name]["repeats_s"].append(answer["seconds"])
            forms[name]["peak_mb"] = max(forms[name]["peak_mb"], answer["peak_mb"])
            spent[name] += time.perf_counter() - start
            time.sleep(_SETTLE_SECONDS)


def compare(workload: Workload, form: Form, found: Arrays, expected: Arrays | None) -> dict[str, float]:
    """The differences of a form's results from the reference's, by name.

    Raises:
        DisagreementError: one is larger than its tolerance, or there is no reference.
    """
    if expected is None:
        raise DisagreementError("no reference to compare with")
    if "maps" in found:
        changes = np.abs(found["maps"] - expected["maps"]).sum((1, 2)) / np.abs(expected["maps"]).sum((1, 2))
        if workload.precision != "float32":
            differences = {"map difference": (np.median(changes), TOLERANCES[f"map_difference_{workload.precision}"])}
        elif len(changes) < TOLERANCES["fewest_for_median"]:
            differences = {"map difference": (changes.max(), TOLERANCES["map_jump"])}
        else:
            most = TOLERANCES["map_difference" if workload.network == "squeezenet1_1" else "map_difference_random"]
            differences = {"map difference": (np.median(changes), most)}
    elif workload.method == "visualization":
        scores, half = found["scores"] / expected["scores"], found["scores"].shape[1] // 2
        last = found["scores"][:, half:].mean() / expected["scores"][:, half:].mean()
        differences = {
            "first scores": (np.abs(scores[:, : TOLERANCES["first_steps"]] - 1).max(), TOLERANCES["first_scores"]),
            "last scores": (abs(last - 1), TOLERANCES["last_scores" if len(scores) > 1 else "last_scores_of_one"]),
        }
    elif form.family == "library":
        differences = {"not fooled": (1 - found["fooled"].mean(), TOLERANCES["library_not_fooled"])}
    else:
        steps, one = np.abs(found["steps"] - expected["steps"]), 1 / workload.examples
        outcome = (found["fooled"] != expected["fooled"]).mean()
        differences = {
            "other outcome": (outcome, max(TOLERANCES["other_outcome"], one)),
            "other steps": ((steps > 1).mean(), max(TOLERANCES["other_steps"], 2 * one)),
        }
    for name, (difference, most) in differences.items():
        if not difference <= most:  # NaN too
            raise DisagreementError(f"{name}: {difference:.1e}, more than {most:.1e}")
    return {name: float(difference) for name, (difference, _) in differences.items()}
