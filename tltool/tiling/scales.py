"""One map of an image seen at several scales."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tltool.raster import AnyRaster, as_zoom
from tltool.raster.reading import interpolate
from tltool.raster.resampling import ResampledRaster
from tltool.run.sidecar import Sidecar
from tltool.tiling.engines import Engine
from tltool.tiling.pipeline import keep, read_tile
from tltool.tiling.tiles import Axis, Extent, Tile, extent_of, make_grid


@dataclass(frozen=True)
class _Seen:
    """A tile of one scale: its pixels, and where the base map's cells lie among its own."""

    pixels: np.ndarray
    tile: Tile
    rows: np.ndarray
    columns: np.ndarray


class ScalesPredictor:
    """Judges a tile in the image resampled to several scales; mean or maximum of each class.

    The cells are those of the image at scale 1. Other scales' maps are
    interpolated bilinearly at their centres.

    Parameters
    ----------
    engine : Engine
    sidecar : Sidecar
        Sidecar of the FCN.
    scales : sequence of float
        Enlargements of the image, 1 as it is.
    combine : 'mean' or 'max'
    """

    def __init__(
        self, engine: Engine, sidecar: Sidecar, scales: Sequence[float], combine: str = "mean"
    ):
        self._engine, self._sidecar, self._scales = engine, sidecar, tuple(scales)
        self._combine, self._zoom = combine, as_zoom(sidecar.zoom)

    def read(self, image: Any, tile: Tile) -> list[_Seen]:
        """Read what each scale needs of a tile."""
        return [self._seen(image, tile, scale) for scale in self._scales]

    def _seen(self, image: AnyRaster, tile: Tile, scale: float) -> _Seen:
        resampled = image if scale == 1 else ResampledRaster(image, scale)
        base, grid = (make_grid(self._sidecar, r.width, r.height) for r in (image, resampled))
        across, down = resampled.width / image.width, resampled.height / image.height
        rows, y = _positions(base.y, tile.y, grid.y, down)
        columns, x = _positions(base.x, tile.x, grid.x, across)
        own = Tile(y, x)
        return _Seen(read_tile(resampled, own, self._zoom), own, rows, columns)

    def predict(self, pixels: list[_Seen], tile: Tile) -> np.ndarray:
        """The kept cells' (classes, rows, columns) float32 probabilities."""
        found = []
        for seen in pixels:
            values = keep(self._engine(seen.pixels), seen.tile)
            for axis, positions in ((1, seen.rows), (2, seen.columns)):
                cell = positions.astype(np.intp)
                weight = (positions - cell).astype(np.float32)
                values = interpolate(values, cell, weight, axis)
            found.append(values)
        combine = np.max if self._combine == "max" else np.mean
        return combine(np.stack(found), axis=0).astype(np.float32)


def _positions(base: Axis, extent: Extent, axis: Axis, scale: float) -> tuple[np.ndarray, Extent]:
    """Where cells of the base map lie among the cells of a scale's tile, and that tile."""
    cells = np.arange(extent.cell, extent.cell + extent.cells)
    centres = (float(base.origin) + (cells + 0.5) * float(base.cell_size)) * scale
    positions = (centres - float(axis.origin)) / float(axis.cell_size) - 0.5
    positions = positions.clip(0, axis.cells - 1)
    first = int(positions[0]) // axis.step * axis.step
    last = min(int(np.ceil(positions[-1])), axis.cells - 1)
    return positions - first, extent_of(axis, first, last + 1 - first)
