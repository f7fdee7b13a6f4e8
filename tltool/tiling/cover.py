"""Where an image has data to map: valid pixels, inside the areas of interest."""

import math

import numpy as np

from tltool.raster import AnyRaster, Area
from tltool.tiling.tiles import Axis, Extent, Grid, Tile


class ImageCover:
    """Tells tiles and cells without data.

    A cell has data where its square, the stride x stride px around the patch's
    centre, holds a valid pixel, and the square's centre lies in the area.

    Parameters
    ----------
    raster : Raster
    grid : Grid
        Its cells.
    area : Area, optional
        Of interest; None: everywhere.

    Attributes
    ----------
    read, skipped : int
        Tiles that had to be read so far, and tiles that had not.
    """

    def __init__(self, raster: AnyRaster, grid: Grid, area: Area | None = None):
        self._raster, self._grid, self._area = raster, grid, area
        self.read = self.skipped = 0

    def skips(self, tile: Tile) -> bool:
        """Whether a tile surely has no data, told without reading its pixels."""
        left, right = _bounds(self._grid.x, tile.x)
        top, bottom = _bounds(self._grid.y, tile.y)
        window = (left, top, right - left, bottom - top)
        outside = self._area is not None and not self._area.overlaps(*window)
        skipped = outside or self._raster.surely_empty(*window)
        self.skipped += skipped
        self.read += not skipped
        return skipped

    def empty(self, tile: Tile) -> np.ndarray | None:
        """Kept cells without data, (rows, columns) bool; None: all of them have some."""
        outside = np.zeros((tile.y.cells, tile.x.cells), bool)
        if self._area is not None:
            x, y = self._grid.x, self._grid.y
            corner = (
                float(x.origin + tile.x.cell * x.cell_size),
                float(y.origin + tile.y.cell * y.cell_size),
            )
            pitches = float(x.cell_size), float(y.cell_size)
            outside |= ~self._area.on_cells(*corner, *pitches, tile.y.cells, tile.x.cells)
        if self._raster.has_mask:
            outside |= ~self._any_valid(tile)
        return outside if outside.any() else None

    def _any_valid(self, tile: Tile) -> np.ndarray:
        left, right = _bounds(self._grid.x, tile.x)
        top, bottom = _bounds(self._grid.y, tile.y)
        valid = self._raster.valid(left, top, right - left, bottom - top)
        rows, columns = _squares(self._grid.y, tile.y, top), _squares(self._grid.x, tile.x, left)
        # Sums over any square by four look-ups (Crow 1984).
        sums = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1), np.int64)
        sums[1:, 1:] = valid.cumsum(0, dtype=np.int64).cumsum(1)
        down = sums[rows[1]] - sums[rows[0]]
        return down[:, columns[1]] - down[:, columns[0]] > 0


def find_cover(raster: AnyRaster, grid: Grid, area: Area | None = None) -> ImageCover | None:
    """The cover of an image's cells; None where all of them have data."""
    return ImageCover(raster, grid, area) if area is not None or raster.has_mask else None


def _edges(axis: Axis, extent: Extent) -> tuple[np.ndarray, np.ndarray]:
    """First pixel of each kept cell's square and the one behind its last, inside the image."""
    cells = range(extent.cell, extent.cell + extent.cells)
    starts = [math.floor(axis.origin + cell * axis.cell_size) for cell in cells]
    stops = [math.ceil(axis.origin + (cell + 1) * axis.cell_size) for cell in cells]
    first = np.clip(starts, 0, axis.length - 1)
    return first, np.maximum(np.clip(stops, 1, axis.length), first + 1)


def _bounds(axis: Axis, extent: Extent) -> tuple[int, int]:
    first, behind = _edges(axis, extent)
    return int(first[0]), int(behind[-1])


def _squares(axis: Axis, extent: Extent, start: int) -> tuple[np.ndarray, np.ndarray]:
    first, behind = _edges(axis, extent)
    return first - start, behind - start
