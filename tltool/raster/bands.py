"""Which bands of an image are taken, and how they become bytes: one rule for training and maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from tltool.errors import ImageError, UsageError
from tltool.raster.source import Planes, Source

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


# Formats that may have any number of bands, of which Pillow reads few.
RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt")

_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


@dataclass(frozen=True)
class BandView:
    """Selection of a file's bands and their scaling to bands of the pixels.

    Attributes
    ----------
    stored : list of int
        Bands to read from the file, from 1, each once.
    order : list of int
        Place in what was read, or looked up, of each band of the pixels.
    palette : (values, 3) uint8 array or None
        RGB of the values of the only stored band.
    limits : list of (float, float) or None
        What of each stored band, or of a palette's three, becomes 0 and 255.
        None: 8 bits as they are, of 16 the high byte.
    nodata : list of float or None
        Value without data of each stored band: the value that becomes 0 when scaled.
    """

    stored: list[int]
    order: list[int]
    palette: np.ndarray | None = None
    limits: list[Limits] | None = None
    nodata: list[float | None] = field(default_factory=list)

    def pixels(self, values: Planes) -> np.ndarray:
        """Convert (stored, height, width) values to (height, width, bands) uint8."""
        if self.palette is not None:
            pixels = self.palette[values[0]]
        else:
            if self.limits is not None:
                kinds = zip(values, self.limits, self.nodata, strict=True)
                stacked = np.stack([to_bytes(*kind) for kind in kinds])
            elif isinstance(values, np.ndarray):
                stacked = high_byte(values)
            else:
                stacked = np.stack([high_byte(band) for band in values])
            pixels = stacked.transpose(1, 2, 0)
        same = self.order == list(range(pixels.shape[2]))
        return pixels if same else pixels[..., self.order]

    def scaled(self, limits: Sequence[Limits], nodata: Sequence[float | None]) -> "BandView":
        """View of the same bands, their numbers mapped from `limits` to bytes.

        Parameters
        ----------
        limits : sequence of (float, float)
            Limits of each stored band, or of a palette's three.
        nodata : sequence of float or None
            Value without data of each stored band: the value that becomes 0.
        """
        if self.palette is None:
            return replace(self, limits=list(limits), nodata=list(nodata))
        palette = np.stack([to_bytes(c, b) for c, b in zip(self.palette.T, limits, strict=True)], 1)
        if nodata[0] is not None and 0 <= nodata[0] < len(palette):
            palette[int(nodata[0])] = 0
        return replace(self, palette=palette, limits=list(limits), nodata=list(nodata))

    def limits_of_bands(self) -> list[Limits] | None:
        """Numbers that become 0 and 255 in each band; None where nothing is scaled."""
        return None if self.limits is None else [self.limits[index] for index in self.order]


def view_of(bands: Sequence[int], palette: np.ndarray | None = None) -> BandView:
    """The view of these bands of a file; of a palette's three, where there is one."""
    if palette is not None:
        return BandView([1], [band - 1 for band in bands], palette)
    stored = list(dict.fromkeys(bands))
    return BandView(stored, [stored.index(band) for band in bands])


def seen_bands(meanings: Sequence[ColorInterp]) -> list[int]:
    """Red, green and blue where they are named; grey three times; else all that is not alpha."""
    if set(_RGB) <= set(meanings):
        return [meanings.index(colour) + 1 for colour in _RGB]
    colours = [band for band, c in enumerate(meanings, 1) if c != ColorInterp.alpha] or [1]
    return colours[:1] * 3 if len(colours) < 3 else colours


def high_byte(values: np.ndarray) -> np.ndarray:
    """Take the upper eight of 16 bits; what has eight stays as it is."""
    return (values >> 8).astype(np.uint8) if values.dtype == np.uint16 else values


def check_bands(path: Path, bands: Sequence[int], number: int) -> None:
    """Raise an `ImageError` where an image of `number` bands lacks one of `bands`."""
    lacking = [band for band in bands if not 1 <= band <= number]
    if lacking:
        raise ImageError(
            f"{path}: expected band {lacking[0]}, the image has {number} (bands count from 1)."
            " Name others in the recipe's bands"
        )


# A palette of the greys as they are.
_GREY = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


def in_bands(path: Path) -> bool:
    """Whether a file has bands of its own, of any meaning."""
    return path.suffix.lower() in RASTER_SUFFIXES


def views_of(path: Path, dataset: Any, bands: Sequence[int] | None) -> tuple[BandView, BandView]:
    """Bands that are read of a file, and three of them to look at.

    Raises
    ------
    ImageError
        Where a band is lacking, or bands are chosen of a TIFF that has a palette.
    """
    seen = seen_bands(dataset.colorinterp)
    view = _seen_view(dataset, seen) if bands is None else _chosen_view(path, dataset, seen, bands)
    return view, _picture_view(dataset, seen, bands)


def _seen_view(dataset: Any, seen: Sequence[int]) -> BandView:
    palette = _read_palette(dataset, seen[0])
    return view_of(seen) if palette is None else view_of((1, 2, 3), palette)


def _chosen_view(path: Path, dataset: Any, seen: Sequence[int], bands: Sequence[int]) -> BandView:
    if in_bands(path):
        check_bands(path, bands, dataset.count)
        if ColorInterp.palette in dataset.colorinterp:
            raise ImageError(
                f"{path}: expected bands, received a palette. Expand it first, for example"
                " with gdal_translate -expand rgb"
            )
        return view_of(bands)
    palette = _read_palette(dataset, seen[0])
    deep_grey = dataset.count == 1 and dataset.dtypes[0] == "uint16"
    if palette is None and not deep_grey:
        check_bands(path, bands, dataset.count)
        return view_of(bands)
    # Neither has bands of its own: those of what a person sees.
    check_bands(path, bands, 3)
    return view_of([seen[band - 1] for band in bands] if palette is None else bands, palette)


def _picture_view(dataset: Any, seen: Sequence[int], bands: Sequence[int] | None) -> BandView:
    """Three bands to look at: red, green and blue, or the first three of what is read."""
    if len(seen) == 3:
        return _seen_view(dataset, seen)
    read = list(bands or seen)
    return view_of(read[:3] if len(read) > 2 else read[:1] * 3)


def _read_palette(dataset: Any, band: int) -> np.ndarray | None:
    if dataset.colorinterp[0] != ColorInterp.palette:
        levels = _levels(dataset.tags(band, ns="IMAGE_STRUCTURE").get("NBITS"))
        inverted = dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
        if not inverted or dataset.dtypes[0] != "uint8":
            return levels
        return 255 - (_GREY if levels is None else levels)
    colours = dataset.colormap(1)
    table = np.zeros((max([255, *colours]) + 1, 3), np.uint8)
    for index, colour in colours.items():
        table[index] = colour[:3]
    return table


def _levels(bits: str | None) -> np.ndarray | None:
    # GDAL gives grey of fewer than eight bits as it is stored, 0..1 for one bit.
    if bits is None or int(bits) >= 8:
        return None
    last = 2 ** int(bits) - 1
    grey = (np.arange(256) % (last + 1) * 255 // last).astype(np.uint8)
    return np.repeat(grey[:, None], 3, axis=1)
