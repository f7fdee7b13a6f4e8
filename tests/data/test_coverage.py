import json
import logging

import numpy as np
import pytest
from patch_folders import GEOREFERENCED, assert_no_pixel_in_two_splits, manifest
from rasterio.transform import Affine
from rasters import write_raster

from tltool import patches
from tltool.annotations import Point, write_points
from tltool.data.coverage import Coverage
from tltool.errors import DataError
from tltool.raster import Area, Raster
from tltool.raster.areas import Polygon, Ring


def box(path, left, top, right, bottom, *holes):
    """An area in pixels: a rectangle without the corners of others."""

    def ring(left, top, right, bottom):
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        return [list(map(float, corner)) for corner in corners]

    rings = [ring(left, top, right, bottom), *(ring(*hole) for hole in holes)]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": rings}))
    return path


def spans(rows, context=0):
    """First and one past the last pixel of patches, as (n, 4) array."""
    half = int(rows[0]["size"]) // 2
    centres = np.array([(round(float(r["x"])), round(float(r["y"]))) for r in rows])
    first = centres - half - context
    return np.hstack([first, first + int(rows[0]["size"]) + 2 * context])


@pytest.mark.parametrize("split_by", ["image", "block"])
def test_only_what_is_inside_the_area_is_taken(photos, scattered, tmp_path, split_by):
    aoi = box(tmp_path / "aoi.geojson", 10, 12, 130, 90)
    made = patches(
        [photos], scattered(), tmp_path / "out", size=10, context=4, aoi=aoi, split_by=split_by,
        backgrounds=3.0,
    )  # fmt: skip
    rows = manifest(tmp_path / "out")
    animals = [r for r in rows if r["label"] != "backgrounds"]
    places = np.array([(float(r["x"]), float(r["y"])) for r in animals])
    assert ((places >= (10, 12)) & (places < (130, 90))).all()
    assert len(animals) + made.dropped + made.outside == 4 * 14 + 4
    assert made.outside > 4
    drawn = spans([r for r in rows if r["label"] == "backgrounds"])
    assert (drawn >= (10, 12, 10, 12)).all()
    assert (drawn <= (130, 90, 130, 90)).all()
    # Their context may reach out of it, and some does.
    assert (drawn[:, 0] < 14).any() or (drawn[:, 1] < 16).any()
    assert {r["split"] for r in rows} == {"train", "valid", "test"}
    assert_no_pixel_in_two_splits(rows)


def test_backgrounds_keep_away_from_animals_outside_the_area_too(photos, csv_of, tmp_path):
    points = csv_of([("photo0.png", 20, 20, "a"), ("photo0.png", 52, 30, "a")])
    aoi = box(tmp_path / "aoi.geojson", 0, 0, 50, 60)
    options = {"size": 8, "backgrounds": 30.0, "split": (1.0, 0.0, 0.0), "distance": 15}
    patches([photos], points, tmp_path / "out", aoi=aoi, **options)
    rows = [r for r in manifest(tmp_path / "out") if r["label"] == "backgrounds"]
    places = np.array([(float(r["x"]), float(r["y"])) for r in rows])
    assert np.abs(places - (52, 30)).max(axis=1).min() >= 15


def test_patch_as_large_as_the_area_fits_exactly(photos, csv_of, tmp_path):
    points = csv_of([("photo0.png", 21, 20, "a")])
    options = {"size": 8, "split": (1.0, 0.0, 0.0), "distance": 0, "backgrounds": 1.0}
    aoi = box(tmp_path / "aoi.geojson", 20, 20, 28, 28)
    patches([photos], points, tmp_path / "out", aoi=aoi, **options)
    rows = [r for r in manifest(tmp_path / "out") if r["label"] == "backgrounds"]
    assert {(r["x"], r["y"]) for r in rows} <= {("24", "24")}
    with Raster(photos / "photo0.png") as raster:
        coverage = Coverage.load(raster, aoi)
    lefts, tops = np.array([(20, 20), (19, 20), (20, 21), (21, 20), (20, 19)]).T
    assert coverage.holds(lefts, tops, 8).tolist() == [True, False, False, False, False]


def test_nothing_is_taken_from_what_is_ignored(photos, scattered, tmp_path):
    # Smaller than a patch: neither corners nor middle need lie in it.
    ignore = box(tmp_path / "ignore.geojson", 60, 50, 63, 120)
    made = patches([photos], scattered(), tmp_path / "out", size=12, ignore=ignore, backgrounds=4.0)
    rows = manifest(tmp_path / "out")
    drawn = spans([r for r in rows if r["label"] == "backgrounds"])
    touching = (drawn[:, 0] < 63) & (drawn[:, 2] > 60) & (drawn[:, 3] > 50)
    assert not touching.any()
    assert len(drawn) > 100
    animals = [(float(r["x"]), float(r["y"])) for r in rows if r["label"] != "backgrounds"]
    assert not any(60 <= x < 63 and y >= 50 for x, y in animals)
    assert made.outside + made.dropped + len(animals) == 60


