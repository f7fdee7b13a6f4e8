"""Numbers of any kind to bytes: what ``scale=`` means."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from rasterio.windows import Window

from tltool.errors import ImageError, UsageError
from tltool.raster.source import Source

Scale = tuple[float, float] | Literal["percentiles"] | None
Limits = tuple[float, float]

PERCENTILES = (2, 98)

# Longest side of what percentiles are taken from, px, and of an overview that is read for it.
_SAMPLE = 1024
_LARGEST_OVERVIEW = 8 * _SAMPLE
# Without an overview: windows a side, and their side, px.
_LATTICE, _WINDOW = 32, 32


def parse_scale(text: str) -> Scale:
    """Read ``MIN:MAX`` or ``percentiles``.

    Returns
    -------
    (float, float) or 'percentiles'

    Raises
    ------
    UsageError
        Where it is neither, or MIN is not below MAX.
    """
    if text.strip() == "percentiles":
        return "percentiles"
    low, colon, high = text.partition(":")
    try:
        limits = (float(low), float(high))
    except ValueError:
        limits = (math.nan, math.nan)
    if not colon or not _in_order(limits):
        raise UsageError(
            "`scale`: expected MIN:MAX, two numbers of which the first is smaller (such as 0:4095),"
            f" or percentiles, received {text!r}"
        )
    return limits


def check_scale(scale: Scale) -> None:
    """Raise a `UsageError` where `scale` is not what `parse_scale` gives, or None."""
    if scale is None or scale == "percentiles":
        return
    if isinstance(scale, str) or len(scale) != 2 or not _in_order(scale):
        raise UsageError(
            "`scale`: expected two numbers of which the first is smaller, 'percentiles' or None,"
            f" received {scale!r}"
        )


def _in_order(limits: Sequence[float]) -> bool:
    return all(math.isfinite(limit) for limit in limits) and limits[0] < limits[1]


def check_depth(path: Path, kind: str, known: bool) -> None:
    """Raise an `ImageError` where a band's kind of numbers is not among those known."""
    if not known:
        raise ImageError(
            f"{path}: expected 8 or 16 bits a band, received {kind}. Say which numbers become black"
            " and white, with `scale=(MIN, MAX)` or `scale='percentiles'`; for training, convert it"
            " first, for example with gdal_translate -ot Byte -scale"
        )


def check_numbers(path: Path, kinds: Sequence[str], scaled: bool) -> None:
    """Raise an `ImageError` where bands of these kinds do not become bytes."""
    received = "/".join(sorted(set(kinds)))
    if not scaled:
        check_depth(path, received, set(kinds) <= {"uint8", "uint16"})
    elif any("complex" in kind for kind in kinds):
        raise ImageError(
            f"{path}: expected real numbers, received {received}. Take its amplitude first, for"
            " example with gdal_calc.py"
        )


def to_bytes(values: np.ndarray, limits: Limits, nodata: float | None = None) -> np.ndarray:
    """Map numbers linearly from `limits` to 0..255.

    Parameters
    ----------
    values : array of integers or floats
    limits : (float, float)
        What becomes 0 and 255; what lies beyond too. Where both are equal,
        that number and smaller ones become 0.
    nodata : float, optional
        A value that becomes 0, as NaN does.

    Returns
    -------
    uint8 array of the same shape, rounded
    """
    if values.dtype.kind in "iu" and values.dtype.itemsize < 3:
        # Looked up, which is as exact and many times faster.
        lowest = np.iinfo(values.dtype).min
        every = np.arange(lowest, np.iinfo(values.dtype).max + 1)
        return _mapped(every, limits, nodata)[values.astype(np.int32) - lowest]
    return _mapped(values, limits, nodata)


def _mapped(values: np.ndarray, limits: Limits, nodata: float | None) -> np.ndarray:
    low, high = limits
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = (values.astype(np.float64) - low) * 255 / ((high - low) or 1.0)
        scaled = np.rint(scaled.clip(0, 255))
    bad = np.isnan(scaled)
    if nodata is not None:
        bad |= values == nodata
    scaled[bad] = 0
    return scaled.astype(np.uint8)


def percentile_limits(
    source: Source, bands: Sequence[int], palette: np.ndarray | None = None
) -> list[Limits]:
    """The 2nd and 98th percentile of each band's valid pixels.

    Parameters
    ----------
    source : Source
    bands : sequence of int
        From 1.
    palette : (256, 3) uint8 array, optional
        What the values of the only band mean; its three bands are measured.

    Raises
    ------
    ImageError
        Where no valid pixel is found, or the sample cannot be read.

    Notes
    -----
    Taken from a million pixels at most, always the same ones: of an overview
    where the file has one, else of 32 x 32 windows spread evenly, so that not
    every block of a huge image is decoded.
    """
    parts: list[list[np.ndarray]] = []
    for window, options in _samples(source):
        values = list(source.read(bands, window, **options))
        valid = source.mask(window, **options)
        known = [v[valid & _is_data(v, source, b)] for v, b in zip(values, bands, strict=True)]
        parts.append(known if palette is None else list(palette[known[0]].T))
    limits = []
    for number, found in enumerate(zip(*parts, strict=True)):
        numbers = np.concatenate(found)
        if not numbers.size:
            raise ImageError(
                f"{source.path}: expected valid pixels to take percentiles from, found none in band"
                f" {bands[0] if palette is not None else bands[number]}. Give `scale=(MIN, MAX)`"
            )
        low, high = np.percentile(numbers.astype(np.float64), PERCENTILES)
        limits.append((float(low), float(high)))
    return limits


def _is_data(values: np.ndarray, source: Source, band: int) -> np.ndarray:
    nodata = source.dataset.nodatavals[band - 1]
    data = np.isfinite(values)
    return data if nodata is None else data & (values != nodata)


def _samples(source: Source) -> list[tuple[Window | None, dict[str, tuple[int, int]]]]:
    height, width = source.dataset.shape
    longest, factors = max(height, width), source.dataset.overviews(1)
    if longest <= _SAMPLE:
        return [(None, {})]
    if factors and longest / max(factors) <= _LARGEST_OVERVIEW:
        scale = longest / _SAMPLE
        return [(None, {"out_shape": (max(1, int(height / scale)), max(1, int(width / scale)))})]
    rows, columns = _spread(height), _spread(width)
    return [(Window(x, y, w, h), {}) for y, h in rows for x, w in columns]


def _spread(length: int) -> list[tuple[int, int]]:
    """Start and length of windows along an axis: all of a short one."""
    if length <= _LATTICE * _WINDOW:
        return [(0, length)]
    middles = (np.arange(_LATTICE) + 0.5) * length / _LATTICE
    return [(int(middle - _WINDOW / 2), _WINDOW) for middle in middles]
