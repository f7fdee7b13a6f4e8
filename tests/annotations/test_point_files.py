import gzip
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.annotations import WRITERS, Point, read_points, without_duplicates, write_points
from tltool.errors import DataError, OutputError, UsageError

SUFFIXES = {"csv": "csv", "geojson": "geojson", "gpkg": "gpkg", "coco": "json"}
KNOWN = "expected a CSV table .*HerdNet.*DeepForest.*COCO .*GeoJSON or a GeoPackage"


@st.composite
def points_on_images(draw):
    """Points on a lattice, so that no two are one."""
    spots = st.tuples(st.integers(0, 198), st.integers(0, 158))
    shift, labels = st.floats(0, 0.4), st.sampled_from(["pup", "adult male", "Seelöwe 2"])
    scores = st.none() | st.floats(0, 1)
    return [
        Point("", x + draw(shift), y + draw(shift), draw(labels), draw(scores))
        for x, y in draw(st.lists(spots, unique=True, max_size=8))
    ]


@pytest.mark.parametrize("name", ["utm", "degrees", "own", "plain"])
@pytest.mark.parametrize("format", WRITERS)
@settings(max_examples=12, deadline=None)
@given(points=points_on_images())
def test_written_points_are_read_back(tmp_path_factory, places, format, name, points):
    image = places[name]
    points = [replace(point, image=image.name) for point in points]
    path = tmp_path_factory.getbasetemp() / f"points-{name}.{SUFFIXES[format]}"
    write_points(path, points, [image], overwrite=True)
    found = read_points(path, images=[image], empty=True)
    assert [replace(p, x=0, y=0) for p in found] == [replace(p, x=0, y=0) for p in points]
    # In degrees of a millionth a pixel, a double has that many digits left.
    exact = format in ("csv", "coco") or name == "plain"
    expected = np.array([(p.x, p.y) for p in points]).reshape(-1, 2)
    np.testing.assert_allclose(
        np.array([(p.x, p.y) for p in found]).reshape(-1, 2), expected, atol=0 if exact else 1e-6
    )


def test_content_tells_the_format_not_the_name(tmp_path, places):
    point = Point("plain.tif", 1, 2, "pup")
    for format in WRITERS:
        path = write_points(tmp_path / f"{format}.txt", [point], [places["plain"]], format=format)
        assert read_points(path, images=[places["plain"]]) == [point]


@pytest.mark.parametrize(
    ("content", "received"),
    [
        (b"{}", "JSON that is a list"),
        (b"[1, 2]", "JSON that is a list"),
        (b'{"shapes": [], "version": 1}', "JSON that is an object with shapes, version"),
        (b'{"type": "Topology"}', "JSON that is an object with type"),
        (gzip.compress(b"image,x,y,label", mtime=0), "binary data"),
        ("image,x,y,label".encode("utf-16"), r"binary data \(text must be UTF-8\)"),
    ],
)
def test_unknown_content_lists_the_known_formats(tmp_path, content, received):
    path = tmp_path / "points.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"points\.csv: {KNOWN}.*received {received}"):
        read_points(path)


def test_json_that_is_cut_off_is_named(tmp_path):
    (tmp_path / "a.json").write_text('{"images": [')
    with pytest.raises(DataError, match=r"a\.json: expected JSON: "):
        read_points(tmp_path / "a.json")


@pytest.mark.parametrize(
    "text",
    [
        "image,x,y,label\n",
        json.dumps({"images": [], "annotations": [], "categories": []}),
        json.dumps({"type": "FeatureCollection", "features": []}),
    ],
)
def test_file_without_points(tmp_path, places, text):
    (tmp_path / "none").write_text(text)
    with pytest.raises(DataError, match=r"none: expected .*found none"):
        read_points(tmp_path / "none", images=[places["utm"]])
    assert read_points(tmp_path / "none", images=[places["utm"]], empty=True) == []


def test_points_that_are_there_twice_are_left_out_and_counted(tmp_path, told):
    rows = ["a,10,10,pup", "a,10.3,10.3,pup", "a,10.5,10,pup", "a,10,10,adult", "b,10,10,pup"]
    (tmp_path / "p.csv").write_text("image,x,y,label\n" + "\n".join(rows) + "\na,10.6,10,pup\n")
    found = read_points(tmp_path / "p.csv")
    assert [(p.image, p.x, p.label) for p in found] == [
        ("a", 10, "pup"),
        ("a", 10, "adult"),
        ("b", 10, "pup"),
        ("a", 10.6, "pup"),
    ]
    assert "p.csv: 2 points are left out: another of the same class lies within 0.5 px" in told.text


@given(st.lists(st.tuples(*[st.floats(-3, 3)] * 2, st.sampled_from("ab")), max_size=40))
def test_no_two_points_of_a_class_are_close_and_none_is_lost(places):
    points = [Point("a.jpg", *place) for place in places]
    kept = without_duplicates(points)

    def close(one, other):
        return one.label == other.label and np.hypot(one.x - other.x, one.y - other.y) <= 0.5

    assert not any(close(p, o) for i, p in enumerate(kept) for o in kept[:i])
    assert all(any(close(p, o) for o in kept) for p in points)
    assert without_duplicates(kept) == kept


def test_existing_files_need_overwrite(tmp_path):
    path = write_points(tmp_path / "a.csv", [])
    with pytest.raises(OutputError, match="overwrite=True"):
        write_points(path, [])
    assert write_points(path, [Point("a", 1, 2, "pup")], overwrite=True) == path
    assert len(read_points(path)) == 1


@pytest.mark.parametrize("name", ["a.shp", "a"])
def test_unknown_format_lists_the_known_ones(tmp_path, name):
    with pytest.raises(UsageError, match=r"csv, geojson, gpkg, coco .*\*\.json\); received"):
        write_points(tmp_path / name, [])


@pytest.mark.parametrize("format", WRITERS)
def test_nothing_half_written_is_left(tmp_path, format):
    with pytest.raises((TypeError, AttributeError)):
        write_points(tmp_path / f"a.{format}", [Point("a", 1, 2, "pup"), None], format=format)
    assert not any(tmp_path.iterdir())
