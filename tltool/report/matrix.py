"""A confusion matrix as plain geometry for the template."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


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
# Letters of a name that fit beside a matrix.
_LONGEST = 18


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
    both, one = number <= _BOTH, number <= _COUNT
    short = [name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…" for name in names]
    left = 16 + 7.2 * max(map(len, short))
    side = 54.0 if both else max(9.0, 600 / number)
    cells = []
    for (row, column), count in np.ndenumerate(counts):
        share = float(shares[row, column])
        percent = "" if math.isnan(share) else f"{100 * share:.0f} %"
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
