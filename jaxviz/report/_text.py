"""Figures in words: what stands in a sentence is always derived from what was measured."""

from collections.abc import Iterable, Sequence


def percent(share: float | int) -> str:
    """A share of 0 to 1, such as "7.3 %"; never "0 %" or "100 %" of what is not exactly that."""
    if 0 < share < 5e-4:
        return "<\N{NO-BREAK SPACE}0.1\N{NO-BREAK SPACE}%"
    if 1 - 5e-4 < share < 1:
        return ">\N{NO-BREAK SPACE}99.9\N{NO-BREAK SPACE}%"
    return f"{100 * share:.1f}".removesuffix(".0") + "\N{NO-BREAK SPACE}%"


def sentence(text: str) -> str:
    """With a capital letter."""
    return text[:1].upper() + text[1:]


def of(count: int, total: int) -> str:
    """How many of how many: "none of the 15", "all 15" or "3 of 15"."""
    if total == 1:
        return f"{count} of 1"
    if count == 0:
        return f"none of the {total}"
    return f"all {total}" if count == total else f"{count} of {total}"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """Such as "1 step" or "7 steps"."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def listed(items: Iterable[str]) -> str:
    """Such as "a, b and c"."""
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


def number(value: float | int | None, digits: int = 2) -> str:
    """A figure, or a dash where there is none."""
    return "\N{EN DASH}" if value is None else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def mean(values: Sequence[float | int | None]) -> float | None:
    """Of the values that are there."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def median(values: Sequence[float | int]) -> float | int:
    """The middle one, or the mean of the two in the middle."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def span(values: Sequence[float | int], digits: int = 0) -> str:
    """Such as "3 to 17", or one figure where they are all the same."""
    low, high = number(min(values), digits), number(max(values), digits)
    return low if low == high else f"{low} to {high}"
