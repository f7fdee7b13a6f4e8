"""Points in GeoJSON files."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.crs import CRS

from tltool.annotations.map_points import MapPoint
from tltool.annotations.point import Point
from tltool.errors import DataError
from tltool.raster.geojson import Geometry, geometries, short

TYPES = ("FeatureCollection", "Feature", "GeometryCollection", "Point", "MultiPoint")

_WGS84 = CRS.from_user_input("OGC:CRS84"), CRS.from_epsg(4326)


def read_geojson(document: dict[str, Any], path: Path) -> list[MapPoint]:
    """Points and MultiPoints of a GeoJSON object; features without a geometry are left out.

    Raises
    ------
    DataError
        It is no GeoJSON, or holds other geometries (says where).
    """
    found = geometries(document, str(path))
    return [point for geometry in found for point in _points(geometry)]


def _points(geometry: Geometry) -> Iterator[MapPoint]:
    if geometry.kind == "Point":
        positions = [geometry.coordinates] if geometry.coordinates else []
    elif geometry.kind == "MultiPoint":
        positions = geometry.coordinates
    else:
        raise DataError(
            f"{geometry.where}: expected a Point or MultiPoint, received a {geometry.kind}. Leave"
            " it out, or take its centroid first"
        )
    for position in positions:
        try:
            # A third number is a height.
            x, y = float(position[0]), float(position[1])
        except (TypeError, ValueError, IndexError, KeyError):
            x = y = np.nan
        if not (np.isfinite(x) and np.isfinite(y)):
            raise DataError(
                f"{geometry.where}: expected a pair of numbers, received {short(position)}"
            )
        yield MapPoint(x, y, geometry.crs, geometry.where, geometry.properties)


def is_wgs84(crs: CRS) -> bool:
    """Whether it is longitude and latitude as RFC 7946 has them."""
    return bool(crs in _WGS84)


def write_geojson(
    path: Path, points: Sequence[Point], positions: np.ndarray, crs: CRS | None
) -> None:
    """Write points as features.

    Parameters
    ----------
    path : Path
    points : sequence of Point
        Become the properties image, x, y, label and score.
    positions : (n, 2) float array
        Coordinates of the points in `crs`.
    crs : CRS or None
        None: `positions` are pixels.

    Notes
    -----
    RFC 7946 knows WGS 84 only. Other CRSs are named in the ``crs`` member of
    the GeoJSON before it, which QGIS and GDAL read, so that points lie exactly
    where they do on the image.
    """
    document: dict[str, Any] = {"type": "FeatureCollection"}
    if crs is not None and not is_wgs84(crs):
        # Its URN, or its WKT where no registry has it.
        owner = crs.to_authority(confidence_threshold=100)
        name = f"urn:ogc:def:crs:{owner[0]}::{owner[1]}" if owner else str(crs.to_wkt())
        document["crs"] = {"type": "name", "properties": {"name": name}}
    document["features"] = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": position},
            "properties": {key: getattr(p, key) for key in ("image", "x", "y", "label", "score")},
        }
        for p, position in zip(points, positions.tolist(), strict=True)
    ]
    path.write_text(json.dumps(document), encoding="utf-8")
