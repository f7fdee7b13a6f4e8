"""Pictures and tables as a notebook shows them (``_repr_html_``)."""

import html
import io
from collections.abc import Iterable, Sequence

from PIL import Image

from tltool.pictures.pages import as_uri


def picture_html(picture: Image.Image, width: int = 900) -> str:
    """Show a picture at most `width` px wide."""
    content = io.BytesIO()
    picture.save(content, "PNG")
    source = as_uri(content.getvalue(), "png")
    return f'<img src="{source}" style="max-width:min(100%,{width}px)">'


def table_html(rows: Iterable[Sequence[object]], header: Sequence[object] = ()) -> str:
    """Show a table; the first column of each row is its heading."""
    lines = [f"<tr>{''.join(f'<th>{html.escape(str(c))}</th>' for c in header)}</tr>"]
    for first, *rest in rows:
        cells = "".join(f"<td>{html.escape(str(cell))}</td>" for cell in rest)
        lines.append(f'<tr><th style="text-align:left">{html.escape(str(first))}</th>{cells}</tr>')
    return f"<table>{''.join(lines if header else lines[1:])}</table>"
