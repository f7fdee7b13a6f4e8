"""Polygons read from GeoJSON files, as RFC 7946 has them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tltool.errors import DataError

_GEOMETRIES = ("Point", "MultiPoint", "LineString", "MultiLineString")


@dataclass(frozen=True)
class GeoPolygon:
    """A polygon in coordinates of a CRS.

    Attributes
    ----------
    rings : list of (n, 2) float arrays
        The outer one, then its holes; the last corner repeats the first.
    crs : str or None
        What the file says of it; None where it says nothing, so that it is WGS 84.
    """

    rings: list[np.ndarray]
    crs: str | None


def read_polygons(path: Path) -> list[GeoPolygon]:
    """Read all polygons of a GeoJSON file.

    Raises
    ------
    DataError
        There is no such file, it is no GeoJSON, has no polygons (says what it
        has), or a ring is none (says which).
    """
    document, others = _read_object(path), set[str]()
    polygons = list(_polygons(document, str(path), None, others))
    if not polygons:
        received = ", ".join(sorted(others)) or "nothing"
        raise DataError(
            f"{path}: expected a Polygon or MultiPolygon, received {received}. Draw the area as a"
            " polygon"
        )
    return polygons


def _read_object(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"{path}: expected a GeoJSON file of polygons, found none")
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected GeoJSON, received what is no JSON: {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict) or "type" not in document:
        raise DataError(
            f"{path}: expected GeoJSON, an object with a type, received JSON without. Export the"
            " area as GeoJSON"
        )
    return document


def _polygons(thing: Any, where: str, crs: str | None, others: set[str]) -> Iterator[GeoPolygon]:
    """Polygons of an object of any type; the types of others are added to `others`."""
    kind = thing.get("type") if isinstance(thing, dict) else None
    if kind is None:
        raise DataError(f"{where}: expected an object with a type, received {_short(thing)}")
    crs = _named_crs(thing, where) or crs
    if kind == "FeatureCollection":
        for number, feature in enumerate(_members(thing, "features", where)):
            yield from _polygons(feature, f"{where}, feature {number}", crs, others)
    elif kind == "GeometryCollection":
        for number, geometry in enumerate(_members(thing, "geometries", where)):
            yield from _polygons(geometry, f"{where}, geometry {number}", crs, others)
    elif kind == "Feature":
        # A feature may have no place.
        if thing.get("geometry") is not None:
            yield from _polygons(thing["geometry"], where, crs, others)
    elif kind == "Polygon":
        yield from _one(_members(thing, "coordinates", where), where, crs)
    elif kind == "MultiPolygon":
        for number, rings in enumerate(_members(thing, "coordinates", where)):
            yield from _one(rings, f"{where}, polygon {number}", crs)
    elif kind in _GEOMETRIES:
        others.add(kind)
    else:
        raise DataError(f"{where}: expected a type of GeoJSON, received {_short(kind)}")


def _members(thing: dict[str, Any], key: str, where: str) -> list[Any]:
    found = thing.get(key)
    if not isinstance(found, list):
        raise DataError(f"{where}: expected a list of {key}, received {_short(found)}")
    return found


def _named_crs(thing: dict[str, Any], where: str) -> str | None:
    """What the ``crs`` of GeoJSON before RFC 7946 says."""
    crs = thing.get("crs")
    if crs is None:
        return None
    name = crs.get("properties", {}).get("name") if isinstance(crs, dict) else None
    if not isinstance(name, str):
        raise DataError(
            f"{where}: expected a crs with a name, such as urn:ogc:def:crs:EPSG::32633, received"
            f" {_short(crs)}. Without a crs the coordinates are longitude and latitude"
        )
    return name


def _one(rings: Any, where: str, crs: str | None) -> Iterator[GeoPolygon]:
    # An empty list is a polygon without a place.
    if rings != []:
        if not isinstance(rings, list):
            raise DataError(f"{where}: expected a list of rings, received {_short(rings)}")
        yield GeoPolygon([_ring(r, f"{where}, ring {i}") for i, r in enumerate(rings)], crs)


def _ring(positions: Any, where: str) -> np.ndarray:
    try:
        # A third number is a height.
        corners = np.array([(float(p[0]), float(p[1])) for p in positions])
    except (TypeError, ValueError, IndexError, KeyError):
        corners = np.full((1, 2), np.nan)
    if not np.isfinite(corners).all():
        raise DataError(f"{where}: expected pairs of numbers, received {_short(positions)}")
    if len(corners) < 4:
        raise DataError(
            f"{where}: expected at least 4 positions of which the last repeats the first, received"
            f" {len(corners)}"
        )
    if (corners[0] != corners[-1]).any():
        raise DataError(
            f"{where}: expected a closed ring, received one that begins at {_point(corners[0])} and"
            f" ends at {_point(corners[-1])}. Repeat the first position at the end"
        )
    if len(np.unique(corners, axis=0)) < 3:
        raise DataError(
            f"{where}: expected at least 3 different corners, received"
            f" {len(np.unique(corners, axis=0))}"
        )
    return corners


def _point(corner: np.ndarray) -> str:
    return f"({corner[0]:.10g}, {corner[1]:.10g})"


def _short(thing: Any) -> str:
    text = repr(thing)
    return text if len(text) <= 60 else text[:57] + "..."
