"""Points that are no file: lists of points, tables in memory and arrays."""

import numpy as np
import pytest

from tltool.annotations import Point, read_points
from tltool.errors import DataError, UsageError

SEALS = [Point("a.jpg", 1.5, 2, "seal"), Point("b.jpg", 3, 4, "pup")]


class Frame:
    """As much of a pandas DataFrame as matters: iterating over it is not relied on."""

    def __init__(self, **columns):
        self.columns = columns

    def keys(self):
        return list(self.columns)

    def __getitem__(self, name):
        return np.array(self.columns[name], object)


def test_points_stay_themselves():
    assert read_points(SEALS) == SEALS
    assert read_points(tuple(SEALS)) == SEALS
    assert read_points([*SEALS, SEALS[0]]) == SEALS


@pytest.mark.parametrize("kind", [dict, Frame])
def test_columns_are_those_of_a_file(kind):
    table = kind(image=["a.jpg", "b.jpg"], x=[1.5, 3], y=[2, 4], label=["seal", "pup"])
    assert read_points(table) == SEALS
    boxes = kind(
        image_path=["a.jpg", "b.jpg"],
        xmin=[1, 2],
        xmax=[2, 4],
        ymin=[1, 3],
        ymax=[3, 5],
        label=["seal", "pup"],
    )
    assert read_points(boxes) == SEALS
    other = kind(f=["a.jpg", "b.jpg"], c=[1.5, 3], r=[2, 4], k=["seal", "pup"])
    assert read_points(other, columns=["f", "c", "r", "k"]) == SEALS


def test_image_may_be_missing_where_there_is_one(tmp_path):
    table = {"x": [1.5], "y": [2], "label": ["seal"]}
    assert read_points(table, images=[tmp_path / "a.jpg"]) == SEALS[:1]
    with pytest.raises(DataError, match=r"`points`: column image is missing.*the table has x, y"):
        read_points(table, images=[tmp_path / "a.jpg", tmp_path / "b.jpg"])


def test_array_lies_on_the_one_image(tmp_path):
    images = [tmp_path / "a.jpg"]
    xy = np.array([(1.5, 2), (3, 4)])
    found = read_points(xy, images=images, labels=["seal", "pup"])
    assert found == [SEALS[0], Point("a.jpg", 3, 4, "pup")]
    assert {p.label for p in read_points(xy.tolist(), images=images, labels="seal")} == {"seal"}
    assert read_points(np.empty((0, 2)), images=images, labels="seal", empty=True) == []


def test_wrong_tables_are_named(tmp_path):
    images = [tmp_path / "a.jpg"]
    for wrong, message in (
        (np.zeros((2, 3)), r"`points`: expected a file, Points, a mapping of columns or an array"),
        (5, "`points`: expected a file, Points, a mapping of columns or an array"),
        ([SEALS[0], "x"], "`points`: expected a file, Points, a mapping of columns or an array"),
    ):
        with pytest.raises(UsageError, match=message):
            read_points(wrong, images=images, labels="seal")
    with pytest.raises(UsageError, match="`labels`: expected a class for each of 2 points"):
        read_points(np.zeros((2, 2)), images=images)
    with pytest.raises(UsageError, match="`points`: an array lies on one image, received 2 images"):
        read_points(np.zeros((2, 2)), images=images * 2, labels="seal")
    with pytest.raises(UsageError, match="`points`: expected columns of one length, received 1 of"):
        read_points({"image": ["a"], "x": [1, 2], "y": [1], "label": ["c"]})


def test_wrong_cells_are_named_by_their_row():
    table = {"image": ["a", "a"], "x": [1, "far"], "y": [1, 2], "label": ["c", "c"]}
    with pytest.raises(DataError, match="`points`, row 1: expected numbers for x and y"):
        read_points(table)
    table = {"image": ["a", "a"], "x": [1, 9], "y": [1, 2], "label": ["c", np.nan]}
    with pytest.raises(DataError, match="`points`, row 1: expected a class name"):
        read_points(table)
    with pytest.raises(DataError, match="`points`: expected points, found none"):
        read_points([])
