"""Small pictures for the report: thumbnails, strips of them, maps laid over images."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from tltool.maps.overlay import class_colours
from tltool.pages import data_uri

# Px.
THUMBNAIL, STRIP = 176, 88
GREY = (150, 156, 164)
# Of the heat where the map is 0 and where it is 1.
_OPACITIES = 0.15, 0.75


def as_seen(images: np.ndarray) -> np.ndarray:
    """What a screen can show: the first three bands, or the first one as grey.

    Parameters
    ----------
    images : (..., bands) uint8 array

    Returns
    -------
    (..., 3) uint8 array
    """
    return images[..., :3] if images.shape[-1] >= 3 else np.repeat(images[..., :1], 3, axis=-1)


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


def with_heat(image: np.ndarray, heat: np.ndarray, side: int = THUMBNAIL) -> Image.Image:
    """Lay a map over an image that is made grey.

    Parameters
    ----------
    image : (height, width, bands) uint8 array
    heat : (height, width) array
        0..1; of any size.
    side : int
        Of the result, px.
    """
    from matplotlib import colormaps  # slow to import

    grey = np.asarray(fitted(image, side).convert("L").convert("RGB"), np.float32)
    shown = Image.fromarray(heat.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    values = np.asarray(shown).clip(0, 1)[..., None]
    low, high = _OPACITIES
    opacity = low + (high - low) * values
    colours = 255 * colormaps["inferno"](values[..., 0])[..., :3]
    mixed = (1 - opacity) * grey + opacity * colours
    return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))


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
        As of `tltool.maps.overlay.class_colours`.
    """
    more = {} if lightness is None else {"lightness": lightness}
    found = class_colours(names, background, **more)
    grey = np.array(GREY) * (0.75 if lightness is not None else 1)
    chosen = np.where(np.isnan(found), grey, found).round().astype(int)
    return [(int(r), int(g), int(b)) for r, g, b in chosen]
