"""Peaks of a map's surfaces, and the means of all classes around them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tltool.points.cell_maps import CellMap, read_around
from tltool.points.peaks import HALO, Plateaus, find_peaks, fit_parabolas

Window = tuple[int, int, int, int]

# Bytes that the values of a window may take, and cells along a side of a file's blocks.
_WINDOW_BYTES, _BLOCK = 96 << 20, 256


def cut_windows(cells: CellMap, halo: int = HALO) -> Iterator[Window]:
    """Row, column, rows and columns of windows that cover a map from top to bottom.

    With `halo` cells around they end where blocks of the file do: with
    `tltool.points.cell_maps.RowsKept` no block is decoded twice, save those
    along the sides of a map that is too wide for one window.
    """
    blocks = max(1, _WINDOW_BYTES // (4 * len(cells.names) * _BLOCK * _BLOCK))
    across = min(blocks, -(-cells.columns // _BLOCK))
    width, height = across * _BLOCK, max(1, blocks // across) * _BLOCK
    # A file of blocks smaller than the halo gains nothing, but must be covered.
    bottoms = [*range(height, cells.rows + halo, height), cells.rows + halo]
    bottoms = [bottom - halo for bottom in bottoms if bottom > halo]
    for column in range(0, cells.columns, width):
        row = 0
        for bottom in bottoms:
            yield row, column, bottom - row, min(width, cells.columns - column)
            row = bottom


@dataclass(frozen=True)
class Stencil:
    """Cells over which is averaged around a peak.

    Attributes
    ----------
    cells : tuple of (int, int)
        Rows down and columns to the right.
    """

    cells: tuple[tuple[int, int], ...]

    @classmethod
    def disc(cls, radius: float) -> "Stencil":
        """Cells whose centres are at most so many cells away."""
        span = range(-int(radius), int(radius) + 1)
        return cls(tuple((r, c) for r in span for c in span if r * r + c * c <= radius * radius))

    @cached_property
    def halo(self) -> int:
        """Cells around a window that must be read for peaks and means."""
        return max([HALO, *(abs(place) for cell in self.cells for place in cell)])


class Block:
    """A window of a map with the cells around it; bands are read when first asked for.

    Parameters
    ----------
    cells : CellMap
    window : (int, int, int, int)
        Row, column, rows, columns.
    stencil : Stencil
    """

    def __init__(self, cells: CellMap, window: Window, stencil: Stencil):
        self.cells, self.window, self.stencil = cells, window, stencil
        self._bands: dict[int, np.ndarray] = {}

    def band(self, k: int) -> np.ndarray:
        """Values with ``stencil.halo`` cells around the window; NaN: no data."""
        if k not in self._bands:
            self._bands[k] = read_around(self.cells, k, *self.window, self.stencil.halo)
        return self._bands[k]

    def values(self, k: int, cell: np.ndarray, down: int = 0, right: int = 0) -> np.ndarray:
        """(n,) values of a band in (n, 2) cells of the map, or so far from them."""
        halo = self.stencil.halo
        rows = cell[:, 0] - self.window[0] + halo + down
        return self.band(k)[rows, cell[:, 1] - self.window[1] + halo + right]

    def means(self, cell: np.ndarray) -> np.ndarray:
        """(n, bands) float64 means around (n, 2) cells; 0 where a band has no data at all."""
        shape = len(cell), len(self.cells.names)
        total, number = np.zeros(shape), np.zeros(shape)
        for k in range(shape[1] if len(cell) else 0):
            for down, right in self.stencil.cells:
                values = self.values(k, cell, down, right)
                known = ~np.isnan(values)
                total[:, k] += np.where(known, values, 0)
                number[:, k] += known
        return total / np.maximum(number, 1)


@dataclass(frozen=True)
class Peaks:
    """Peaks of one surface.

    Attributes
    ----------
    place : (n, 2) float64 array
        Row and column in cells, 0 at the centre of the first.
    height : (n,) float64 array
        Of the surface.
    score : (n,) float64 array
        Mean of the surface around, at most `height`.
    label : (n,) int array
        Band that the point is named after.
    means : (n, bands) float64 array
    """

    place: np.ndarray
    height: np.ndarray
    score: np.ndarray
    label: np.ndarray
    means: np.ndarray


@dataclass(frozen=True)
class Seeker:
    """Seeks the peaks of one surface.

    Attributes
    ----------
    band : int
        Of the surface.
    inverted : bool
        Whether the surface is 1 minus the band.
    labels : tuple of int
        Bands that a point may be named after.
    floor : float
        Least height.
    """

    band: int
    inverted: bool
    labels: tuple[int, ...]
    floor: float

    def _surface(self, values: np.ndarray) -> np.ndarray:
        return 1 - values if self.inverted else values

    def search(self, block: Block) -> tuple[Peaks, Plateaus]:
        """Peaks of a window, and its plateaus that may go on in the next."""
        row, column, *_ = block.window
        around = block.stencil.halo - HALO
        surface = self._surface(block.band(self.band))
        surface = surface[around : len(surface) - around, around : surface.shape[1] - around]
        shape = block.cells.rows, block.cells.columns
        single, plateaus = find_peaks(surface, self.floor, row, column, shape)
        inner = plateaus.take(~plateaus.at_edge & ~plateaus.slope)
        level = self._level(block, inner.middle()) == inner.height
        cell, place = inner.places(level, shape[1])
        cells = np.concatenate([single, cell])
        places = np.concatenate([single + self._shift(block, single), place])
        return self._describe(block, cells, places), plateaus.take(plateaus.at_edge)

    def search_across(
        self, cells: CellMap, plateaus: Plateaus, stencil: Stencil
    ) -> Iterator[Peaks]:
        """Those of the plateaus of several windows that are peaks."""
        tops = plateaus.take(~plateaus.slope)
        for k, middle in enumerate(tops.middle()):
            top, cell = tops.take(np.arange(len(tops)) == k), middle[None]
            block = Block(cells, (*middle.tolist(), 1, 1), stencil)
            level = self._level(block, cell) == top.height
            cell, place = top.places(level, cells.columns)
            if not level[0]:
                block = Block(cells, (*cell[0].tolist(), 1, 1), stencil)
            yield self._describe(block, cell, place)

    def _level(self, block: Block, cell: np.ndarray) -> np.ndarray:
        return self._surface(block.values(self.band, cell))

    def _shift(self, block: Block, cell: np.ndarray) -> np.ndarray:
        """(n, 2) distance in cells from a cell's centre to the surface's maximum."""
        peak = self._level(block, cell)
        shifts = []
        for down, right in ((1, 0), (0, 1)):
            before = self._surface(block.values(self.band, cell, -down, -right))
            after = self._surface(block.values(self.band, cell, down, right))
            shifts.append(fit_parabolas(before, peak, after))
        return np.stack(shifts, axis=1)

    def _describe(self, block: Block, cell: np.ndarray, place: np.ndarray) -> Peaks:
        means = block.means(cell)
        height = self._level(block, cell).astype(np.float64)
        # Rounding, or a higher peak nearby: no peak shall pass a threshold its height does not.
        score = np.minimum(self._surface(means[:, self.band]), height)
        label = np.array(self.labels)[means[:, list(self.labels)].argmax(axis=1)]
        return Peaks(place, height, score, label, means)
