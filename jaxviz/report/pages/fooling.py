"""The page of `measurements.fooling`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxviz import figures
from jaxviz.report import _formulas
from jaxviz.report._blocks import Files, Section, Sliders, Table
from jaxviz.report._study import Study
from jaxviz.report._text import listed, median, number, of, percent, plural, span
from jaxviz.report.measurements.fooling import TITLE

_GAIN = 10.0  # of the magnified difference


def section(study: Study, numbers: dict[str, Any], arrays: Any, files: Files) -> Section:
    """What was found, as a part of the page."""
    settings = numbers["settings"]
    blocks: list[Any] = [_formulas.FOOLING]
    for index, name in enumerate(numbers["networks"]):
        runs, pictures = numbers["networks"][name], arrays[name]
        firsts = [numbers["owners"].index(row) for row in range(len(study.photographs))]
        shown = [_row(study, numbers, name, index, run, pictures[run], files) for run in firsts]
        if index == 0:
            pairs = [
                (
                    files.picture(
                        f"photo-{runs[run]['photograph']}",
                        study.pixels[numbers["owners"][run]],
                        caption=_was(runs[run]),
                        alt=f"The photograph {runs[run]['photograph']}: {_was(runs[run])}.",
                    ),
                    files.picture(
                        f"fooled-1-{runs[run]['photograph']}-{run}",
                        pictures[run],
                        caption=_is(runs[run]),
                        alt=_alt(runs[run]),
                    ),
                )
                for run in firsts
            ]
            blocks.append(
                Sliders(
                    f"{name}: left of the line the original, right of it the fooled picture. Drag it, or use the "
                    "arrow keys.",
                    pairs,
                )
            )
        blocks.append(
            files.pictures(
                f"fooling-{index + 1}",
                shown,
                caption=f"{name}: original, fooled, difference, and difference {_GAIN:g} times.",
            )
        )
        rest = [run for run in range(len(runs)) if numbers["owners"][run] == 0]
        if len(rest) > 1:
            columns = [_row(study, numbers, name, index, run, pictures[run], files) for run in rest]
            grid = [[column[1] for column in columns], [column[3] for column in columns]]
            caption = f"{name}: {runs[0]['photograph']} to several targets; below, the differences, {_GAIN:g} times."
            blocks.append(files.pictures(f"targets-{index + 1}", grid, caption=caption))
        blocks.append(_table(runs, name))
    return Section(
        "fooling",
        "Question 5",
        TITLE,
        idea=[
            "The same gradient can be followed instead of looked at. Choose a class that the picture does not show. "
            "Ask which small change of the pixels raises its score most, make that change, and ask again, until the "
            "network believes it. For a person the picture stays what it was."
        ],
        finding=findings(numbers),
        blocks=blocks,
        method=[
            f"Steps of Euclidean length η = {settings['step_size']:g} in normalized input space, at most "
            f"{settings['max_steps']}. The class is tested before each step on the picture rounded to 8 bits, and the "
            "rounded picture is what is returned, saved and measured. Norms are in levels of 255 over all values of a "
            "picture; PSNR is in dB, above about 40 no difference is seen.",
            "Targets: for each photograph the least likely class whose score is not exactly 0, and two drawn at random."
            if numbers["chosen"]
            else "Targets: those that were asked for, for every photograph.",
        ],
        limits=[
            "The method needs the network's gradient, so the network itself; whether the picture fools another one is "
            "measured in question 7. It stops as soon as the target leads, which leaves it on the edge."
        ],
    )


def findings(numbers: dict[str, Any]) -> list[str]:
    """In sentences."""
    sentences = []
    for name, runs in numbers["networks"].items():
        reached = [run for run in runs if run["reached"]]
        stalled = [run for run in runs if run["stalled"] and not run["reached"]]
        text = (
            f"{name}: the target is reached in {of(len(reached), len(runs))} runs"
            if len(runs) > 1
            else (f"{name}: the target is {'reached' if reached else 'not reached'}")
        )
        if reached:
            moved = [run for run in reached if run["steps"]]
            text += f", after {span([run['steps'] for run in reached])} steps"
            if moved:
                text += (
                    f". The largest change of any value is {span([run['linf_levels'] for run in moved])} of 255 "
                    f"levels, the root mean square change {number(median([run['rms_levels'] for run in moved]), 1)} "
                    f"levels in the middle run; the PSNR is {span([run['psnr_db'] for run in moved], 1)} dB"
                )
                worst = min(run["psnr_db"] for run in moved)
                text += (
                    ", so no change can be seen"
                    if worst > 42
                    else ", so a change is hard to see"
                    if worst > 36
                    else ", so the worst of them show some grain"
                )
        sentences.append(text + ".")
        if stalled:
            names = listed(sorted({run["target"]["name"] for run in stalled}))
            sentences.append(
                f"{plural(len(stalled), 'run')} stalled: the score of {names} has a gradient of exactly zero there, a "
                f"dead target, so no step leads on."
            )
        late = len(runs) - len(reached) - len(stalled)
        if late:
            sentences.append(
                f"{plural(late, 'run')} did not arrive within {plural(numbers['settings']['max_steps'], 'step')}."
            )
        if reached:
            sure = sum(run["target"]["probability"] >= 0.5 for run in reached)
            sentences.append(
                f"The network is not just in doubt: it gives the target half of the probability or more in "
                f"{of(sure, len(reached))}."
                if 2 * sure > len(reached)
                else "It stops on the edge: the target has half of the probability or more in "
                f"{of(sure, len(reached))}."
            )
    if numbers["likeness"] is not None:
        like = numbers["likeness"]
        sentences.append(
            "Towards different targets the same photograph is changed in "
            + ("much the same" if like > 0.5 else "partly the same" if like > 0.15 else "quite different")
            + f" ways (mean cosine of the changes {number(like)})."
        )
    return sentences


def _was(run: Mapping[str, Any]) -> str:
    return f"{run['original']['name']}, {percent(run['original']['probability'])}"


def _is(run: Mapping[str, Any]) -> str:
    return f"{run['seen']['name']}, {percent(run['seen']['probability'])}"


def _alt(run: Mapping[str, Any]) -> str:
    return (
        f"{run['photograph']} after {plural(run['steps'], 'step')}, changed by at most {run['linf_levels']} of 255 "
        f"levels: the network sees {_is(run)}."
    )


def _row(
    study: Study, numbers: dict[str, Any], name: str, index: int, run: int, picture: np.ndarray, files: Files
) -> list[tuple[str, np.ndarray, str, str]]:
    found, original = numbers["networks"][name][run], study.pixels[numbers["owners"][run]]
    stem, target = found["photograph"], found["target"]["name"]
    file = f"{index + 1}-{stem}-{run}"
    psnr = "no change" if found["psnr_db"] is None else f"PSNR {found['psnr_db']:.1f} dB"
    size = f"at most {found['linf_levels']} levels, {psnr}"
    return [
        (f"photo-{stem}", original, _was(found), f"The photograph {stem}: {_was(found)}."),
        (f"fooled-{file}", picture, _is(found), _alt(found)),
        (
            f"difference-{file}",
            figures.difference_picture(original, picture),
            size,
            f"Change of {stem} to {target} around grey: {size}.",
        ),
        (
            f"magnified-{file}",
            figures.difference_picture(original, picture, gain=_GAIN),
            f"{target}, {_GAIN:g} times, L2 {found['l2_levels']:.0f} levels",
            f"Change of {stem} to {target}, {_GAIN:g} times: grey where nothing changed; L2 norm "
            f"{found['l2_levels']:.0f} levels.",
        ),
    ]


def _table(runs: list[dict[str, Any]], name: str) -> Table:
    rows = [
        (
            run["photograph"],
            run["target"]["name"],
            "reached" if run["reached"] else "stalled" if run["stalled"] else "not reached",
            str(run["steps"]),
            number(run["l2_levels"], 0),
            str(run["linf_levels"]),
            number(run["psnr_db"], 1),
            f"{percent(run['target_before'])} → {percent(run['target']['probability'])}",
            f"{percent(run['original']['probability'])} → {percent(run['original_after'])}",
        )
        for run in runs
    ]
    columns = ("photograph", "target", "", "steps", "L2", "L∞", "PSNR, dB", "target's probability", "first class's")
    return Table(f"{name}: every run. L2 and L∞ in 8-bit levels.", columns, rows)
