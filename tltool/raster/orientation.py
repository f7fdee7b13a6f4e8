"""EXIF orientation: from a picture as it is stored to the one a person sees."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from rasterio.transform import Affine
from rasterio.windows import Window


@dataclass(frozen=True)
class Orientation:
    """Transformation of stored rows and columns to upright ones: first swapped, then flipped.

    Attributes
    ----------
    swap, flip_rows, flip_columns : bool
    """

    swap: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def shape(self, stored: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the upright image; of a stored one from an upright one too."""
        return stored[::-1] if self.swap else stored

    def stored_window(self, window: Window, width: int, height: int) -> Window:
        """Window of the stored image for one of the upright image, `width` x `height` px."""
        x, y, across, down = window.flatten()
        if self.flip_columns:
            x = width - x - across
        if self.flip_rows:
            y = height - y - down
        return Window(y, x, down, across) if self.swap else Window(x, y, across, down)

    def upright(self, stored: np.ndarray) -> np.ndarray:
        """Turn a (rows, columns, ...) array; the last axes stay."""
        if self.swap:
            stored = stored.swapaxes(0, 1)
        if self.flip_rows:
            stored = stored[::-1]
        return stored[:, ::-1] if self.flip_columns else stored

    def to_stored(self, width: int, height: int) -> Affine:
        """Convert (x, y) of the upright image, `width` x `height` px, to stored coordinates."""
        across = (-1, width) if self.flip_columns else (1, 0)
        down = (-1, height) if self.flip_rows else (1, 0)
        flipped = Affine(across[0], 0, across[1], 0, down[0], down[1])
        return Affine(0, 1, 0, 1, 0, 0) @ flipped if self.swap else flipped


# By the value of the EXIF tag.
_ORIENTATIONS = {
    1: Orientation(),
    2: Orientation(False, False, True),
    3: Orientation(False, True, True),
    4: Orientation(False, True, False),
    5: Orientation(True, False, False),
    6: Orientation(True, False, True),
    7: Orientation(True, True, True),
    8: Orientation(True, True, False),
}


def find_orientation(path: Path, tag: str) -> Orientation:
    """The orientation of a file whose EXIF tag GDAL found to be `tag`, maybe empty."""
    value = tag or _pillow_orientation(path)
    known = value.isdigit() and int(value) in _ORIENTATIONS
    return _ORIENTATIONS[int(value) if known else 1]


def _pillow_orientation(path: Path) -> str:
    # GDAL tells the orientation of a JPEG alone. An image that Pillow finds too large has none.
    if path.suffix.lower() not in (".png", ".tif", ".tiff", ".webp"):
        return ""
    try:
        with warnings.catch_warnings(action="ignore"), PillowImage.open(path) as image:
            # Pillow would decode a whole PNG, for what may stand behind its pixels.
            whole = image.format != "PNG" or _text_behind_pixels(path)
            exif = image.getexif() if whole else PillowImage.Image.getexif(image)
            return str(exif.get(0x112, ""))
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError):
        return ""


def _text_behind_pixels(path: Path) -> bool:
    """Whether a PNG has a chunk that may hold EXIF after its pixels."""
    seen = b""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            kind = head[4:]
            if seen == b"IDAT" and kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
                return True
            seen = b"IDAT" if kind == b"IDAT" else seen
            # And its checksum.
            file.seek(int.from_bytes(head[:4]) + 4, 1)
    return False
