"""The values of a map's tiles on disk, before the map's own file is written.

A compressed file depends on the order in which its parts came, and a part that
is written twice leaves its old bytes behind. So each tile lies uncompressed at a
place of its own, where writing it again changes nothing, and the map is made
from all of them in one pass.
"""

import errno
import os
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tltool.tiling.tiles import Tile

# Columns of a window that are read at once, at most.
_WIDEST = 1 << 13


class TileStore:
    """A file with room for each tile's (bands, rows, columns) values.

    Parameters
    ----------
    path : Path
        Made where there is none.
    tiles : sequence of Tile
        Row by row, as `tltool.tiling.tiles.Grid.tiles` gives them.
    bands : int
    dtype : str

    Raises
    ------
    OSError
        Where there is no room for all tiles; it is taken at once.
    """

    def __init__(self, path: Path, tiles: Sequence[Tile], bands: int, dtype: str):
        self._tiles, self._bands, self._dtype = tiles, bands, np.dtype(dtype)
        self._across = sum(tile.y.cell == tiles[0].y.cell for tile in tiles)
        self._tops = [tile.y.cell for tile in tiles[:: self._across]]
        self._lefts = [tile.x.cell for tile in tiles[: self._across]]
        self.rows = tiles[-1].y.cell + tiles[-1].y.cells
        self.columns = tiles[-1].x.cell + tiles[-1].x.cells
        largest = max(tile.y.cells for tile in tiles) * max(tile.x.cells for tile in tiles)
        self._room = bands * largest * self._dtype.itemsize
        self.path = path
        self._file = open(path, "r+b" if path.exists() else "w+b", buffering=0)  # noqa: SIM115
        try:
            self._reserve(self._room * len(tiles))
        except BaseException:
            self.close()
            raise

    def _reserve(self, size: int) -> None:
        # Known now, not after hours; a file of the right size has it already.
        if os.fstat(self._file.fileno()).st_size == size:
            return
        self._file.truncate(0)
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self._file.fileno(), 0, size)
                return
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                    self._file.truncate(0)
                    raise
        self._file.truncate(size)

    def close(self) -> None:
        """Release the file; what was put stays in it."""
        self._file.close()

    def flush(self) -> None:
        """Wait until all that was put is on the disk."""
        os.fsync(self._file.fileno())

    def _shape(self, index: int) -> tuple[int, int, int]:
        tile = self._tiles[index]
        return self._bands, tile.y.cells, tile.x.cells

    def put(self, index: int, values: np.ndarray) -> int:
        """Write the values of the tile at this place; returns their checksum."""
        data = memoryview(np.ascontiguousarray(values, self._dtype).tobytes())
        checksum = zlib.crc32(data)
        self._file.seek(index * self._room)
        while data:
            data = data[self._file.write(data) :]
        return checksum

    def checksum(self, index: int) -> int:
        """Checksum of what the file holds of a tile."""
        size = int(np.prod(self._shape(index))) * self._dtype.itemsize
        return zlib.crc32(self._bytes(index * self._room, size))

    def _bytes(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        parts = []
        while size and (part := self._file.read(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def read(self, row: int, column: int, rows: int, columns: int, band: int) -> np.ndarray:
        """Read a window of one band: (rows, columns) as they were put."""
        values = np.empty((rows, columns), self._dtype)
        for index in self._touched(row, column, rows, columns):
            tile = self._tiles[index]
            top, bottom = max(row, tile.y.cell), min(row + rows, tile.y.cell + tile.y.cells)
            left, right = (
                max(column, tile.x.cell),
                min(column + columns, tile.x.cell + tile.x.cells),
            )
            inner = self._rows_of(index, band, top - tile.y.cell, bottom - tile.y.cell)
            values[top - row : bottom - row, left - column : right - column] = inner[
                :, left - tile.x.cell : right - tile.x.cell
            ]
        return values

    def _touched(self, row: int, column: int, rows: int, columns: int) -> Iterator[int]:
        down = range(bisect_right(self._tops, row) - 1, bisect_right(self._tops, row + rows - 1))
        first, last = bisect_right(self._lefts, column) - 1, column + columns - 1
        for line in down:
            for place in range(first, bisect_right(self._lefts, last)):
                yield line * self._across + place

    def _rows_of(self, index: int, band: int, first: int, last: int) -> np.ndarray:
        _, rows, columns = self._shape(index)
        start = (band * rows + first) * columns * self._dtype.itemsize
        size = (last - first) * columns * self._dtype.itemsize
        data = self._bytes(index * self._room + start, size)
        return np.frombuffer(data, self._dtype).reshape(last - first, columns)

    def windows(self, side: int) -> Iterator[tuple[int, int, int, int]]:
        """Row, column, rows and columns of windows that are whole blocks of `side` cells a side."""
        widest = side * max(1, _WIDEST // side)
        for row in range(0, self.rows, side):
            for column in range(0, self.columns, widest):
                yield row, column, min(side, self.rows - row), min(widest, self.columns - column)
