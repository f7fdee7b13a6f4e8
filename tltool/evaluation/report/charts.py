"""Charts as plain geometry, which the report's template writes as SVG.

Written as SVG of its own and not by matplotlib: colours are CSS variables, so
that one picture fits light, dark and paper, and text stays text.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

WIDTH, HEIGHT = 400, 320
# Around the plot, px: left, top, right, bottom.
_LEFT, _TOP, _RIGHT, _BOTTOM = 52, 12, 14, 48
# Points of a line that lie closer than this, px, are left out.
_NEAR = 0.6


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes
    ----------
    label : str
    colour : str
        A CSS colour.
    points : (n, 2) array
        In the units of the axes.
    value : str
        Shown beside the label, such as an area.
    dashed, stepped : bool
        Stepped: level up to the next point.
    sizes : (n,) array or None
        Radii of dots on the points, px.
    """

    label: str
    colour: str
    points: np.ndarray
    value: str = ""
    dashed: bool = False
    stepped: bool = False
    sizes: np.ndarray | None = None


@dataclass(frozen=True)
class Drawn:
    """A line in px: its SVG path and dots (x, y, radius)."""

    label: str
    colour: str
    value: str
    dashed: bool
    path: str
    dots: list[tuple[float, float, float]]


@dataclass(frozen=True)
class Mark:
    """A vertical line in px, with a word."""

    x: float
    label: str


@dataclass(frozen=True)
class Chart:
    """What the template needs of a line chart; all places are px.

    Attributes
    ----------
    title, description : str
        The description is the text alternative.
    x_label, y_label : str
    x_ticks, y_ticks : list of (px, text)
    lines : list of Drawn
    marks : list of Mark
    diagonal : bool
        Whether chance, or perfection, is a line from corner to corner.
    """

    title: str
    description: str
    x_label: str
    y_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Drawn]
    marks: list[Mark] = field(default_factory=list)
    diagonal: bool = False
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    top: int = _TOP
    right: int = WIDTH - _RIGHT
    bottom: int = HEIGHT - _BOTTOM


@dataclass(frozen=True)
class Axis:
    """From numbers to px; `first` and `last` are where `low` and `high` lie."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, values: np.ndarray | float) -> np.ndarray:
        """Places of values, px."""
        share = (np.asarray(values, float) - self.low) / (self.high - self.low)
        return self.first + share * (self.last - self.first)

    def ticks(self, number: int, whole: bool = False) -> list[tuple[float, str]]:
        """Places and texts of round numbers within."""
        from matplotlib.ticker import MaxNLocator

        locator = MaxNLocator(number, steps=[1, 2, 2.5, 5, 10], integer=whole)
        margin = 1e-9 * (self.high - self.low)
        values = locator.tick_values(self.low, self.high)
        inside = [v for v in values if self.low - margin <= v <= self.high + margin]
        return [(round(float(self(v)), 1), f"{v:.4g}") for v in inside]


def _path(pixels: np.ndarray, stepped: bool) -> str:
    """SVG path through points, without those that nobody could tell apart."""
    kept = [pixels[0]]
    for place in pixels[1:-1]:
        if np.abs(place - kept[-1]).max() >= _NEAR:
            kept.append(place)
    kept += [pixels[-1]] if len(pixels) > 1 else []
    start, *rest = ((f"{x:.1f}", f"{y:.1f}") for x, y in kept)
    between = "H{0}V{1}" if stepped else "L{0} {1}"
    return f"M{start[0]} {start[1]}" + "".join(between.format(x, y) for x, y in rest)


def _draw(line: Line, x: Axis, y: Axis) -> Drawn | None:
    points = np.asarray(line.points, float).reshape(-1, 2)
    known = np.isfinite(points).all(axis=1)
    if not known.any():
        return None
    pixels = np.stack([x(points[known, 0]), y(points[known, 1])], axis=1)
    dots = []
    if line.sizes is not None:
        sizes = np.asarray(line.sizes, float)[known]
        dots = [
            (round(a, 1), round(b, 1), round(r, 1)) for (a, b), r in zip(pixels, sizes, strict=True)
        ]
    path = _path(pixels, line.stepped)
    return Drawn(line.label, line.colour, line.value, line.dashed, path, dots)


def line_chart(
    title: str,
    description: str,
    labels: tuple[str, str],
    lines: Sequence[Line],
    x_range: tuple[float, float] = (0, 1),
    y_range: tuple[float, float] = (0, 1),
    *,
    marks: Sequence[tuple[float, str]] = (),
    diagonal: bool = False,
    whole: bool = False,
) -> Chart:
    """Lay out a chart of lines.

    Parameters
    ----------
    title, description : str
    labels : (str, str)
        Of the axes.
    lines : sequence of Line
        Those without a finite point are left out.
    x_range, y_range : (float, float)
    marks : sequence of (float, str)
        Vertical lines.
    diagonal : bool
    whole : bool
        Whether x counts something.
    """
    x = Axis(*x_range, _LEFT, WIDTH - _RIGHT)
    y = Axis(*y_range, HEIGHT - _BOTTOM, _TOP)
    drawn = [_draw(line, x, y) for line in lines]
    return Chart(
        title,
        description,
        *labels,
        x.ticks(6, whole),
        y.ticks(6),
        [line for line in drawn if line is not None],
        [Mark(round(float(x(place)), 1), text) for place, text in marks],
        diagonal,
    )


def room_for(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Ends of an axis that shows all finite values, 0 where that is near."""
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    low = 0.0 if 0 <= low < 0.6 * high else low
    return (low - 0.5, high + 0.5) if math.isclose(low, high) else (low, 1.04 * high - 0.04 * low)


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
    width: int
    height: int
    left: int
    right: int
    bottom: int


