"""The pictures of a map: its overlay, and the page to look into it."""

from pathlib import Path

import numpy as np

from tltool.files import atomic_path
from tltool.mapping.shrink import shrink_factor, shrink_map
from tltool.pictures.overlay import Extent, draw_overlay, draw_value_overlay
from tltool.raster import AnyRaster
from tltool.tiling.products import Product
from tltool.tiling.tiles import Grid
from tltool.tiling.unfinished import UnfinishedMap

# Longest side of the overlay's photograph, px.
OVERLAY_SIDE = 2500


def shrunk(work: UnfinishedMap, product: Product, longest: int) -> tuple[np.ndarray, int]:
    """A small copy of a map, (names, rows, columns), and how many cells became one."""
    factor = shrink_factor(work.shape, len(product.names), longest)
    return shrink_map(work.shown, work.shape, len(product.names), factor), factor


def extent_of(grid: Grid, shape: tuple[int, ...], factor: int) -> Extent:
    """Left, top, right and bottom, px of the image, of a map of `factor` times larger cells."""
    left, top = float(grid.x.origin), float(grid.y.origin)
    across, down = float(grid.x.cell_size) * factor, float(grid.y.cell_size) * factor
    return left, top, left + shape[-1] * across, top + shape[-2] * down


def write_overlay(
    work: UnfinishedMap,
    product: Product,
    raster: AnyRaster,
    grid: Grid,
    photograph: np.ndarray,
    path: Path,
) -> None:
    """Draw a map over its photograph, however large both are.

    Parameters
    ----------
    work : UnfinishedMap
    product : Product
    raster : Raster
    grid : Grid
    photograph : (height, width, 3) uint8 array
        The image shrunk.
    path : Path
    """
    small, factor = shrunk(work, product, OVERLAY_SIDE)
    scale = photograph.shape[1] / raster.width
    left, top, right, bottom = (scale * edge for edge in extent_of(grid, small.shape, factor))
    extent, title = (left, top, right, bottom), raster.name
    if product.measured:
        picture = draw_value_overlay(photograph, small, product.names, extent, title)
    else:
        picture = draw_overlay(
            photograph,
            small,
            product.names,
            product.nothing,
            extent,
            title=title,
            exclusive=product.exclusive,
        )
    with atomic_path(path, durable=True) as partial:
        # Twice as fast as the default for a tenth more bytes.
        picture.save(partial, compress_level=3)
