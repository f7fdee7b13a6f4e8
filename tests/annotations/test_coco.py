import json

import pytest

from tltool.annotations import Point, read_points, write_points
from tltool.errors import DataError, UsageError

IMAGES = [{"id": 7, "file_name": "train/a.jpg"}, {"id": 8, "file_name": "b.jpg"}]
CATEGORIES = [{"id": 3, "name": "pup"}, {"id": 4, "name": "adult male"}]


def write(tmp_path, *annotations, **other):
    path = tmp_path / "found.json"
    document = {"images": IMAGES, "annotations": list(annotations), "categories": CATEGORIES}
    path.write_text(json.dumps(document | other))
    return path


def test_boxes_keypoints_and_scores(tmp_path):
    box = {"image_id": 7, "category_id": 3, "bbox": [10, 20, 5, 8], "score": 0.5}
    joints = {"image_id": 8, "category_id": 4, "keypoints": [2, 4, 2, 90, 90, 0, 6, 5, 1]}
    path = write(tmp_path, box, joints | {"bbox": [0, 0, 99, 99]})
    found = read_points(path)
    assert found == [
        Point("train/a.jpg", 12.5, 24, "pup", 0.5),
        Point("b.jpg", 4, 4.5, "adult male"),
    ]
    assert [point.where for point in found] == [f"{path}, annotation 0", f"{path}, annotation 1"]


def test_where_no_keypoint_is_visible_the_box_is_taken(tmp_path):
    hidden = {"image_id": 8, "category_id": 4, "keypoints": [2, 4, 0], "bbox": [0, 0, 10, 10]}
    assert read_points(write(tmp_path, hidden)) == [Point("b.jpg", 5, 5, "adult male")]


def test_crowds_are_left_out_and_counted(tmp_path, told):
    one = {"image_id": 7, "category_id": 3, "bbox": [10, 20, 5, 8]}
    assert len(read_points(write(tmp_path, one, one | {"iscrowd": 1}))) == 1
    assert "1 annotations of crowds" in told.text


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ({"image_id": 9, "category_id": 3, "bbox": [0, 0, 1, 1]}, "image_id of a listed one"),
        ({"image_id": 7, "category_id": 9, "bbox": [0, 0, 1, 1]}, "category_id of a listed one"),
        ({"image_id": 7, "bbox": [0, 0, 1, 1]}, "category_id of a listed one, received None"),
        ({"image_id": 7, "category_id": 3}, "a bbox"),
        ({"image_id": 7, "category_id": 3, "bbox": [0, 0, 1]}, "a bbox"),
        ({"image_id": 7, "category_id": 3, "keypoints": [1, 2]}, "keypoints"),
        ("animal", "image_id of a listed one, received 'animal'"),
    ],
)
def test_annotation_that_cannot_be_placed_is_named(tmp_path, annotation, expected):
    good = {"image_id": 7, "category_id": 3, "bbox": [10, 20, 5, 8]}
    with pytest.raises(DataError) as caught:
        read_points(write(tmp_path, good, annotation))
    assert "found.json, annotation 1: expected" in str(caught.value)
    assert expected in str(caught.value)


def test_lists_are_checked(tmp_path):
    with pytest.raises(DataError, match="images 1: expected an id and a file_name, received"):
        read_points(write(tmp_path, images=[IMAGES[0], {"id": 1}]))
    with pytest.raises(DataError, match="expected a list of categories, as COCO has it"):
        read_points(write(tmp_path, categories=None))


def test_coco_has_no_columns(tmp_path):
    with pytest.raises(UsageError, match="COCO has no columns to choose; received name"):
        read_points(write(tmp_path), ("name",))


def test_written_document_has_what_readers_ask_for(tmp_path, places):
    points = [Point("utm", 1.5, 2, "pup", 0.25), Point("utm", 3, 4, "adult")]
    path = write_points(tmp_path / "out.json", points, [places["utm"], places["plain"]])
    made = json.loads(path.read_text())
    assert made["images"] == [
        {"id": 1, "file_name": "utm", "width": 200, "height": 160},
        {"id": 2, "file_name": "plain.tif", "width": 200, "height": 160},
    ]
    assert [c["name"] for c in made["categories"]] == ["adult", "pup"]
    first, second = made["annotations"]
    assert (first["category_id"], first["keypoints"], first["score"]) == (2, [1.5, 2, 2], 0.25)
    assert {"id", "image_id", "bbox", "area", "iscrowd", "num_keypoints"} <= set(first)
    assert "score" not in second