def whiskers(
    description: str, rows: Sequence[tuple[str, float, tuple[float, float] | None, bool]]
) -> Whiskers:
    """Lay out shares (0..1) with their intervals.

    Parameters
    ----------
    description : str
        The text alternative.
    rows : sequence of (label, value, (low, high) or None, strong)
    """
    width, left, right, step, top = 360, 8, 352, 44, 8
    bottom = top + step * len(rows)
    x = Axis(0, 1, left, right)

    def place(value: float) -> float:
        return round(float(x(value)), 1)

    return Whiskers(
        description,
        [
            Whisker(
                label,
                f"{100 * value:.1f} %",
                top + step * k + 31,
                place(value),
                None if ends is None else (place(ends[0]), place(ends[1])),
                strong,
            )
            for k, (label, value, ends, strong) in enumerate(rows)
        ],
        [(place(v), f"{100 * v:.0f} %") for v in (0, 0.25, 0.5, 0.75, 1)],
        width,
        bottom + 26,
        left,
        right,
        bottom,
    )


@dataclass(frozen=True)
class MatrixCell:
    """A cell: its corner, px, count, share of its row, and texts."""

    x: float
    y: float
    share: float
    strong: str
    small: str
    right: bool


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix in px; rows are the truth."""

    description: str
    names: list[str]
    cells: list[MatrixCell]
    side: float
    left: float
    width: float
    height: float
    bottom: float


# Classes up to which cells hold count and share, the count alone, nothing.
_BOTH, _COUNT = 10, 24
_LONGEST = 18


def shortened(name: str) -> str:
    """A name that fits beside a matrix."""
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def matrix_chart(
    description: str, names: Sequence[str], counts: np.ndarray, shares: np.ndarray
) -> Matrix:
    """Lay out a confusion matrix.

    Parameters
    ----------
    description : str
        The text alternative.
    names : (c,) sequence of str
    counts : (c, c) int array
    shares : (c, c) array
        Of each row; NaN where the class has no image.
    """
    number = len(names)
    short = [shortened(name) for name in names]
    left = 16 + 7.2 * max(map(len, short))
    side = 54.0 if number <= _BOTH else max(9.0, 600 / number)
    cells = []
    for row in range(number):
        for column in range(number):
            share, count = float(shares[row][column]), int(counts[row][column])
            percent = "" if math.isnan(share) else f"{100 * share:.0f} %"
            both, one = number <= _BOTH, number <= _COUNT
            cells.append(
                MatrixCell(
                    round(left + side * column, 1),
                    round(side * row, 1),
                    0.0 if math.isnan(share) else round(share, 3),
                    percent if both else str(count) if one and count else "",
                    str(count) if both else "",
                    row == column,
                )
            )
    bottom = side * number
    # The names below stand at 45 degrees.
    below = 26 + 5.6 * max(map(len, short))
    return Matrix(description, short, cells, side, left, left + bottom + 14, bottom + below, bottom)
