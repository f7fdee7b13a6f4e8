"""A dataset on disk: one call at a time, and failures that name the file and the window."""

import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio
from PIL import Image as PillowImage
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from tltool.errors import ImageError


class Closing(ABC):
    """A context manager that gives itself, and that leaving closes."""

    @abstractmethod
    def close(self) -> None:
        """Release what is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


# Decoded blocks that GDAL keeps, in bytes: rows shared by neighbouring tiles, not the image.
CACHE_BYTES = 128 << 20

ENVIRONMENT = {
    "GDAL_CACHEMAX": CACHE_BYTES,
    # A truncated JPEG would otherwise come out half grey without a word.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",
    # So would a truncated PNG, of which the whole is read at once.
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
}


@contextmanager
def without_georeference_warning() -> Iterator[None]:
    """Silence the warning that an image has no georeference: it need not have one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


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
        Height of the image, px.
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


# Decoded from the first row on, whatever window is asked for.
_SEQUENTIAL = ("JPEG", "PNG")

# Bytes of rows that are decoded for one window at most; of more only the window is kept.
_MOST_ROWS = 1 << 30


# (bands, rows, columns) of one kind of numbers, or (rows, columns) of several.
Planes = np.ndarray | list[np.ndarray]


class Source:
    """An open dataset.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    path : Path
    dataset : rasterio.io.DatasetReader
        For what is known without reading pixels.
    mask_kind : 'none', 'alpha', 'nodata' or 'mask'
        What says which pixels are valid. GDAL's order: a mask band, alpha,
        values that mean no data (a pixel is valid where one band has another).

    Raises
    ------
    ImageError
        It does not exist, is no image, or must be decoded whole and is larger
        than Pillow's limit against decompression bombs.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.exists():
            raise ImageError(f"{path} does not exist")
        self._lock = threading.Lock()
        try:
            with rasterio.Env(**ENVIRONMENT), without_georeference_warning():
                self.dataset = rasterio.open(path)
        except RasterioError as error:
            raise ImageError(f"{path} cannot be read as an image: {_reason(error)}") from error
        dataset = self.dataset
        shapes = [dataset.shape] if dataset.driver == "WEBP" else dataset.block_shapes
        height, width = max(shapes, key=lambda shape: shape[0] * shape[1])
        limit = 2 * (PillowImage.MAX_IMAGE_PIXELS or 2**62)
        if height * width > limit:
            self.close()
            raise ImageError(
                f"{self.path}: expected an image that is read in windows, or one of at most {limit}"
                f" px, received {width} x {height} px that are decoded at once. If you trust the"
                " file, write it in tiles, for example with gdal_translate -co TILED=YES"
            )
        flags = dataset.mask_flag_enums
        self.mask_kind = "none"
        if any(MaskFlags.alpha in band for band in flags):
            self.mask_kind = "alpha"
        elif any(MaskFlags.per_dataset in band for band in flags):
            self.mask_kind = "mask"
        elif all(MaskFlags.nodata in band for band in flags):
            self.mask_kind = "nodata"
        self._row_bytes = dataset.count * dataset.width * np.dtype(dataset.dtypes[0]).itemsize
        in_strips = all(width == dataset.width for _, width in dataset.block_shapes)
        if dataset.driver == "GTiff":
            # All bands are kept, which those side by side in a strip are decoded with.
            in_strips &= dataset.count == 1 or dataset.profile.get("interleave") == "pixel"
        else:
            in_strips &= dataset.driver in _SEQUENTIAL
        self._rows = None
        # Of fewer rows GDAL keeps all itself.
        if in_strips and self._row_bytes * dataset.height > CACHE_BYTES // 2:
            self._rows = RowCache(self._load_rows, dataset.height, CACHE_BYTES // 2)

    def _window_of_rows(self, window: Window | None, options: dict[str, Any]) -> Rows | None:
        """Pixels and mask where they come from rows that are kept."""
        if self._rows is None or window is None or options:
            return None
        if window.height * self._row_bytes > _MOST_ROWS:
            return None
        return self._rows.window(window)

    def keep_rows(self, size: int) -> None:
        """Keep up to `size` bytes of rows that were decoded, of an image that is read in rows."""
        if self._rows is not None:
            self._rows.budget = size

    def _load_rows(self, top: int, rows: int) -> tuple[np.ndarray, np.ndarray | None]:
        window = Window(0, top, self.dataset.width, rows)
        pixels = self.dataset.read(window=window)
        masked = self.mask_kind != "none"
        return pixels, self.dataset.dataset_mask(window=window) != 0 if masked else None

    @contextmanager
    def _access(self, window: Window | None) -> Iterator[None]:
        """GDAL's datasets do not stand two threads at once."""
        try:
            with self._lock, rasterio.Env(**ENVIRONMENT):
                yield
        except RasterioError as error:
            where = " as an image"
            if window is not None:
                x, y, width, height = window.flatten()
                where = f" in the window x {x}, y {y}, {width} x {height} px"
            raise ImageError(f"{self.path} cannot be read{where}: {_reason(error)}") from error

    def read(self, bands: Sequence[int], window: Window | None = None, **options: Any) -> Planes:
        """Read bands, from 1, as they are stored.

        Parameters
        ----------
        bands : sequence of int
        window : Window, optional
            Inside the image. None: all of it.
        **options
            ``out_shape`` (rows, columns) and ``resampling``, as rasterio's.

        Returns
        -------
        (bands, rows, columns) array; a list where bands have different kinds of numbers.

        Raises
        ------
        ImageError
            Where the file cannot be read there, naming file and window.
        """
        with self._access(window):
            kept = self._window_of_rows(window, options)
            if kept is not None:
                return kept[0][[band - 1 for band in bands]]
            if len({self.dataset.dtypes[band - 1] for band in bands}) > 1:
                return [self.dataset.read(band, window=window, **options) for band in bands]
            if "out_shape" in options:
                options["out_shape"] = (len(bands), *options["out_shape"])
            return self.dataset.read(list(bands), window=window, **options)

    def mask(self, window: Window | None = None, **options: Any) -> np.ndarray:
        """Read which pixels are valid: (rows, columns) bool; parameters as those of `read`."""
        with self._access(window):
            kept = self._window_of_rows(window, options)
            if kept is not None and kept[1] is not None:
                return kept[1]
            return self.dataset.dataset_mask(window=window, **options) != 0

    def tag(
        self, name: str, domain: str | None, band: int, overview: int | None = None
    ) -> str | None:
        """An item of a band's metadata, or of that of one of its overviews."""
        with self._lock, rasterio.Env(**ENVIRONMENT):
            return self.dataset.get_tag_item(name, domain, bidx=band, ovr=overview)

    def close(self) -> None:
        """Release the file, when no other thread reads it any more."""
        with self._lock:
            self.dataset.close()


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error
    return str(cause).splitlines()[0]
