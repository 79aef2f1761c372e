"""The page of question 9: the grid of settings in `measurements.visualization`."""

from typing import Any

from jaxviz.report._blocks import Files, Film, Section, Table
from jaxviz.report._study import Study
from jaxviz.report._text import listed, number, of, percent, plural, sentence
from jaxviz.report.pages.visualization import method


def section(study: Study, numbers: dict[str, Any], arrays: Any, files: Files) -> Section:
    """Question 9."""
    name, grid = study.networks[0].name, numbers["grid"]
    runs, every = numbers["networks"][name], numbers["settings"]["snapshot_every"]
    frames = arrays[name].shape[1] - 1
    kept = sorted({round(frames * share) for share in (0.125, 0.25, 0.5, 1)} - {0})
    steps = [place * every for place in kept]
    strips, sheet, rows = [], [], []
    for step_size in grid["step_sizes"]:
        line = []
        for l2_weight in grid["l2_weights"]:
            row = _cell(runs, study, step_size, l2_weight)
            run, film = runs[row], arrays[name][row][kept]
            text = f"η {step_size:g}, λ {l2_weight:g}: {percent(run['target']['probability'])}"
            alt = (
                f"{grid['class']} with step size {step_size:g} and regularization weight {l2_weight:g} after "
                f"{listed(map(str, steps))} steps; at the end score {number(run['scores'][-1], 1)}, probability "
                f"{percent(run['target']['probability'])}, roughness {number(run['roughness'])}."
            )
            file = f"grid-{step_size:g}-{l2_weight:g}".replace(".", "_")
            strips.append(files.strip(file, film, caption=text, alt=alt))
            line.append((f"{file}-last", film[-1], text, alt))
            rows.append(
                (
                    f"{step_size:g}",
                    f"{l2_weight:g}",
                    *(number(run["scores"][min(step, len(run["scores"])) - 1], 1) for step in steps),
                    percent(run["target"]["probability"]),
                    number(run["roughness"]),
                    percent(run["at_the_limits"]),
                )
            )
        sheet.append(line)
    still = files.pictures("grid", sheet, caption="The grid after the last step.")
    caption = (
        f"{sentence(grid['class'])} by {name}; rows: learning rate η; columns: regularization weight λ. The control "
        "sets the number of iterations. "
    )
    columns = ("η", "λ", *(f"score, step {step}" for step in steps), "probability", "roughness", "at the limits")
    return Section(
        "settings",
        "Question 9",
        "Iterations, learning rate, regularization weight",
        idea=[
            "Three numbers decide how such a picture comes out: how many steps are taken, how long a step is (the "
            "learning rate η), and what large values cost (the regularization weight λ)."
        ],
        finding=grid_findings(numbers, name, study.from_noise[0]),
        blocks=[
            Film(
                caption,
                strips,
                [f"{plural(step, 'iteration')}" for step in steps],
                len(grid["l2_weights"]),
                {"The last step as one picture": still.sheet},
            ),
            Table("The same in numbers; limits: the share of values that are 0 or 255.", columns, rows),
        ],
        method=[
            f"All {len(strips)} settings start from the same noise and are shifted by the same random offsets. They "
            "are one call of one compiled program, in which η and λ are arrays with one entry for each picture; the "
            "iterations are snapshots of the same runs.",
            method(numbers),
        ],
        limits=["One class and one seed. The best of these settings need not be the best for another network."],
    )


def grid_findings(numbers: dict[str, Any], name: str, target: int) -> list[str]:
    """In sentences."""
    grid = numbers["grid"]
    runs = {
        (run["step_size"], run["l2_weight"]): run
        for run in numbers["networks"][name]
        if run["start"] == "noise" and run["target"]["index"] == target
    }
    cells = [runs[s, w] for s in grid["step_sizes"] for w in grid["l2_weights"]]
    best, worst = (choose(cells, key=lambda run: run["scores"][-1]) for choose in (max, min))
    sentences = [
        f"The highest score at the end, {number(best['scores'][-1], 1)}, has η = {best['step_size']:g} with λ = "
        f"{best['l2_weight']:g}; the lowest, {number(worst['scores'][-1], 1)}, η = {worst['step_size']:g} with λ = "
        f"{worst['l2_weight']:g}."
    ]
    middle = grid["step_sizes"][len(grid["step_sizes"]) // 2]
    low, high = (runs[middle, weight] for weight in (min(grid["l2_weights"]), max(grid["l2_weights"])))
    ratio = high["roughness"] / low["roughness"] if low["roughness"] else 1.0
    effect = "smoother" if ratio < 0.9 else "rougher" if ratio > 1.1 else "as rough as before"
    sentences.append(
        f"At η = {middle:g}, raising λ from {low['l2_weight']:g} to {high['l2_weight']:g} takes the score from "
        f"{number(low['scores'][-1], 1)} to {number(high['scores'][-1], 1)} and makes the picture {effect} (roughness "
        f"{number(low['roughness'])} and {number(high['roughness'])})."
    )
    smallest = grid["l2_weights"][0]
    slow, fast = (runs[step, smallest] for step in (grid["step_sizes"][0], grid["step_sizes"][-1]))
    sentences.append(
        f"Longer steps drive more values to the limits of the range: {percent(slow['at_the_limits'])} at η = "
        f"{slow['step_size']:g}, {percent(fast['at_the_limits'])} at η = {fast['step_size']:g}."
        if fast["at_the_limits"] > slow["at_the_limits"]
        else f"Longer steps do not drive more values to the limits of the range ({percent(slow['at_the_limits'])} and "
        f"{percent(fast['at_the_limits'])})."
    )
    usual = [run for run in cells if run["l2_weight"] == smallest]
    late = [run for run in usual if run["scores"][-1] > 1.05 * run["scores"][len(run["scores"]) // 2]]
    sentences.append(
        f"From half of the iterations to the end the score still rises by more than a twentieth in "
        f"{of(len(late), len(usual))} at λ = {smallest:g}."
    )
    return sentences


def _cell(runs: list[dict[str, Any]], study: Study, step_size: float, l2_weight: float) -> int:
    wanted = (study.from_noise[0], "noise", step_size, l2_weight)
    found = ((run["target"]["index"], run["start"], run["step_size"], run["l2_weight"]) for run in runs)
    return list(found).index(wanted)
