"""Small pictures for the report, and the colours of classes."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from tltool.explanation.picture import as_seen
from tltool.pictures.overlay import class_colours
from tltool.pictures.pages import data_uri

# Px.
THUMBNAIL, STRIP = 176, 88
GREY = (150, 156, 164)


def fitted(image: np.ndarray, side: int) -> Image.Image:
    """An image of another side: crisp where it is enlarged much, smooth where it is shrunk."""
    kind = Image.Resampling.LANCZOS if image.shape[0] > side / 2 else Image.Resampling.NEAREST
    return Image.fromarray(as_seen(image)).resize((side, side), kind)


def strip(images: Sequence[np.ndarray], side: int = STRIP, gap: int = 4) -> Image.Image:
    """Images side by side on a transparent ground."""
    width = len(images) * (side + gap) - gap
    picture = Image.new("RGBA", (width, side), (0, 0, 0, 0))
    for place, image in enumerate(images):
        picture.paste(fitted(image, side), (place * (side + gap), 0))
    return picture


def thumbnail(image: np.ndarray, side: int = THUMBNAIL) -> str:
    """An image as a data URI."""
    return data_uri(fitted(image, side), quality=80)


def colours_of(
    names: Sequence[str], background: str | None, lightness: float | None = None
) -> list[tuple[int, int, int]]:
    """A colour a class, (r, g, b); grey for the background.

    Parameters
    ----------
    names : sequence of str
    background : str or None
        Without effect where it is none of them.
    lightness : float, optional
        As of `tltool.pictures.overlay.class_colours`.
    """
    more = {} if lightness is None else {"lightness": lightness}
    found = class_colours(names, background, **more)
    grey = np.array(GREY) * (0.75 if lightness is not None else 1)
    chosen = np.where(np.isnan(found), grey, found).round().astype(int)
    return [(int(r), int(g), int(b)) for r, g, b in chosen]
