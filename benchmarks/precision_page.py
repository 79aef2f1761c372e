"""The page of `python -m benchmarks precision` and the README's table, from the JSON alone."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxviz._core.files import replacing


def summary(row: dict[str, Any], reference: dict[str, Any]) -> dict[str, float]:
    """The figures of a precision.

    Args:
        row: lists by image and by class.
        reference: those of float32.
    """
    fooled, expected = np.array(row["fooled"]), np.array(reference["fooled"])
    both = fooled & expected
    changes = (np.array(row["steps"]) - np.array(reference["steps"]))[both]
    low, middle, high = np.quantile(changes, [0.25, 0.5, 0.75]) if both.any() else [np.nan] * 3
    score, expected_score = (np.array(found["score"]) for found in (row, reference))
    gains = score / expected_score - 1
    return {
        "correlation": float(np.median(row["correlations"])),
        "least_correlation": min(row["correlations"]),
        "steps": float(middle),
        "steps_low": float(low),
        "steps_high": float(high),
        "same_steps": float((changes == 0).mean()),
        "same_outcome": float((fooled == expected).mean()),
        "float32_fooled": float((np.array(row["float32_fooled"]) & fooled).sum() / max(fooled.sum(), 1)),
        "score": float(np.median(gains)),
        "score_low": float(gains.min()),
        "score_high": float(gains.max()),
        "mean_score": float(score.mean() / expected_score.mean() - 1),
    }


def readme_table(record: dict[str, Any]) -> str:
    """One row for each precision."""
    lines = [
        "| beside float32 | rank correlation of maps, median (least) | steps to fool, change, median (quartiles) "
        "| same outcome | fools float32, too | final score of a class, change, median (range) |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        found = summary(row, record["reference"])
        lines.append(
            f"| {row['name']} | {found['correlation']:.4f} ({found['least_correlation']:.4f}) "
            f"| {found['steps']:+g} ({found['steps_low']:+g} to {found['steps_high']:+g}) "
            f"| {found['same_outcome']:.0%} | {found['float32_fooled']:.0%} "
            f"| {found['score']:+.1%} ({found['score_low']:+.0%} to {found['score_high']:+.0%}) |"
        )
    reference = record["reference"]
    steps = np.median(np.array(reference["steps"])[np.array(reference["fooled"])])
    lines += [
        "",
        f"SqueezeNet 1.1, {record['images']} photographs, {len(record['classes'])} classes climbed for "
        f"{record['num_steps']} steps; float32 fools with {np.mean(reference['fooled']):.0%} of the images, after "
        f"{steps:g} steps in the median. Measured on a CPU, where float32 is float32; products of bfloat16 and of TF32 "
        f"are emulated. jax {record['machine']['versions']['jax']}.",
    ]
    return "\n".join(lines) + "\n"


def write(file: Path, record: dict[str, Any]) -> None:
    """Writes the page."""
    details = ["| precision | same number of steps | mean of the final scores, change |", "|---|---|---|"]
    for row in record["rows"]:
        found = summary(row, record["reference"])
        details.append(f"| {row['name']} | {found['same_steps']:.0%} | {found['mean_score']:+.1%} |")
    classes = [
        f"| class | {' | '.join(['float32', *(row['name'] for row in record['rows'])])} |",
        "|" + "---|" * (len(record["rows"]) + 2),
    ]
    for i, index in enumerate(record["classes"]):
        scores = [found["score"][i] for found in (record["reference"], *record["rows"])]
        classes.append(f"| {index} | {' | '.join(f'{score:.1f}' for score in scores)} |")
    with replacing(file) as temporary:
        temporary.write_text(
            "\n".join(["# Precision", "", readme_table(record), _HOW, *details, "", "Final scores:", "", *classes, ""])
        )


_HOW = """\
- *bfloat16*: `load_model(..., dtype=bfloat16)`, weights and activations; scores and the climbing image are float32.
- *products of bfloat16*: float32 arrays, the operands of each convolution rounded to bfloat16, forward and backward,
  and added up in float32: what a TPU does with float32 by default. Emulated in benchmarks/precision.py, since XLA's
  CPU backend computes float32 convolutions in float32 whatever precision is asked for.
- *products of TF32*: the same with the 10 bits of a TF32: what a recent NVIDIA GPU does by default.
- *images changed*: float32 from images and noise a millionth away (relative). What differs there is chaos, not
  precision: a climb of 200 steps magnifies any difference, as that of another program or library would. The maps that
  change most are of the photographs with the most equal neighbouring pixels, where maxima tie until they are changed.
- Rank correlation: Spearman's, over the pixels of a photograph's map for its label. Steps to fool: random targets,
  steps of 0.5, at most 100; the change is over the images that fooled in both. *Same outcome*: fooled or not, as in
  float32. *Fools float32, too*: of the images that fooled, the share that the float32 network takes for the target.
- Class visualization from the same noise with the same jitter; the final score is the precision's own.
"""
