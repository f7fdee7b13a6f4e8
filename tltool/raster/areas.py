"""Areas of an image that files of polygons name, such as an area of interest."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform

from tltool.errors import DataError
from tltool.raster.geojson import GeoPolygon, read_polygons
from tltool.raster.polygons import Area, Polygon, Ring
from tltool.raster.resampled import AnyRaster

Mapping = Callable[[np.ndarray], np.ndarray]

_WGS84 = CRS.from_user_input("OGC:CRS84")

# How far the middle of an edge may lie from the line that stands for it, px, and how often an edge
# is halved until it does.
_BEND, _HALVINGS = 0.1, 8


def load_area(path: str | Path, raster: AnyRaster, *, may_miss: bool = False) -> Area:
    """Read the polygons of a GeoJSON file as an area of an image.

    Parameters
    ----------
    path : str or Path
        Polygon, MultiPolygon, Feature, or collections of them; others in a
        collection are left out. Coordinates are longitude and latitude (WGS
        84) as RFC 7946 says, or in what a ``crs`` of older files names. Of an
        image without a CRS they are its pixels, x to the right and y down,
        or where a world file gives it a transform, what that gives.
    raster : Raster
        The image.
    may_miss : bool
        An area that misses the image is none of its pixels, and no error.

    Returns
    -------
    Area
        In pixels of the image. Edges that are no straight lines in the image's
        CRS are bent within a tenth of a pixel.

    Raises
    ------
    DataError
        No such file, no GeoJSON, no polygons, a ring that is none, a CRS that
        cannot be transformed to the image's (names both), or an area that
        misses the image (says both extents).
    """
    path = Path(path)
    polygons = [_to_image(polygon, path, raster) for polygon in read_polygons(path)]
    area = Area([Polygon(Ring(rings[0]), [Ring(r) for r in rings[1:]]) for rings in polygons])
    if not may_miss and not area.overlaps(0, 0, raster.width, raster.height):
        raise DataError(
            f"{path}: expected an area that lies on {raster.path.name}, which reaches from"
            f" {_extent(raster, (0, 0, raster.width, raster.height))}, received one that reaches"
            f" from {_extent(raster, area.bounds)}, in {_crs_name(raster)}"
        )
    return area


def to_image_pixels(
    points: np.ndarray, crs: str | None, path: Path, raster: AnyRaster
) -> np.ndarray:
    """Positions that a file names as pixels of an image.

    Parameters
    ----------
    points : (n, 2) float array
        x and y, or longitude and latitude.
    crs : str or None
        What the file says of them, as `load_area` understands it.
    path : Path
        The file, for messages.
    raster : Raster
        The image.

    Returns
    -------
    (n, 2) float array
        x (right) and y (down), px.

    Raises
    ------
    DataError
        The CRS is unknown, or cannot be transformed to the image's.
    """
    source = _source_crs(crs, path, raster)
    with _naming(source, path, raster):
        return _mapping(source, raster)(points)


def _to_image(polygon: GeoPolygon, path: Path, raster: AnyRaster) -> list[np.ndarray]:
    """Rings in pixels."""
    source = _source_crs(polygon.crs, path, raster)
    to_pixels = _mapping(source, raster)
    straight = source is None and not raster.gcps[0]
    with _naming(source, path, raster):
        return [to_pixels(r) if straight else _bent(r, to_pixels) for r in polygon.rings]


def _mapping(source: CRS | None, raster: AnyRaster) -> Mapping:
    """From (n, 2) positions in a CRS, or in the image's coordinates, to its pixels."""

    def to_pixels(points: np.ndarray) -> np.ndarray:
        xs, ys = points.T
        if source is not None:
            xs, ys = transformed(source, raster.world_crs, xs, ys)
        found = np.stack(raster.to_pixels(xs, ys), axis=1)
        if not np.isfinite(found).all():
            raise ValueError("a position lies where the image's CRS is not defined")
        return found

    return to_pixels


@contextmanager
def _naming(source: CRS | None, path: Path, raster: AnyRaster) -> Iterator[None]:
    """Say of which file and image a transform failed."""
    try:
        yield
    except (CPLE_BaseError, CRSError, ValueError) as error:
        raise DataError(
            f"{path}: its coordinates in {source} cannot be transformed to those of"
            f" {raster.path.name}, {_crs_name(raster)}: {str(error).splitlines()[0]:.200}"
        ) from error


def transformed(
    source: CRS, target: CRS, xs: np.ndarray, ys: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of (n,) positions in another CRS; longitude before latitude."""
    found = transform(source, target, xs.tolist(), ys.tolist())
    return np.array(found[0]), np.array(found[1])


def _source_crs(crs: str | None, path: Path, raster: AnyRaster) -> CRS | None:
    """The CRS to transform from; None where coordinates are the image's own."""
    named = _WGS84
    if crs is not None:
        try:
            named = CRS.from_user_input(crs)
        except CRSError as error:
            raise DataError(
                f"{path}: expected a crs that is known, such as urn:ogc:def:crs:EPSG::32633,"
                f" received {crs!r}"
            ) from error
    if raster.world_crs is not None:
        return None if named == raster.world_crs else named
    if named.is_geographic:
        # Programs write it unasked; nothing can be meant but the image's own coordinates.
        return None
    raise DataError(
        f"{path}: its coordinates are in {crs}, {raster.path.name} has no CRS to transform"
        " them to. Give them in pixels of the image, without a crs"
    )


def _bent(ring: np.ndarray, to_pixels: Mapping) -> np.ndarray:
    """A ring in pixels with more corners, where its edges do not stay straight."""
    corners, pixels = ring, to_pixels(ring)
    for _ in range(_HALVINGS):
        middles = (corners[1:] + corners[:-1]) / 2
        found = to_pixels(middles)
        off = np.hypot(*(found - (pixels[1:] + pixels[:-1]) / 2).T) > _BEND
        if not off.any():
            break
        places = np.flatnonzero(off) + 1
        corners = np.insert(corners, places, middles[off], axis=0)
        pixels = np.insert(pixels, places, found[off], axis=0)
    return pixels


def _extent(raster: AnyRaster, bounds: tuple[float, float, float, float]) -> str:
    left, top, right, bottom = bounds
    corners = np.array([(left, top), (right, top), (left, bottom), (right, bottom)])
    xs, ys = raster.to_world(*corners.T)
    return f"({np.min(xs):.10g}, {np.min(ys):.10g}) to ({np.max(xs):.10g}, {np.max(ys):.10g})"


def _crs_name(raster: AnyRaster) -> Any:
    if raster.world_crs is not None:
        return raster.world_crs
    return "its pixels" if raster.transform.is_identity else "the units of its transform"
