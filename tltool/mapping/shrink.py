"""A map of any size averaged to a small one, in bounded memory."""

from collections.abc import Callable

import numpy as np

# Cells along a side that are read at once, and numbers that the small map may have in all.
_SIDE = 1024
_NUMBERS = 1 << 25

ReadWindow = Callable[[int, int, int, int, int], np.ndarray]


def shrink_factor(shape: tuple[int, int], classes: int, longest: int) -> int:
    """Cells that become one along each side.

    So many that the longer side has at most `longest`, and that all classes
    together stay within a fixed memory.
    """
    longest = max(1, min(longest, int((_NUMBERS / classes) ** 0.5)))
    return max(1, -(-max(shape) // longest))


def _mean(values: np.ndarray, factor: int) -> np.ndarray:
    """Mean of factor x factor blocks of (rows, columns), of the cells that have data."""
    rows, columns = values.shape
    values = np.pad(values, ((0, -rows % factor), (0, -columns % factor)), constant_values=np.nan)
    blocks = values.reshape(len(values) // factor, factor, -1, factor)
    known = np.isfinite(blocks)
    number = known.sum((1, 3))
    total = np.where(known, blocks, 0).sum((1, 3), dtype=np.float64)
    return np.where(number, total / np.maximum(number, 1), np.nan).astype(np.float32)


def shrink_map(read: ReadWindow, shape: tuple[int, int], classes: int, factor: int) -> np.ndarray:
    """Average a map.

    Parameters
    ----------
    read : callable
        From class, row, column, rows and columns to (rows, columns) float32,
        NaN: no data.
    shape : (int, int)
        Rows and columns of the map.
    classes : int
    factor : int
        Cells that become one along each side; the last ones of fewer where
        they do not divide.

    Returns
    -------
    (classes, rows, columns) float32 array; NaN where no cell has data.
    """
    side = factor * max(1, _SIDE // factor)
    rows, columns = shape
    small = np.empty((classes, -(-rows // factor), -(-columns // factor)), np.float32)
    for k in range(classes):
        for row in range(0, rows, side):
            for column in range(0, columns, side):
                values = read(k, row, column, min(side, rows - row), min(side, columns - column))
                mean = _mean(values, factor)
                top, left = row // factor, column // factor
                small[k, top : top + mean.shape[0], left : left + mean.shape[1]] = mean
    return small
