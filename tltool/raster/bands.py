"""Which bands of an image are taken, and how they become bytes: one rule for training and maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasterio.enums import ColorInterp

from tltool.errors import ImageError

# Formats that may have any number of bands, of which Pillow reads few.
RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt")

_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


@dataclass(frozen=True)
class BandView:
    """What of a file's bands becomes which bands of the pixels.

    Attributes
    ----------
    stored : list of int
        Bands to read from the file, from 1, each once.
    order : list of int
        Place in what was read, or looked up, of each band of the pixels.
    palette : (256, 3) uint8 array or None
        RGB of the values of the only stored band.
    """

    stored: list[int]
    order: list[int]
    palette: np.ndarray | None = None

    def pixels(self, values: np.ndarray) -> np.ndarray:
        """From (stored, height, width) values to (height, width, bands) uint8."""
        if self.palette is not None:
            pixels = self.palette[values[0]]
        else:
            pixels = high_byte(values).transpose(1, 2, 0)
        same = self.order == list(range(pixels.shape[2]))
        return pixels if same else pixels[..., self.order]


def view_of(bands: Sequence[int], palette: np.ndarray | None = None) -> BandView:
    """The view of these bands of a file; of a palette's three, where there is one."""
    if palette is not None:
        return BandView([1], [band - 1 for band in bands], palette)
    stored = list(dict.fromkeys(bands))
    return BandView(stored, [stored.index(band) for band in bands])


def seen_bands(meanings: Sequence[ColorInterp]) -> list[int]:
    """Red, green and blue where they are named; grey three times; else all that is not alpha."""
    if set(_RGB) <= set(meanings):
        return [meanings.index(colour) + 1 for colour in _RGB]
    colours = [band for band, c in enumerate(meanings, 1) if c != ColorInterp.alpha] or [1]
    return colours[:1] * 3 if len(colours) < 3 else colours


def high_byte(values: np.ndarray) -> np.ndarray:
    """Of 16 bits the upper eight; what has eight as it is."""
    return (values >> 8).astype(np.uint8) if values.dtype == np.uint16 else values


def check_depth(path: Path, kind: str, known: bool) -> None:
    """Raise an `ImageError` where a band's kind of numbers is not among those known."""
    if not known:
        raise ImageError(
            f"{path}: expected 8 or 16 bits a band, received {kind}. Convert it first, for example"
            " with gdal_translate -ot Byte -scale"
        )


def check_bands(path: Path, bands: Sequence[int], number: int) -> None:
    """Raise an `ImageError` where an image of `number` bands lacks one of `bands`."""
    lacking = [band for band in bands if not 1 <= band <= number]
    if lacking:
        raise ImageError(
            f"{path}: expected band {lacking[0]}, the image has {number} (bands count from 1)."
            " Name others in the recipe's bands"
        )
