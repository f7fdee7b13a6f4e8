"""The picture of a map: the image, and the same under the heat, with boxes."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from tltool.explanation.boxes import Box
from tltool.pictures.drawing import FAINT_INK, INK, PAPER, load_font, typeface_for

FOUND, TRUE, PATCH = (53, 197, 232), (124, 224, 92), (235, 235, 235)
# What the frames are called below the picture.
_FRAMES = {FOUND: "box", TRUE: "true box", PATCH: "patch"}
# A panel is at least so wide, px: small patches are enlarged.
SIDE = 448
_EM = 17
_GAP = 12
# Of the heat over the image, from none to its maximum.
_OPACITY = (0.12, 0.78)


def as_seen(pixels: np.ndarray) -> np.ndarray:
    """Three bands to look at: the first ones, or grey."""
    return pixels[..., :3] if pixels.shape[-1] >= 3 else np.repeat(pixels[..., :1], 3, axis=-1)


@cache
def _colours() -> np.ndarray:
    """(256, 3) table of a perceptually uniform colour map, 0..255."""
    from matplotlib import colormaps  # slow to import

    return (255 * colormaps["inferno"](np.arange(256))[:, :3]).astype(np.float32)


def _enlarged(pixels: np.ndarray, side: int) -> np.ndarray:
    """At least `side` px along the shorter side, by a whole factor."""
    factor = -(-side // min(pixels.shape[:2]))
    if factor == 1:
        return pixels
    size = pixels.shape[1] * factor, pixels.shape[0] * factor
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def lay_over(pixels: np.ndarray, heat: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Lay heat over an image, the stronger the less of the image is seen.

    Parameters
    ----------
    pixels : (height, width, bands) uint8 array
    heat : (rows, columns) array
        0..1, over the whole image; of any size.
    side : int
        At least so many px is the picture's shorter side: a smaller image is
        enlarged by a whole factor.

    Returns
    -------
    (height, width, 3) uint8 array
    """
    photograph = _enlarged(as_seen(pixels), side).astype(np.float32)
    size = photograph.shape[1], photograph.shape[0]
    plane = Image.fromarray(np.asarray(heat, np.float32))
    level = np.asarray(plane.resize(size, Image.Resampling.BILINEAR)).clip(0, 1)
    grey = photograph @ np.array([0.299, 0.587, 0.114], np.float32)
    ground = 0.5 * (photograph + grey[..., None])
    low, high = _OPACITY
    opacity = (low + (high - low) * level)[..., None]
    colour = _colours()[np.round(255 * level).astype(int)]
    return np.round(ground + opacity * (colour - ground)).astype(np.uint8)


Colour = tuple[int, int, int]


def draw_explanation(
    pixels: np.ndarray,
    heat: np.ndarray,
    lines: Sequence[str],
    *,
    patch: Box | None = None,
    found: Box | None = None,
    true: Sequence[Box] = (),
    side: int = SIDE,
) -> Image.Image:
    """Draw an image beside itself under the heat.

    Parameters
    ----------
    pixels : (height, width, bands) uint8 array
        As the network's window shows it, before the enlargement.
    heat : (rows, columns) array
        0..1, over the whole window.
    lines : sequence of str
        Written below; the first is the heading.
    patch : Box, optional
        What of the window is predicted, where that is not all.
    found, true : Box, optional, and sequence of Box
        px of `pixels`.
    side : int
        Side of each panel, px at least.
    """
    panels = [_enlarged(as_seen(pixels), side), lay_over(pixels, heat, side)]
    height, width = panels[0].shape[:2]
    scale = width / pixels.shape[1]
    foot = round(_EM * (1.5 * len(lines) + 1.1))
    page = Image.new("RGB", (2 * width + _GAP, height + foot), PAPER)
    draw = ImageDraw.Draw(page)
    every = [(patch, PATCH), *((box, TRUE) for box in true), (found, FOUND)]
    frames = [(box, colour) for box, colour in every if box is not None]
    for index, panel in enumerate(panels):
        left = index * (width + _GAP)
        page.paste(Image.fromarray(panel), (left, 0))
        for box, colour in frames:
            edges = (box.left, box.top, box.right, box.bottom)
            x, y, right, bottom = (round(edge * scale) for edge in edges)
            # The smallest that has room for its lines.
            right, bottom = max(right, x + 6), max(bottom, y + 6)
            # A dark rim on both sides is seen on any ground.
            for inset, thick, ink in ((0, 4, (0, 0, 0)), (1, 2, colour)):
                first = (left + x + inset, y + inset)
                last = (left + right - 1 - inset, bottom - 1 - inset)
                draw.rectangle((first, last), outline=ink, width=thick)
    _write(draw, lines, height, page.width)
    # The colours from none to the most.
    length, thick, y = 6 * _EM, _EM // 2 + 2, height + round(0.7 * _EM) + 2
    bar = np.repeat(_colours()[None, np.linspace(0, 255, length).astype(int)], thick, axis=0)
    left = page.width - length - 4
    page.paste(Image.fromarray(bar.astype(np.uint8)), (left, y))
    font = load_font(round(0.75 * _EM), None)
    draw.text((left - 4, y + thick // 2), "0", FAINT_INK, font, anchor="rm")
    _draw_key(draw, list(dict.fromkeys(c for _, c in frames)), height + 2.7 * _EM, page.width)
    return page


def _draw_key(draw: ImageDraw.ImageDraw, colours: Sequence[Colour], y: float, right: float) -> None:
    """Tell at the right what the frames are."""
    font = load_font(round(0.85 * _EM), None)
    for colour in reversed(colours):
        right -= 4 + font.getlength(_FRAMES[colour])
        draw.text((right, y), _FRAMES[colour], FAINT_INK, font, anchor="lm")
        square = (right - 18, y - 6, right - 6, y + 6)
        draw.rectangle(square, fill=colour, outline=FAINT_INK)
        right -= 18 + _GAP


def _write(draw: ImageDraw.ImageDraw, lines: Sequence[str], top: int, width: int) -> None:
    for number, line in enumerate(lines):
        ink, size = (FAINT_INK, round(0.85 * _EM)) if number else (INK, _EM)
        font = load_font(size, typeface_for(line))
        room = width - (9 if number == 0 else 16) * _EM
        while font.getlength(line) > room and len(line) > 4:
            line = line[:-4].rstrip() + "..."
        draw.text((4, top + _EM * (1.2 + 1.5 * number)), line, ink, font, anchor="lm")
