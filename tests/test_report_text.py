"""The report's sentences follow from its numbers: other numbers, other sentences."""

import copy
import html
import re

import numpy as np
import pytest

from jaxviz.report import page, text
from jaxviz.report.topics import TOPICS, faithfulness
from jaxviz.report.topics.robustness import CONTROL, KINDS, TRANSFORMATIONS

JINJA = page.environment()


def finding(name, numbers, *, to=None, networks=("net",), **context):
    """The words under "Measured here" for the numbers, after the changes of {"a|b|0": value}."""
    numbers = copy.deepcopy(numbers)
    for path, value in (to or {}).items():
        *places, last = [int(part) if part.isdecimal() else part for part in path.split("|")]
        at = numbers
        for place in places:
            at = at[place]
        at[last] = value
    about = {"networks": [{"name": network} for network in networks], "photographs": [{"name": "cat"}]}
    template = JINJA.get_template(f"{name}.html")
    rendered = "".join(
        template.blocks["finding"](template.new_context({"numbers": numbers, "about": about, **context}))
    )
    words = re.sub(r"[ \n]+", " ", html.unescape(re.sub(r"<[^>]*>", "", rendered)))
    assert not re.search(r" [.,;:]|[.,;:][A-Za-z]", words), words
    return words


def test_numbers_in_words():
    assert [text.percent(share) for share in (0, 1e-5, 0.5, 0.123, 0.9999, 1)] == [
        "0\u00a0%", "<\u00a00.1\u00a0%", "50\u00a0%", "12.3\u00a0%", ">\u00a099.9\u00a0%", "100\u00a0%",
    ]  # fmt: skip
    assert [text.of(count, 3) for count in (0, 2, 3)] == ["none of 3", "2 of 3", "all 3"]
    assert [text.of(count, 1) for count in (0, 1)] == ["0 of 1", "1 of 1"]
    assert [text.listed("abc"[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
    assert (text.plural(1, "step"), text.plural(1200, "step")) == ("1 step", "1,200 steps")
    assert (text.plural(2, "class", "classes"), text.number(None)) == ("2 classes", "\u2013")
    assert (text.span([3, 9, 4]), text.span([2, 2])) == ("3 to 9", "2")
    assert (text.mean([1, None, 3]), text.mean([None])) == (2, None)


def test_photographs():
    def record(name, probability, right=True, dead=0):
        predictions = [{"index": 1, "name": name, "probability": probability}]
        return {"predictions": predictions, "given_is_top": right, "dead_classes": dead}

    numbers = {"net": [record("cat", 0.9), record("cup", 0.5, right=False, dead=7)]}
    explained = [{"index": 1, "given": True}, {"index": 2, "given": True}]
    words = finding("photographs", numbers, explained=explained)
    assert "most certain of cat (90\u00a0%) and least certain of cup (50\u00a0%)" in words
    assert "predicts the given class for 1 of 2" in words
    assert "up to 7 classes of the 1000 have a score of exactly 0" in words
    words = finding("photographs", {"net": [record("cat", 0.9)]}, explained=[{"index": 1, "given": False}])
    assert words.strip() == "net predicts cat (90\u00a0%)."


def test_saliency():
    explained = [{"name": "cat"}, {"name": "cup"}]
    numbers = {"net": [{"box_area": 0.2}, {"box_area": 0.3}]}
    words = finding("saliency", numbers, settings={"share": 0.5}, explained=explained)
    assert "20\u00a0% of the picture for cat and 30\u00a0% of the picture for cup" in words
    assert "1 of 2 need less than half of that" in words
    assert "only vaguely" in finding(
        "saliency", numbers, settings={"share": 0.5}, explained=explained, to={"net|0|box_area": 0.4}
    )


RUN = {
    "photograph": "cat", "target": {"index": 6, "name": "stingray", "probability": 0.6}, "reached": True,
    "stalled": False, "steps": 14, "rms_change_in_levels": 0.8, "largest_change_in_levels": 12, "psnr_db": 50.0,
}  # fmt: skip


def test_fooling():
    numbers = {"net": {"runs": [RUN, {**RUN, "steps": 9}], "similarity": 0.1}}
    settings = {"max_steps": 100}
    good = finding("fooling", numbers, settings=settings)
    assert "reached in all 2 runs, after 9 to 14 iterations" in good
    assert "no change is visible" in good
    assert "50 % or more in all 2" in good
    assert "quite different" in good
    bad = finding(
        "fooling",
        numbers,
        settings=settings,
        to={
            "net|runs|0|reached": False, "net|runs|0|stalled": True, "net|runs|1|psnr_db": 30.0,
            "net|runs|1|target": {"index": 6, "name": "stingray", "probability": 0.2}, "net|similarity": 0.7,
        },
    )  # fmt: skip
    assert "reached in 1 of 2 runs, after 9 iterations" in bad
    assert "1 run stalled: the score of stingray has a gradient of exactly zero" in bad
    assert "grain" in bad
    assert "stops at the decision boundary" in bad
    assert "much the same" in bad
    late = finding("fooling", numbers, settings=settings, to={"net|runs|0|reached": False})
    assert "1 run did not reach the target within 100 iterations" in late


def kept(count, runs, save=None):
    counts = dict.fromkeys(TRANSFORMATIONS, count)
    return {"runs": runs, "kept": {**counts, "8-bit save": runs if save is None else save}, "rms_change_in_levels": 1.0}


def test_robustness():
    kinds = dict(zip(KINDS, (kept(0, 15, 8), kept(1, 15), kept(9, 15)), strict=True))
    numbers, settings = {"net": {CONTROL: kept(5, 5), **kinds}}, {"confidence": 0.9}
    fragile = finding("robustness", numbers, settings=settings)
    assert "8 of 15 still fool as 8-bit pictures" in fragile
    assert "1 of 15 still fool after JPEG of quality 75" in fragile
    assert "survives none of the transformations in most cases" in fragile
    assert "Over all transformations, more survive: after JPEG 75 9 of 15" in fragile
    assert "keep their class under every transformation" in fragile
    to = {f"net|{KINDS[1]}": kept(14, 15), f"net|{CONTROL}": kept(3, 5)}
    sturdy = finding("robustness", numbers, settings=settings, to=to)
    assert "here fooling is robust" in sturdy
    assert "fewer survive" in sturdy
    assert "keep their class in 3 of 5 at worst" in sturdy
    mixed = finding("robustness", numbers, settings=settings, to={f"net|{KINDS[1]}|kept|JPEG 95": 15})
    assert "at least half survive JPEG 95" in mixed
    none = finding("robustness", numbers, settings=settings, to={f"net|{KINDS[1]}": kept(0, 0)})
    assert "nothing to transform" in none


def test_noise():
    record = {
        "gradient": {"rank_correlation": 0.5, "roughness": 1.0},
        "SmoothGrad": {"rank_correlation": 0.8, "roughness": 0.4},
        "largest_change_of_probability": 0.01, "rank_correlation_of_two_draws": 0.9,
    }  # fmt: skip
    numbers = {"net": [record]}
    assert "SmoothGrad is more stable (0.80; higher for 1 of 1) and looks smoother" in finding("noise", numbers)
    worse = finding("noise", numbers, to={"net|0|SmoothGrad": {"rank_correlation": 0.3, "roughness": 2.0}})
    assert "less stable (0.30; higher for 0 of 1)" in worse
    assert "rougher" in worse
    sampled = finding("noise", numbers, to={"net|0|rank_correlation_of_two_draws": 0.8})
    assert "more samples would make it more stable" in sampled
    assert "nothing to compare" in finding("noise", numbers, to={"net|0|gradient|rank_correlation": None})


def test_faithfulness():
    areas = dict(zip((*faithfulness.MAPS, *faithfulness.CONTROLS), (0.1, 0.2, 0.3, 0.28, 0.29, 0.25, 0.4), strict=True))
    orders = {order: {"auc": [area, area], "mean_auc": area} for order, area in areas.items()}
    verdicts = {"deletion": faithfulness.verdict(orders, -1), "insertion": faithfulness.verdict(orders, 1)}
    tangent = {"median_share": [1.0, 0.15]}
    numbers = {"net": {"tangent": tangent, "deletion": orders, "insertion": orders, "verdicts": verdicts}}
    settings = {"settings": {"distances": (1, 10)}, "all_settings": {"fooling": {"step_size": 0.5}}}
    words = finding("faithfulness", numbers, **settings)
    assert "up to t = 1; at t = 10 the score has gained 15 %" in words
    assert "deletion: gradient and SmoothGrad are better than both controls" in words
    assert "insertion: no map is better than the better control" in words
    assert "gradient beats it for all 2" in words
    assert "integrated gradients beats it for none of 2" in words
    curved = finding("faithfulness", numbers, **settings, to={"net|tangent|median_share": [0.5, 1.0]})
    assert "wrong by more than a quarter already at t = 1" in curved


@pytest.mark.parametrize(
    ("last", "verdict"), [(0.1, "depend on what the network has learned"), (0.5, "structure"), (0.9, "hardly depend")]
)
def test_sanity_checks(last, verdict):
    numbers = {"net": {"layers": ["fc", "conv"], "rank_correlations": {"gradient": [[0.8, 0.8], [last, None]]}}}
    words = finding("sanity_checks", numbers)
    assert verdict in words
    assert f"{last:.2f} when all 2 are" in words
    assert "1 map of 4 had only zeros" in words


def test_localization():
    yes, no = {"is_top": True, "probability": 0.9}, {"is_top": False, "probability": 0.1}
    good = {"whole": yes, "inside": yes, "outside": no, "inside_central_box": no, "outside_central_box": yes}
    assert "better than the middle of the picture does" in finding("localization", {"net": [good]})
    bad = {**good, "inside": no, "outside": yes, "inside_central_box": yes, "outside_central_box": no}
    assert "no better than the middle" in finding("localization", {"net": [bad]})
    assert "as good as the middle" in finding("localization", {"net": [good, bad]})


def test_comparison():
    pair = {"networks": ["A", "B"], "fine": [0.3], "coarse": [0.8], "coarse_of_others": [0.2], "iou": [0.5]}
    numbers = {
        "A": {"rank_correlation": 0.9, "roughness": 0.4, "pairs": [pair]},
        "B": {"rank_correlation": 0.5, "roughness": 0.9, "pairs": []},
    }
    words = finding("comparison", numbers)
    assert "A has the less noisy maps" in words
    assert "the same regions" in words
    other = finding("comparison", numbers, to={"A|roughness": 1.5, "A|pairs|0|coarse_of_others": [0.79]})
    assert "neither has clearly less noisy maps" in other
    assert "not more alike than by chance" in other
    assert "This report is about net alone" in finding("comparison", numbers, to={"A|pairs": []})


def attack(*successes):
    enough = [size for size, count in zip((1, 4), successes, strict=True) if count >= 5]
    return {"successes": list(successes), "runs": 10, "size_for_half": min(enough, default=None)}


def test_attacks():
    away = {"FGSM": attack(2, 9), "L∞ PGD": attack(8, 10), "L2 PGD": attack(9, 10)}
    numbers = {
        "net": {
            "aims": {"away": away, "towards": {**away, "FGSM": attack(0, 1)}},
            "kept": {"FGSM": {"8-bit save": 1, "JPEG 75": 0, "1 px shift": 1}},
            "naive": {"rms_change_in_levels": [0.5, 1.5, 3.0], "runs": 15},
        }
    }
    settings = {"sizes": (1, 4)}
    words = finding("attacks", numbers, settings=settings)
    assert "FGSM needs 4 levels, L∞ PGD needs 1 level and L2 PGD needs 1 level." in words
    assert "FGSM never suffices" in words
    assert "FGSM rarely reaches the target" in words
    assert "FGSM: of the 1 8-bit picture" in words
    assert "0 of 1 keep it after JPEG 75, and 1 of 1 after a shift" in words
    assert "succeeds in 3 of 15 runs, with a median change of 1.50 levels" in words
    weak = finding("attacks", numbers, settings=settings, to={"net|aims|away": {name: attack(0, 1) for name in away}})
    assert "No attack can change the prediction for half" in weak
    assert "rarely reaches" not in weak


def test_transfer():
    def record(kind, target, changed, evaluation="B"):
        return {
            "kind": kind, "source_model": "A", "evaluation_model": evaluation, "runs": 10, "target": target,
            "changed": changed,
        }  # fmt: skip

    counts = {"first success": (0, 1), "FGSM": (1, 7), "PGD": (8, 9)}
    numbers = {
        "A": [record(kind, 10, 10, "A") for kind in counts],
        "B": [record(kind, *count) for kind, count in counts.items()],
    }
    words = finding("transfer", numbers, networks=("A", "B"))
    assert "Of the kind “first success”, the target is predicted in none of 10 cases" in words
    assert "changes in 1 of 10: the attack hardly transfers" in words
    assert "but most predictions change" in words
    assert "8 of 10 cases, and the prediction changes in 9 of 10: the attack transfers" in words
    assert "This report is about A alone" in finding("transfer", {"A": []}, networks=("A",))


def ascent(**fields):
    spider = {"index": 76, "name": "tarantula", "probability": 0.9}
    return {
        "target": spider, "prediction": spider, "start": "noise", "default": True, "scores": [1.0, 30.0, 50.0],
        "iterations_to_nine_tenths": 2, "other_models": {}, **fields,
    }  # fmt: skip


def test_visualization():
    words = finding("visualization", {"net": [ascent(other_models={"other": 0.01})]})
    assert "rises from 1.0 to 50.0 in 3 iterations, nine tenths of it after 2 iterations" in words
    assert "net classifies the result as tarantula" in words
    assert "other gives tarantula 1\u00a0%" in words
    goldfish = {"index": 1, "name": "goldfish", "probability": 1}
    words = finding("transformation", {"net": [ascent(start="cat", scores=[3.0, 2.0], prediction=goldfish)]})
    assert "does not rise (3.0 at first, 2.0 at the end)" in words
    assert "as goldfish, not as tarantula" in words
    assert TOPICS["visualization"]._iterations_to_nine_tenths(np.array([0.0, 8.0, 9.5, 10.0])) == 2
    assert TOPICS["visualization"]._iterations_to_nine_tenths(np.array([3.0, 2.0])) is None


def test_settings():
    def cell(step_size, l2_weight, score, roughness=0.5, rises=True):
        return {
            "grid": True, "step_size": step_size, "l2_weight": l2_weight, "final_score": score,
            "roughness": roughness, "share_at_limits": step_size / 100, "rises_in_second_half": rises,
        }  # fmt: skip

    cells = [cell(1.0, 0.0, 20.0), cell(1.0, 1.0, 10.0), cell(5.0, 0.0, 90.0), cell(5.0, 1.0, 30.0, roughness=0.1)]
    settings = {"step_sizes": (1.0, 5.0), "l2_weights": (0.0, 1.0)}

    def words(cells):
        return finding("settings", {"net": cells}, settings=settings)

    assert "90.0, has η = 5 and λ = 0; the lowest, 10.0, has η = 1 and λ = 1" in words(cells)
    assert "makes the picture smoother" in words(cells)
    assert "push more values to the limits of the range: 1\u00a0% at η = 1, 5\u00a0% at η = 5" in words(cells)
    assert "in all 2 at λ = 0" in words(cells)
    flat = [
        cell(1.0, 0.0, 20.0, rises=False),
        cells[1],
        {**cells[2], "share_at_limits": 0.0},
        cell(5.0, 1.0, 30.0, 0.9),
    ]
    assert "do not push more values" in words(flat)
    assert "rougher" in words(flat)
    assert "1 of 2" in words(flat)
    assert TOPICS["visualization"]._rises_in_second_half([1.0, 10.0, 11.0])
    assert not TOPICS["visualization"]._rises_in_second_half([1.0, 10.0, 10.1])


def test_others():
    numbers = {"A": [ascent(other_models={"B": 0.6})], "B": [ascent(other_models={"A": 0.1})]}
    words = finding("others", numbers, networks=("A", "B"))
    assert "A predicts the class for 1 of 1 of its own pictures" in words
    assert "in 1 of 1 cases. B" in words
    assert "in 0 of 1 cases: most pictures mean something only to the network that made them" in words
