"""The page of `measurements.noise`."""

from typing import Any

from jaxviz.report._blocks import Files, Pictures, Section, Table
from jaxviz.report._measures import roughness
from jaxviz.report._plots import heat
from jaxviz.report._study import Study
from jaxviz.report._text import mean, number, of
from jaxviz.report.measurements.noise import TITLE

_METHODS = ("gradient", "SmoothGrad")


def section(study: Study, numbers: dict[str, Any], arrays: Any, files: Files) -> Section:
    """What was found, as a part of the page."""
    settings = numbers["settings"]
    return Section(
        "noise",
        "Question 2",
        TITLE,
        idea=[
            "A gradient looks at an infinitely small neighbourhood. Networks of many pieces that are each linear "
            "change their slope from one pixel value to the next, and the map shows that as grain. SmoothGrad asks "
            "for the gradient many times, each time at the photograph with other random noise on it, and takes the "
            "mean. Integrated gradients takes it along the way from a grey picture to the photograph.",
        ],
        finding=findings(numbers),
        blocks=[*_grids(study, numbers, arrays, files), _table(study, numbers)],
        method=[
            "Every value of a photograph goes one level of 255 up, down, or stays as it is, at random; "
            f"{settings['copies']} such copies. Spearman's rank correlation compares the order of the pixels in the "
            "map of the photograph and of its copy: 1 is the same order, 0 no relation. Roughness is the mean "
            "difference of neighbouring pixels over the mean of the map: 0 is even, about 1 is what unrelated "
            "neighbours have.",
            f"SmoothGrad: {settings['num_samples']} samples of normal noise of deviation {settings['noise_scale']:g} "
            f"in normalized input space, drawn anew for each map. Integrated gradients: {settings['num_steps']} "
            "points of the Gauss-Legendre rule, from the mean colour; shown is the sum of absolute shares of the "
            "three colours.",
        ],
        limits=[
            "A steady map is not therefore a true one: the mean of many gradients answers the question of a blurred "
            "network. What these maps are worth as evidence is the next section's question.",
        ],
    )


def findings(numbers: dict[str, Any]) -> list[str]:
    """In sentences."""
    sentences = []
    for name, found in numbers["networks"].items():
        plain, smooth = (mean([each[kind]["rank_correlation"] for each in found]) for kind in _METHODS)
        rough, even = (mean([each[kind]["roughness"] for each in found]) for kind in _METHODS)
        draws = mean([each["rank_correlation_of_two_draws"] for each in found])
        largest = max(each["largest_change_of_probability"] for each in found)
        if plain is None or smooth is None or rough is None or even is None:
            sentences.append(f"{name}: the maps are all zero, so there is nothing to compare.")
            continue
        steadier = sum(
            (each["SmoothGrad"]["rank_correlation"] or 0) > (each["gradient"]["rank_correlation"] or 0)
            for each in found
        )
        verdict = "steadier than" if smooth > plain + 0.02 else "less steady than" if smooth < plain - 0.02 else "like"
        texture = "smoother" if even < 0.95 * rough else "rougher" if even > 1.05 * rough else "equally rough"
        sentences.append(
            f"{name}: after a change that nobody can see, and that moves no probability by more than "
            f"{number(100 * largest, 1)} points, the gradient's map keeps a rank correlation of {number(plain)} with "
            f"itself. SmoothGrad's is {verdict} that ({number(smooth)}; higher for {of(steadier, len(found))}) and "
            f"{texture} to look at (roughness {number(even)}, the gradient's {number(rough)})."
            + (
                f" That is its own sampling: two draws of SmoothGrad for the same photograph agree no better "
                f"({number(draws)}), so more samples would steady it."
                if draws is not None and draws < smooth + 0.02
                else f" Two draws of SmoothGrad for the same photograph agree with {number(draws)}."
            )
        )
    return sentences


def _grids(study: Study, numbers: dict[str, Any], arrays: Any, files: Files) -> list[Pictures]:
    grids = []
    for index, network in enumerate(study.networks):
        rows = []
        for kind, maps in arrays[network.name].items():
            row = []
            for photograph, values, found in zip(
                study.photographs, maps, numbers["networks"][network.name], strict=True
            ):
                steady = found[kind]["rank_correlation"] if kind in found else None
                rough = roughness(values)
                alt = f"{kind} of {photograph.stem}: a map of roughness {number(rough)}" + (
                    f" that keeps a rank correlation of {number(steady)} under noise." if steady is not None else "."
                )
                name = f"noise-{index + 1}-{kind.replace(' ', '-').lower()}-{photograph.stem}"
                row.append((name, heat(values), f"{photograph.stem}, {kind}", alt))
            rows.append(row)
        grids.append(files.pictures(f"noise-{index + 1}", rows, caption=f"{network.name}: three ways to make a map."))
    return grids


def _table(study: Study, numbers: dict[str, Any]) -> Table:
    rows = [
        (
            photograph.stem,
            name,
            *(number(each[kind]["rank_correlation"]) for kind in _METHODS),
            *(number(each[kind]["roughness"]) for kind in _METHODS),
        )
        for name, found in numbers["networks"].items()
        for photograph, each in zip(study.photographs, found, strict=True)
    ]
    columns = (
        "photograph", "network", "rank correlation, gradient", "SmoothGrad", "roughness, gradient", "SmoothGrad",
    )  # fmt: skip
    return Table("Rank correlation with the map after noise of one level, and roughness.", columns, rows)
