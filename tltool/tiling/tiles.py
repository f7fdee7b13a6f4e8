"""Where the cells of a map lie on an image, which windows to read for them, and how large ones."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tltool.errors import ModelError, UsageError
from tltool.models.graph import replay
from tltool.raster import as_zoom
from tltool.run.sidecar import Sidecar

if TYPE_CHECKING:
    from tltool.tiling.engines import Engine

# What the largest layer of a tile may hold, in bytes, and the longest side of a tile.
_LAYER_BYTES = 256 << 20
_LONGEST = 2048
# Windows that a classifier is given at a time.
_BATCH = 64
# A smaller tile must be this much faster: below it is the machine's own unsteadiness.
_CLEARLY = 1.1
# Fractions of the longest tile that are tried.
_FRACTIONS = (1.0, 0.7, 0.5, 0.35)


@dataclass(frozen=True)
class Axis:
    """The cells along one axis of an image.

    Attributes
    ----------
    length : int
        Length of the image, px.
    patch, context : int
        px of the image.
    zoom : Fraction
    side, stride : int
        The network's, px of the enlarged image.
    first, last : int
        Pixels that can influence a cell, counted from its window's start.
    """

    length: int
    patch: int
    context: int
    zoom: Fraction
    side: int
    stride: int
    first: int
    last: int

    @cached_property
    def cell_size(self) -> Fraction:
        """Distance from cell to cell, px of the image."""
        return self.stride / self.zoom

    @cached_property
    def offset(self) -> int:
        """Start of the patch of cell 0, px: its square begins at the edge or just before."""
        return math.floor((self.cell_size - self.patch) / 2)

    @cached_property
    def origin(self) -> Fraction:
        """Start of the square of cell 0, px: in -1 < origin <= 0."""
        return self.offset + (self.patch - self.cell_size) / 2

    @cached_property
    def cells(self) -> int:
        """Number of cells that cover the image."""
        return math.ceil((self.length - self.origin) / self.cell_size)

    @property
    def step(self) -> int:
        """Cells after which positions are whole pixels again."""
        return self.cell_size.denominator

    @cached_property
    def before(self) -> int:
        """Cells that a tile computes and drops at its start: padding reaches into them."""
        cells = -(-max(0, -self.first) // self.stride)
        return -(-cells // self.step) * self.step

    @cached_property
    def after(self) -> int:
        """Cells that a tile computes and drops at its end."""
        return -(-max(0, self.last - self.side + 1) // self.stride)

    def window_start(self, cell: int) -> Fraction:
        """First pixel, context included, of what the classifier sees for a cell."""
        return self.offset - self.context + cell * self.cell_size

    def input_length(self, cells: int) -> int:
        """Pixels of the enlarged image that a tile of `cells` kept cells needs.

        The classifier's own side and a multiple of its stride: every layer
        then pads as it did in training.
        """
        return self.side + (cells - 1 + self.before + self.after) * self.stride

    def cells_for(self, length: int) -> int:
        """Kept cells of tiles that need at most `length` px of the enlarged image, evenly dealt."""
        most = (length - self.side) // self.stride + 1 - self.before - self.after
        tiles = -(-self.cells // max(1, most))
        even = -(-self.cells // tiles)
        return -(-even // self.step) * self.step


@dataclass(frozen=True)
class Extent:
    """A tile along one axis.

    Attributes
    ----------
    cell, cells : int
        First kept cell and their number.
    start, length : int
        What to read, px of the image.
    trim, size : int
        Where the network's input begins in what was read and enlarged, and
        how long it is, px of the enlarged image.
    drop : int
        Cells of the network's output before the first kept one.
    """

    cell: int
    cells: int
    start: int
    length: int
    trim: int
    size: int
    drop: int


def extent_of(axis: Axis, cell: int, kept: int, cells: int | None = None) -> Extent:
    """The tile that keeps `kept` cells from `cell` on.

    Parameters
    ----------
    axis : Axis
    cell : int
        A multiple of ``axis.step``.
    kept : int
    cells : int, optional
        As many are computed, a multiple of ``axis.step``; default: those kept,
        rounded up.
    """
    size = axis.input_length(cells or -(-kept // axis.step) * axis.step)
    # Enlarged pixels at a window's border take part of their value from the next pixel outside.
    margin = 0 if axis.zoom == 1 else axis.zoom.denominator
    length = math.ceil(size / axis.zoom) + 2 * margin
    start = int(axis.window_start(cell - axis.before)) - margin
    return Extent(cell, kept, start, length, int(margin * axis.zoom), size, axis.before)


def extents(axis: Axis, cells: int) -> list[Extent]:
    """Divide an axis into tiles of `cells` cells (a multiple of ``axis.step``).

    All of them read windows of the same length; the last keeps fewer cells.
    """
    return [
        extent_of(axis, cell, min(cells, axis.cells - cell), cells)
        for cell in range(0, axis.cells, cells)
    ]


@dataclass(frozen=True)
class Tile:
    """A block of cells and the window to read for it."""

    y: Extent
    x: Extent

    @property
    def cells(self) -> int:
        """Number of kept cells."""
        return self.y.cells * self.x.cells


@dataclass(frozen=True)
class Grid:
    """The cells of an image: the same classifier's along both axes."""

    y: Axis
    x: Axis

    def tiles(self, length: int) -> Iterator[Tile]:
        """Tiles row by row whose network input is at most about `length` px a side."""
        columns = extents(self.x, self.x.cells_for(length))
        for row in extents(self.y, self.y.cells_for(length)):
            for column in columns:
                yield Tile(row, column)


