"""The typeface of text in pictures."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from PIL import ImageFont


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
