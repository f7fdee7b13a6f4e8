"""Local maxima of a surface, window by window, a plateau counting as one.

Whether a cell is a maximum depends on its eight neighbours, whether a plateau
is one on all its cells, which may lie in several windows. So each window gives
its plain peaks, what it knows of its plateaus, and the plateaus' cells along
its edge, by which `merge_plateaus` joins their parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

# Cells around a window that must be known: whether a neighbour is a maximum depends on its own.
HALO = 2

_AROUND = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0)]
_EDGE_AHEAD = [(0, 1), (1, -1), (1, 0), (1, 1)]


@dataclass(frozen=True)
class Plateaus:
    """Connected cells of one value, none of whose own neighbours is higher.

    Attributes
    ----------
    height : (n,) float32 array
    sums : (n, 3) int64 array
        Number of cells, sum of their rows, sum of their columns.
    first : (n,) int64 array
        Least ``row * columns + column`` of the map.
    slope : (n,) bool array
        Whether it is no maximum: a cell of the same value beside it has a
        higher neighbour.
    edge_cell, edge_of : (m,) int64 arrays
        Cells, as `first`, along the window's edge, and the plateau of each.
    """

    height: np.ndarray
    sums: np.ndarray
    first: np.ndarray
    slope: np.ndarray
    edge_cell: np.ndarray
    edge_of: np.ndarray

    def __len__(self) -> int:
        return len(self.height)

    def middle(self) -> np.ndarray:
        """(n, 2) row and column of the cell at the centre, halves rounded up."""
        cells = self.sums[:, :1]
        return (2 * self.sums[:, 1:] + cells) // (2 * cells)

    def positions(self, level: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """(n, 2) cells that stand for plateaus of a map, and their positions in cells.

        The centre, where the cell at the centre is `level` with the plateau;
        of a ring, whose centre is not, the first cell.
        """
        first = np.stack(np.divmod(self.first, columns), axis=1)
        centre = self.sums[:, 1:] / self.sums[:, :1]
        own = level[:, None]
        return np.where(own, self.middle(), first), np.where(own, centre, first)

    def take(self, chosen: np.ndarray) -> "Plateaus":
        """Take the plateaus where this (n,) bool array is true."""
        values = {f.name: getattr(self, f.name)[chosen] for f in fields(self)[:4]}
        kept = chosen[self.edge_of]
        of = (np.cumsum(chosen) - 1)[self.edge_of[kept]]
        return Plateaus(**values, edge_cell=self.edge_cell[kept], edge_of=of)

    @property
    def at_edge(self) -> np.ndarray:
        """(n,) bool array: whether the next window may have more of it."""
        at_edge = np.zeros(len(self), bool)
        at_edge[self.edge_of] = True
        return at_edge


def find_peaks(
    surface: np.ndarray, floor: float, row: int, column: int, shape: tuple[int, int]
) -> tuple[np.ndarray, Plateaus]:
    """Peaks of one window.

    Parameters
    ----------
    surface : (rows + 4, columns + 4) float32 array
        With `HALO` cells around the window; NaN: no data, or beyond the map.
    floor : float
        Least height.
    row, column : int
        Row and column of the window's first cell in the map.
    shape : (int, int)
        Shape of the map.

    Returns
    -------
    peaks : (n, 2) int array
        Row and column in the map of cells higher than all eight neighbours;
        no data is lower than anything.
    plateaus : Plateaus
    """
    known = np.where(np.isnan(surface), np.float32(-np.inf), surface)
    width, values = known.shape[1], known.reshape(-1)
    # Cells a cell or more inside, from the floor on and not below any neighbour.
    inside = np.flatnonzero(known[1:-1, 1:-1] >= floor)
    row_of, column_of = np.divmod(inside, width - 2)
    flat = (row_of + 1) * width + column_of + 1
    for r, c in _AROUND:
        flat = flat[values[flat] >= values[flat + r * width + c]]
    level = np.zeros(len(flat), bool)
    for r, c in _AROUND:
        level |= values[flat] == values[flat + r * width + c]
    peaks = np.stack(np.divmod(flat[~level], width), axis=1) - HALO
    inner = ((peaks >= 0) & (peaks < np.array(known.shape) - 2 * HALO)).all(axis=1)
    plateaus = _plateaus(known, flat[level], row, column, shape)
    return peaks[inner] + [row, column], plateaus


def _plateaus(
    known: np.ndarray, flat: np.ndarray, row: int, column: int, shape: tuple[int, int]
) -> Plateaus:
    width, values = known.shape[1], known.reshape(-1)
    mask = np.zeros(known.shape, bool)
    mask.reshape(-1)[flat] = True
    window = mask[HALO:-HALO, HALO:-HALO]
    parts, number = ndimage.label(window, np.ones((3, 3)))
    rows, columns = np.nonzero(window)
    of, flat = parts[rows, columns] - 1, (rows + HALO) * width + columns + HALO
    slope = np.zeros(len(flat), bool)
    for r, c in _AROUND:
        beside = flat + r * width + c
        slope |= (values[flat] == values[beside]) & ~mask.reshape(-1)[beside]
    bottom, right = np.array(window.shape) - 1
    edge = (rows == 0) | (columns == 0) | (rows == bottom) | (columns == right)
    rows, columns = rows.astype(np.int64) + row, columns.astype(np.int64) + column
    cells, sums = rows * shape[1] + columns, np.stack([np.ones_like(rows), rows, columns], axis=1)
    merged = _merged(of, number, values[flat], sums, cells, slope)
    return Plateaus(*merged, cells[edge], of[edge])


def _merged(
    of: np.ndarray,
    number: int,
    height: np.ndarray,
    sums: np.ndarray,
    first: np.ndarray,
    slope: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Height, sums, first cell and slope of groups of cells or plateaus; integers stay exact."""
    heights, slopes = np.zeros(number, np.float32), np.zeros(number, bool)
    heights[of], slopes[of[slope]] = height, True
    total, least = np.zeros((number, 3), np.int64), np.full(number, np.iinfo(np.int64).max)
    for k in range(3):
        np.add.at(total[:, k], of, sums[:, k])
    np.minimum.at(least, of, first)
    return heights, total, least, slopes


