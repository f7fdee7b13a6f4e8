import json

import numpy as np
import pytest

from tltool.errors import DataError
from tltool.raster.geojson import read_polygons

RING = [[0, 0], [4, 0], [4, 4], [0, 0]]
HOLE = [[1, 1], [2, 1], [2, 2], [1, 1]]
POLYGON = {"type": "Polygon", "coordinates": [RING, HOLE]}
MULTI = {"type": "MultiPolygon", "coordinates": [[RING], [RING, HOLE]]}
POINT = {"type": "Point", "coordinates": [1, 2]}


def feature(geometry):
    return {"type": "Feature", "properties": {}, "geometry": geometry}


def features(*geometries, **members):
    found = [feature(geometry) for geometry in geometries]
    return {"type": "FeatureCollection", "features": found, **members}


def named(name):
    return {"type": "name", "properties": {"name": name}}


def write(folder, document):
    path = folder / "a.geojson"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("document", "rings"),
    [
        (POLYGON, [2]),
        (MULTI, [1, 2]),
        (feature(POLYGON), [2]),
        (features(POLYGON, None, POINT, MULTI), [2, 1, 2]),
        ({"type": "GeometryCollection", "geometries": [POINT, POLYGON, MULTI]}, [2, 1, 2]),
        (features({"type": "GeometryCollection", "geometries": [POLYGON]}), [2]),
        (features({"type": "Polygon", "coordinates": []}, POLYGON), [2]),
    ],
)
def test_polygons_are_found_wherever_they_are(tmp_path, document, rings):
    found = read_polygons(write(tmp_path, document))
    assert [len(polygon.rings) for polygon in found] == rings
    assert {polygon.crs for polygon in found} == {None}
    np.testing.assert_array_equal(found[0].rings[0], RING)


def test_heights_are_left_out_and_a_byte_order_mark_is_none(tmp_path):
    high = {"type": "Polygon", "coordinates": [[[x, y, 7] for x, y in RING]]}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(high), encoding="utf-8-sig")
    np.testing.assert_array_equal(read_polygons(path)[0].rings[0], RING)


def test_crs_is_that_of_the_nearest_object(tmp_path):
    own = {**POLYGON, "crs": named("EPSG:3857")}
    document = features(POLYGON, own, crs=named("urn:ogc:def:crs:EPSG::32633"))
    found = read_polygons(write(tmp_path, document))
    assert [polygon.crs for polygon in found] == ["urn:ogc:def:crs:EPSG::32633", "EPSG:3857"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "expected GeoJSON, received what is no JSON: "),
        ("[" * 100_000, "expected GeoJSON, received what is no JSON: "),
        ("[1, 2]", "expected GeoJSON, an object with a type, received JSON without. Export"),
        ({"a": 1}, "expected GeoJSON, an object with a type, received JSON without. Export"),
        ({"type": "Topology"}, "expected a type of GeoJSON, received 'Topology'"),
        ({"type": "FeatureCollection"}, "expected a list of features, received None"),
        (features(), "expected a Polygon or MultiPolygon, received nothing. Draw the area"),
        (features(None), "expected a Polygon or MultiPolygon, received nothing. Draw the area"),
        (
            features(POINT, {"type": "LineString", "coordinates": RING}),
            "expected a Polygon or MultiPolygon, received LineString, Point. Draw the area",
        ),
        (
            {"type": "FeatureCollection", "features": [feature(POLYGON), 7]},
            "feature 1: expected an object with a type, received 7",
        ),
        (
            {"type": "Polygon", "coordinates": [RING, RING[:3]]},
            "ring 1: expected at least 4 positions of which the last repeats the first, received 3",
        ),
        (
            features(POLYGON, {"type": "Polygon", "coordinates": [[*RING[:3], [1, 2.5]]]}),
            "feature 1, ring 0: expected a closed ring, received one that begins at (0, 0) and ends"
            " at (1, 2.5). Repeat the first position at the end",
        ),
        (
            {"type": "MultiPolygon", "coordinates": [[RING], [[[0, 0], [1, 1], [0, 0], [0, 0]]]]},
            "polygon 1, ring 0: expected at least 3 different corners, received 2",
        ),
        (
            {"type": "Polygon", "coordinates": [[[0, 0], ["a", 1], [2, 2], [0, 0]]]},
            "ring 0: expected pairs of numbers, received [[0, 0], ['a', 1], [2, 2], [0, 0]]",
        ),
        (
            '{"type": "Polygon", "coordinates": [[[0, 0], [NaN, 1], [2, 2], [0, 0]]]}',
            "ring 0: expected pairs of numbers, received [[0, 0], [nan, 1], [2, 2], [0, 0]]",
        ),
        (
            {"type": "Polygon", "coordinates": RING},
            "ring 0: expected pairs of numbers, received [0, 0]",
        ),
        (
            {"type": "Polygon", "coordinates": {"a": 1}},
            "expected a list of coordinates, received {'a': 1}",
        ),
        (
            {"type": "MultiPolygon", "coordinates": [4]},
            "polygon 0: expected a list of rings, received 4",
        ),
        (
            {**POLYGON, "crs": {"type": "link", "properties": {"href": "x"}}},
            "expected a crs with a name, such as urn:ogc:def:crs:EPSG::32633, received {'type'",
        ),
    ],
)
def test_what_is_no_area_is_named(tmp_path, document, message):
    path = write(tmp_path, document)
    with pytest.raises(DataError) as caught:
        read_polygons(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_that_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "no.geojson", tmp_path):
        with pytest.raises(DataError, match="expected a GeoJSON file of polygons, found none"):
            read_polygons(path)
