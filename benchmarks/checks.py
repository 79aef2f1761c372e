"""Do two forms compute the same? The tolerances, and why they are what they are."""

import numpy as np

from benchmarks.workloads import Method, Workload

# The inputs are off the ties of max pooling: see `inputs`. But in float32 a unit whose input is zero up to rounding is
# on in one program and off in another, and some pixels of a map jump: seen up to 1.5e-3 of the map, between PyTorch's
# float32 and its own float64 too. So the median over the images; 4e-7 for SqueezeNet; and of a batch too small for one,
# each map with room for a jump. VGG16 has ten times the units, and random weights: its maps of PyTorch's own two
# layouts are 4e-4 apart in the median, jaxviz's 3e-4 from one.
MAP_DIFFERENCE = {"squeezenet1_1": 1e-5, "vgg16": 1e-3}
MAP_JUMP, FEWEST_FOR_MEDIAN = 5e-3, 8
# A climb is chaotic: each step multiplies the difference that rounding made about tenfold. Its first steps agree
# closely; where it leads, the mean score of its second half, only roughly: those of PyTorch's own two layouts were up
# to 19 % apart after 20 steps and 9 % after 200, less in the mean over several climbs.
FIRST_STEPS, FIRST_SCORES, LAST_SCORES, LAST_SCORES_OF_ONE = 3, 1e-3, 0.1, 0.25
# The last step before a class changes may fall to either side of the border, and a long way may part. Of a few images
# one and two may.
SAME_FOOLED, SAME_STEPS = 0.90, 0.85
# The attack library climbs another function, the log-probability, in pixels; all it must do is fool.
LIBRARY_FOOLED = 0.5


class DisagreementError(Exception):
    """The results of a form are not those of the reference."""


def compare(workload: Workload, found: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> dict[str, float]:
    """The differences of a form's results from the reference's, by name.

    Raises:
        DisagreementError: they are larger than the tolerances.
    """
    if workload.method == "saliency":
        return _maps(found, reference, MAP_DIFFERENCE[workload.network])
    return (_fooling if workload.method == "fooling" else _climbs)(found, reference)


def compare_library(found: dict[str, np.ndarray]) -> dict[str, float]:
    """The share of images that an attack library fooled, on its own way.

    Raises:
        DisagreementError: too few.
    """
    fooled = float(found["fooled"].mean())
    if not fooled >= LIBRARY_FOOLED:
        raise DisagreementError(f"{fooled:.0%} of the images fooled, not {LIBRARY_FOOLED:.0%}")
    return {"fooled": fooled}


def _maps(found: dict[str, np.ndarray], reference: dict[str, np.ndarray], most: float) -> dict[str, float]:
    expected = reference["maps"]
    differences = np.abs(found["maps"] - expected).sum((1, 2)) / expected.sum((1, 2))
    if len(expected) >= FEWEST_FOR_MEDIAN:
        difference = float(np.median(differences))
    else:
        difference, most = float(np.max(differences)), MAP_JUMP
    if not difference < most:
        raise DisagreementError(f"maps differ by {difference:.1e}, more than {most:.0e}")
    return {"map difference": difference}


def _fooling(found: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> dict[str, float]:
    fooled = float((found["fooled"] == reference["fooled"]).mean())
    steps = float((np.abs(found["steps"] - reference["steps"]) <= 1).mean())
    few = 1 / len(found["steps"])
    if not (fooled >= min(SAME_FOOLED, 1 - few) and steps >= min(SAME_STEPS, 1 - 2 * few)):
        raise DisagreementError(
            f"same outcome for {fooled:.0%} of the images, same steps within 1 for {steps:.0%}; "
            f"must be {SAME_FOOLED:.0%} and {SAME_STEPS:.0%}"
        )
    return {"same outcome": fooled, "same steps within 1": steps, "fooled": float(found["fooled"].mean())}


def _climbs(found: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> dict[str, float]:
    scores, expected = found["scores"], reference["scores"]
    first = float(np.max(np.abs(scores / expected - 1)[:, :FIRST_STEPS]))
    half, most = scores.shape[1] // 2, LAST_SCORES if len(scores) > 1 else LAST_SCORES_OF_ONE
    last = float(abs(scores[:, half:].mean() / expected[:, half:].mean() - 1))
    if not (first < FIRST_SCORES and last < most):
        raise DisagreementError(
            f"scores of the first {FIRST_STEPS} steps differ by {first:.1e}, of the second half by {last:.1%}; "
            f"must be below {FIRST_SCORES:.0e} and {most:.0%}"
        )
    return {"first scores": first, "last scores": last}


def gradients_taken(method: Method, found: dict[str, np.ndarray]) -> int:
    """How many gradients of one image the results needed, for the share of the machine's rate."""
    if method == "fooling":
        return int(found["steps"].sum())
    return len(found["maps"]) if method == "saliency" else found["scores"].size
