"""Images read in windows.

Through rasterio, so that an image never has to fit in memory. A window may
reach over the image's edges: there it sees the image reflected, without
repeating the edge pixel.
"""

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import rasterio
from PIL import Image as PillowImage
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.transform import Affine
from rasterio.windows import Window

from tltool.errors import ImageError
from tltool.raster.bands import (
    RASTER_SUFFIXES,
    BandView,
    check_bands,
    check_depth,
    seen_bands,
    view_of,
)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".jp2", ".vrt")

ENVIRONMENT = {
    # Decoded blocks that GDAL keeps, in bytes: rows shared by neighbouring tiles, not the image.
    "GDAL_CACHEMAX": 128 << 20,
    # A truncated JPEG would otherwise come out half grey without a word.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",
    # So would a truncated PNG, of which the whole is read at once.
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
}

# Rows of an image that are shrunk at once.
_STRIP = 1024

# A palette of the greys as they are.
_GREY = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)

# EXIF orientation -> whether rows and columns are swapped, then which axes are flipped,
# to get from the stored picture to the one a person sees.
_ORIENTATIONS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


@contextmanager
def without_georeference_warning() -> Iterator[None]:
    """Silence the warning that an image has no georeference: it need not have one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def reflect_indices(start: int, stop: int, size: int) -> np.ndarray:
    """Indices of the positions start..stop-1 in an axis reflected at its ends.

    Parameters
    ----------
    start, stop : int
        Half-open range; may reach over 0 and `size`.
    size : int
        Length of the axis.

    Returns
    -------
    (stop - start,) integer array, values in 0..size-1. The edge itself is not
    repeated: position -1 is index 1.
    """
    if size == 1:
        return np.zeros(stop - start, np.intp)
    period = 2 * (size - 1)
    folded = np.abs(np.arange(start, stop)) % period
    return np.where(folded < size, folded, period - folded)


class Image(Protocol):
    """What windows can be read from."""

    width: int
    height: int

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Read (height, width, bands) uint8 pixels; outside the image its reflection."""
        ...


