"""A page to look into a map: one HTML file that needs no server and no network."""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tltool.pictures.drawing import Extent
from tltool.pictures.overlay import class_colours
from tltool.pictures.pages import data_uri, render_page
from tltool.raster import AnyRaster

# Longest sides: of the photograph, px, and of the map, cells.
PHOTOGRAPH_SIDE = 2048
MAP_SIDE = 1024
# Bytes of the page that the photograph and the map may take, as base64.
_PHOTOGRAPH_BYTES = 2_000_000
_MAP_BYTES = 3_500_000
# Classes that are shown, the ones of the highest means.
_CLASSES = 40
# A probability is a whole number of 254ths; this is no data.
_STEPS, _NO_DATA = 254, 255
# Of a class that means "nothing here".
_GREY = (150, 156, 164)


@dataclass(frozen=True)
class ViewExtent:
    """Extent of the picture.

    Attributes
    ----------
    width, height : int
        Width and height of the image, px.
    extent : tuple of float
        Left, top, right and bottom of the map, px of the image.
    transform : tuple of six float or None
        From pixel (x, y) to the CRS, as of an affine transform; None where
        there is none.
    crs : str or None
        Its name.
    """

    width: int
    height: int
    extent: Extent
    transform: tuple[float, ...] | None = None
    crs: str | None = None


def view_extent(raster: AnyRaster, extent: Extent) -> ViewExtent:
    """Find the extent of an image."""
    if raster.crs is None:
        return ViewExtent(raster.width, raster.height, extent)
    epsg = raster.crs.to_epsg()
    name = f"EPSG:{epsg}" if epsg else raster.crs.to_wkt().split('"')[1]
    transform = tuple(raster.transform)[:6]
    return ViewExtent(raster.width, raster.height, extent, transform, name)


def _photograph(pixels: np.ndarray) -> str:
    """The picture as JPEG in a data URI, as good as its room allows."""
    image = Image.fromarray(pixels)
    image.thumbnail((PHOTOGRAPH_SIDE, PHOTOGRAPH_SIDE), Image.Resampling.LANCZOS)
    for quality in (85, 70, 50, 30):
        uri = data_uri(image, quality=quality)
        if len(uri) <= _PHOTOGRAPH_BYTES:
            break
    return uri


def pack_plane(plane: np.ndarray) -> str:
    """A (rows, columns) plane of probabilities, NaN: no data, as base64 of deflated bytes.

    The bytes are the differences of neighbours in a row, modulo 256, which
    deflate smaller than the numbers. A page unpacks them itself: what a canvas
    gives back of a picture need not be what was put in.
    """
    codes = np.where(np.isnan(plane), _NO_DATA, np.rint(plane.clip(0, 1) * _STEPS))
    codes = codes.astype(np.uint8)
    # Unsigned numbers wrap around, as they do in the page.
    rows = np.diff(codes, axis=1, prepend=np.uint8(0))
    return base64.b64encode(zlib.compress(rows.tobytes(), 9)).decode()


def _halved(values: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 cells that have data."""
    _, rows, columns = values.shape
    padded = np.pad(values, ((0, 0), (0, rows % 2), (0, columns % 2)), constant_values=np.nan)
    blocks = padded.reshape(len(values), padded.shape[1] // 2, 2, -1, 2)
    known = np.isfinite(blocks)
    number = known.sum((2, 4))
    total = np.where(known, blocks, 0).sum((2, 4))
    return np.where(number, total / np.maximum(number, 1), np.nan).astype(np.float32)


def _pack(values: np.ndarray) -> tuple[list[str], tuple[int, int], int]:
    """All planes, their shape, and by what they were shrunk to fit their room."""
    factor = 1
    while True:
        packed = [pack_plane(plane) for plane in values]
        if sum(map(len, packed)) <= _MAP_BYTES or max(values.shape[1:]) < 64:
            return packed, values.shape[1:], factor
        values, factor = _halved(values), 2 * factor


def _chosen(values: np.ndarray) -> list[int]:
    """The classes of the highest means, in their order."""
    known = np.isfinite(values)
    means = np.where(known, values, 0).sum((1, 2)) / np.maximum(known.sum((1, 2)), 1)
    return sorted(np.argsort(-means, kind="stable")[:_CLASSES].tolist())


def _layers(
    names: Sequence[str], nothing: Sequence[str], packed: Sequence[str], chosen: Sequence[int]
) -> list[dict[str, Any]]:
    colours = class_colours(names, list(nothing))
    colours = np.where(np.isnan(colours), _GREY, colours).round().astype(int)
    return [
        {"name": name, "colour": colour, "shown": name not in nothing, "plane": plane}
        for name, colour, plane in zip(
            [names[k] for k in chosen], colours[list(chosen)].tolist(), packed, strict=True
        )
    ]


def render_preview(
    title: str,
    photograph: np.ndarray,
    values: np.ndarray,
    names: Sequence[str],
    nothing: Sequence[str],
    view: ViewExtent,
    factor: int = 1,
    exclusive: bool = True,
    fidelity: str = "",
) -> str:
    """Make the page.

    Parameters
    ----------
    title : str
    photograph : (height, width, 3) uint8 array
        The image shrunk.
    values : (classes, rows, columns) float array
        Probabilities, NaN: no data.
    names, nothing : sequence of str
        Of the classes; of those that mean "nothing here".
    view : ViewExtent
    factor : int
        Cells of the map that one of `values` is the mean of, along each side.
    exclusive : bool
        Whether one class alone is true of a cell.
    fidelity : str
        A sentence.
    """
    chosen = _chosen(values)
    packed, shape, again = _pack(values[chosen])
    left, top, right, bottom = view.extent
    # Of an odd number of cells the last one reaches over the map.
    right = left + (right - left) / values.shape[2] * again * shape[1]
    bottom = top + (bottom - top) / values.shape[1] * again * shape[0]
    data = {
        "title": title,
        "width": view.width,
        "height": view.height,
        "transform": view.transform,
        "crs": view.crs,
        "rows": shape[0],
        "columns": shape[1],
        "extent": [left, top, right, bottom],
        "factor": factor * again,
        "exclusive": exclusive,
        "steps": _STEPS,
        "noData": _NO_DATA,
        "layers": _layers(names, nothing, packed, chosen),
    }
    return render_page(
        "tltool.mapping",
        "preview.html.j2",
        title=title,
        photograph=_photograph(photograph),
        # In a script element no text may end it.
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        place=view,
        layers=data["layers"],
        exclusive=exclusive,
        left_out=len(names) - len(chosen),
        factor=data["factor"],
        fidelity=fidelity and f"Fidelity: {fidelity}.",
    )
