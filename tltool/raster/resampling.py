"""An image as if it had been taken at another distance, read in windows."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine

from tltool.errors import ImageError
from tltool.raster.array import ArrayRaster
from tltool.raster.georeference import move_gcps
from tltool.raster.reading import Raster
from tltool.raster.source import Closing

# Beyond these a network sees blur or blocks, whatever is done.
_SMALLEST, _LARGEST = 1 / 16, 16


class ResampledRaster(Closing):
    """A raster enlarged or reduced as a whole; its windows are those of the whole.

    Bilinear, and in reducing the mean under a triangle as wide as two pixels
    of the result, so that nothing aliases. What a window gives does not depend
    on the window.

    Parameters
    ----------
    raster : Raster
        Closed with this one.
    factor : float
        Pixels of the result for one of the raster, along each axis.

    Attributes
    ----------
    path, name, label, bands, limits, has_mask, crs
        As those of `Raster`.
    width, height : int
        Width and height of the result, px.
    transform : Affine
    gcps : list of GroundControlPoint, rasterio.crs.CRS or None
    gsd : float or None
        Ground sample distance of the result.

    Raises
    ------
    ImageError
        A factor below 1/16 or above 16, or one that leaves no pixel.
    """

    path: Path | None
    name: str
    label: str
    bands: int
    limits: list[tuple[float, float]] | None
    has_mask: bool
    crs: Any
    world_crs: Any
    width: int
    height: int
    transform: Affine
    gsd: float | None

    def __init__(self, raster: "AnyRaster", factor: float):
        if not _SMALLEST <= factor <= _LARGEST:
            raise ImageError(
                f"{raster.label}: expected to be resampled by 1/16 to 16, received {factor:g}. The"
                " image's ground sample distance or the network's is not what it is said to be"
            )
        self._raster, self.path, self.bands = raster, raster.path, raster.bands
        self.name, self.label = raster.name, raster.label
        self.limits, self.has_mask, self.crs = raster.limits, raster.has_mask, raster.crs
        self.world_crs = raster.world_crs
        self.width = max(1, round(raster.width * factor))
        self.height = max(1, round(raster.height * factor))
        # Of whole pixels: the edges of both lie on each other.
        self._across, self._down = self.width / raster.width, self.height / raster.height
        self.transform = raster.transform @ Affine.scale(1 / self._across, 1 / self._down)
        self.gsd = None if raster.gsd is None else raster.gsd / factor

    def close(self) -> None:
        """Release the file."""
        self._raster.close()

    @property
    def gcps(self) -> tuple[list[GroundControlPoint], Any]:
        """Ground control points, in pixels of the result."""
        points, crs = self._raster.gcps
        return move_gcps(points, Affine.scale(self._across, self._down)), crs

    def to_world(self, xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert pixels of the result as `Raster.to_world` does."""
        return self._raster.to_world(np.asarray(xs) / self._across, np.asarray(ys) / self._down)

    def to_pixels(self, xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert to pixels of the result as `Raster.to_pixels` does."""
        columns, rows = self._raster.to_pixels(xs, ys)
        return columns * self._across, rows * self._down

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Read a window of the result; outside the image its reflection.

        Returns
        -------
        (height, width, bands) uint8 array

        Raises
        ------
        ImageError
        """
        left, columns = _taps(x, width, self._across)
        top, rows = _taps(y, height, self._down)
        size = _reach(left, columns), _reach(top, rows)
        pixels = self._raster.read(int(left[0]), int(top[0]), *size).astype(np.float32)
        shrunk = _weighted(_weighted(pixels, top, rows, 0), left, columns, 1)
        return np.rint(shrunk).astype(np.uint8)

    def valid(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Test which pixels of a window are valid: as the raster's under their centres.

        Returns
        -------
        (height, width) bool array
        """
        columns, rows = _under(x, width, self._across), _under(y, height, self._down)
        size = int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1
        valid = self._raster.valid(int(columns[0]), int(rows[0]), *size)
        return valid.take(rows - rows[0], 0).take(columns - columns[0], 1)

    def surely_empty(self, x: int, y: int, width: int, height: int) -> bool:
        """Test a window as `Raster.surely_empty` does."""
        columns, rows = _under(x, width, self._across), _under(y, height, self._down)
        size = int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1
        return self._raster.surely_empty(int(columns[0]), int(rows[0]), *size)

    def thumbnail(self, longest: int) -> np.ndarray:
        """Make a thumbnail as `Raster.thumbnail` does."""
        return self._raster.thumbnail(longest)


# What can be mapped.
AnyRaster = Raster | ResampledRaster | ArrayRaster


def _under(start: int, length: int, factor: float) -> np.ndarray:
    """Pixels of the raster under the centres of `length` pixels of the result."""
    return np.floor((np.arange(start, start + length) + 0.5) / factor).astype(np.int64)


def _taps(start: int, length: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of the result the first pixel it takes from, and the weights of those.

    Returns
    -------
    (length,) int array, (length, taps) float32 array whose rows add up to 1
    """
    support = max(1.0, 1 / factor)
    centres = (np.arange(start, start + length) + 0.5) / factor - 0.5
    first = np.floor(centres - support).astype(np.int64) + 1
    places = first[:, None] + np.arange(math.ceil(2 * support))
    weights = np.maximum(0, 1 - np.abs(places - centres[:, None]) / support)
    return first, (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _reach(first: np.ndarray, weights: np.ndarray) -> int:
    return int(first[-1] - first[0]) + weights.shape[1]


def _weighted(pixels: np.ndarray, first: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Sum of each result's pixels along an axis, added in one order whatever the window."""
    shape = [1] * pixels.ndim
    shape[axis] = -1
    total = 0.0
    for tap in range(weights.shape[1]):
        taken = pixels.take(first - first[0] + tap, axis)
        total = total + taken * weights[:, tap].reshape(shape)
    return np.asarray(total)
