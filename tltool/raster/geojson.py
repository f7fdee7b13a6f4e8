"""GeoJSON files, as RFC 7946 has them: their geometries, and the polygons among those."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tltool.errors import DataError

GEOMETRIES = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon")


@dataclass(frozen=True)
class Geometry:
    """A geometry of a file that is no collection.

    Attributes
    ----------
    kind : one of `GEOMETRIES`
    content : dict
        As it stands in the file.
    where : str
        File and place in it, for messages.
    crs : str or None
        What the file says of it; None where it says nothing, so that it is WGS 84.
    properties : dict
        Properties of the feature that it belongs to.
    """

    kind: str
    content: dict[str, Any]
    where: str
    crs: str | None
    properties: dict[str, Any] = field(default_factory=dict)

    @property
    def coordinates(self) -> list[Any]:
        """Positions, or lists of them.

        Raises
        ------
        DataError
            Where there is no list.
        """
        return _members(self.content, "coordinates", self.where)


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
    polygons, others = list[GeoPolygon](), set[str]()
    for geometry in geometries(read_object(path, "polygons"), str(path)):
        if geometry.kind == "Polygon":
            polygons += _one(geometry.coordinates, geometry.where, geometry.crs)
        elif geometry.kind == "MultiPolygon":
            for number, rings in enumerate(geometry.coordinates):
                polygons += _one(rings, f"{geometry.where}, polygon {number}", geometry.crs)
        else:
            others.add(geometry.kind)
    if not polygons:
        received = ", ".join(sorted(others)) or "nothing"
        raise DataError(
            f"{path}: expected a Polygon or MultiPolygon, received {received}. Draw the area as a"
            " polygon"
        )
    return polygons


def read_object(path: Path, of: str) -> dict[str, Any]:
    """Read a GeoJSON file as it stands.

    Parameters
    ----------
    path : Path
    of : str
        What it should hold, for messages.

    Raises
    ------
    DataError
        There is no such file, or it holds no JSON object with a type.
    """
    if not path.is_file():
        raise DataError(f"{path}: expected a GeoJSON file of {of}, found none")
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected GeoJSON, received what is no JSON: {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict) or "type" not in document:
        raise DataError(
            f"{path}: expected GeoJSON, an object with a type, received JSON without. Export the"
            f" {of} as GeoJSON"
        )
    return document


def geometries(
    thing: Any, where: str, crs: str | None = None, properties: dict[str, Any] | None = None
) -> Iterator[Geometry]:
    """Iterate over the geometries of an object of any type, those in collections one by one.

    Parameters
    ----------
    thing : object
        As JSON has it.
    where : str
        What to call it in messages.
    crs : str, optional
        What holds where the object names none.
    properties : dict, optional
        Properties of the feature that it belongs to.

    Raises
    ------
    DataError
        What is there is no GeoJSON (says where).
    """
    kind = thing.get("type") if isinstance(thing, dict) else None
    if kind is None:
        raise DataError(f"{where}: expected an object with a type, received {short(thing)}")
    crs = _named_crs(thing, where) or crs
    if kind == "FeatureCollection":
        for number, feature in enumerate(_members(thing, "features", where)):
            yield from geometries(feature, f"{where}, feature {number}", crs)
    elif kind == "GeometryCollection":
        for number, geometry in enumerate(_members(thing, "geometries", where)):
            yield from geometries(geometry, f"{where}, geometry {number}", crs, properties)
    elif kind == "Feature":
        # A feature may have no place.
        if thing.get("geometry") is not None:
            found = thing.get("properties")
            found = found if isinstance(found, dict) else {}
            yield from geometries(thing["geometry"], where, crs, found)
    elif kind in GEOMETRIES:
        yield Geometry(kind, thing, where, crs, properties or {})
    else:
        raise DataError(f"{where}: expected a type of GeoJSON, received {short(kind)}")


def _members(thing: dict[str, Any], key: str, where: str) -> list[Any]:
    found = thing.get(key)
    if not isinstance(found, list):
        raise DataError(f"{where}: expected a list of {key}, received {short(found)}")
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
            f" {short(crs)}. Without a crs the coordinates are longitude and latitude"
        )
    return name


def _one(rings: Any, where: str, crs: str | None) -> Iterator[GeoPolygon]:
    # An empty list is a polygon without a place.
    if rings != []:
        if not isinstance(rings, list):
            raise DataError(f"{where}: expected a list of rings, received {short(rings)}")
        yield GeoPolygon([_ring(r, f"{where}, ring {i}") for i, r in enumerate(rings)], crs)


def _ring(positions: Any, where: str) -> np.ndarray:
    try:
        # A third number is a height.
        corners = np.array([(float(p[0]), float(p[1])) for p in positions])
    except (TypeError, ValueError, IndexError, KeyError):
        corners = np.full((1, 2), np.nan)
    if not np.isfinite(corners).all():
        raise DataError(f"{where}: expected pairs of numbers, received {short(positions)}")
    if len(corners) < 4:
        raise DataError(
            f"{where}: expected at least 4 positions of which the last repeats the first, received"
            f" {len(corners)}"
        )
    if (corners[0] != corners[-1]).any():
        first, last = (f"({x:.10g}, {y:.10g})" for x, y in corners[[0, -1]])
        raise DataError(
            f"{where}: expected a closed ring, received one that begins at {first} and ends at"
            f" {last}. Repeat the first position at the end"
        )
    if (different := len(np.unique(corners, axis=0))) < 3:
        raise DataError(f"{where}: expected at least 3 different corners, received {different}")
    return corners


def short(thing: Any) -> str:
    """Shorten what was received to at most 60 letters."""
    text = repr(thing)
    return text if len(text) <= 60 else text[:57] + "..."
