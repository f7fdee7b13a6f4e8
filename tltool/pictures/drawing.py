"""What pictures of images share: their type, their shades, the swatch of a legend."""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image, ImageDraw, ImageFont


def typeface_for(text: str) -> str | None:
    """A file of a typeface that has the letters; None: Pillow's own, which knows ASCII alone."""
    if text.isascii():
        return None
    # The one that comes with matplotlib, without the slow import of it.
    spec = find_spec("matplotlib")
    folders = spec.submodule_search_locations if spec else None
    return str(Path(folders[0], "mpl-data/fonts/ttf/DejaVuSans.ttf")) if folders else None


@cache
def load_font(size: int, typeface: str | None) -> ImageFont.FreeTypeFont:
    """A font of a size, px, of a typeface as `typeface_for` gives it."""
    if typeface is None:
        return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size=size))
    return ImageFont.truetype(typeface, size)


PAPER, INK, FAINT_INK = (255, 255, 255), (28, 32, 38), (104, 112, 122)
MIN_SIDE = 1000  # px; a smaller photograph leaves no room for text


def enlarge_tiny(photograph: np.ndarray) -> np.ndarray:
    """Bring a tiny (H, W, 3) photograph to a size beside which text can stand."""
    height, width = photograph.shape[:2]
    if max(height, width) >= MIN_SIDE:
        return photograph
    scale = MIN_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(photograph).resize(size, Image.Resampling.BICUBIC))


def dim(photograph: np.ndarray) -> np.ndarray:
    """Darken and half desaturate (H, W, 3) uint8 into float32; the hue stays."""
    grey = photograph @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.float32(0.38) * (photograph + grey[..., None])


def hatch(picture: np.ndarray, where: np.ndarray, em: int) -> None:
    """Rule white diagonals into a float picture (H, W, 3): no data looks so everywhere."""
    if not where.any():
        return
    height, width = where.shape
    period = max(6, em // 2)
    ridge = period / 6 + 0.5 - np.abs(np.arange(height + width) % period - period / 2)
    profile = (0.6 * ridge).clip(0, 0.6).astype(np.float32)
    line = sliding_window_view(profile, width)[:height] * where
    picture += line[..., None] * (255 - picture)


def to_image(picture: np.ndarray) -> Image.Image:
    """A (H, W, 3) float picture in 0..255 as RGB."""
    return Image.fromarray(picture.round().astype(np.uint8))


@dataclass(frozen=True)
class Style:
    """Type and spacing; `em` is the size of the text in px."""

    em: int
    typeface: str | None  # None: the one in Pillow

    @classmethod
    def suited(cls, side: int, text: str) -> "Style":
        """Choose for a main panel of `side` px; Pillow's own typeface knows ASCII alone."""
        return cls(max(16, round(side / 70)), typeface_for(text))

    def font(self, scale: float = 1.0) -> ImageFont.FreeTypeFont:
        """The typeface in this size times `scale`."""
        return load_font(round(self.em * scale), self.typeface)

    def fit(self, text: str, width: float, scale: float = 1.0) -> str:
        """Shorten a text to `width` px, with an ellipsis."""
        font = self.font(scale)
        if font.getlength(text) <= width:
            return text
        while text and font.getlength(text + "…") > width:
            text = text[:-1]
        return text.rstrip() + "…"

    def write(
        self,
        page: Image.Image,
        x: float,
        y: float,
        text: str,
        anchor: str = "lm",
        faint: bool = False,
    ) -> None:
        """Write a line at its anchor, left and middle by default."""
        ink, font = (FAINT_INK, self.font(0.85)) if faint else (INK, self.font())
        ImageDraw.Draw(page).text((x, y), text, ink, font, anchor=anchor)
