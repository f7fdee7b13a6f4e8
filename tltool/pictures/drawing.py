"""What pictures of images share: their type, their shades, the swatch of a legend."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image, ImageDraw, ImageFont

Extent = tuple[float, float, float, float]
Background = str | Sequence[str] | None

PAPER, INK, FAINT_INK = (255, 255, 255), (28, 32, 38), (104, 112, 122)
MIN_SIDE = 1000  # px; a smaller photograph leaves no room for text
CRISP_BELOW = 64  # cells along the picture: transitions of that width would look like detail
OPACITY = 0.85  # of probability 1, so that what is under the heat is still seen


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


def names_of(background: Background) -> set[str]:
    """Names of the classes that mean "nothing here"."""
    return {background} if isinstance(background, str) else {*(background or ())}


def prepare_map(
    photograph: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    background: Background,
    extent: Extent,
    title: str,
) -> tuple[np.ndarray, Extent, list[str], str, Style]:
    """Bring a photograph to a size for text; with it extent, names and title on a line, style.

    Raises a `ValueError` where shapes, background or extent of a map do not fit together.
    """
    if photograph.ndim != 3 or photograph.shape[2] != 3 or photograph.dtype != np.uint8:
        raise ValueError(
            "photograph: expected uint8 RGB of shape (H, W, 3), "
            f"received {photograph.dtype} of shape {photograph.shape}"
        )
    if probabilities.ndim != 3 or len(probabilities) != len(classes) or not probabilities.size:
        raise ValueError(
            f"probabilities: expected shape ({len(classes)}, rows, cols), a plane for each "
            f"of {len(classes)} classes, received {probabilities.shape}"
        )
    if not names_of(background) <= {*classes}:
        raise ValueError(f"background: expected one of {list(classes)}, received {background!r}")
    height, width = photograph.shape[:2]
    left, top, right, bottom = extent
    if not (max(left, 0) < min(right, width) and max(top, 0) < min(bottom, height)):
        raise ValueError(
            "extent: expected (left, top, right, bottom) that overlaps the photograph of "
            f"{width} x {height} px, received {extent}"
        )
    larger = enlarge_tiny(photograph)
    extent = scaled(extent, (width, height), (larger.shape[1], larger.shape[0]))
    names, title = [" ".join(name.split()) for name in classes], " ".join(title.split())
    style = Style.suited(max(larger.shape), "".join([*names, title]))
    return larger, extent, names, title, style


def scaled(extent: Extent, old: tuple[int, int], new: tuple[int, int]) -> Extent:
    """Move an extent from a picture of one (width, height) to its copy of another."""
    across, down = new[0] / old[0], new[1] / old[1]
    return extent[0] * across, extent[1] * down, extent[2] * across, extent[3] * down


def valid_cells(probabilities: np.ndarray) -> np.ndarray:
    """Cells (rows, cols) in which every class has a number."""
    return np.isfinite(probabilities.sum(axis=0))


class Resampler:
    """Brings planes of a map to those pixels of a picture which lie in its extent.

    `window` is their rows and columns, `hole` (bool) where in it there is no data.
    """

    def __init__(self, valid: np.ndarray, extent: Extent, size: tuple[int, int]) -> None:
        left, top, right, bottom = extent
        x, x_cells = _cover(left, right, size[0], valid.shape[1])
        y, y_cells = _cover(top, bottom, size[1], valid.shape[0])
        self.window = (slice(*y), slice(*x))
        self._size = (x[1] - x[0], y[1] - y[0])
        self._box = (x_cells[0], y_cells[0], x_cells[1], y_cells[1])
        cell = max((right - left) / valid.shape[1], (bottom - top) / valid.shape[0])
        crisp = cell * CRISP_BELOW > max(size)
        self._filter = Image.Resampling.NEAREST if crisp else Image.Resampling.BILINEAR
        self._valid = valid
        weight = self._resize(valid)
        self.hole = weight < 0.5
        self._weight = np.maximum(weight, 0.5)

    def __call__(self, plane: np.ndarray) -> np.ndarray:
        """Resample a (rows, cols) plane by its valid cells alone; 0 in the hole."""
        pixels = self._resize(np.where(self._valid, plane, 0)) / self._weight
        pixels[self.hole] = 0
        return pixels.clip(0, 1)

    def _resize(self, plane: np.ndarray) -> np.ndarray:
        image = Image.fromarray(plane.astype(np.float32))
        return np.asarray(image.resize(self._size, self._filter, self._box))


def _cover(
    start: float, end: float, pixels: int, cells: int
) -> tuple[tuple[int, int], tuple[float, float]]:
    """Find the pixels with centres in start..end, at least one, and the cells they show."""
    first, last = max(0, math.ceil(start - 0.5)), min(pixels, math.ceil(end - 0.5))
    if first >= last:
        first = min(max(0, int(start)), pixels - 1)
        last = first + 1
    scale = cells / (end - start)
    shown = max(0.0, (first - start) * scale), min(float(cells), (last - start) * scale)
    return (first, last), shown


def outlined(image: Image.Image, window: tuple[slice, slice]) -> np.ndarray:
    """Line the map from outside: an edge on the photograph's rim gets no line."""
    rows, cols = window
    line = max(2, max(image.size) // 700)
    box = cols.start - line, rows.start - line, cols.stop + line - 1, rows.stop + line - 1
    ImageDraw.Draw(image).rectangle(box, outline=PAPER, width=line)
    return np.asarray(image)


def is_tall(main: Image.Image) -> bool:
    """Whether legends stand beside a picture, not beneath it."""
    return main.width < 0.8 * main.height


def compose(
    main: Image.Image, sections: Sequence[Image.Image], title: str, style: Style
) -> Image.Image:
    """Put title, main panel and sections on one page."""
    margin = 2 * style.em
    top = margin + (round(2.6 * style.em) if title else 0)
    x, y = margin, top + main.height + style.em
    if is_tall(main):
        x, y = margin + main.width + margin, top
    width = x + sections[0].width + margin
    height = max(top + main.height, y + sum(section.height for section in sections)) + margin
    page = Image.new("RGB", (width, height), PAPER)
    heading = style.fit(title, width - 2 * margin, 1.6)
    ImageDraw.Draw(page).text((margin, margin), heading, INK, style.font(1.6), anchor="lt")
    page.paste(main, (margin, top))
    for section in sections:
        page.paste(section, (x, y))
        y += section.height
    return page