def _touching(cells: np.ndarray, of: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of plateaus with neighbouring cells."""
    order = np.argsort(cells)
    cells, of = cells[order], of[order]
    one, other = [], []
    for r, c in _EDGE_AHEAD:
        right = cells % columns + c
        wanted = cells + r * columns + c
        found = np.searchsorted(cells, wanted).clip(max=len(cells) - 1)
        hit = (cells[found] == wanted) & (right >= 0) & (right < columns)
        one.append(of[hit])
        other.append(of[found[hit]])
    return np.concatenate(one), np.concatenate(other)


def merge_plateaus(parts: Sequence[Plateaus], columns: int) -> Plateaus:
    """Join plateaus of windows where their cells touch.

    Parameters
    ----------
    parts : sequence of Plateaus
        Plateaus of windows that cover each cell once.
    columns : int
        Columns of the map.

    Returns
    -------
    Plateaus
        Without edges, slopes among them.
    """
    starts = np.cumsum([0, *map(len, parts)])
    every = [np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Plateaus)]
    height, sums, first, slope, edge_cell, _ = every
    edge_of = np.concatenate([part.edge_of + k for part, k in zip(parts, starts, strict=False)])
    size, none = len(height), np.zeros(0, np.int64)
    one, other = _touching(edge_cell, edge_of, columns) if size else (none, none)
    links = coo_matrix((np.ones(len(one), bool), (one, other)), shape=(size, size))
    number, of = connected_components(links, directed=False) if size else (0, none)
    return Plateaus(*_merged(of, number, height, sums, first, slope), none, none)


def fit_parabolas(before: np.ndarray, peak: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Find where the parabola through three values, a cell apart, is highest.

    Parameters
    ----------
    before, peak, after : (n,) arrays
        `peak` is the largest; NaN where there is no data.

    Returns
    -------
    (n,) float64 array in -0.5..0.5, cells from the middle one; 0 where one of
    the values is missing or all are equal.

    References
    ----------
    R. B. Fisher and D. K. Naidu, "A Comparison of Algorithms for Subpixel Peak
    Detection", in Image Technology, Springer, 1996, pp. 385-404,
    doi:10.1007/978-3-642-58288-2_15: the parabolic estimator.
    """
    left, middle, right = (np.asarray(v, np.float64) for v in (before, peak, after))
    bend = left - 2 * middle + right
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = (left - right) / (2 * bend)
    return np.where(bend < 0, shift, 0.0).clip(-0.5, 0.5)
