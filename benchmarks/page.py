"""The benchmark's page and the README's table, from the JSON alone."""

from pathlib import Path
from typing import Any

from benchmarks import checks, results
from benchmarks.results import Row
from jaxviz._core.files import replacing

# The rows that the README shows, and the family that jaxviz is compared with there
_SHOWN = (
    ("saliency, 32 images", "pytorch"),
    ("saliency, 1 image", "pytorch"),
    ("fooling, 64 images", "pytorch"),
    ("fooling, 64 images", "library"),
    ("class visualization, 1 class, 200 steps", "pytorch"),
    ("class visualization, 8 classes, 200 steps", "pytorch"),
    ("VGG16 saliency, 8 images", "pytorch"),
    ("VGG16 class visualization, 1 class, 50 steps", "pytorch"),
)


def put_between(file: Path, mark: str, content: str) -> None:
    """Replaces what stands between `<!-- mark -->` and `<!-- /mark -->`; all else in the file stays.

    Raises:
        ValueError: the file has no such place.
    """
    text, begin, end = file.read_text(), f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    if begin not in text or end not in text:
        raise ValueError(f"{file.name} has no place between {begin.strip()} and {end}.")
    before, rest = text.split(begin, 1)
    after = rest.split(end, 1)[1]
    with replacing(file) as temporary:
        temporary.write_text(f"{before}{begin}{content}{end}{after}")


def write(file: Path, record: dict[str, Any]) -> None:
    """Writes the benchmark's page; what people wrote below its measured part stays."""
    if not file.exists():
        file.write_text("<!-- measured -->\n<!-- /measured -->\n")
    put_between(file, "measured", measured(record))


def readme_table(record: dict[str, Any]) -> str:
    """The rows of the README: the fastest form of jaxviz, and the fastest of those that it is compared with."""
    rows = {row["name"]: row for row in record["rows"]}
    lines = [
        "| work | jaxviz | the fastest other | time, other / jaxviz | peak memory, jaxviz | other |",
        "|---|---|---|---|---|---|",
    ]
    for name, family in _SHOWN:
        row = rows.get(name)
        ours, theirs = (results.fastest(row, which) for which in ("jaxviz", family)) if row else (None, None)
        if row and ours and theirs:
            a, b = row["forms"][ours], row["forms"][theirs]
            lines.append(
                f"| {name} | {_seconds(a['median_s'])} ({ours}) | {_seconds(b['median_s'])} ({theirs}) "
                f"| {b['median_s'] / a['median_s']:.2f} | {a['peak_mb']:.0f} MB | {b['peak_mb']:.0f} MB |"
            )
    machine = record["machine"]
    rate = max(max(row["gemm_gflops"].values()) for row in record["rows"])
    lines += [
        "",
        f"SqueezeNet 1.1 at 224 pixels unless said; medians; {machine['cpu']}, {machine['cores']} cores, float32, "
        f"matrix products at {rate:.0f} GFLOP/s; "
        f"jax {machine['versions']['jax']}, torch {machine['versions']['torch']}.",
    ]
    return "\n".join(lines) + "\n"


def measured(record: dict[str, Any]) -> str:
    """All rows and forms, and how they were taken."""
    machine = record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"# Speed\n\n"
        f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}; "
        f"{versions}. Precision: {machine['precision']}.\n\n{_HOW}\n"
        + "\n".join(_section(row) for row in record["rows"])
        + _growth(record)
    )


_HOW = f"""\
- Each form runs in a process of its own on all cores, one at a time; its repeats alternate with those of the others. A
  repeat is one call, or as many as fill 0.3 s. Shown are the median and the quartiles; all repeats are in the JSON.
- *first call* contains compilation; *setup* before it contains imports, weights and inputs. No compiled program is
  taken over from an earlier run.
- *ratio*: the median of the fastest form in PyTorch over the form's. Above 1 is faster than PyTorch. A library (captum,
  torchattacks) is not among "PyTorch".
- *memory*: resident when imports, weights and inputs are there, and the peak from then on.
- *of GEMM*: the operations of one score and its gradient (as XLA counts them in the plain program, before it optimizes)
  times the gradients that the results needed, over the time and over the fastest rate of a 2048 x 2048 x 2048 matrix
  product measured in the same run, in torch or in JAX.
- Before timing, results are compared with PyTorch, contiguous; a form that disagrees is not timed. The tolerances, and
  why they are no tighter in float32, stand in benchmarks/checks.py. Saliency: median relative difference of a map below
  {checks.MAP_DIFFERENCE["squeezenet1_1"]:.0e} (VGG16 {checks.MAP_DIFFERENCE["vgg16"]:.0e}), of each below
  {checks.MAP_JUMP:.0e} where there are fewer than {checks.FEWEST_FOR_MEDIAN}. Fooling: same outcome for
  {checks.SAME_FOOLED:.0%} of the images, same steps within 1 for {checks.SAME_STEPS:.0%}. Class visualization, from
  the same noise with the same jitter: scores of the first {checks.FIRST_STEPS} steps within
  {checks.FIRST_SCORES:.0e}, mean of the second half within {checks.LAST_SCORES:.0%}, of a single climb within
  {checks.LAST_SCORES_OF_ONE:.0%}. torchattacks' PGD climbs another function, in 0..1 and without a stop, so its images
  are not the others'; all that is asked is that it fools {checks.LIBRARY_FOOLED:.0%} of them.
- SqueezeNet has its pretrained weights, VGG16 random ones, the same on both sides.
"""


def _section(row: Row) -> str:
    rates = ", ".join(f"{name} {rate:.0f}" for name, rate in row["gemm_gflops"].items())
    lines = [
        f"## {row['name']}",
        "",
        f"{row['date']}; {row['flop_per_image'] / 1e9:.2f} GFLOP each image and gradient; GEMM, GFLOP/s: {rates}.",
        "",
        "| form | median | quartiles | ratio | of GEMM | loaded | peak memory | setup | first call |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, form in row["forms"].items():
        if reason := form.get("error") or form.get("unavailable"):
            lines.append(f"| {name} | {'error' if 'error' in form else 'unavailable'}: {_cell(reason)} |||||||| ")
            continue
        low, median, high = (
            _seconds(value) for value in (form["quartiles_s"][0], form["median_s"], form["quartiles_s"][1])
        )
        ratio = results.ratio(row, name, "pytorch")
        lines.append(
            f"| {name} | {median} | {low} to {high} | {'' if ratio is None else f'{ratio:.2f}'} "
            f"| {results.gemm_share(row, name):.0%} | {form['loaded_mb']:.0f} MB | {form['peak_mb']:.0f} MB "
            f"| {form['setup_s']:.1f} s | {form['first_s']:.1f} s |"
        )
    return "\n".join(lines) + "\n"


def _growth(record: dict[str, Any]) -> str:
    """The cost of an image in a batch of 128 beside a batch of 8, by form."""
    rows = {row["name"]: row for row in record["rows"]}
    small, large = rows.get("saliency, 8 images"), rows.get("saliency, 128 images")
    if not (small and large):
        return ""
    families = ("jaxviz", "jax", "pytorch", "library")
    both = [name for name in results.timed(small, *families) if name in results.timed(large, *families)]
    lines = [
        "",
        "## Saliency, milliseconds per image",
        "",
        "| form | 8 images | 128 images | change |",
        "|---|---|---|---|",
    ]
    for name in both:
        few, many = (results.milliseconds_per_image(row, name) for row in (small, large))
        lines.append(f"| {name} | {few:.2f} | {many:.2f} | {many / few - 1:+.0%} |")
    return "\n".join(lines) + "\n"


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
