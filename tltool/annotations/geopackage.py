"""Points in GeoPackages: SQLite files with tables that the OGC's standard names.

Only what points need, which spares an extra library with a GDAL of its own.

References
----------
OGC 12-128r18, GeoPackage Encoding Standard 1.3.1, https://www.geopackage.org/spec131/
"""

import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.crs import CRS

from tltool.annotations.geojson import is_wgs84
from tltool.annotations.map_points import PIXELS, MapPoint
from tltool.annotations.point import Point
from tltool.errors import DataError

MAGIC = b"SQLite format 3\0"


# Undefined cartesian coordinates, undefined longitude and latitude, WGS 84; the first own number.
_CARTESIAN, _GEOGRAPHIC, _WGS84_ID, _OWN = -1, 0, 4326, 100_000

# Bytes of the envelope that the header of a geometry may have, by its code.
_ENVELOPES = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}

# At the top "GPKG", and version 1.3.0.
_TABLES = """
PRAGMA application_id = 0x47504B47; PRAGMA user_version = 10300;
CREATE TABLE gpkg_spatial_ref_sys (
    srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY, organization TEXT NOT NULL,
    organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (
    table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
    description TEXT DEFAULT '',
    last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
    min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE,
    srs_id INTEGER REFERENCES gpkg_spatial_ref_sys (srs_id));
CREATE TABLE gpkg_geometry_columns (
    table_name TEXT NOT NULL UNIQUE REFERENCES gpkg_contents (table_name),
    column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL,
    srs_id INTEGER NOT NULL REFERENCES gpkg_spatial_ref_sys (srs_id),
    z TINYINT NOT NULL, m TINYINT NOT NULL, PRIMARY KEY (table_name, column_name));
CREATE TABLE points (
    fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POINT, image TEXT, x DOUBLE, y DOUBLE,
    label TEXT, score DOUBLE);
"""


