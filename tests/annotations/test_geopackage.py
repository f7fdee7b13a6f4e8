import sqlite3
import struct
from contextlib import closing

import numpy as np
import pyogrio
import pytest

from tltool.annotations import Point, read_points, write_points
from tltool.errors import DataError

POINTS = [("pup", 10.25, 20.5, 0.5), ("adult male", 90, 3.5, None)]


def points_of(image):
    return [Point(image.name, x, y, label, score) for label, x, y, score in POINTS]


@pytest.mark.parametrize("suffix", ["gpkg", "geojson"])
@pytest.mark.parametrize("name", ["utm", "degrees", "own", "plain"])
def test_gdal_reads_what_was_written(tmp_path, places, name, suffix):
    image = places[name]
    path = write_points(tmp_path / f"out.{suffix}", points_of(image), [image])
    facts = pyogrio.read_info(path)
    names = {"utm": "EPSG:32633", "degrees": "EPSG:4326"}
    if name in names:
        assert facts["crs"] == names[name]
    elif name == "own":
        assert "Transverse_Mercator" in facts["crs"]
    else:
        # Without a crs GeoJSON is in degrees, by its standard; the package says better.
        assert ("Undefined Cartesian" in facts["crs"]) == (suffix == "gpkg")
    assert (facts["geometry_type"], facts["features"]) == ("Point", 2)
    meta, _, geometries, fields = pyogrio.raw.read(path)
    assert list(meta["fields"]) == ["image", "x", "y", "label", "score"]
    assert [column.tolist() for column in fields[1:4]] == [
        [10.25, 90],
        [20.5, 3.5],
        ["pup", "adult male"],
    ]
    expected = {
        "utm": [(500_002.5625, 5_999_994.875), (500_022.5, 5_999_999.125)],
        "degrees": [(15.00001025, 53.9999795), (15.00009, 53.9999965)],
        "own": [(1003.075, 1996.4125), (1018.175, 2003.8)],
        "plain": [(10.25, 20.5), (90, 3.5)],
    }[name]
    found = [struct.unpack("<dd", geometry[5:]) for geometry in geometries]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
    if suffix == "gpkg":
        np.testing.assert_allclose(
            facts["total_bounds"], [*np.min(expected, 0), *np.max(expected, 0)]
        )


def test_tables_that_the_standard_asks_for(tmp_path, places):
    path = write_points(tmp_path / "out.gpkg", points_of(places["utm"]), [places["utm"]])
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA application_id").fetchone() == (0x47504B47,)
        assert database.execute("PRAGMA user_version").fetchone()[0] >= 10200
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert not database.execute("PRAGMA foreign_key_check").fetchall()
        numbers = {row[0] for row in database.execute("SELECT srs_id FROM gpkg_spatial_ref_sys")}
        assert numbers == {-1, 0, 4326, 32633}
        (row,) = database.execute("SELECT table_name, data_type, srs_id FROM gpkg_contents")
        assert row == ("points", "features", 32633)


def gdal_made(path, geometries, kind="Point", crs="EPSG:32633", layer="seals"):
    names = [f"seal {number}" for number in range(len(geometries))]
    pyogrio.raw.write(
        path,
        geometry=np.array(geometries, object),
        field_data=[np.array(names, object)],
        fields=["species"],
        geometry_type=kind,
        crs=crs,
        layer=layer,
        append=path.exists(),
    )
    return path


def wkb(x, y, order="<", kind=1):
    extra = (7.0,) * {1: 0, 1001: 1, 3001: 2}[kind]
    start = struct.pack(f"{order}BI", order == "<", kind)
    return start + struct.pack(f"{order}{2 + len(extra)}d", x, y, *extra)


def several(kind, *points):
    return struct.pack("<BII", 1, kind, len(points)) + b"".join(points)


FIRST, SECOND = (500_001, 5_999_998), (500_002, 5_999_996)


@pytest.mark.parametrize(
    ("kind", "geometries"),
    [
        ("Point", [wkb(*FIRST), None, wkb(*SECOND, ">")]),
        ("Point Z", [wkb(*FIRST, kind=1001), wkb(*SECOND, kind=1001)]),
        ("Unknown", [wkb(*FIRST, kind=3001), wkb(*SECOND)]),
        ("MultiPoint", [several(4, wkb(*FIRST), wkb(*SECOND))]),
        ("MultiPoint Z", [several(1004, wkb(*FIRST, kind=1001), wkb(*SECOND, kind=1001))]),
    ],
)
def test_what_gdal_wrote_is_read(tmp_path, places, kind, geometries):
    path = gdal_made(tmp_path / "a.gpkg", geometries, kind)
    found = read_points(path, images=[places["utm"]])
    assert [(p.x, p.y) for p in found] == [(4, 8), (8, 16)]
    assert found[0].label == "seal 0"
    assert found[0].where == f"{path}, layer seals, row 1"


def test_other_crs_is_transformed(tmp_path, places):
    path = gdal_made(tmp_path / "a.gpkg", [wkb(15.0, 53.99999)], crs="EPSG:4326")
    (found,) = read_points(path, images=[places["degrees"]])
    assert (found.x, found.y) == pytest.approx((0, 10), abs=1e-6)


def test_layer_without_crs_does_not_fit_an_image_that_has_one(tmp_path, places):
    image = places["utm"]
    path = write_points(tmp_path / "a.gpkg", points_of(image))
    with pytest.raises(DataError, match=r"no CRS, utm\.tif is in EPSG:32633\. Set the layer's CRS"):
        read_points(path, images=[image])


def test_one_layer_of_points_is_expected(tmp_path, places):
    path = gdal_made(tmp_path / "a.gpkg", [wkb(1, 2)], layer="north")
    gdal_made(path, [wkb(1, 2)], layer="south")
    with pytest.raises(DataError, match=r"one layer of points, received north \(POINT\), south"):
        read_points(path, images=[places["utm"]])


def test_layer_of_other_geometries_is_refused(tmp_path, places):
    line = struct.pack("<BII4d", 1, 2, 2, 0, 0, 1, 1)
    path = gdal_made(tmp_path / "a.gpkg", [line], "LineString")
    with pytest.raises(DataError, match=r"one layer of points, received seals \(LINESTRING\)"):
        read_points(path, images=[places["utm"]])
    path = gdal_made(tmp_path / "b.gpkg", [wkb(1, 2), line], "Unknown")
    with pytest.raises(DataError, match="row 2: expected a Point or MultiPoint"):
        read_points(path, images=[places["utm"]])


def test_other_databases_and_damage_are_named(tmp_path, places):
    path = tmp_path / "a.gpkg"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE mine (a)")
    with pytest.raises(DataError, match=r"a\.gpkg: expected a GeoPackage"):
        read_points(path, images=[places["utm"]])
    whole = write_points(tmp_path / "b.gpkg", points_of(places["utm"]), [places["utm"]])
    whole.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"b\.gpkg: expected a GeoPackage"):
        read_points(whole, images=[places["utm"]])