def make_grid(sidecar: Sidecar, width: int, height: int) -> Grid:
    """Lay the cells of an FCN over an image.

    Parameters
    ----------
    sidecar : Sidecar
        Sidecar of an FCN.
    width, height : int
        Width and height of the image, px.

    Raises
    ------
    ModelError
        Where the sidecar is a classifier's and knows no stride.
    """
    if sidecar.stride is None or sidecar.reach is None:
        raise ModelError(
            "the sidecar has no stride and reach: expected that of an FCN, received that of a"
            " classifier. Convert it with tltool convert"
        )
    zoom = as_zoom(sidecar.zoom)
    stride = round(sidecar.stride * zoom)
    shared = (sidecar.patch, sidecar.context, zoom, sidecar.input_side, stride, *sidecar.reach)
    return Grid(Axis(height, *shared), Axis(width, *shared))


def pixel_type(zoom: Fraction) -> str:
    """Data type of what `read_tile` gives."""
    return "uint8" if zoom == 1 else "float32"


def tile_length(fcn: keras.Model, side: int, stride: int) -> int:
    """Side of a tile whose largest layer stays within a fixed memory, px of the enlarged image.

    Parameters
    ----------
    fcn : keras.Model
    side, stride : int
        The classifier's, px of the enlarged image.
    """
    probe = side + 4 * stride
    bytes_per_pixel = 4 * largest_layer(fcn, probe) / probe**2
    return int(min(_LONGEST, (_LAYER_BYTES / bytes_per_pixel) ** 0.5))


def batch_size(classifier: keras.Model) -> int:
    """Number of windows that the classifier takes at a time within the same memory."""
    numbers = largest_layer(classifier, classifier.inputs[0].shape[1])
    return max(1, min(_BATCH, _LAYER_BYTES // (4 * numbers)))


def largest_layer(model: keras.Model, side: int) -> int:
    """Numbers that the largest layer holds of one image of `side` px."""
    largest = 0

    def measure(layer: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal largest
        outputs = layer.compute_output_spec(*args, **kwargs)
        sizes = [np.prod(t.shape) for t in keras.tree.flatten(outputs)]
        largest = max(largest, int(max(sizes)))
        return outputs

    replay(model, keras.KerasTensor((1, side, side, model.inputs[0].shape[-1])), measure)
    return largest


@dataclass(frozen=True)
class ChosenTile:
    """A tile's size and what it was chosen by.

    Attributes
    ----------
    length : int
        Longest side, px of the enlarged image.
    megapixels_per_second : dict of int to float
        Megapixels per second of the image, halos not counted, for each length that was tried.
    """

    length: int
    megapixels_per_second: dict[int, float]


def tile_candidates(grid: Grid, longest: int) -> list[int]:
    """Sides of tiles worth trying, longest first, px of the enlarged image.

    Parameters
    ----------
    grid : Grid
        The cells of an image. Lengths that give it the same tiles are tried once.
    longest : int
        What memory allows.
    """
    # Smaller ones compute halos above all; the network needs these even beyond the longest.
    smallest = 2 * grid.y.input_length(grid.y.step)
    lengths = [max(smallest, int(longest * part)) for part in _FRACTIONS]
    by_tiles = {(grid.y.cells_for(n), grid.x.cells_for(n)): n for n in reversed(lengths)}
    return sorted(by_tiles.values(), reverse=True)


def choose_tile(
    engine: "Engine",
    grid: Grid,
    candidates: Sequence[int],
    read: Callable[[Tile], np.ndarray],
    repeats: int = 3,
) -> ChosenTile:
    """Choose the size of tiles by running the first tile of each.

    Parameters
    ----------
    engine : Engine
    grid : Grid
        The cells of an image.
    candidates : sequence of int
        Longest sides, px of the enlarged image, the preferred first: another
        one must be a tenth faster. `tile_candidates` gives some.
    read : callable
        The pixels of a tile, as `tltool.tiling.pipeline.read_tile`.
    repeats : int
        Runs of each, after one that is not counted.

    Returns
    -------
    ChosenTile
        Store its length: another run on a busier machine may choose another.

    Raises
    ------
    UsageError
        No candidates.
    """
    if not candidates:
        raise UsageError("candidates: expected at least one length of a tile, received none")
    area = float(grid.y.cell_size * grid.x.cell_size) / 1e6
    speeds: dict[int, float] = {}
    for length in candidates:
        tile = next(grid.tiles(length))
        pixels, seconds = read(tile), []
        engine(pixels)  # the first of a size prepares it
        for _ in range(repeats):
            started = time.perf_counter()
            engine(pixels)
            seconds.append(time.perf_counter() - started)
        # The least disturbed one.
        speeds[length] = tile.cells * area / min(seconds)
    best = candidates[0]
    for length in candidates[1:]:
        if speeds[length] > _CLEARLY * speeds[best]:
            best = length
    return ChosenTile(best, {n: round(speed, 3) for n, speed in speeds.items()})
