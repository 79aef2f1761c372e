"""Runs the jobs of a command and prints their records."""

from pathlib import Path
from typing import Any

from jaxviz.cli import console


def run(jobs: list[console.Job]) -> list[console.Record]:
    """Runs the jobs, as many at once as there are devices."""
    import jax

    return console.run(jobs, at_once=jax.device_count())


def report(records: list[dict[str, Any]], as_json: bool) -> None:
    """Prints a table of the records or JSON, then the errors."""
    rows = []
    for record in records:
        if "output" not in record:
            continue
        start = "noise" if record["file"] is None else Path(record["file"]).name
        if record["method"] in ("saliency", "cam"):
            result = f"{record['class']['name']}, {percent(record['class'])}"
        elif record["method"] == "fool":
            before, after = record["original"], record["fooled"]
            result = f"{before['name']}, {percent(before)} -> {after['name']}, {percent(after)}"
            result += f"\n{record['steps']} steps, at most {record['largest_change_in_levels']} of 255 levels"
        else:
            prediction = record["prediction"]
            if "layer" in record:
                result = f"{record['layer']}, channel {record['channel']}: {record['activation']:.3g}"
            else:
                result = f"{record['target']['name']}, {percent(record['target'])}"
            if prediction["index"] != record.get("target", {}).get("index"):
                result += f"\nseen as {prediction['name']}, {percent(prediction)}"
        rows.append((record["method"], start, result, "\n".join(Path(name).name for name in record["output"])))
    columns = ("method", "start", "result", "written")
    console.report(records, as_json=as_json, columns=columns, rows=rows)


def percent(prediction: dict[str, Any]) -> str:
    """The probability of a class record."""
    return f"{prediction['probability']:.1%}"
