"""Numbers and intervals as text."""

from collections.abc import Sequence

NONE, MINUS, TO = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{EN DASH}"
_PERCENT = "\N{NO-BREAK SPACE}%"

Ends = Sequence[float] | None


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage; a dash where there is none."""
    return NONE if value is None else f"{100 * value:.{digits}f}{_PERCENT}"


def decimal(value: float | None) -> str:
    """A number with three decimals; a dash where there is none."""
    return NONE if value is None else f"{value:.3f}"


def points(value: float) -> str:
    """A difference of shares in percentage points, signed."""
    return f"{100 * value:+.1f}".replace("-", MINUS)


def percent_ends(ends: Ends) -> str:
    """An interval of shares."""
    return "" if ends is None else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}{_PERCENT}"


def points_ends(ends: Ends) -> str:
    """An interval of differences of shares."""
    return "" if ends is None else f"{points(ends[0])} to {points(ends[1])}"


def decimal_ends(ends: Ends) -> str:
    """An interval of numbers."""
    return "" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"


def value(number: float | None) -> str:
    """A number in a unit, in three significant digits; a dash where there is none."""
    return NONE if number is None else f"{number:.3g}".replace("-", MINUS)


def value_ends(ends: Ends) -> str:
    """An interval of numbers in a unit."""
    return "" if ends is None else f"{value(ends[0])} to {value(ends[1])}"


def text_of(number: float) -> str:
    """A number in six digits, as tables for programs have it."""
    return f"{number:.6g}"


# Form of a number, as `tltool.tasks.display.Shown` has it -> how it is written, and its interval.
FORMS = {
    "share": (percent, percent_ends),
    "decimal": (decimal, decimal_ends),
    "value": (value, value_ends),
}
