import json

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.warp import transform

from tltool.annotations import Point, read_points, write_points
from tltool.errors import DataError, UsageError
from tltool.raster import Raster

# x, y in pixels and what they are called.
PLACES = [(10.25, 20.5), (199, 0.5), (0, 159.75)]
NAMED = {"EPSG:3857": "EPSG:3857", "urn:ogc:def:crs:EPSG::32633": "EPSG:32633", None: "OGC:CRS84"}


def feature(position, **properties):
    geometry = {"type": "Point", "coordinates": list(position)}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def write(tmp_path, *features, crs=None, name="points.geojson"):
    document = {"type": "FeatureCollection", "features": list(features)}
    if crs:
        document["crs"] = {"type": "name", "properties": {"name": crs}}
    (tmp_path / name).write_text(json.dumps(document))
    return tmp_path / name


def world(image, crs):
    with Raster(image, scale=(0, 1)) as raster:
        xs, ys = raster.to_world(*np.array(PLACES).T)
        return zip(*transform(raster.world_crs, CRS.from_user_input(crs), xs, ys), strict=True)


@pytest.mark.parametrize("crs", NAMED)
@pytest.mark.parametrize("name", ["utm", "degrees", "own"])
def test_points_in_any_crs_become_pixels_of_the_image(tmp_path, places, name, crs):
    image = places[name]
    features = [feature(xy, species="seal") for xy in world(image, NAMED[crs])]
    found = read_points(write(tmp_path, *features, crs=crs), images=[image])
    # A nanometre on the ground is a millionth of a pixel in degrees of 1e-6.
    np.testing.assert_allclose([(p.x, p.y) for p in found], PLACES, atol=2e-3)
    assert {(p.image, p.label) for p in found} == {(image.name, "seal")}


def test_points_of_an_image_without_crs_are_in_pixels(tmp_path, places):
    features = [feature((*xy, 5.0), Label="seal", score=0.5) for xy in PLACES]
    path = write(tmp_path, *features)
    found = read_points(path, images=[places["plain"]])
    assert found == [Point("plain.tif", x, y, "seal", 0.5) for x, y in PLACES]
    assert found[1].where == f"{path}, feature 1"


