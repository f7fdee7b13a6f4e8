"""Values between the cells of a map."""

import numpy as np


def interpolate(values: np.ndarray, cell: np.ndarray, weight: np.ndarray, axis: int) -> np.ndarray:
    """Interpolate between `cell` and the next along an axis of (classes, rows, columns) values."""
    after = np.minimum(cell + 1, values.shape[axis] - 1)
    shape = [1] * values.ndim
    shape[axis] = -1
    first = values.take(cell, axis)
    return first + (values.take(after, axis) - first) * weight.reshape(shape)
