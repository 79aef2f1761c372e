"""The page of `measurements.alternatives`."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxviz import figures
from jaxviz.report import _formulas
from jaxviz.report._blocks import Files, Plots, Section, Table
from jaxviz.report._measures import change
from jaxviz.report._plots import curves
from jaxviz.report._study import Study
from jaxviz.report._text import listed, number, of
from jaxviz.report.measurements.alternatives import ATTACKS, TITLE


def section(study: Study, numbers: dict[str, Any], arrays: Any, files: Files) -> Section:
    """What was found, as a part of the page."""
    blocks: list[Any] = [_formulas.FGSM]
    panels = [_panel(numbers, aim, files) for aim in ("away", "towards")]
    caption = (
        f"{numbers['network']}: success over the size of the change, away from the class (left) and towards a target "
        f"(right)."
    )
    blocks.append(Plots(caption, panels))
    middle = len(numbers["sizes"]) // 2
    size, photograph = numbers["sizes"][middle], study.photographs[0]
    rows: list[list[Any]] = [[], []]
    for attack in ATTACKS:
        picture = arrays["towards", attack][middle, 0]
        found = change(photograph.pixels, picture)
        text = f"{attack}: at most {found['linf_levels']} levels, PSNR {number(found['psnr_db'], 1)} dB"
        name = attack.replace(" ", "-").replace("∞", "inf").lower()
        alt = f"{photograph.stem} after {attack} of size {size:g} towards {numbers['target']}: {text}."
        rows[0].append((f"attack-{name}", picture, text, alt))
        magnified = figures.difference_picture(photograph.pixels, picture, gain=10.0)
        rows[1].append(
            (
                f"attack-{name}-magnified",
                magnified,
                "difference, 10 times",
                f"Difference of {attack}, 10 times, {text}.",
            )
        )
    blocks.append(
        files.pictures("attacks", rows, caption=f"{photograph.stem} towards {numbers['target']}, size {size:g} levels.")
    )
    blocks.append(_table(numbers))
    return Section(
        "alternatives",
        "Question 7",
        TITLE,
        idea=[
            "The naive method walks until it arrives, however far that is. The fast gradient sign method (FGSM) takes "
            "one step of a given size, and every value of the picture moves by exactly ε, up or down. Projected "
            "gradient descent (PGD) takes many small steps and comes back to the edge whenever it has left the allowed "
            "distance; distance may mean the largest change (L∞) or the Euclidean one (L2)."
        ],
        finding=findings(numbers),
        blocks=blocks,
        method=[
            "Size is the root mean square change in levels of 255. For L∞ the limit ε is that number; for L2 it is "
            f"that number times the square root of the {numbers['values']:,} values, the length that FGSM reaches, so "
            f"all three may go equally far in Euclidean norm. PGD takes {numbers['num_steps']} steps of 2.5 ε / "
            f"{numbers['num_steps']}. J is the cross-entropy. Pictures are judged with exact numbers. "
            "The dotted line is the naive method of question 5: the share that has arrived with a change of at most "
            "that size."
        ],
        limits=[
            f"Only {numbers['network']} was attacked. L∞ and L2 are not what an eye measures: a change of equal norm "
            "can be hidden in grass and seen in the sky.",
        ],
    )


def findings(numbers: dict[str, Any]) -> list[str]:
    """In sentences."""
    sentences, sizes = [], numbers["sizes"]
    for aim, words in (("away", "to lose the class"), ("towards", "to reach the target")):
        found = numbers["curves"][aim]
        halves = {attack: _half(sizes, each) for attack, each in found.items()}
        arrived = {attack: size for attack, size in halves.items() if size is not None}
        if not arrived:
            sentences.append(f"No attack manages {words} for half of the pictures at sizes up to {sizes[-1]:g} levels.")
            continue
        least = min(arrived.values())
        cheapest = [attack for attack, size in arrived.items() if size == least]
        last = [f"{attack} {of(each['successes'][-1], each['runs'])}" for attack, each in found.items()]
        sentences.append(
            f"{words.capitalize()} for at least half of the pictures, {_levels(least)} enough for {listed(cheapest)}"
            + "".join(
                f"; {attack} " + (f"needs {size:g}" if size is not None else "never gets there")
                for attack, size in halves.items()
                if attack not in cheapest
            )
            + f". At {sizes[-1]:g} levels: {listed(last)}."
        )
    one = {aim: found["FGSM"]["successes"][-1] / found["FGSM"]["runs"] for aim, found in numbers["curves"].items()}
    if one["away"] >= 0.5 and one["towards"] < one["away"] / 2:
        sentences.append(
            "One step is enough to destroy an answer, but not to choose another: FGSM rarely reaches the target."
        )
    kept = numbers["kept"]
    strong = [attack for attack, count in kept["8-bit save"].items() if count]
    if strong:
        parts = [
            f"{attack} {kept['JPEG 75'][attack]} after JPEG 75 and {kept['1 px shift'][attack]} after a shift of one "
            f"pixel, of {kept['8-bit save'][attack]}"
            for attack in strong
        ]
        sentences.append(
            f"Of the pictures that reach the target at {sizes[-1]:g} levels, these keep it: {'; '.join(parts)}."
        )
    own = numbers["practical"]
    if own["rms_levels"]:
        sentences.append(
            f"The naive method arrives in {of(len(own['rms_levels']), own['runs'])} runs, with a change of "
            f"{number(own['rms_levels'][len(own['rms_levels']) // 2], 2)} levels in the middle one."
        )
    return sentences


def _levels(size: float | int) -> str:
    return "1 level is" if size == 1 else f"{size:g} levels are"


def _half(sizes: Sequence[float | int], found: Mapping[str, Any]) -> float | int | None:
    return next((s for s, count in zip(sizes, found["successes"], strict=True) if 2 * count >= found["runs"]), None)


def _panel(numbers: dict[str, Any], aim: str, files: Files) -> tuple[str, str, str]:
    sizes, found = numbers["sizes"], numbers["curves"][aim]
    lines = {attack: [100 * count / each["runs"] for count in each["successes"]] for attack, each in found.items()}
    verb = "class lost, %" if aim == "away" else "target reached, %"

    def draw(axes: Any, palette: Any) -> None:
        curves(axes, palette, sizes, lines, labels=("size of the change, levels (root mean square)", verb), marked=True)
        own = numbers["practical"]
        if aim == "towards" and own["rms_levels"]:
            x = [*own["rms_levels"], sizes[-1]]
            y = [*(100 * (i + 1) / own["runs"] for i in range(len(x) - 1)), 100 * (len(x) - 1) / own["runs"]]
            axes.step(x, y, where="post", color=palette.lines[3], linestyle=":", label="naive, until it works")
            axes.legend()
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.set_ylim(-4, 104)

    ends = listed(f"{attack} {number(y[0], 0)} % to {number(y[-1], 0)} %" for attack, y in lines.items())
    alt = f"{verb} over the size of the change, from {sizes[0]:g} to {sizes[-1]:g} levels: {ends}."
    return files.plot(f"attacks-{aim}", draw, alt=alt)


def _table(numbers: dict[str, Any]) -> Table:
    rows = [
        (
            attack,
            "away" if aim == "away" else "towards",
            *(f"{count} of {each['runs']}" for count in each["successes"]),
        )
        for aim, found in numbers["curves"].items()
        for attack, each in found.items()
    ]
    return Table(
        "Successes at each size, in levels.", ("attack", "aim", *(f"{size:g}" for size in numbers["sizes"])), rows
    )