def test_hole_in_the_area_is_not_covered():
    outer = Ring(np.array([(0, 0), (100, 0), (100, 100), (0, 100)]))
    hole = Ring(np.array([(40, 40), (60, 40), (60, 60), (40, 60)]))
    coverage = Coverage(200, 50, Area([Polygon(outer, [hole])]))
    assert coverage.extent == (0, 0, 100, 50)
    assert coverage.covers(np.array([10, 50, 150]), np.array([10, 45, 10])).tolist() == [
        True,
        False,
        False,
    ]


def test_area_in_which_no_point_lies_is_named(photos, scattered, tmp_path):
    aoi = box(tmp_path / "aoi.geojson", 70.1, 50.1, 70.2, 50.2)
    with pytest.raises(DataError, match=r"aoi\.geojson: expected an area with points of .*\.csv"):
        patches([photos], scattered(), tmp_path / "out", size=8, aoi=aoi)
    assert not (tmp_path / "out").exists()


def test_area_beside_the_image_says_where_both_lie(photos, scattered, tmp_path):
    aoi = box(tmp_path / "aoi.geojson", 500, 0, 600, 50)
    message = r"aoi\.geojson: expected an area that lies on photo0\.png.*\(160, 120\).*\(500, 0\)"
    with pytest.raises(DataError, match=message):
        patches([photos], scattered(), tmp_path / "out", size=8, aoi=aoi)
    # An ignored one may lie elsewhere.
    made = patches([photos], scattered(), tmp_path / "out", size=8, ignore=aoi)
    assert made.outside == 0


def test_empty_area_is_named(photos, scattered, tmp_path):
    (tmp_path / "aoi.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(DataError, match=r"aoi\.geojson: expected a Polygon or MultiPolygon"):
        patches([photos], scattered(), tmp_path / "out", size=8, aoi=tmp_path / "aoi.geojson")


def test_area_too_small_for_backgrounds_is_told(photos, csv_of, tmp_path, caplog):
    logging.getLogger("tltool").propagate = True
    aoi = box(tmp_path / "aoi.geojson", 20, 20, 25, 80)
    points = csv_of([("photo0.png", 22, 22, "a")])
    with caplog.at_level(logging.WARNING, "tltool"):
        patches([photos], points, tmp_path / "out", size=8, aoi=aoi, split=(1.0, 0.0, 0.0))
    assert "only 0 of 1 backgrounds for train" in caplog.text
    assert "away from every point and inside the area" in caplog.text


def test_images_that_the_area_misses_are_left_out(tmp_path, caplog):
    logging.getLogger("tltool").propagate = True
    rng = np.random.default_rng(0)
    for name, east in (("one", 5e5), ("two", 6e5)):
        pixels = rng.integers(0, 256, (3, 60, 60), dtype=np.uint8)
        place = GEOREFERENCED | {"transform": Affine(0.5, 0, east, 0, -0.5, 6e6)}
        write_raster(tmp_path / f"{name}.tif", pixels, ("red", "green", "blue"), **place)
    images = [tmp_path / "one.tif", tmp_path / "two.tif"]
    points = [Point(f"{name}.tif", 20, 20, "a") for name in ("one", "two")]
    found = write_points(tmp_path / "points.gpkg", points, images)
    corners = [[5e5, 6e6], [5e5 + 30, 6e6], [5e5 + 30, 6e6 - 30], [5e5, 6e6 - 30], [5e5, 6e6]]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    area = {"type": "Polygon", "coordinates": [corners], "crs": crs}
    (tmp_path / "aoi.geojson").write_text(json.dumps(area))
    options = {"size": 8, "split": (1.0, 0.0, 0.0), "aoi": tmp_path / "aoi.geojson"}
    with caplog.at_level(logging.WARNING, "tltool"):
        made = patches(images, found, tmp_path / "out", **options)
    assert made.counts == {"train": {"a": 1, "backgrounds": 1}}
    assert made.outside == 1
    assert "aoi.geojson: two.tif has no part of it and is left out" in caplog.text


def test_real_photograph_whose_lower_part_is_not_annotated(shared, tmp_path):
    aoi = box(tmp_path / "aoi.geojson", 0, 0, 4992, 2700)
    made = patches(
        [shared / "sealion" / "images" / "20.jpg"],
        shared / "sealion" / "points.csv",
        tmp_path / "out",
        size=32,
        context=32,
        aoi=aoi,
    )
    rows = manifest(tmp_path / "out")
    drawn = spans([r for r in rows if r["label"] == "backgrounds"])
    assert drawn[:, 3].max() <= 2700
    assert (made.outside, made.split_by) == (0, "block")
    # Every split has backgrounds for all its animals.
    for counts in made.counts.values():
        assert 2 * counts["backgrounds"] == sum(counts.values())
    assert set(made.counts) == {"train", "valid", "test"}
