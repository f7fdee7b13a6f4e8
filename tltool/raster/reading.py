"""Images read in windows.

Through rasterio, so that an image never has to fit in memory. A window may
reach over the image's edges: there it sees the image reflected, without
repeating the edge pixel.
"""

import threading
import warnings
from collections.abc import Iterator
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
        """Read (height, width, 3) uint8 pixels; outside the image its reflection."""
        ...


class ArrayImage:
    """Pixels in memory, read like those on disk.

    Parameters
    ----------
    pixels : (height, width, 3) uint8 array
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
    """An image on disk, read in windows as (height, width, 3) uint8 RGB.

    Grey images are repeated to three bands, palettes looked up, alpha left
    out, EXIF orientation applied. Use it as a context manager.

    Attributes
    ----------
    path : Path
    width, height : int
        Size in pixels, as a person sees the image.
    crs : rasterio.crs.CRS or None
    transform : Affine
        From pixel (x right, y down, 0 at the outer corner of the first pixel)
        to the CRS; the identity where there is none.
    gsd : float or None
        Ground sample distance in metres per pixel, where a projected CRS
        tells it.
    """

    def __init__(self, path: str | Path):
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
            self._inspect()
        except BaseException:
            self.close()
            raise

    def _inspect(self) -> None:
        source = self._source
        kinds = set(source.dtypes)
        if kinds != {"uint8"}:
            raise ImageError(
                f"{self.path}: expected 8-bit bands, received {'/'.join(sorted(kinds))}."
                " Convert it first, for example with gdal_translate -ot Byte -scale"
            )
        self._bands = self._colour_bands()
        self._palette = self._read_palette()
        self._swap, self._flip_rows, self._flip_columns = _ORIENTATIONS[self._orientation()]
        shape = source.shape[::-1] if self._swap else source.shape
        self.height, self.width = shape
        self.crs = source.crs
        self.transform: Affine = source.transform
        self.gsd = _ground_sample_distance(self.crs, self.transform)

    def _colour_bands(self) -> list[int]:
        source = self._source
        colours = [i for i, c in enumerate(source.colorinterp, 1) if c != ColorInterp.alpha]
        if len(colours) == 1:
            return colours
        by_name = {c: i for i, c in enumerate(source.colorinterp, 1)}
        rgb = [by_name.get(c) for c in (ColorInterp.red, ColorInterp.green, ColorInterp.blue)]
        if None not in rgb:
            return [band for band in rgb if band is not None]
        if len(colours) == 3:
            return colours
        if len(colours) == 2:
            return colours[:1]
        raise ImageError(
            f"{self.path}: expected one (grey) or three (RGB) bands, received {len(colours)}"
            " with no red, green and blue among them. Write the wanted three to a file of"
            " their own, for example with gdal_translate -b 1 -b 2 -b 3"
        )

    def _read_palette(self) -> np.ndarray | None:
        if self._source.colorinterp[0] != ColorInterp.palette:
            return _levels(self._source.tags(self._bands[0], ns="IMAGE_STRUCTURE").get("NBITS"))
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

    def _to_rgb(self, bands: np.ndarray) -> np.ndarray:
        if self._palette is not None:
            return self._palette[bands[0]]
        pixels = bands.transpose(1, 2, 0)
        return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels

    def _load(self, window: Window | None, out_shape: tuple[int, int] | None) -> np.ndarray:
        options: dict[str, Any] = {}
        if out_shape is not None:
            # Class numbers of a palette must not be averaged.
            averaged = Resampling.nearest if self._palette is not None else Resampling.average
            options = {"out_shape": (len(self._bands), *out_shape), "resampling": averaged}
        try:
            # GDAL's datasets do not stand two threads at once.
            with self._lock, rasterio.Env(**ENVIRONMENT):
                bands = self._source.read(self._bands, window=window, **options)
        except RasterioError as error:
            where = "" if window is None else f" in the window {_describe(window)}"
            raise ImageError(f"{self.path} cannot be read{where}: {_reason(error)}") from error
        return self._upright(self._to_rgb(bands))

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
        (height, width, 3) uint8 array, RGB, values 0..255.

        Raises
        ------
        ImageError
            Where the file cannot be read there, naming file and window.
        """
        rows = reflect_indices(y, y + height, self.height)
        columns = reflect_indices(x, x + width, self.width)
        top, left = int(rows.min()), int(columns.min())
        inner_width, inner_height = int(columns.max()) - left + 1, int(rows.max()) - top + 1
        pixels = self._load(self._stored_window(left, top, inner_width, inner_height), None)
        if (inner_height, inner_width) == (height, width) and rows[0] == top and columns[0] == left:
            return np.ascontiguousarray(pixels)
        return pixels.take(rows - top, 0).take(columns - left, 1)

    def thumbnail(self, longest: int) -> np.ndarray:
        """Read the whole image shrunk so that its longer side is at most `longest` px.

        Returns
        -------
        (height, width, 3) uint8 array, RGB.
        """
        factor = -(-max(self.width, self.height) // longest)
        rows = factor * max(1, _STRIP // factor)
        # In strips: GDAL averages band by band, and would read the whole image for each.
        strips = [
            self._shrunk(top, min(rows, self.height - top), factor)
            for top in range(0, self.height, rows)
        ]
        return np.concatenate(strips)

    def _shrunk(self, top: int, rows: int, factor: int) -> np.ndarray:
        window = self._stored_window(0, top, self.width, rows)
        shape = (-(-rows // factor), -(-self.width // factor))
        return self._load(window, shape[::-1] if self._swap else shape)


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
