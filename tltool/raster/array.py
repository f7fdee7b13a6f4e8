"""Pixels in memory, read like those of an image on disk."""

from typing import Any

import numpy as np
from rasterio.transform import Affine

from tltool.raster.bands import Limits
from tltool.raster.reading import reflect_indices
from tltool.raster.source import Closing


class ArrayRaster(Closing):
    """An image in memory with the interface of `Raster`.

    It has no file, no georeference and no pixel that is not valid.

    Parameters
    ----------
    pixels : (height, width, bands) uint8 array
    name : str
        Name of the image in titles and messages.
    limits : list of (float, float), optional
        Numbers that became 0 and 255, for each band.

    Attributes
    ----------
    path : None
    name, label : str
        How titles and messages call it.
    width, height : int
        px.
    bands : int
    limits, has_mask, crs, world_crs, transform, gcps, gsd
        As those of `Raster`, of an image without a file.
    """

    path = None
    has_mask = False
    crs = world_crs = gsd = None
    transform = Affine.identity()

    def __init__(self, pixels: np.ndarray, name: str = "image", limits: list[Limits] | None = None):
        self._pixels, self.name, self.limits = pixels, name, limits
        self.label = f"`{name}`"
        self.height, self.width, self.bands = pixels.shape

    def close(self) -> None:
        """Do nothing: there is no file."""

    @property
    def gcps(self) -> tuple[list[Any], Any]:
        """No ground control points."""
        return [], None

    def to_world(self, xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions as they are: pixels are all that is known."""
        return np.asarray(xs, float), np.asarray(ys, float)

    to_pixels = to_world

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Read a window, (height, width, bands) uint8; outside the image its reflection."""
        rows = reflect_indices(y, y + height, self.height)
        columns = reflect_indices(x, x + width, self.width)
        return self._pixels.take(rows, 0).take(columns, 1)

    def valid(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Test which pixels of a window are valid: all."""
        return np.ones((height, width), bool)

    def surely_empty(self, x: int, y: int, width: int, height: int) -> bool:
        """Whether a window has no valid pixel: never."""
        return False

    def thumbnail(self, longest: int) -> np.ndarray:
        """Shrink the image so that its longer side is at most `longest` px.

        Returns
        -------
        (height, width, 3) uint8 array
            The first three bands; of fewer the first one as grey.
        """
        bands = slice(0, 3) if self.bands > 2 else [0, 0, 0]
        factor = -(-max(self.width, self.height) // longest)
        if factor == 1:
            return np.ascontiguousarray(self._pixels[..., bands])
        down = np.add.reduceat(self._pixels[..., bands], range(0, self.height, factor), 0, np.int64)
        sums = np.add.reduceat(down, range(0, self.width, factor), 1)
        rows = np.diff([*range(0, self.height, factor), self.height])
        columns = np.diff([*range(0, self.width, factor), self.width])
        return np.rint(sums / np.outer(rows, columns)[..., None]).astype(np.uint8)
