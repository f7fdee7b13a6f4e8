"""Areas of an image that files of polygons name, such as an area of interest."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform

from tltool.errors import DataError
from tltool.raster.geojson import GeoPolygon, read_polygons
from tltool.raster.resampling import AnyRaster

Bounds = tuple[float, float, float, float]

# How far around a window it is still said to touch an edge, px: rounding.
_CLOSE = 1e-6


class Ring:
    """A closed line.

    Parameters
    ----------
    corners : (n, 2) float array
        x and y; the last may repeat the first.
    """

    def __init__(self, corners: np.ndarray):
        corners = np.asarray(corners, float)
        following = np.roll(corners, -1, 0)
        upwards = (corners[:, 1] <= following[:, 1])[:, None]
        # An edge gives the same numbers whichever way it is walked.
        self._low = np.where(upwards, corners, following)
        self._high = np.where(upwards, following, corners)
        self.bounds: Bounds = (*corners.min(0).tolist(), *corners.max(0).tolist())

    def contains(self, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        """Test which of (n,) points, sorted by y, lie inside: (n,) bool array."""
        inside = np.zeros(len(xs), bool)
        starts = np.searchsorted(ys, self._low[:, 1], "left")
        stops = np.searchsorted(ys, self._high[:, 1], "left")
        # Edges wholly left of all points are never crossed by a ray to the right.
        right = np.maximum(self._low[:, 0], self._high[:, 0]) > xs.min(initial=np.inf)
        for edge in np.flatnonzero((starts < stops) & right):
            part = slice(starts[edge], stops[edge])
            inside[part] ^= self._left_of(edge, xs[part], ys[part])
        return inside

    def _left_of(self, edge: np.integer, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        (x, y), (end, top) = self._low[edge], self._high[edge]
        # Without a division: exact for points on the edge whose numbers are short.
        return (xs - x) * (top - y) < (ys - y) * (end - x)

    def touches(self, bounds: Bounds) -> bool:
        """Whether an edge comes into a box, or closer to it than rounding."""
        left, top, right, bottom = bounds
        low, high = np.minimum(self._low, self._high), np.maximum(self._low, self._high)
        near = (low[:, 0] <= right) & (high[:, 0] >= left)
        near &= (low[:, 1] <= bottom) & (high[:, 1] >= top)
        x, y = self._low[near].T
        across, down = (self._high[near] - self._low[near]).T
        # An edge's line misses a box whose corners all lie strictly on one side of it.
        sides = [across * (b - y) - down * (a - x) for a in (left, right) for b in (top, bottom)]
        return bool(((np.min(sides, 0) <= 0) & (np.max(sides, 0) >= 0)).any())


@dataclass(frozen=True)
class Polygon:
    """A ring without the holes in it."""

    outer: Ring
    holes: Sequence[Ring] = ()

    def contains(self, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        """Test which of (n,) points, sorted by y, lie inside: (n,) bool array."""
        inside = self.outer.contains(xs, ys)
        for hole in self.holes:
            inside &= ~hole.contains(xs, ys)
        return inside


class Area:
    """One or more polygons of an image: all that lies in any of them.

    Parameters
    ----------
    polygons : sequence of Polygon
        In pixels of the image: x to the right, y down, 0 at the outer corner
        of the first pixel.

    Attributes
    ----------
    bounds : (left, top, right, bottom)
        px.
    """

    def __init__(self, polygons: Sequence[Polygon]):
        self._polygons = list(polygons)
        boxes = np.array([polygon.outer.bounds for polygon in polygons])
        self._boxes = boxes
        self.bounds: Bounds = (*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist())

    def covers(self, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        """Test which points lie in the area.

        Parameters
        ----------
        xs, ys : (...) float array
            px.

        Returns
        -------
        (...) bool array. Of a rectangle the left and upper edges are in, the
        right and lower ones out.
        """
        xs, ys = np.broadcast_arrays(np.asarray(xs, float), np.asarray(ys, float))
        order = np.argsort(ys, axis=None, kind="stable")
        found = np.zeros(xs.size, bool)
        found[order] = self._covers_sorted(xs.ravel()[order], ys.ravel()[order])
        return found.reshape(xs.shape)

    def _covers_sorted(self, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        found = np.zeros(len(xs), bool)
        starts = np.searchsorted(ys, self._boxes[:, 1], "left")
        stops = np.searchsorted(ys, self._boxes[:, 3], "right")
        for number in np.flatnonzero(starts < stops):
            part = slice(starts[number], stops[number])
            found[part] |= self._polygons[number].contains(xs[part], ys[part])
        return found

    def overlaps(self, x: float, y: float, width: float, height: float) -> bool:
        """Whether a window may have a point of the area in it; False is certain."""
        box = (x - _CLOSE, y - _CLOSE, x + width + _CLOSE, y + height + _CLOSE)
        for polygon in self._near(box):
            if any(ring.touches(box) for ring in (polygon.outer, *polygon.holes)):
                return True
            # No edge comes in: it lies in the polygon wholly or not at all.
            corner = np.array([x], float), np.array([y], float)
            if polygon.contains(*corner)[0]:
                return True
        return False

    def _near(self, box: Bounds) -> Iterator[Polygon]:
        left, top, right, bottom = self._boxes.T
        near = (left <= box[2]) & (right >= box[0]) & (top <= box[3]) & (bottom >= box[1])
        return (self._polygons[number] for number in np.flatnonzero(near))

    def on_cells(
        self, x0: float, y0: float, cell_width: float, cell_height: float, rows: int, columns: int
    ) -> np.ndarray:
        """Test which cells of a grid have their centre in the area.

        Parameters
        ----------
        x0, y0 : float
            Outer corner of the first cell, px.
        cell_width, cell_height : float
            Width and height of a cell, px.
        rows, columns : int

        Returns
        -------
        (rows, columns) bool array
        """
        xs = float(x0) + (np.arange(columns) + 0.5) * float(cell_width)
        ys = float(y0) + (np.arange(rows) + 0.5) * float(cell_height)
        found = np.zeros((rows, columns), bool)
        # Some rows at a time, so that the points of a large map need not exist at once.
        step = max(1, _POINTS // max(1, columns))
        for first in range(0, rows, step):
            part = ys[first : first + step]
            if self._misses(xs, part):
                continue
            points = np.tile(xs, len(part)), np.repeat(part, columns)
            found[first : first + step] = self._covers_sorted(*points).reshape(-1, columns)
        return found

    def _misses(self, xs: np.ndarray, ys: np.ndarray) -> bool:
        box = (xs[0], ys[0], xs[-1], ys[-1]) if len(xs) else (0.0, 0.0, -1.0, -1.0)
        return not any(True for _ in self._near(box))


# Points that are looked at together.
_POINTS = 1 << 20


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
            f"{path}: expected an area that lies on {raster.name}, which reaches from"
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
            f" {raster.name}, {_crs_name(raster)}: {str(error).splitlines()[0]:.200}"
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
        f"{path}: its coordinates are in {crs}, {raster.name} has no CRS to transform"
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
