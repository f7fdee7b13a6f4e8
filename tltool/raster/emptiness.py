"""Parts of an image that are known to hold no valid pixel without reading them.

What counts as knowing. A block of a GeoTIFF that is absent (sparse), or whose
compressed bytes are those of a block that was read and found empty: equal
bytes decode to equal pixels. And an overview of which the file says that it
averages, of values of which the average is never the one that means no data:
its pixel is valid where one pixel under it is. Not an overview by nearest
neighbour or convolution, which lose single pixels, nor one of alpha, of which
the average of a few faint pixels rounds to nothing.

A separate mask band is not asked here: to read it is cheap beside the pixels.
"""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window

from tltool.errors import ImageError
from tltool.raster.source import ENVIRONMENT, Source, without_georeference_warning

# Bytes of a block that are compared: at most this many, and where it has more than a few this part
# of its pixels'.
_LARGEST, _FEW, _SHARE = 1 << 16, 1 << 9, 1 / 16
# Different contents of blocks that are tried.
_TRIED = 64
# Blocks of an image, of which each has a byte of memory.
_MOST_BLOCKS = 1 << 24
# Longest side of an overview that is kept, px.
_OVERVIEW = 2048

_UNKNOWN, _EMPTY, _MAYBE = 0, 1, 2


class EmptyBlocks:
    """Blocks of a GeoTIFF that hold no valid pixel, by their bytes.

    Parameters
    ----------
    source : Source
        A GeoTIFF of which alpha or no-data values say what is valid.
    """

    def __init__(self, source: Source):
        self._source, dataset = source, source.dataset
        self._block = dataset.block_shapes[0]
        rows, columns = (-(-n // b) for n, b in zip(dataset.shape, self._block, strict=True))
        self._states = np.zeros((rows, columns), np.uint8)
        self._bands, planes = _deciding_bands(source)
        raw = np.dtype(dataset.dtypes[0]).itemsize * self._block[0] * self._block[1] * planes
        self._largest = min(_LARGEST, max(_FEW, int(_SHARE * raw)))
        self._verdicts: dict[Any, bool] = {}
        self._lock = threading.Lock()
        self._file = source.path.open("rb")

    @classmethod
    def find(cls, source: Source) -> "EmptyBlocks | None":
        """Find the empty blocks of a dataset, where its blocks can be known empty."""
        dataset = source.dataset
        if dataset.driver != "GTiff" or source.mask_kind not in ("alpha", "nodata"):
            return None
        height, width = dataset.block_shapes[0]
        few = dataset.height * dataset.width / (height * width) < _MOST_BLOCKS
        return cls(source) if few else None

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def contain(self, window: Window) -> bool:
        """Whether all blocks that a window of the stored image touches are empty."""
        x, y, width, height = window.flatten()
        down, across = self._block
        with self._lock:
            return all(
                self._is_empty(row, column)
                for row in range(y // down, (y + height - 1) // down + 1)
                for column in range(x // across, (x + width - 1) // across + 1)
            )

    def _is_empty(self, row: int, column: int) -> bool:
        if self._states[row, column] == _UNKNOWN:
            self._states[row, column] = _EMPTY if self._proven(row, column) else _MAYBE
        return bool(self._states[row, column] == _EMPTY)

    def _proven(self, row: int, column: int) -> bool:
        content = [self._content(row, column, band) for band in self._bands]
        if None in content:
            return False
        down, across = self._block
        height = min(down, self._source.dataset.height - row * down)
        width = min(across, self._source.dataset.width - column * across)
        # Of a block at the edge only a part is seen: it says nothing of whole ones.
        key = (height, width, *content)
        if key not in self._verdicts:
            if len(self._verdicts) >= _TRIED:
                return False
            window = Window(column * across, row * down, width, height)
            try:
                self._verdicts[key] = not self._source.mask(window).any()
            except ImageError:
                # Reading the pixels raises.
                return False
        return self._verdicts[key]

    def _content(self, row: int, column: int, band: int) -> bytes | None:
        """Compressed bytes of a block; none of an absent one, None of one that is too large."""
        place = f"{column}_{row}"
        offset, size = (
            int(self._source.tag(f"BLOCK_{name}_{place}", "TIFF", band) or 0)
            for name in ("OFFSET", "SIZE")
        )
        if not offset or not size:
            return b""
        if size > self._largest:
            return None
        self._file.seek(offset)
        content = self._file.read(size)
        return content if len(content) == size else None


def _deciding_bands(source: Source) -> tuple[Sequence[int], int]:
    """Bands whose blocks are compared, and how many bands a block holds."""
    dataset = source.dataset
    if dataset.interleaving is None or dataset.interleaving.value.lower() == "pixel":
        return [1], dataset.count
    if source.mask_kind == "alpha":
        alphas = [band for band, c in enumerate(dataset.colorinterp, 1) if c == ColorInterp.alpha]
        return alphas or dataset.indexes, 1
    return dataset.indexes, 1


class EmptyOverview:
    """An overview that knows where no pixel is valid.

    Parameters
    ----------
    source : Source
    level : int
        Level of its overviews, from 0.
    """

    def __init__(self, source: Source, level: int):
        with (
            rasterio.Env(**ENVIRONMENT),
            without_georeference_warning(),
            rasterio.open(source.path, overview_level=level) as overview,
        ):
            self._valid = overview.dataset_mask() != 0
        self._scale = np.divide(self._valid.shape, source.dataset.shape)

    @classmethod
    def find(cls, source: Source) -> "EmptyOverview | None":
        """Find the overview of a dataset, where it has one that can be trusted and read."""
        level = _trusted_level(source)
        try:
            return None if level is None else cls(source, level)
        except RasterioError:
            # Reading the pixels raises where they are damaged.
            return None

    def contain(self, window: Window) -> bool:
        """Whether a window of the stored image is empty for certain."""
        x, y, width, height = window.flatten()
        rows = self._around(y, height, self._scale[0])
        return not self._valid[rows, self._around(x, width, self._scale[1])].any()

    def _around(self, start: int, length: int, scale: float) -> slice:
        # Two more on each side: sizes are rounded from level to level.
        return slice(max(0, int(start * scale) - 2), int((start + length) * scale) + 3)


def _trusted_level(source: Source) -> int | None:
    """The finest overview that proves what is empty and is small enough to keep, or None."""
    dataset = source.dataset
    if dataset.driver != "GTiff" or not _average_is_data(source):
        return None
    for level, factor in enumerate(dataset.overviews(1)):
        # Each is made of the one before, of all bands at once: the first one says how.
        if source.tag("RESAMPLING", None, 1, level) != "AVERAGE":
            return None
        if max(dataset.shape) / factor <= _OVERVIEW:
            return level
    return None


def _average_is_data(source: Source) -> bool:
    """Whether no average of valid values is the one that means no data."""
    if source.mask_kind != "nodata":
        return False
    dataset = source.dataset
    for kind, nodata in zip(dataset.dtypes, dataset.nodatavals, strict=True):
        number = np.dtype(kind)
        limits = np.iinfo(number) if number.kind in "iu" else np.finfo(number)
        if not (np.isnan(nodata) or nodata in (float(limits.min), float(limits.max))):
            return False
    return True
