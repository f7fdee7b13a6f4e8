"""Shares with their intervals, one under the other, as plain geometry for the template."""

from collections.abc import Sequence
from dataclasses import dataclass

from tltool.report.charts import Axis


@dataclass(frozen=True)
class Whisker:
    """A row of `whiskers`; in px.

    Attributes
    ----------
    label, text : str
    y, point : float
    ends : (float, float) or None
    strong : bool
    """

    label: str
    text: str
    y: float
    point: float
    ends: tuple[float, float] | None
    strong: bool


@dataclass(frozen=True)
class Whiskers:
    """Numbers with their intervals, one under the other; in px."""

    description: str
    rows: list[Whisker]
    ticks: list[tuple[float, str]]
    bottom: int
    height: int
    width: int = 360
    left: int = 8
    right: int = 352


def whiskers(
    description: str,
    rows: Sequence[tuple[str, float, tuple[float, float] | None, bool]],
    share: bool = True,
) -> Whiskers:
    """Lay out numbers with their intervals.

    Parameters
    ----------
    description : str
        The text alternative.
    rows : sequence of (label, value, (low, high) or None, strong)
    share : bool
        Whether they are shares, 0..1, shown as percentages; else numbers from 0 on.
    """
    bottom = 8 + 44 * len(rows)
    most = 1.0 if share else 1.05 * max(max((number, *(ends or ()))) for _, number, ends, _ in rows)
    x = Axis(0, most or 1.0, Whiskers.left, Whiskers.right)

    def place(value: float) -> float:
        return round(float(x(value)), 1)

    return Whiskers(
        description,
        [
            Whisker(
                label,
                f"{100 * value:.1f} %" if share else f"{value:.3g}",
                39 + 44 * k,
                place(value),
                None if ends is None else (place(ends[0]), place(ends[1])),
                strong,
            )
            for k, (label, value, ends, strong) in enumerate(rows)
        ],
        [(place(v), f"{100 * v:.0f} %") for v in (0, 0.25, 0.5, 0.75, 1)] if share else x.ticks(4),
        bottom,
        bottom + 26,
    )
