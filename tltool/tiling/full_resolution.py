"""A map enlarged to the size of its image, window by window."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from tltool.raster import AnyRaster, MapGeoreference, MapWriter
from tltool.raster.reading import interpolate
from tltool.raster.source import without_georeference_warning
from tltool.raster.writing import ENCODINGS, MapKind
from tltool.tiling.tiles import Axis, Grid

# What a window's values may take, bytes, and the blocks that it is made of, px.
_WINDOW_BYTES = 32 << 20
_BLOCK = 256


def neighbours(axis: Axis, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the cells between whose centres pixels lie.

    Parameters
    ----------
    axis : Axis
    start, stop : int
        Half-open range of pixels.

    Returns
    -------
    cell : (stop - start,) integer array
        The cell whose centre is before a pixel's centre; the next is behind.
    weight : (stop - start,) float32 array
        Weight of the next cell, 0..1. Beyond the outermost centres the outermost
        cell's value goes on.
    """
    position = (np.arange(start, stop) + 0.5 - float(axis.origin)) / float(axis.cell_size) - 0.5
    position = np.clip(position, 0, axis.cells - 1)
    cell = np.minimum(position.astype(np.intp), max(0, axis.cells - 2))
    return cell, (position - cell).astype(np.float32)


def _windows(width: int, height: int, classes: int) -> Iterator[Window]:
    blocks = int((_WINDOW_BYTES / (4 * classes)) ** 0.5) // _BLOCK
    side = _BLOCK * max(1, blocks)
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield Window(left, top, min(side, width - left), min(side, height - top))


def write_full_resolution(map_path: Path, path: Path, grid: Grid, raster: AnyRaster) -> None:
    """Enlarge a map bilinearly to one value a pixel of its image.

    Parameters
    ----------
    map_path : Path
        A map of `tltool.heatmap`, a value a cell.
    path : Path
        To write: GeoTIFF in the map's data type, a band a class, in the image's own grid.
    grid : Grid
        The map's cells.
    raster : Raster
        The image.

    Raises
    ------
    OutputError
    """
    with without_georeference_warning(), rasterio.open(map_path) as source:
        size = (raster.height, raster.width)
        encoding = ENCODINGS[source.dtypes[0]]
        kind = MapKind(tuple(source.descriptions), encoding)
        gcps, crs = raster.gcps
        georeference = MapGeoreference(crs or raster.crs, raster.transform, gcps)
        with MapWriter(path, *size, kind, georeference, durable=True) as writer:
            for window in _windows(raster.width, raster.height, source.count):
                rows, down = neighbours(grid.y, window.row_off, window.row_off + window.height)
                columns, right = neighbours(grid.x, window.col_off, window.col_off + window.width)
                top, left = rows[0], columns[0]
                height = min(rows[-1] + 2, source.height) - top
                width = min(columns[-1] + 2, source.width) - left
                values = encoding.decode(source.read(window=Window(left, top, width, height)))
                values = interpolate(values, columns - left, right, 2)
                values = interpolate(values, rows - top, down, 1)
                writer.write(window.row_off, window.col_off, encoding.encode(values))
