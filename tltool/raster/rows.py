"""Rows of images that are stored row by row.

Tiles side by side need the same rows. Of a wide image these are more than GDAL
keeps: it would decode whole strips of a TIFF again for every tile, and a JPEG
or PNG even from its start.
"""

from collections.abc import Callable

import numpy as np
from rasterio.windows import Window

Rows = tuple[np.ndarray, np.ndarray | None]

# Rows that are decoded at once.
_CHUNK = 128


class RowCache:
    """Decoded rows, kept while there is room.

    Parameters
    ----------
    load : callable
        Of the first row and their number, giving (bands, rows, columns)
        pixels and (rows, columns) bool, or None.
    height : int
        Of the image, px.
    budget : int
        Bytes kept beside the rows of the last window.
    """

    def __init__(self, load: Callable[[int, int], Rows], height: int, budget: int):
        self._load, self._height, self.budget = load, height, budget
        self._chunks: dict[int, Rows] = {}

    def window(self, window: Window) -> Rows:
        """Pixels and validity of a window inside the image."""
        x, y, width, height = window.flatten()
        wanted = range(y // _CHUNK, (y + height - 1) // _CHUNK + 1)
        self._make_room(wanted)
        columns, pixels, valid = slice(x, x + width), [], []
        for number in wanted:
            first = number * _CHUNK
            rows = slice(max(0, y - first), y + height - first)
            chunk, mask = self._chunk(number)
            pixels.append(chunk[:, rows, columns])
            if mask is not None:
                valid.append(mask[rows, columns])
        return np.concatenate(pixels, 1), np.concatenate(valid) if valid else None

    def _chunk(self, number: int) -> Rows:
        if number not in self._chunks:
            first = number * _CHUNK
            self._chunks[number] = self._load(first, min(_CHUNK, self._height - first))
        return self._chunks[number]

    def _make_room(self, wanted: range) -> None:
        spare = sorted((n for n in self._chunks if n not in wanted), reverse=True)
        size = 0
        # The lowest rows stay longest: images are read downwards.
        for number in spare:
            size += sum(part.nbytes for part in self._chunks[number] if part is not None)
            if size > self.budget:
                del self._chunks[number]