def read_geopackage(path: Path) -> list[MapPoint]:
    """Points of the one layer of points that a GeoPackage has.

    Raises
    ------
    DataError
        It is no GeoPackage, has no layer of points or several (says which), or
        a geometry that is no point.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            layer, column, srs = _find_layer(database, path)
            crs = _crs_of(database, srs)
            quoted = layer.replace('"', '""')
            rows = enumerate(database.execute(f'SELECT * FROM "{quoted}"'), 1)
            where = f"{path}, layer {layer}, row"
            return [p for n, row in rows for p in _points(row, column, crs, f"{where} {n}")]
    except sqlite3.Error as error:
        raise DataError(f"{path}: expected a GeoPackage, received one that is none: {error}") from (
            error
        )


def _find_layer(database: sqlite3.Connection, path: Path) -> tuple[str, str, int]:
    layers = database.execute(
        "SELECT table_name, column_name, geometry_type_name, srs_id FROM gpkg_geometry_columns"
    ).fetchall()
    kinds = ("POINT", "MULTIPOINT"), ("GEOMETRY", "GEOMETRYCOLLECTION")
    found = [row for row in layers if row[2].upper() in kinds[0]]
    found = found or [row for row in layers if row[2].upper() in kinds[1]]
    if len(found) != 1:
        received = ", ".join(f"{row[0]} ({row[2]})" for row in found or layers) or "none"
        raise DataError(
            f"{path}: expected one layer of points, received {received}. Export the one to take to"
            " a file of its own"
        )
    return found[0][0], found[0][1], found[0][3]


def _crs_of(database: sqlite3.Connection, srs: int) -> str | None:
    if srs in (_CARTESIAN, _GEOGRAPHIC):
        return PIXELS if srs == _CARTESIAN else None
    row = database.execute(
        "SELECT organization, organization_coordsys_id, definition FROM gpkg_spatial_ref_sys"
        " WHERE srs_id = ?",
        (srs,),
    ).fetchone()
    if row is None:
        return f"EPSG:{srs}"
    return f"EPSG:{row[1]}" if row[0].upper() == "EPSG" else str(row[2])


def _points(row: sqlite3.Row, column: str, crs: str | None, where: str) -> Iterator[MapPoint]:
    properties = dict(row)
    blob = properties.pop(column)
    # A feature may have no geometry.
    if blob is not None:
        try:
            if blob[:2] != b"GP":
                raise ValueError("what has no header of a GeoPackage")
            positions = list(_well_known(blob, 8 + _ENVELOPES[blob[3] >> 1 & 7]))
        except (struct.error, ValueError, TypeError, KeyError) as error:
            raise DataError(f"{where}: expected a Point or MultiPoint, received {error}") from error
        for x, y in positions:
            yield MapPoint(x, y, crs, where, properties)


def _well_known(blob: bytes, start: int) -> Iterator[tuple[float, float]]:
    """Positions of a well-known binary, of any number of dimensions."""
    order = "<" if blob[start] else ">"
    (kind,) = struct.unpack_from(order + "I", blob, start + 1)
    # Thousands, or the highest bits, say that there are heights and measures.
    extra = (kind >> 31) + (kind >> 30 & 1) + (0, 1, 1, 2)[(kind & 0xFFFFFFF) // 1000]
    kind = (kind & 0xFFFFFFF) % 1000
    if kind == 1:
        x, y = struct.unpack_from(order + "dd", blob, start + 5)
        if not (np.isnan(x) or np.isnan(y)):
            yield x, y
    elif kind == 4:
        (number,) = struct.unpack_from(order + "I", blob, start + 5)
        for member in range(number):
            yield from _well_known(blob, start + 9 + member * (21 + 8 * extra))
    else:
        raise ValueError(f"a geometry of type {kind}")


def write_geopackage(
    path: Path, points: Sequence[Point], positions: np.ndarray, crs: CRS | None
) -> None:
    """Write points as the layer ``points``.

    Parameters
    ----------
    path : Path
        Must not exist.
    points : sequence of Point
        Become the columns image, x, y, label and score.
    positions : (n, 2) float array
        Coordinates of the points in `crs`.
    crs : CRS or None
        None: `positions` are pixels, y down, which is said to be an undefined
        cartesian CRS.
    """
    systems, srs = _systems(crs)
    extent = (*positions.min(0).tolist(), *positions.max(0).tolist()) if points else (None,) * 4
    # Header: magic, version 0, little-endian without an envelope, CRS. Then byte order and type.
    pack = struct.Struct("<2sBBiBIdd").pack
    rows = [
        (pack(b"GP", 0, 1, srs, 1, 1, *xy), p.image, p.x, p.y, p.label, p.score)
        for p, xy in zip(points, positions.tolist(), strict=True)
    ]
    six = "?, ?, ?, ?, ?, ?"
    try:
        with closing(sqlite3.connect(path)) as database, database:
            database.executescript(_TABLES)
            database.executemany(f"INSERT INTO gpkg_spatial_ref_sys VALUES ({six})", systems)
            database.execute(
                "INSERT INTO gpkg_contents (table_name, data_type, identifier, min_x, min_y, max_x,"
                " max_y, srs_id) VALUES ('points', 'features', 'points', ?, ?, ?, ?, ?)",
                (*extent, srs),
            )
            column = ("points", "geom", "POINT", srs, 0, 0)
            database.execute(f"INSERT INTO gpkg_geometry_columns VALUES ({six})", column)
            database.executemany(
                f"INSERT INTO points (geom, image, x, y, label, score) VALUES ({six})", rows
            )
    except sqlite3.Error as error:
        raise OSError(f"{error}") from error


def _systems(crs: CRS | None) -> tuple[list[tuple[Any, ...]], int]:
    """Rows of gpkg_spatial_ref_sys: the three that must be there, and the CRS; its number."""
    wgs84 = CRS.from_epsg(_WGS84_ID).to_wkt()
    rows: list[tuple[Any, ...]] = [
        ("Undefined cartesian SRS", _CARTESIAN, "NONE", _CARTESIAN, "undefined", "pixels, y down"),
        ("Undefined geographic SRS", _GEOGRAPHIC, "NONE", _GEOGRAPHIC, "undefined", None),
        ("WGS 84 geodetic", _WGS84_ID, "EPSG", _WGS84_ID, wgs84, "longitude and latitude"),
    ]
    if crs is None:
        return rows, _CARTESIAN
    if is_wgs84(crs):
        return rows, _WGS84_ID
    authority = crs.to_authority(confidence_threshold=100)
    known = authority is not None and authority[0] == "EPSG"
    number = int(authority[1]) if authority and known else _OWN
    owner, name = ("EPSG", f"EPSG:{number}") if known else ("NONE", "CRS of the images")
    return [*rows, (name, number, owner, number, crs.to_wkt(), None)], number
