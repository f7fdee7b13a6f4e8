"""Tiles and overlap for a program that runs an FCN over an image by itself.

Deepness takes square tiles, joins what it keeps of them (what is further from
a tile's border than half the overlap) and has its overlap in whole per cents.
The plan is such that what is kept saw no border of a tile, and where whole per
cents allow it such that the cells of neighbouring tiles lie on one grid.
"""

import math
from dataclasses import dataclass

import keras

from tltool.errors import UsageError
from tltool.run.sidecar import Sidecar
from tltool.tiling.tiles import Axis, make_grid, tile_length

# Side of a tile, px, unless the network sees further.
_TILE = 512
# The plugin's overlap is whole per cents; above this nine tenths of the work are thrown away.
_MOST_OVERLAP = 66
# Where a network sees more around a cell than a tile can hold.
_INEXACT_OVERLAP = 50
# How many sizes and overlaps beyond the smallest are looked at for one common grid of cells.
_SIZES, _OVERLAPS = 16, 6


@dataclass(frozen=True)
class TilePlan:
    """A tile of the plugin and the cells in it, the same along both axes.

    Attributes
    ----------
    length : int
        px of the image.
    overlap : int
        Overlap of neighbouring tiles, per cent of `length`.
    size : int
        The network's input, px of the enlarged image.
    cells : int
    first_centre, cell_size : float
        Centre of cell 0 and distance from cell to cell, px of the image.
    margin : int
        Border of a tile that its padding reaches into, px of the image.
    """

    length: int
    overlap: int
    size: int
    cells: int
    first_centre: float
    cell_size: float
    margin: int

    @property
    def exact(self) -> bool:
        """Whether nothing is kept that saw the border of a tile."""
        return overlap_pixels(self.length, self.overlap) // 2 >= self.margin


def overlap_pixels(length: int, overlap: int) -> int:
    """Convert an overlap in per cent to px as the plugin does."""
    return int(length * overlap / 100 * 2) // 2


def _cells(axis: Axis, length: int) -> int:
    return (length * axis.zoom.numerator // axis.zoom.denominator - axis.side) // axis.stride + 1


def _margin(axis: Axis, length: int) -> float:
    """Border of a tile beyond the outermost centres that see no padding, px of the image."""
    half, cell_size = axis.side / (2 * axis.zoom), axis.cell_size
    # Enlarged pixels at a border lack what lies beyond it.
    blurred = 0 if axis.zoom == 1 else math.ceil(axis.zoom)
    before = -(-max(0, blurred - axis.first) // axis.stride)
    after = -(-max(0, axis.last + blurred - axis.side + 1) // axis.stride)
    last = half + (_cells(axis, length) - 1 - after) * cell_size
    return float(max(half + before * cell_size, length - last))


def _overlaps(axis: Axis, length: int) -> list[int]:
    """The smallest overlap that is enough, and some larger ones; none: the tile is too small."""
    if _cells(axis, length) < 1:
        return []
    margin = math.ceil(_margin(axis, length))
    enough = [p for p in range(_MOST_OVERLAP + 1) if overlap_pixels(length, p) // 2 >= margin]
    return enough[:_OVERLAPS]


def _lengths(axis: Axis, fcn: keras.Model) -> list[int]:
    """Sizes to look at: the network's own side and whole strides more, in whole pixels."""
    start = math.ceil(axis.side / axis.zoom)
    margin = _margin(axis, start + 64 * axis.stride)
    bound = tile_length(fcn, axis.side, axis.stride) / float(axis.zoom)
    wanted = min(max(_TILE, 6 * margin), bound)
    first = max(0, int((wanted - start) / float(axis.cell_size)))
    sizes = [math.ceil((axis.side + (first + k) * axis.stride) / axis.zoom) for k in range(_SIZES)]
    return [size for size in sizes if size <= max(bound, sizes[0])]


def plan_tile(fcn: keras.Model, sidecar: Sidecar, length: int | None = None) -> TilePlan:
    """Choose the plugin's tile and overlap for a network.

    Parameters
    ----------
    fcn : keras.Model
    sidecar : Sidecar
    length : int, optional
        Length of a tile, px of the image. Default: such that most of a tile is kept,
        within the memory that `tltool.tiling.tiles.tile_length` allows; of a
        network that sees too far for that the plan is not exact.

    Raises
    ------
    UsageError
        `length` is too small for what the network sees.
    """
    axis = make_grid(sidecar, 1, 1).y
    lengths = _lengths(axis, fcn) if length is None else [length]
    found = [(n, overlap) for n in lengths for overlap in _overlaps(axis, n)]
    # Neighbouring tiles' cells lie on one grid where whole cells fit between the tiles.
    on_grid = [
        (n, o) for n, o in found if ((n - overlap_pixels(n, o)) / axis.cell_size).denominator == 1
    ]
    if not found and length is not None:
        raise UsageError(
            f"`tile`: expected {_smallest(axis, length)} px or more, so that tiles with at most"
            f" {_MOST_OVERLAP} % overlap hold what a cell sees around it; received {length}"
        )
    length, overlap = [*on_grid, *found, (lengths[0], _INEXACT_OVERLAP)][0]
    cells, margin = _cells(axis, length), math.ceil(_margin(axis, length))
    size = axis.side + (cells - 1) * axis.stride
    first_centre, cell_size = float(axis.side / (2 * axis.zoom)), float(axis.cell_size)
    return TilePlan(length, overlap, size, cells, first_centre, cell_size, margin)


def _smallest(axis: Axis, start: int) -> int:
    return next(n for n in range(start, 1 << 20) if _overlaps(axis, n))


def smallest_exact(sidecar: Sidecar) -> int:
    """Side of the smallest tile that is exact, px of the image."""
    return _smallest(make_grid(sidecar, 1, 1).y, 1)
