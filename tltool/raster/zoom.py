"""Enlarging pixels such that a window enlarged alone equals that window of the enlarged whole."""

import math
from fractions import Fraction

import numpy as np

from tltool.errors import UsageError


def as_zoom(zoom: float) -> Fraction:
    """A zoom as an exact ratio, so that positions of enlarged pixels never drift.

    Raises
    ------
    UsageError
        Where `zoom` is below 1, above 8 or no ratio of small whole numbers.
    """
    ratio = Fraction(zoom).limit_denominator(8) if math.isfinite(zoom) else Fraction(0)
    if not 1 <= ratio <= 8 or abs(float(ratio) - zoom) > 1e-6:
        raise UsageError(
            "`zoom`: expected a number from 1 to 8 that is a ratio of small whole numbers"
            f" (1, 1.5, 2, 2.25, 3, ...), received {zoom}"
        )
    return ratio


def _interpolate(pixels: np.ndarray, zoom: Fraction, axis: int) -> np.ndarray:
    # Half-pixel centres: enlarged pixel i lies at (i + 1/2) / zoom - 1/2. In whole numbers,
    # so that a window enlarged alone equals the same window of the enlarged whole.
    size = pixels.shape[axis]
    doubled = (2 * np.arange(size * zoom.numerator // zoom.denominator) + 1) * zoom.denominator
    doubled -= zoom.numerator
    low, remainder = np.divmod(doubled, 2 * zoom.numerator)
    weight = (remainder / (2 * zoom.numerator)).astype(np.float32)
    shape = [1] * pixels.ndim
    shape[axis] = -1
    first = pixels.take(np.clip(low, 0, size - 1), axis)
    second = pixels.take(np.clip(low + 1, 0, size - 1), axis)
    return first + (second - first) * weight.reshape(shape)


def enlarge(pixels: np.ndarray, zoom: Fraction) -> np.ndarray:
    """Enlarge an image bilinearly.

    Parameters
    ----------
    pixels : (height, width, bands) uint8 or float32 array
    zoom : Fraction
        1 or more.

    Returns
    -------
    (height * zoom, width * zoom, bands) array, rounded down to whole pixels:
    float32, or `pixels` itself at zoom 1. Positions beyond the edge pixels'
    centres take the edge's value.
    """
    if zoom == 1:
        return pixels
    return _interpolate(_interpolate(pixels.astype(np.float32), zoom, 0), zoom, 1)
