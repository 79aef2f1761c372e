"""The report's sentences follow from its numbers: other numbers, other sentences."""

import copy

import pytest

from jaxviz.report import _text
from jaxviz.report.measurements.survival import CONTROL, KINDS, TRANSFORMATIONS
from jaxviz.report.pages import (
    alternatives,
    comparison,
    evidence,
    fooling,
    localization,
    noise,
    randomization,
    survival,
    transfer,
    visualization,
    visualization_settings,
)


def words(findings, numbers, **changes):
    """The sentences for the numbers, after the changes of {"a/b/0": value}."""
    numbers = copy.deepcopy(numbers)
    for path, value in changes.pop("to", {}).items():
        *places, last = [int(part) if part.isdecimal() else part for part in path.split("|")]
        at = numbers
        for place in places:
            at = at[place]
        at[last] = value
    return " ".join(findings(numbers, **changes))


def test_figures_in_words():
    assert [_text.percent(share) for share in (0, 1e-5, 0.5, 0.123, 0.9999, 1)] == [
        "0\u00a0%", "<\u00a00.1\u00a0%", "50\u00a0%", "12.3\u00a0%", ">\u00a099.9\u00a0%", "100\u00a0%",
    ]  # fmt: skip
    assert [_text.of(count, 3) for count in (0, 2, 3)] == ["none of the 3", "2 of 3", "all 3"]
    assert _text.of(0, 1) == "0 of 1"
    assert [_text.listed("abc"[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
    assert (_text.plural(1, "step"), _text.plural(1200, "step")) == ("1 step", "1,200 steps")
    assert (_text.plural(2, "class", "classes"), _text.number(None)) == ("2 classes", "\u2013")
    assert (_text.span([3, 9, 4]), _text.span([2, 2])) == ("3 to 9", "2")
    assert (_text.mean([1, None, 3]), _text.mean([None])) == (2, None)
    assert (_text.median([5, 1, 2]), _text.median([4, 1])) == (2, 2.5)


RUN = {
    "photograph": "cat", "target": {"index": 6, "name": "stingray", "probability": 0.6}, "target_before": 0.0,
    "original": {"index": 1, "name": "cat", "probability": 0.9}, "original_after": 0.1,
    "seen": {"index": 6, "name": "stingray", "probability": 0.6}, "reached": True, "stalled": False, "steps": 14,
    "l2_levels": 300.0, "rms_levels": 0.8, "linf_levels": 12, "psnr_db": 50.0,
}  # fmt: skip


def test_fooling():
    numbers = {
        "settings": {"step_size": 0.5, "max_steps": 100},
        "likeness": 0.1,
        "networks": {"net": [RUN, {**RUN, "steps": 9}]},
    }
    good = words(fooling.findings, numbers)
    assert "reached in all 2 runs, after 9 to 14 steps" in good
    assert "no change can be seen" in good
    assert "half of the probability or more in all 2" in good
    assert "quite different" in good
    bad = words(
        fooling.findings,
        numbers,
        to={
            "networks|net|0|reached": False, "networks|net|0|stalled": True, "networks|net|1|psnr_db": 30.0,
            "networks|net|1|target": {"index": 6, "name": "stingray", "probability": 0.2}, "likeness": 0.7,
        },
    )  # fmt: skip
    assert "reached in 1 of 2 runs, after 9 steps" in bad
    assert "the score of stingray has a gradient of exactly zero" in bad
    assert "grain" in bad
    assert "stops on the edge" in bad
    assert "much the same" in bad
    late = words(fooling.findings, numbers, to={"networks|net|0|reached": False})
    assert "1 run did not arrive within 100 steps" in late


def kept(count, runs, save=None):
    found = dict.fromkeys(TRANSFORMATIONS, count)
    return {"runs": runs, "kept": {**found, "8-bit save": runs if save is None else save}, "rms_levels": 1.0}


def test_survival():
    numbers = {
        "confidence": 0.9,
        "networks": {
            "net": {CONTROL: kept(5, 5), **dict(zip(KINDS, (kept(0, 15, 8), kept(1, 15), kept(9, 15)), strict=True))}
        },
    }
    fragile = words(survival.findings, numbers)
    assert "8 of 15 survive the save" in fragile
    assert "JPEG of quality 75 1 of 15 are left" in fragile
    assert "does not survive any of the transformations in most cases" in fragile
    assert "more survive: 9 of 15 after JPEG 75" in fragile
    assert "keep their class under every transformation" in fragile
    sturdy = words(
        survival.findings, numbers, to={f"networks|net|{KINDS[1]}": kept(14, 15), f"networks|net|{CONTROL}": kept(3, 5)}
    )
    assert "here fooling is robust" in sturdy
    assert "fewer survive" in sturdy
    assert "keep their class in 3 of 5 at worst" in sturdy
    mixed = words(survival.findings, numbers, to={f"networks|net|{KINDS[1]}|kept|JPEG 95": 15})
    assert "at least half survive JPEG 95" in mixed
    none = words(survival.findings, numbers, to={f"networks|net|{KINDS[1]}": kept(0, 0)})
    assert "nothing that could survive" in none


def test_noise():
    found = {
        "gradient": {"rank_correlation": 0.5, "roughness": 1.0},
        "SmoothGrad": {"rank_correlation": 0.8, "roughness": 0.4},
        "largest_change_of_probability": 0.01, "rank_correlation_of_two_draws": 0.9,
    }  # fmt: skip
    numbers = {"networks": {"net": [found]}}
    assert "SmoothGrad's is steadier than that (0.80; higher for 1 of 1) and smoother" in words(noise.findings, numbers)
    worse = words(
        noise.findings, numbers, to={"networks|net|0|SmoothGrad": {"rank_correlation": 0.3, "roughness": 2.0}}
    )
    assert "less steady than that" in worse
    assert "rougher" in worse
    sampled = words(noise.findings, numbers, to={"networks|net|0|rank_correlation_of_two_draws": 0.8})
    assert "more samples would steady it" in sampled
    dead = words(noise.findings, numbers, to={"networks|net|0|gradient|rank_correlation": None})
    assert "nothing to compare" in dead


def test_evidence():
    tangent = {"scores": [[1.0, 2.0, 2.5]], "slopes": [1.0]}
    numbers = {"distances": [0, 1, 10], "networks": {"net": {"tangent": tangent}}}
    assert "as far as t = 1; at t = 10 the score has gained 15 %" in words(evidence.tangent_findings, numbers)
    curved = words(evidence.tangent_findings, numbers, to={"networks|net|tangent|slopes": [4.0]})
    assert "off by more than a quarter already at t = 1" in curved
    areas = dict(zip((*evidence.MAPS, *evidence.CONTROLS), (0.1, 0.2, 0.3, 0.25, 0.4), strict=True))
    curves = {order: {"areas": [area, area]} for order, area in areas.items()}
    numbers = {"networks": {"net": {"deletion": curves, "insertion": curves}}}
    text = words(evidence.curve_findings, numbers)
    assert "deletion: gradient and SmoothGrad do better than both controls" in text
    assert "insertion: no map does better than the better control" in text
    assert "gradient beats it for all 2" in text
    assert "integrated gradients beats it for none of the 2" in text


@pytest.mark.parametrize(
    ("last", "verdict"), [(0.1, "depend on what was learned"), (0.5, "own structure"), (0.9, "hardly depend")]
)
def test_randomization(last, verdict):
    numbers = {"networks": {"net": {"layers": ["fc", "conv"], "rank_correlations": [[0.8, 0.8], [last, None]]}}}
    text = words(randomization.findings, numbers)
    assert verdict in text
    assert f"{last:.2f} when all 2 are" in text
    assert "1 map of 4 came out as zeros" in text


def test_localization():
    yes, no = {"first": True, "probability": 0.9}, {"first": False, "probability": 0.1}
    good = {
        "whole": yes, "inside alone": yes, "without it": no, "central box alone": no, "without the central box": yes,
    }  # fmt: skip
    assert "better than the middle does" in words(localization.findings, {"networks": {"net": [good]}})
    bad = {**good, "inside alone": no, "without it": yes, "central box alone": yes, "without the central box": no}
    assert "no better than the middle" in words(localization.findings, {"networks": {"net": [bad]}})
    assert "as good as the middle" in words(localization.findings, {"networks": {"net": [good, bad]}})


def test_comparison():
    pair = {"networks": ["A", "B"], "fine": [0.3], "coarse": [0.8], "coarse_of_others": [0.2], "box_overlap": [0.5]}
    noise_of = {"A": {"rank_correlation": 0.9, "roughness": 0.4}, "B": {"rank_correlation": 0.5, "roughness": 0.9}}
    numbers = {"networks": ["A", "B"], "pairs": [pair], "noise": noise_of}
    text = words(comparison.findings, numbers)
    assert "A has the less noisy maps" in text
    assert "the same regions" in text
    other = words(comparison.findings, numbers, to={"noise|A|roughness": 1.5, "pairs|0|coarse_of_others": [0.79]})
    assert "neither has clearly less noisy maps" in other
    assert "no more alike regions" in other
    assert "This report is of A alone" in words(comparison.findings, numbers, to={"pairs": []})


def attack(*successes):
    return {"successes": list(successes), "runs": 10}


def test_alternatives():
    steps = {"FGSM": attack(2, 9), "L∞ PGD": attack(8, 10), "L2 PGD": attack(9, 10)}
    numbers = {
        "sizes": [1, 4],
        "curves": {"away": steps, "towards": {**steps, "FGSM": attack(0, 1)}},
        "kept": {"8-bit save": {"FGSM": 1}, "JPEG 75": {"FGSM": 0}, "1 px shift": {"FGSM": 1}},
        "practical": {"rms_levels": [0.5, 1.5, 3.0], "runs": 15},
    }
    text = words(alternatives.findings, numbers)
    assert "1 level is enough for L∞ PGD and L2 PGD; FGSM needs 4." in text
    assert "FGSM never gets there" in text
    assert "FGSM rarely reaches the target" in text
    assert "FGSM 0 after JPEG 75 and 1 after a shift of one pixel, of 1" in text
    assert "arrives in 3 of 15 runs, with a change of 1.50 levels" in text
    weak = words(alternatives.findings, numbers, to={"curves|away": {name: attack(0, 1) for name in steps}})
    assert "No attack manages to lose the class for half" in weak
    assert "rarely reaches" not in weak


def test_transfer():
    def found(kind, target, changed):
        return {"kind": kind, "made_for": "A", "judged_by": "B", "runs": 10, "target": target, "changed": changed}

    own = {"kind": "at once", "made_for": "A", "judged_by": "A", "runs": 10, "target": 10, "changed": 10}
    numbers = {"networks": ["A", "B"], "found": [own, found("at once", 0, 1), found("FGSM", 1, 7), found("PGD", 8, 9)]}
    text = words(transfer.findings, numbers)
    assert "At once: another network sees the target in none of the 10 cases" in text
    assert "changes its answer in 1 of 10: it hardly transfers" in text
    assert "but the answer is upset" in text
    assert "8 of 10 cases and changes its answer in 9 of 10: the attack transfers" in text
    assert "no other network to judge" in words(transfer.findings, numbers, to={"networks": ["A"]})


def climb(step_size, l2_weight, last, **fields):
    spider = {"index": 76, "name": "tarantula", "probability": 0.9}
    return {
        "target": spider, "seen": spider, "start": "noise", "step_size": step_size, "l2_weight": l2_weight,
        "scores": [1.0, last / 2, last], "roughness": 0.5, "at_the_limits": step_size / 100, "judged_by_others": {},
        **fields,
    }  # fmt: skip


def test_visualization():
    numbers = {"networks": {"net": [climb(5.0, 1e-3, 50.0, judged_by_others={"other": 0.01})]}}
    text = words(visualization.climb_findings, numbers, name="net", rows=[0])
    assert "climbs from 1.0 to 50.0 in 3 steps" in text
    assert "takes the result for tarantula" in text
    assert "other gives it 1\u00a0%" in text
    numbers["networks"]["net"][0] |= {"scores": [3.0, 2.0], "seen": {"index": 1, "name": "goldfish", "probability": 1}}
    text = words(visualization.climb_findings, numbers, name="net", rows=[0])
    assert "does not climb (3.0 at first, 2.0 at the end)" in text
    assert "for goldfish, not for tarantula" in text


def test_grid():
    grid = {"step_sizes": [1.0, 5.0], "l2_weights": [0.0, 1.0], "class": "tarantula"}
    cells = [climb(1.0, 0.0, 20.0), climb(1.0, 1.0, 10.0), climb(5.0, 0.0, 90.0), climb(5.0, 1.0, 30.0, roughness=0.1)]
    numbers = {"grid": grid, "networks": {"net": cells}}
    text = words(visualization_settings.grid_findings, numbers, name="net", target=76)
    assert "90.0, has η = 5 with λ = 0; the lowest, 10.0, η = 1 with λ = 1" in text
    assert "makes the picture smoother" in text
    assert "drive more values to the limits of the range: 1\u00a0% at η = 1, 5\u00a0% at η = 5" in text
    assert "in all 2 at λ = 0" in text
    flat = {"networks|net|2|at_the_limits": 0.0, "networks|net|3|roughness": 0.9, "networks|net|0|scores": [20.0] * 3}
    text = words(visualization_settings.grid_findings, numbers, name="net", target=76, to=flat)
    assert "do not drive more values" in text
    assert "rougher" in text
    assert "1 of 2" in text
