"""Probabilities of a map's cells, read in windows, and where the cells lie on the image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tltool.errors import DataError
from tltool.run.sidecar import MapFacts

# Row, column, rows and columns of a part of a map.
Window = tuple[int, int, int, int]

# Bytes that the values of a window may take, and cells along a side of a file's blocks.
_WINDOW_BYTES, _BLOCK = 96 << 20, 256


@dataclass(frozen=True)
class MapGeometry:
    """Position of cells on an image.

    Attributes
    ----------
    x, y : float
        Where the square of cell (0, 0) begins, px of the image.
    cell_size : float
        From cell to cell, px.
    width, height : int
        Width and height of the image, px.
    """

    x: float
    y: float
    cell_size: float
    width: int
    height: int

    @classmethod
    def of_facts(cls, facts: MapFacts) -> "MapGeometry":
        """Make it from the JSON that `tltool.heatmap` writes beside a map."""
        origin = facts.offset + (facts.patch - facts.stride) / 2
        return cls(origin, origin, facts.stride, facts.width, facts.height)

    def to_pixels(self, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixel positions x, y of (n,) positions in cells, where cell 0's centre is 0.

        0 px is the outer corner of the first pixel. Cells cover the image and
        may reach beyond it: what lies outside moves to the nearest pixel's
        centre.
        """
        xs = self.x + (columns + 0.5) * self.cell_size
        ys = self.y + (rows + 0.5) * self.cell_size
        return xs.clip(0.5, self.width - 0.5), ys.clip(0.5, self.height - 0.5)


class CellMap(Protocol):
    """A map that is read in windows.

    Attributes
    ----------
    names : tuple of str
        Names of the bands.
    rows, columns : int
    """

    names: tuple[str, ...]
    rows: int
    columns: int

    def read(self, band: int, row: int, column: int, rows: int, columns: int) -> np.ndarray:
        """Read (rows, columns) float32 values of a band, counted from 0; NaN: no data."""


class ArrayMap:
    """A map in memory.

    Parameters
    ----------
    values : (bands, rows, columns) array
        Probabilities; NaN: no data.
    names : sequence of str
    """

    def __init__(self, values: np.ndarray, names: Sequence[str]):
        if values.ndim != 3 or len(values) != len(names):
            raise DataError(
                f"a map: expected ({len(names)}, rows, columns) values for the classes"
                f" {', '.join(names)}; received {values.shape}"
            )
        self._values = values.astype(np.float32, copy=False)
        self.names = tuple(names)
        self.rows, self.columns = values.shape[1:]

    def read(self, band: int, row: int, column: int, rows: int, columns: int) -> np.ndarray:
        """Read a window, see `CellMap.read`."""
        return self._values[band, row : row + rows, column : column + columns]


class RowsKept:
    """A map that is read from top to bottom, each row of it once.

    Parameters
    ----------
    cells : CellMap
    rows : int
        How many of a window the next one below reads again.
    """

    def __init__(self, cells: CellMap, rows: int):
        self.names, self.rows, self.columns = cells.names, cells.rows, cells.columns
        self._cells, self._keep = cells, rows
        self._kept: dict[int, tuple[int, int, np.ndarray]] = {}

    def read(self, band: int, row: int, column: int, rows: int, columns: int) -> np.ndarray:
        """Read a window, see `CellMap.read`."""
        top = self._top(band, row, column, columns)[:rows]
        row, rows = row + len(top), rows - len(top)
        values = top
        if rows:
            values = np.concatenate([top, self._cells.read(band, row, column, rows, columns)])
        first = max(0, len(values) - self._keep)
        self._kept[band] = row + rows - len(values) + first, column, values[first:].copy()
        return values

    def _top(self, band: int, row: int, column: int, columns: int) -> np.ndarray:
        """Rows from this one on that were read before."""
        first, left, kept = self._kept.get(band, (0, 0, np.zeros((0, 0), np.float32)))
        if left == column and kept.shape[1] == columns and first <= row < first + len(kept):
            return kept[row - first :]
        return np.zeros((0, columns), np.float32)


def read_around(
    cells: CellMap, band: int, row: int, column: int, rows: int, columns: int, halo: int
) -> np.ndarray:
    """Read a window and `halo` cells around it; NaN beyond the map's edges.

    Returns
    -------
    (rows + 2 * halo, columns + 2 * halo) float32 array.
    """
    top, left = max(0, row - halo), max(0, column - halo)
    bottom = min(cells.rows, row + rows + halo)
    right = min(cells.columns, column + columns + halo)
    values = np.full((rows + 2 * halo, columns + 2 * halo), np.nan, np.float32)
    first, start = top - row + halo, left - column + halo
    values[first : first + bottom - top, start : start + right - left] = cells.read(
        band, top, left, bottom - top, right - left
    )
    return values


def cut_windows(cells: CellMap, halo: int) -> Iterator[Window]:
    """Row, column, rows and columns of windows that cover a map from top to bottom.

    With `halo` cells around they end where blocks of the file do: with
    `RowsKept` no block is decoded twice, save those along the sides of a map
    that is too wide for one window.
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
