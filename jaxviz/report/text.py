"""Numbers in words, for the templates."""

from collections.abc import Iterable, Sequence
from statistics import fmean


def percent(share: float | int) -> str:
    """A share of 0 to 1, such as "7.3 %"; "0 %" and "100 %" only where it is exactly that."""
    if 0 < share < 5e-4:
        return "<\N{NO-BREAK SPACE}0.1\N{NO-BREAK SPACE}%"
    if 1 - 5e-4 < share < 1:
        return ">\N{NO-BREAK SPACE}99.9\N{NO-BREAK SPACE}%"
    return f"{100 * share:.1f}".removesuffix(".0") + "\N{NO-BREAK SPACE}%"


def number(value: float | int | None, digits: int = 2) -> str:
    """A number, or a dash for None."""
    return "\N{EN DASH}" if value is None else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def of(count: int, total: int) -> str:
    """Such as "none of 15", "all 15" or "3 of 15"."""
    if total == 1 or 0 < count < total:
        return f"{count} of {total}"
    return f"none of {total}" if count == 0 else f"all {total}"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """Such as "1 iteration" or "7 iterations"."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def listed(items: Iterable[object]) -> str:
    """Such as "a, b and c"."""
    *first, last = map(str, items)
    return f"{', '.join(first)} and {last}" if first else last


def mean(values: Iterable[float | int | None]) -> float | None:
    """The mean of the values that are not None; None where there are none."""
    present = [value for value in values if value is not None]
    return fmean(present) if present else None


def span(values: Sequence[float | int], digits: int = 0) -> str:
    """Such as "3 to 17", or one number where all are equal."""
    low, high = number(min(values), digits), number(max(values), digits)
    return low if low == high else f"{low} to {high}"
