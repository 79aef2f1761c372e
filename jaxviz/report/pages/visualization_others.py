"""The page of question 11: the visualizations of other networks."""

from typing import Any

from jaxviz.report._blocks import Files, Section, Table
from jaxviz.report._study import Study
from jaxviz.report._text import listed, of, percent
from jaxviz.report.measurements.visualization import defaults
from jaxviz.report.pages.visualization import method


def section(study: Study, numbers: dict[str, Any], arrays: Any, files: Files) -> Section:
    """Question 11."""
    blocks: list[Any] = []
    first, *others = numbers["networks"]
    if others:
        rows, cells = [], []
        for start in ("noise", None):
            for index, name in enumerate((first, *others)):
                runs = numbers["networks"][name]
                line = []
                for row in defaults(runs, start):
                    run = runs[row]
                    text = f"{name}: {run['target']['name']} {percent(run['target']['probability'])}"
                    judged = listed(f"{other} {percent(p)}" for other, p in run["judged_by_others"].items())
                    alt = f"{run['target']['name']} from {run['start']} by {name}; judged by others: {judged}."
                    line.append((f"others-{index + 1}-{row}-{start or 'photograph'}", arrays[name][row][-1], text, alt))
                    cells.append(
                        (run["target"]["name"], run["start"], name, percent(run["target"]["probability"]), judged)
                    )
                rows.append(line)
        caption = "The same class from the same start by each network."
        blocks.append(files.pictures("others", [row for row in rows if row], caption=caption))
        columns = ("class", "start", "made by", "probability there", "judged by others")
        blocks.append(Table("Does another network recognize the picture?", columns, cells))
    return Section(
        "others",
        "Question 11",
        "The same with another network",
        idea=["The same climb with another network shows whether its idea of a class looks different."],
        finding=other_findings(numbers),
        blocks=blocks,
        method=[method(numbers)] if others else [],
        limits=["Same settings are not equally good settings: gradients of networks differ in size."],
    )


def other_findings(numbers: dict[str, Any]) -> list[str]:
    """In sentences."""
    first, *others = numbers["networks"]
    if not others:
        return [
            f"This report is of {first} alone. Give a second network, such as --model squeezenet1_1 --model vgg16, and "
            "its pictures stand beside these."
        ]
    sentences = []
    for name, runs in numbers["networks"].items():
        mine = [runs[row] for start in ("noise", None) for row in defaults(runs, start)]
        own = sum(run["seen"]["index"] == run["target"]["index"] for run in mine)
        judged = [p for run in mine for p in run["judged_by_others"].values()]
        known = sum(p >= 0.5 for p in judged)
        sentences.append(
            f"{name} recognizes {of(own, len(mine))} of its own pictures; another network gives the class half of the "
            f"probability or more in {of(known, len(judged))} cases"
            + (": the pictures are mostly its own private ones." if 2 * known < len(judged) else ".")
        )
    return sentences
