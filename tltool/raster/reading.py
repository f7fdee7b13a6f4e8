"""Images read in windows.

Through rasterio, so that an image never has to fit in memory. A window may
reach over the image's edges: there it sees the image reflected, without
repeating the edge pixel.
"""

import math
import threading
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, Resampling
from rasterio.transform import Affine
from rasterio.windows import Window

from tltool.errors import UsageError
from tltool.raster.bands import (
    BandView,
    Scale,
    check_numbers,
    check_scale,
    in_bands,
    percentile_limits,
    views_of,
)
from tltool.raster.emptiness import EmptyBlocks, EmptyOverview
from tltool.raster.georeference import Orientation, find_orientation, georeference
from tltool.raster.source import Closing, Source
from tltool.raster.writing import save_bands


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


def interpolate(values: np.ndarray, low: np.ndarray, weight: np.ndarray, axis: int) -> np.ndarray:
    """Interpolate between `low` and the next along an axis; beyond its ends their value goes on."""
    last, shape = values.shape[axis] - 1, [1] * values.ndim
    shape[axis] = -1
    first = values.take(np.clip(low, 0, last), axis)
    return first + (values.take(np.clip(low + 1, 0, last), axis) - first) * weight.reshape(shape)


def _enlarged(pixels: np.ndarray, zoom: Fraction, axis: int) -> np.ndarray:
    # Half-pixel centres: enlarged pixel i lies at (i + 1/2) / zoom - 1/2. In whole numbers,
    # so that a window enlarged alone equals the same window of the enlarged whole.
    size = pixels.shape[axis]
    doubled = (2 * np.arange(size * zoom.numerator // zoom.denominator) + 1) * zoom.denominator
    doubled -= zoom.numerator
    low, remainder = np.divmod(doubled, 2 * zoom.numerator)
    weight = (remainder / (2 * zoom.numerator)).astype(np.float32)
    return interpolate(pixels, low, weight, axis)


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
    return _enlarged(_enlarged(pixels.astype(np.float32), zoom, 0), zoom, 1)


class Image(Protocol):
    """Image that windows can be read from."""

    width: int
    height: int

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Read (height, width, bands) uint8 pixels; outside the image its reflection."""
        ...


# Pixels of an image that are shrunk at once, and rows at most.
_PIXELS, _ROWS = 16 << 20, 1024


def shrink(source: Source, view: BandView, orientation: Orientation, longest: int) -> np.ndarray:
    """Shrink an image by the smallest whole number that makes its longer side fit.

    Parameters
    ----------
    source : Source
    view : BandView
    orientation : Orientation
    longest : int
        px.

    Returns
    -------
    (height, width, bands) uint8 array, upright

    Raises
    ------
    ImageError
        Where the file cannot be read, naming the window.
    """
    height, width = orientation.shape(source.dataset.shape)
    factor = -(-max(width, height) // longest)
    # In strips: GDAL averages band by band, and would read the whole image for each.
    rows = factor * max(1, min(_ROWS, _PIXELS // width) // factor)
    # Class numbers of a palette must not be averaged.
    averaged = Resampling.nearest if view.palette is not None else Resampling.average
    strips = []
    for top in range(0, height, rows):
        part = min(rows, height - top)
        window = orientation.stored_window(Window(0, top, width, part), width, height)
        shape = orientation.shape((-(-part // factor), -(-width // factor)))
        values = source.read(view.stored, window, out_shape=shape, resampling=averaged)
        strips.append(orientation.upright(view.pixels(values)))
    return np.concatenate(strips)


def brighten(picture: np.ndarray) -> np.ndarray:
    """Make the brightest of a picture of 16 bits white: sensors seldom fill them."""
    top = max(1, int(np.quantile(picture, 0.99)))
    return (picture.astype(np.uint16) * 255 // top).clip(0, 255).astype(np.uint8)


# Bytes of decoded rows that a turned image keeps, of which every tile needs all: 170 megapixels.
_TURNED_ROWS = 512 << 20

Loader = Callable[[Window], np.ndarray]


class Raster(Closing):
    """An image on disk, read in windows as (height, width, bands) uint8.

    Pixels are those of `tltool.data.images.read_image`, so that a map sees
    what training saw. Use it as a context manager.

    Parameters
    ----------
    path : str or Path
    bands : sequence of int, optional
        Which to take and in which order, from 1. None: RGB as a person sees
        the image (grey repeated, a palette looked up, alpha left out), or all
        bands but alpha where there are more than two and none is said to be
        red, green or blue; of two bands the first is grey.
    scale : (float, float) or 'percentiles', optional
        The numbers that become 0 and 255, those between linearly; or each
        band's 2nd and 98th percentile. None: 8 bits as they are, of 16
        unsigned ones the high byte.

    Attributes
    ----------
    path : Path
    name, label : str
        How titles and messages call it: the file's name, the whole path.
    width, height : int
        Size in pixels, as a person sees the image; of chosen bands of a TIFF,
        as they are stored.
    bands : int
        Number of bands of the pixels.
    limits : list of (float, float) or None
        What becomes 0 and 255, of each band of the pixels; None without `scale`.
    has_mask : bool
        Whether alpha, values that mean no data, or a mask band say of some
        pixels that they are not valid.
    crs : rasterio.crs.CRS or None
    transform : Affine
        From pixel (x right, y down, 0 at the outer corner of the first pixel)
        to the CRS; the identity where there is none.
    gcps : list of GroundControlPoint, rasterio.crs.CRS or None
        The points that say where the image lies, in its pixels, and their
        CRS: only where no transform does, nor fits the points within a
        quarter of a pixel. Else an empty list and None.
    gsd : float or None
        Ground sample distance in metres per pixel, where a projected CRS
        tells it.

    Raises
    ------
    ImageError
        The file is no image, has other numbers than 8 or 16 bits and no
        `scale`, lacks a band, has no valid pixel to take percentiles from, or
        must be decoded whole and is larger than Pillow's limit.
    UsageError
        `scale` is none.

    Notes
    -----
    An EXIF orientation turns the georeference with the pixels. Rational
    polynomial coefficients are not used.
    """

    def __init__(self, path: str | Path, bands: Sequence[int] | None = None, scale: Scale = None):
        check_scale(scale)
        self.path = Path(path)
        self.name, self.label = self.path.name, str(path)
        self._source = Source(self.path)
        self._blocks: EmptyBlocks | None = None
        self._proofs_lock = threading.Lock()
        try:
            self._inspect(bands, scale)
        except BaseException:
            self.close()
            raise

    def _inspect(self, bands: Sequence[int] | None, scale: Scale) -> None:
        dataset, self._scale = self._source.dataset, scale
        view, self._unscaled_picture = views_of(self.path, dataset, bands)
        read = {*view.stored, *self._unscaled_picture.stored}
        check_numbers(self.path, [dataset.dtypes[band - 1] for band in read], scale is not None)
        self._view = self._scaled(view)
        self.bands, self.limits = len(view.order), self._view.limits_of_bands()
        self.has_mask = self._source.mask_kind != "none"
        # Bands of a TIFF are read as they are stored.
        raw = bands is not None and in_bands(self.path)
        tag = "" if raw else dataset.tags().get("EXIF_Orientation", "")
        self._orientation = Orientation() if raw else find_orientation(self.path, tag)
        self.height, self.width = self._orientation.shape(dataset.shape)
        if self._orientation != Orientation():
            self._source.keep_rows(_TURNED_ROWS)
        self._index = georeference(dataset, self._orientation, self.width, self.height)
        self.crs, self.transform, self.gsd = self._index.crs, self._index.transform, self._index.gsd

    @property
    def gcps(self) -> tuple[list[GroundControlPoint], Any]:
        """Ground control points and their CRS, where no transform says where the image lies."""
        return list(self._index.gcps), self._index.gcps_crs

    @property
    def world_crs(self) -> Any:
        """CRS of what `to_world` gives: `crs` or that of `gcps`; None where there is none."""
        return self._index.world

    def to_world(self, xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates in `world_crs` of (n,) positions in pixels, through `transform` or `gcps`."""
        return self._index.to_world(xs, ys)

    def to_pixels(self, xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions in pixels (x right, y down) of (n,) coordinates in `world_crs`."""
        return self._index.to_pixels(xs, ys)

    def _scaled(self, view: BandView) -> BandView:
        if self._scale is None:
            return view
        if self._scale == "percentiles":
            limits = percentile_limits(self._source, view.stored, view.palette)
        else:
            low, high = self._scale
            number = len(view.stored) if view.palette is None else 3
            limits = [(float(low), float(high))] * number
        return view.scaled(limits, [self._source.dataset.nodatavals[b - 1] for b in view.stored])

    @cached_property
    def _picture(self) -> BandView:
        same = self._unscaled_picture.stored == self._view.stored
        if same and self._view.limits is not None and self._view.palette is None:
            limits, nodata = self._view.limits, self._view.nodata
            return self._unscaled_picture.scaled(limits, nodata)
        return self._scaled(self._unscaled_picture)

    def close(self) -> None:
        """Release the file."""
        self._source.close()
        if self._blocks is not None:
            self._blocks.close()

    def _stored(self, window: Window) -> Window:
        return self._orientation.stored_window(window, self.width, self.height)

    def _load(self, window: Window) -> np.ndarray:
        values = self._source.read(self._view.stored, self._stored(window))
        return self._orientation.upright(self._view.pixels(values))

    def _load_mask(self, window: Window) -> np.ndarray:
        return self._orientation.upright(self._source.mask(self._stored(window)))

    def _reflected(self, load: Loader, x: int, y: int, width: int, height: int) -> np.ndarray:
        rows = reflect_indices(y, y + height, self.height)
        columns = reflect_indices(x, x + width, self.width)
        inner = _span(rows, columns)
        pixels, left, top = load(inner), inner.col_off, inner.row_off
        same_size = (inner.height, inner.width) == (height, width)
        if same_size and rows[0] == top and columns[0] == left:
            return np.ascontiguousarray(pixels)
        return pixels.take(rows - top, 0).take(columns - left, 1)

    def read_whole(self) -> np.ndarray:
        """Read the whole image: (height, width, bands) uint8."""
        pixels = self._view.pixels(self._source.read(self._view.stored))
        return np.ascontiguousarray(self._orientation.upright(pixels))

    @property
    def as_seen(self) -> bool:
        """Whether the pixels are all that the file has but alpha, in 8 bits."""
        kinds, view = self._source.dataset.colorinterp, self._view
        bands = [band for band, kind in enumerate(kinds, 1) if kind != ColorInterp.alpha]
        eight = set(self._source.dataset.dtypes) == {"uint8"}
        return eight and self.bands == 3 and sorted(view.stored) == bands

    def save_window(self, path: Path, x: int, y: int, width: int, height: int) -> None:
        """Write a window as a GeoTIFF with all bands and numbers that the file has.

        Parameters
        ----------
        path : Path
        x, y, width, height : int
            As those of `read`; outside the image its reflection is written.

        Raises
        ------
        ImageError
            Where the file cannot be read there, naming file and window.
        OSError
            Where `path` cannot be written.
        """
        dataset = self._source.dataset

        def load(window: Window) -> np.ndarray:
            values = self._source.read(dataset.indexes, self._stored(window))
            return self._orientation.upright(np.stack(list(values), axis=-1))

        values = np.moveaxis(self._reflected(load, x, y, width, height), -1, 0)
        known: dict[str, Any] = {"nodata": dataset.nodata}
        if not self.transform.is_identity:
            known |= {"crs": self.crs, "transform": self.transform @ Affine.translation(x, y)}
        save_bands(path, values, dataset.colorinterp, **known)

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Read a window; outside the image its reflection.

        Parameters
        ----------
        x, y : int
            Top-left pixel; may be negative.
        width, height : int
            Size in pixels.

        Returns
        -------
        (height, width, bands) uint8 array; RGB unless other bands were chosen or found.

        Raises
        ------
        ImageError
            Where the file cannot be read there, naming file and window.
        """
        return self._reflected(self._load, x, y, width, height)

    def valid(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Read which pixels of a window are valid; parameters and errors as those of `read`.

        Returns
        -------
        (height, width) bool array
            By GDAL's rules: a mask band says it, else alpha above 0, else that
            a band has another value than the one that means no data. Outside
            the image: of the pixel that is reflected there.
        """
        if not self.has_mask:
            return np.ones((height, width), bool)
        return self._reflected(self._load_mask, x, y, width, height)

    def surely_empty(self, x: int, y: int, width: int, height: int) -> bool:
        """Whether it is certain, without reading a window, that no pixel of it is valid.

        Parameters
        ----------
        x, y, width, height : int
            As those of `read`.

        Returns
        -------
        bool
            True only where the file proves it: by GeoTIFF blocks that are
            absent or equal to an empty one byte for byte, or by an averaged
            overview. False where it would have to be read to know.
        """
        if not self.has_mask:
            return False
        rows = reflect_indices(y, y + height, self.height)
        window = self._stored(_span(rows, reflect_indices(x, x + width, self.width)))
        with self._proofs_lock:
            proofs = self._proofs
        return any(proof.contain(window) for proof in proofs)

    @cached_property
    def _proofs(self) -> list[EmptyOverview | EmptyBlocks]:
        overview, self._blocks = EmptyOverview.find(self._source), EmptyBlocks.find(self._source)
        return [proof for proof in (overview, self._blocks) if proof is not None]

    def thumbnail(self, longest: int) -> np.ndarray:
        """Read the whole image shrunk so that its longer side is at most `longest` px.

        Returns
        -------
        (height, width, 3) uint8 array
            RGB; of an image without colours its first three bands. Scaled as
            the pixels are; where nothing was said and they have 16 bits,
            brightened so that there is something to see.
        """
        small = shrink(self._source, self._picture, self._orientation, longest)
        deep = "uint16" in self._source.dataset.dtypes
        return brighten(small) if deep and self._scale is None else small


def _span(rows: np.ndarray, columns: np.ndarray) -> Window:
    """The smallest window that has these rows and columns."""
    top, left = int(rows.min()), int(columns.min())
    return Window(left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)