def test_multipoints_and_features_without_a_place(tmp_path, places):
    several = {"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]}
    nowhere = {"type": "Feature", "geometry": None, "properties": {"label": "b"}}
    path = write(tmp_path, feature((0, 0), label="a") | {"geometry": several}, nowhere)
    found = read_points(path, images=[places["plain"]])
    assert [(p.x, p.y, p.label) for p in found] == [(1, 2, "a"), (3, 4, "a")]


def test_image_is_told_by_a_property(tmp_path, places, told):
    features = [
        feature((1, 2), label="a", image="utm.tif"),
        feature((3, 4), label="b", image="plain"),
        feature((3, 4), label="b", image="another"),
    ]
    path = write(tmp_path, *features, crs="EPSG:32633")
    found = read_points(path, images=[places["utm"]])
    assert [(p.image, p.label) for p in found] == [("utm.tif", "a")]
    assert "2 points lie on images that were not given" in told.text


def test_several_images_need_a_property(tmp_path, places):
    path = write(tmp_path, feature((1, 2), label="a"))
    with pytest.raises(DataError, match="feature 0: expected a property that names the image, "):
        read_points(path, images=[places["utm"], places["own"]])


def test_maps_need_images(tmp_path):
    with pytest.raises(DataError, match="expected the images that its points lie on"):
        read_points(write(tmp_path, feature((1, 2), label="a")))


def test_class_that_may_be_either_property_is_chosen(tmp_path, places):
    path = write(tmp_path, feature((1, 2), label="a", species="b", photo="plain"))
    images = [places["plain"]]
    with pytest.raises(DataError, match=r"holds the class.*received label, species.*`columns="):
        read_points(path, images=images)
    for columns in (("species",), ("photo", "species")):
        assert [p.label for p in read_points(path, columns, images)] == ["b"]
    with pytest.raises(DataError, match="property kind is missing; the file has label, species"):
        read_points(path, ("kind",), images)
    with pytest.raises(UsageError, match="one or two properties"):
        read_points(path, ("image", "x", "y", "label"), images)


def test_no_property_for_the_class_lists_those_there(tmp_path, places):
    path = write(tmp_path, feature((1, 2), fid=1, note="x"))
    with pytest.raises(DataError, match=r"such as label, .*; received fid, note"):
        read_points(path, images=[places["plain"]])


@pytest.mark.parametrize(
    ("geometry", "expected"),
    [
        ({"type": "Polygon", "coordinates": []}, "expected a Point or MultiPoint, received a Poly"),
        ({"type": "Point", "coordinates": ["a", 2]}, "expected a pair of numbers"),
        ({"type": "Point", "coordinates": [1]}, "expected a pair of numbers"),
        ({"type": "Point", "coordinates": 1}, "expected a list of coordinates"),
        ({"type": "Pint", "coordinates": [1, 2]}, "expected a type of GeoJSON"),
    ],
)
def test_geometry_that_is_no_point_is_named(tmp_path, places, geometry, expected):
    wrong = feature((1, 2), label="a") | {"geometry": geometry}
    path = write(tmp_path, feature((1, 2), label="a"), wrong)
    with pytest.raises(DataError, match=f"feature 1: {expected}"):
        read_points(path, images=[places["plain"]])


@pytest.mark.parametrize("label", [None, "", "a/b", ".."])
def test_label_of_a_feature_must_name_a_folder(tmp_path, places, label):
    path = write(tmp_path, feature((1, 2), label=label))
    with pytest.raises(DataError, match="feature 0: expected a class name that can name a folder"):
        read_points(path, images=[places["plain"]])


def test_crs_that_does_not_fit_the_image(tmp_path, places):
    path = write(tmp_path, feature((1, 2), label="a"), crs="EPSG:32633")
    with pytest.raises(DataError, match=r"EPSG:32633, plain\.tif has no CRS"):
        read_points(path, images=[places["plain"]])


@pytest.mark.parametrize(
    ("image", "crs"),
    [
        ("utm", {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}),
        ("degrees", "absent"),
        ("plain", "absent"),
    ],
)
def test_written_crs_member(tmp_path, places, image, crs):
    point = Point(f"{image}.tif", 10, 20, "pup")
    path = write_points(tmp_path / "out.geojson", [point], [places[image]])
    assert json.loads(path.read_text()).get("crs", "absent") == crs


def test_images_of_several_crs_are_written_in_wgs84(tmp_path, places):
    points = [Point(f"{name}.tif", 10, 20, "pup") for name in ("utm", "own", "degrees")]
    images = [places[name] for name in ("degrees", "utm", "own")]
    path = write_points(tmp_path / "out.geojson", points, images)
    made = json.loads(path.read_text())
    assert "crs" not in made
    longitudes = [f["geometry"]["coordinates"][0] for f in made["features"]]
    np.testing.assert_allclose(longitudes, [15, 9.77, 15], atol=0.1)
    found = read_points(path, images=images)
    np.testing.assert_allclose([(p.x, p.y) for p in found], [(10, 20)] * 3, atol=1e-3)


def test_images_with_and_without_crs_are_not_mixed(tmp_path, places):
    points = [Point(f"{name}.tif", 10, 20, "pup") for name in ("utm", "plain")]
    with pytest.raises(DataError, match="images that all have a CRS, or none"):
        write_points(tmp_path / "out.geojson", points, [places["utm"], places["plain"]])
    assert not any(tmp_path.iterdir())


def test_point_on_none_of_the_images_is_not_written(tmp_path, places):
    with pytest.raises(DataError, match=r"on the images given, utm\.tif; received one on a\.jpg"):
        write_points(tmp_path / "out.gpkg", [Point("a.jpg", 1, 2, "pup")], [places["utm"]])
