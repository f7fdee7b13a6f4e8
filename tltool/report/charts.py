"""Charts as plain geometry, which the report's template writes as SVG.

Written as SVG of its own and not by matplotlib: colours are CSS variables, so
that one picture fits light, dark and paper, and text stays text.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

WIDTH, HEIGHT = 400, 320
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
    scattered : bool
        Dots without a line.
    path : str
        Of SVG, in px; of a line of a `Chart`.
    dots : list of (x, y, radius)
        The same.
    """

    label: str
    colour: str
    points: np.ndarray
    value: str = ""
    dashed: bool = False
    stepped: bool = False
    sizes: np.ndarray | None = None
    scattered: bool = False
    path: str = ""
    dots: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True)
class Chart:
    """Chart of lines as the template draws it; all positions are px.

    Attributes
    ----------
    title, description : str
        The description is the text alternative.
    x_label, y_label : str
    x_ticks, y_ticks : list of (px, text)
    lines : list of Line
    marks : list of (px, text)
        Vertical lines with a word.
    diagonal : bool
        Whether chance, or perfection, is a line from corner to corner.
    """

    title: str
    description: str
    x_label: str
    y_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Line]
    marks: list[tuple[float, str]]
    diagonal: bool
    # The picture, and the ends of the plot in it.
    width: int = WIDTH
    height: int = HEIGHT
    left: int = 52
    top: int = 12
    right: int = WIDTH - 14
    bottom: int = HEIGHT - 48


@dataclass(frozen=True)
class Axis:
    """Axis from numbers to px; `first` and `last` are where `low` and `high` lie."""

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
    x = Axis(*x_range, Chart.left, Chart.right)
    y = Axis(*y_range, Chart.bottom, Chart.top)
    drawn = []
    for line in lines:
        known = np.isfinite(line.points).all(axis=1)
        if known.any():
            pixels = np.stack([x(line.points[known, 0]), y(line.points[known, 1])], axis=1)
            path = "" if line.scattered else _path(pixels, line.stepped)
            sizes = None if line.sizes is None else line.sizes[known]
            dots = [] if sizes is None else np.column_stack([pixels, sizes]).round(1).tolist()
            drawn.append(replace(line, path=path, dots=dots))
    return Chart(
        title,
        description,
        *labels,
        x.ticks(6, whole),
        y.ticks(6),
        drawn,
        [(round(float(x(place)), 1), text) for place, text in marks],
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