class ArrayImage:
    """Pixels in memory, read like those on disk.

    Parameters
    ----------
    pixels : (height, width, bands) uint8 array
    """

    def __init__(self, pixels: np.ndarray):
        self._pixels = pixels
        self.height, self.width = pixels.shape[:2]

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Read a window; outside the image its reflection."""
        rows = reflect_indices(y, y + height, self.height)
        columns = reflect_indices(x, x + width, self.width)
        return self._pixels.take(rows, 0).take(columns, 1)


class Raster:
    """An image on disk, read in windows as (height, width, bands) uint8.

    Pixels are those of `tltool.data.images.read_image`, so that a map sees
    what training saw. Use it as a context manager.

    Parameters
    ----------
    path : str or Path
    bands : sequence of int, optional
        Which to take and in which order, from 1. None: RGB as a person sees
        the image (grey repeated, a palette looked up, alpha left out), or all
        bands but alpha where there are more than three and none is said to be
        red, green or blue.

    Attributes
    ----------
    path : Path
    width, height : int
        Size in pixels, as a person sees the image; of chosen bands of a TIFF,
        as they are stored.
    bands : int
        Number of bands of the pixels.
    crs : rasterio.crs.CRS or None
    transform : Affine
        From pixel (x right, y down, 0 at the outer corner of the first pixel)
        to the CRS; the identity where there is none.
    gsd : float or None
        Ground sample distance in metres per pixel, where a projected CRS
        tells it.

    Raises
    ------
    ImageError
        The file is no image, has more than 16 bits a band, or lacks a band.

    Notes
    -----
    Of 16 bits the high byte is kept.
    """

    def __init__(self, path: str | Path, bands: Sequence[int] | None = None):
        self.path = Path(path)
        if not self.path.exists():
            raise ImageError(f"{self.path} does not exist")
        self._lock = threading.Lock()
        try:
            with rasterio.Env(**ENVIRONMENT), without_georeference_warning():
                self._source = rasterio.open(self.path)
        except RasterioError as error:
            raise ImageError(f"{self.path} cannot be read as an image: {_reason(error)}") from error
        try:
            self._inspect(bands)
        except BaseException:
            self.close()
            raise

    def _inspect(self, bands: Sequence[int] | None) -> None:
        source = self._source
        kinds = set(source.dtypes)
        check_depth(self.path, "/".join(sorted(kinds)), kinds <= {"uint8", "uint16"})
        seen = seen_bands(source.colorinterp)
        self._view = self._seen_view(seen) if bands is None else self._chosen_view(seen, bands)
        self.bands = len(self._view.order)
        self._picture = self._picture_view(seen, bands)
        # Bands of a TIFF are read as they are stored.
        raw = bands is not None and self._in_bands
        orientation = 1 if raw else self._orientation()
        self._swap, self._flip_rows, self._flip_columns = _ORIENTATIONS[orientation]
        shape = source.shape[::-1] if self._swap else source.shape
        self.height, self.width = shape
        self.crs = source.crs
        self.transform: Affine = source.transform
        self.gsd = _ground_sample_distance(self.crs, self.transform)

    @property
    def _in_bands(self) -> bool:
        return self.path.suffix.lower() in RASTER_SUFFIXES

    def _seen_view(self, seen: Sequence[int]) -> BandView:
        palette = self._read_palette(seen[0])
        return view_of(seen) if palette is None else view_of((1, 2, 3), palette)

    def _chosen_view(self, seen: Sequence[int], bands: Sequence[int]) -> BandView:
        if self._in_bands:
            check_bands(self.path, bands, self._source.count)
            if ColorInterp.palette in self._source.colorinterp:
                raise ImageError(
                    f"{self.path}: expected bands, received a palette. Expand it first, for example"
                    " with gdal_translate -expand rgb"
                )
            return view_of(bands)
        palette = self._read_palette(seen[0])
        deep_grey = self._source.count == 1 and self._source.dtypes[0] == "uint16"
        if palette is None and not deep_grey:
            check_bands(self.path, bands, self._source.count)
            return view_of(bands)
        # Neither has bands of its own: those of what a person sees.
        check_bands(self.path, bands, 3)
        return view_of([seen[band - 1] for band in bands] if palette is None else bands, palette)

    def _picture_view(self, seen: Sequence[int], bands: Sequence[int] | None) -> BandView:
        """Three bands to look at: red, green and blue, or the first three of what is read."""
        if len(seen) == 3:
            return self._seen_view(seen)
        read = list(bands or seen)
        return view_of(read[:3] if len(read) > 2 else read[:1] * 3)

    def _read_palette(self, band: int) -> np.ndarray | None:
        if self._source.colorinterp[0] != ColorInterp.palette:
            levels = _levels(self._source.tags(band, ns="IMAGE_STRUCTURE").get("NBITS"))
            inverted = self._source.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
            if not inverted or self._source.dtypes[0] != "uint8":
                return levels
            return 255 - (_GREY if levels is None else levels)
        table = np.zeros((256, 3), np.uint8)
        for index, colour in self._source.colormap(1).items():
            table[index] = colour[:3]
        return table

    def _orientation(self) -> int:
        value = self._source.tags().get("EXIF_Orientation", "") or _pillow_orientation(self.path)
        return int(value) if value.isdigit() and int(value) in _ORIENTATIONS else 1

    def __enter__(self) -> "Raster":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._source.close()

    def _stored_window(self, x: int, y: int, width: int, height: int) -> Window:
        if self._flip_columns:
            x = self.width - x - width
        if self._flip_rows:
            y = self.height - y - height
        return Window(y, x, height, width) if self._swap else Window(x, y, width, height)

    def _upright(self, pixels: np.ndarray) -> np.ndarray:
        if self._swap:
            pixels = pixels.transpose(1, 0, 2)
        if self._flip_rows:
            pixels = pixels[::-1]
        return pixels[:, ::-1] if self._flip_columns else pixels

    def _load(
        self, view: BandView, window: Window | None, out_shape: tuple[int, int] | None = None
    ) -> np.ndarray:
        options: dict[str, Any] = {}
        if out_shape is not None:
            # Class numbers of a palette must not be averaged.
            averaged = Resampling.nearest if view.palette is not None else Resampling.average
            options = {"out_shape": (len(view.stored), *out_shape), "resampling": averaged}
        try:
            # GDAL's datasets do not stand two threads at once.
            with self._lock, rasterio.Env(**ENVIRONMENT):
                values = self._source.read(view.stored, window=window, **options)
        except RasterioError as error:
            where = " as an image" if window is None else f" in the window {_describe(window)}"
            raise ImageError(f"{self.path} cannot be read{where}: {_reason(error)}") from error
        return self._upright(view.pixels(values))

    def read_whole(self) -> np.ndarray:
        """Read the whole image: (height, width, bands) uint8."""
        return np.ascontiguousarray(self._load(self._view, None))

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Read a window; outside the image its reflection.

        Parameters
        ----------
        x, y : int
            Top-left pixel; may be negative.
        width, height : int
            Size in pixels.

        Returns
        -------
        (height, width, bands) uint8 array; RGB unless other bands were chosen or found.

        Raises
        ------
        ImageError
            Where the file cannot be read there, naming file and window.
        """
        rows = reflect_indices(y, y + height, self.height)
        columns = reflect_indices(x, x + width, self.width)
        top, left = int(rows.min()), int(columns.min())
        inner_width, inner_height = int(columns.max()) - left + 1, int(rows.max()) - top + 1
        pixels = self._load(self._view, self._stored_window(left, top, inner_width, inner_height))
        if (inner_height, inner_width) == (height, width) and rows[0] == top and columns[0] == left:
            return np.ascontiguousarray(pixels)
        return pixels.take(rows - top, 0).take(columns - left, 1)

    def thumbnail(self, longest: int) -> np.ndarray:
        """Read the whole image shrunk so that its longer side is at most `longest` px.

        Returns
        -------
        (height, width, 3) uint8 array
            RGB; of an image without colours its first three bands. Where they
            have 16 bits, brightened so that there is something to see.
        """
        factor = -(-max(self.width, self.height) // longest)
        rows = factor * max(1, _STRIP // factor)
        # In strips: GDAL averages band by band, and would read the whole image for each.
        strips = [
            self._shrunk(top, min(rows, self.height - top), factor)
            for top in range(0, self.height, rows)
        ]
        small = np.concatenate(strips)
        return _brightened(small) if "uint16" in self._source.dtypes else small

    def _shrunk(self, top: int, rows: int, factor: int) -> np.ndarray:
        window = self._stored_window(0, top, self.width, rows)
        shape = (-(-rows // factor), -(-self.width // factor))
        return self._load(self._picture, window, shape[::-1] if self._swap else shape)


def _brightened(picture: np.ndarray) -> np.ndarray:
    # Sensors seldom fill 16 bits: their high byte alone would look black.
    top = max(1, int(np.quantile(picture, 0.99)))
    return (picture.astype(np.uint16) * 255 // top).clip(0, 255).astype(np.uint8)


def _pillow_orientation(path: Path) -> str:
    # GDAL tells the orientation of a JPEG alone. An image that Pillow finds too large has none.
    if path.suffix.lower() not in (".png", ".tif", ".tiff", ".webp"):
        return ""
    try:
        with warnings.catch_warnings(action="ignore"), PillowImage.open(path) as image:
            return str(image.getexif().get(0x112, ""))
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError):
        return ""


def _levels(bits: str | None) -> np.ndarray | None:
    # GDAL gives grey of fewer than eight bits as it is stored, 0..1 for one bit.
    if bits is None or int(bits) >= 8:
        return None
    last = 2 ** int(bits) - 1
    grey = (np.arange(256) % (last + 1) * 255 // last).astype(np.uint8)
    return np.repeat(grey[:, None], 3, axis=1)


def _describe(window: Window) -> str:
    return f"x {window.col_off}, y {window.row_off}, {window.width} x {window.height} px"


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error
    return str(cause).splitlines()[0]


def _ground_sample_distance(crs: Any, transform: Affine) -> float | None:
    if crs is None or not crs.is_projected:
        return None
    _, metres = crs.linear_units_factor
    return float(np.sqrt(abs(transform.determinant)) * metres)


def list_images(folder: Path) -> list[Path]:
    """All images directly inside `folder`, sorted by name."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
