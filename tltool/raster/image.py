"""What windows are read from, and how they continue over its edges."""

from typing import Protocol

import numpy as np

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".jp2", ".vrt")


def reflect_indices(start: int, stop: int, size: int) -> np.ndarray:
    """Indices of the positions start..stop-1 in an axis reflected at its ends.

    Parameters
    ----------
    start, stop : int
        Half-open range; may reach over 0 and `size`.
    size : int
        Length of the axis.

    Returns
    -------
    (stop - start,) integer array, values in 0..size-1. The edge itself is not
    repeated: position -1 is index 1.
    """
    if size == 1:
        return np.zeros(stop - start, np.intp)
    period = 2 * (size - 1)
    folded = np.abs(np.arange(start, stop)) % period
    return np.where(folded < size, folded, period - folded)


class Image(Protocol):
    """Image that windows can be read from."""

    width: int
    height: int

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Read (height, width, bands) uint8 pixels; outside the image its reflection."""
        ...


class ArrayImage:
    """Pixels in memory, read like those on disk.

    Parameters
    ----------
    pixels : (height, width, bands) uint8 array
    """

    def __init__(self, pixels: np.ndarray):
        self._pixels = pixels
        self.height, self.width = pixels.shape[:2]

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Read a window; outside the image its reflection."""
        rows = reflect_indices(y, y + height, self.height)
        columns = reflect_indices(x, x + width, self.width)
        return self._pixels.take(rows, 0).take(columns, 1)
