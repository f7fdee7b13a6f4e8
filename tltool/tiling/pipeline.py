"""Tiles of an image read, predicted and handed on: few at a time, however large the image.

Reading runs ahead in a thread, the network in the caller's, and `Behind` hands
results to a thread that writes them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from tltool.prefetch import prefetch
from tltool.raster import AnyRaster, Area, Image, enlarge
from tltool.tiling.tiles import Axis, Extent, Grid, Tile

if TYPE_CHECKING:
    from tltool.tiling.engines import Engine

T = TypeVar("T")


class Behind(Generic[T]):
    """Calls `function` in a thread, in order, while at most `depth` items wait for it.

    Use it as a context manager: leaving waits for what was handed on, also
    where the block fails. What `function` raises comes out of a later call, or
    at the end; nothing that was handed on after it is done.
    """

    def __init__(self, function: Callable[[T], None], depth: int = 2):
        self._function, self._depth = function, depth
        self._pending: deque[Future[None]] = deque()
        self._broken = False

    def __enter__(self) -> Behind[T]:
        self._pool = ThreadPoolExecutor(1)
        return self

    def _run(self, item: T) -> None:
        if self._broken:
            return
        try:
            self._function(item)
        except BaseException:
            self._broken = True
            raise

    def __call__(self, item: T) -> None:
        """Hand on one item; waits while too many are on their way."""
        while len(self._pending) >= self._depth:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._run, item))

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._pool.shutdown(wait=True)
        if error is None:
            for future in self._pending:
                future.result()


class Cover(Protocol):
    """Cover of an image: which parts have data."""

    def skips(self, tile: Tile) -> bool:
        """Whether a tile surely has none, known without reading its pixels."""
        ...

    def empty(self, tile: Tile) -> np.ndarray | None:
        """Kept cells without data, (rows, columns) bool; None: all of them have some."""
        ...


class TilePredictor(Protocol):
    """Predictor of the probabilities of a tile's cells; in two steps, for two threads."""

    def read(self, image: Image, tile: Tile) -> Any:
        """Read all that `predict` needs of the image."""
        ...

    def predict(self, pixels: Any, tile: Tile) -> np.ndarray:
        """The kept cells' (classes, rows, columns) float32 probabilities."""
        ...


@dataclass(frozen=True)
class EnginePredictor:
    """An engine run once over each tile.

    Attributes
    ----------
    engine : Engine
    zoom : Fraction
    """

    engine: Engine
    zoom: Fraction

    def read(self, image: Image, tile: Tile) -> np.ndarray:
        """Read and enlarge a tile."""
        return read_tile(image, tile, self.zoom)

    def predict(self, pixels: np.ndarray, tile: Tile) -> np.ndarray:
        """Run the engine and keep the cells that are the tile's own."""
        return keep(self.engine(pixels), tile)


def read_tile(image: Image, tile: Tile, zoom: Fraction) -> np.ndarray:
    """Read a tile and enlarge it to the network's input.

    Returns
    -------
    (tile.y.size, tile.x.size, bands) uint8 array, float32 where zoom is above 1.
    """
    pixels = image.read(tile.x.start, tile.y.start, tile.x.length, tile.y.length)
    enlarged = enlarge(pixels, zoom)
    rows = slice(tile.y.trim, tile.y.trim + tile.y.size)
    return enlarged[rows, tile.x.trim : tile.x.trim + tile.x.size]


def keep(cells: np.ndarray, tile: Tile) -> np.ndarray:
    """Cut the cells that a tile keeps out of the network's output, as (classes, rows, columns)."""
    rows = slice(tile.y.drop, tile.y.drop + tile.y.cells)
    kept = cells[rows, tile.x.drop : tile.x.drop + tile.x.cells]
    return kept.transpose(2, 0, 1)


def predict_tiles(
    image: Image, tiles: Iterable[Tile], predictor: TilePredictor, cover: Cover | None = None
) -> Generator[tuple[Tile, np.ndarray | None]]:
    """Predict tiles in order: each with its (classes, rows, columns) probabilities.

    Parameters
    ----------
    image : Image
    tiles : iterable of Tile
    predictor : TilePredictor
    cover : Cover, optional
        A tile that it skips is not read, one whose cells are all empty not
        predicted: both come as None. Single empty cells are NaN in every class.

    Notes
    -----
    Close it before the image is closed: a thread reads ahead until then. What
    an exception leaves unfinished is not closed by itself.
    """

    def read(tile: Tile) -> tuple[Tile, Any, np.ndarray | None]:
        if cover is None:
            return tile, predictor.read(image, tile), None
        if cover.skips(tile):
            return tile, None, None
        empty = cover.empty(tile)
        if empty is not None and empty.all():
            return tile, None, None
        return tile, predictor.read(image, tile), empty

    with closing(prefetch(read, tiles)) as stream:
        for tile, pixels, empty in stream:
            if pixels is None:
                yield tile, None
                continue
            values = predictor.predict(pixels, tile)
            yield tile, values if empty is None else np.where(empty, np.float32(np.nan), values)


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
        Area of interest; None: everywhere.

    Attributes
    ----------
    read, skipped : int
        Tiles that had to be read so far, and tiles that had not.
    """

    def __init__(self, raster: AnyRaster, grid: Grid, area: Area | None = None):
        self._raster, self._grid, self._area = raster, grid, area
        self.read = self.skipped = 0

    def skips(self, tile: Tile) -> bool:
        """Whether a tile surely has no data, known without reading its pixels."""
        window = self._window(tile)
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
            left = float(x.origin + tile.x.cell * x.cell_size)
            top = float(y.origin + tile.y.cell * y.cell_size)
            size = float(x.cell_size), float(y.cell_size)
            outside |= ~self._area.on_cells(left, top, *size, tile.y.cells, tile.x.cells)
        if self._raster.has_mask:
            outside |= ~self._any_valid(tile)
        return outside if outside.any() else None

    def _window(self, tile: Tile) -> tuple[int, int, int, int]:
        """Left, top, width and height of a tile's kept cells, px of the image."""
        (left, right), (top, bottom) = (
            (int(first[0]), int(behind[-1]))
            for first, behind in (_edges(self._grid.x, tile.x), _edges(self._grid.y, tile.y))
        )
        return left, top, right - left, bottom - top

    def _any_valid(self, tile: Tile) -> np.ndarray:
        left, top, width, height = self._window(tile)
        valid = self._raster.valid(left, top, width, height)
        rows = [edge - top for edge in _edges(self._grid.y, tile.y)]
        columns = [edge - left for edge in _edges(self._grid.x, tile.x)]
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
