"""Which bands of an image are taken, and how they become bytes: one rule for training and maps."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from rasterio.enums import ColorInterp

from tltool.errors import ImageError
from tltool.raster.scaling import Limits, to_bytes
from tltool.raster.source import Planes

# Formats that may have any number of bands, of which Pillow reads few.
RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt")

_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


@dataclass(frozen=True)
class BandView:
    """Selection of a file's bands and their scaling to bands of the pixels.

    Attributes
    ----------
    stored : list of int
        Bands to read from the file, from 1, each once.
    order : list of int
        Place in what was read, or looked up, of each band of the pixels.
    palette : (values, 3) uint8 array or None
        RGB of the values of the only stored band.
    limits : list of (float, float) or None
        What of each stored band, or of a palette's three, becomes 0 and 255.
        None: 8 bits as they are, of 16 the high byte.
    nodata : list of float or None
        Of each stored band: the value that becomes 0 when scaled.
    """

    stored: list[int]
    order: list[int]
    palette: np.ndarray | None = None
    limits: list[Limits] | None = None
    nodata: list[float | None] = field(default_factory=list)

    def pixels(self, values: Planes) -> np.ndarray:
        """Convert (stored, height, width) values to (height, width, bands) uint8."""
        if self.palette is not None:
            pixels = self.palette[values[0]]
        else:
            pixels = self._stacked(values).transpose(1, 2, 0)
        same = self.order == list(range(pixels.shape[2]))
        return pixels if same else pixels[..., self.order]

    def _stacked(self, values: Planes) -> np.ndarray:
        if self.limits is not None:
            kinds = zip(values, self.limits, self.nodata, strict=True)
            return np.stack([to_bytes(*kind) for kind in kinds])
        if isinstance(values, np.ndarray):
            return high_byte(values)
        return np.stack([high_byte(band) for band in values])

    def scaled(self, limits: Sequence[Limits], nodata: Sequence[float | None]) -> "BandView":
        """View of the same bands, their numbers mapped from `limits` to bytes.

        Parameters
        ----------
        limits : sequence of (float, float)
            Of each stored band, or of a palette's three.
        nodata : sequence of float or None
            Of each stored band: the value that becomes 0.
        """
        if self.palette is None:
            return replace(self, limits=list(limits), nodata=list(nodata))
        palette = np.stack([to_bytes(c, b) for c, b in zip(self.palette.T, limits, strict=True)], 1)
        if nodata[0] is not None and 0 <= nodata[0] < len(palette):
            palette[int(nodata[0])] = 0
        return replace(self, palette=palette, limits=list(limits), nodata=list(nodata))

    def limits_of_bands(self) -> list[Limits] | None:
        """Numbers that become 0 and 255 in each band; None where nothing is scaled."""
        return None if self.limits is None else [self.limits[place] for place in self.order]


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
    """Take the upper eight of 16 bits; what has eight stays as it is."""
    return (values >> 8).astype(np.uint8) if values.dtype == np.uint16 else values


def check_bands(path: Path, bands: Sequence[int], number: int) -> None:
    """Raise an `ImageError` where an image of `number` bands lacks one of `bands`."""
    lacking = [band for band in bands if not 1 <= band <= number]
    if lacking:
        raise ImageError(
            f"{path}: expected band {lacking[0]}, the image has {number} (bands count from 1)."
            " Name others in the recipe's bands"
        )
