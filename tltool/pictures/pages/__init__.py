"""What the HTML pages share: their look, how they are filled in, pictures inside them."""

import base64
import io
from functools import cache
from typing import Any

from PIL import Image


@cache
def _environment(package: str) -> Any:
    """Where a package's pages are found; each is compiled once."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined  # slow to import

    loader = ChoiceLoader([PackageLoader(package), PackageLoader("tltool.pictures.pages")])
    return Environment(
        loader=loader,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )


def render_page(package: str, template: str, **content: Any) -> str:
    """Fill in a page; all text is escaped.

    Parameters
    ----------
    package : str
        Whose ``templates/`` hold the page; what pages share lies in those of
        `tltool.pictures.pages`.
    template : str
    **content
    """
    return _environment(package).get_template(template).render(**content)


def data_uri(image: Image.Image, kind: str = "JPEG", quality: int = 85) -> str:
    """A picture inside the page.

    Parameters
    ----------
    image : PIL.Image.Image
    kind : 'JPEG' or 'WEBP'
        The latter where it is transparent.
    quality : int
        0..100.
    """
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality, optimize=True, method=4)
    return as_uri(buffer.getvalue(), kind.lower())


def jpeg_uri(content: bytes) -> str:
    """A JPEG file inside the page."""
    return as_uri(content, "jpeg")


def as_uri(content: bytes, kind: str) -> str:
    """Write an image file inside the page."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
