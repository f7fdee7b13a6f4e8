"""Annotated points, and what holds for them whatever file they come from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tltool.errors import DataError

# Two points of one class that are no farther apart are one point twice, px.
TWICE = 0.5


@dataclass(frozen=True)
class Point:
    """A position on an image, and its class.

    Attributes
    ----------
    image : str
        The image's name as the file has it, with or without folders and suffix.
    x, y : float
        To the right and down, px; 0 at the outer corner of the first pixel.
    label : str
    score : float or None
        How sure a detection is.
    where : str
        File and position in it, for messages; two points may differ in it and be equal.
    """

    image: str
    x: float
    y: float
    label: str
    score: float | None = None
    where: str = field(default="", compare=False)


def make_point(
    where: str, image: Any, position: Sequence[float], label: Any, score: float | None = None
) -> Point:
    """Make a point of what a file says.

    Parameters
    ----------
    where : str
        File and position in it.
    image, label : object
        Become text.
    position : (float, float)
        x and y, px.
    score : float, optional

    Raises
    ------
    DataError
        A label that cannot name a folder, or a position that is no number.
    """
    x, y = position
    if not (math.isfinite(x) and math.isfinite(y)):
        raise DataError(f"{where}: expected numbers for x and y, received {x!r} and {y!r}")
    name = "" if label is None else str(label).strip()
    if not name or Path(name).name != name or "\\" in name or name.startswith("."):
        raise DataError(
            f"{where}: expected a class name that can name a folder, received {label!r}"
        )
    return Point(str(image).strip(), float(x), float(y), name, score, where)


def as_score(value: Any, where: str) -> float | None:
    """A score as a file has it: a number, or None where there is none.

    Raises
    ------
    DataError
        It is something else.
    """
    if value is None or value == "":
        return None
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise DataError(f"{where}: expected a number for the score, received {value!r}")
    return score


def without_duplicates(points: Sequence[Point]) -> list[Point]:
    """Leave out what is of one image and class and within `TWICE` px of an earlier point."""
    # Squares of the lattice are wider than the distance: only neighbours need a look.
    side = 2 * TWICE
    kept: list[Point] = []
    squares: dict[tuple[str, str, int, int], list[Point]] = {}
    for point in points:
        row, column = math.floor(point.y / side), math.floor(point.x / side)
        near = (
            other
            for r in (row - 1, row, row + 1)
            for c in (column - 1, column, column + 1)
            for other in squares.get((point.image, point.label, r, c), ())
        )
        if all(math.hypot(point.x - o.x, point.y - o.y) > TWICE for o in near):
            kept.append(point)
            squares.setdefault((point.image, point.label, row, column), []).append(point)
    return kept
