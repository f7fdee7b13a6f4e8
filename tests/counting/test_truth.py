import pytest
from painted import images_of, paint, write_csv

from tltool.counting.truth import labels_with, read_truth, warn_of_blank
from tltool.errors import DataError, ImageError

CLASSES = ("pup", "seal")


def truth_of(tmp_path, animals, image, **more):
    return read_truth(write_csv(tmp_path / "p.csv", animals), images_of([image]), CLASSES, **more)


def test_points_of_an_image(tmp_path, image):
    found = truth_of(tmp_path, [(3, 4, "seal"), (5.5, 6, "pup")], image)[image]
    assert found.xy.tolist() == [[3, 4], [5.5, 6]]
    assert found.labels.tolist() == ["seal", "pup"]


def test_a_point_outside_names_file_and_line(tmp_path, image):
    with pytest.raises(DataError, match=r"p\.csv, line 3: point \(240, 6\) lies outside a\.tif"):
        truth_of(tmp_path, [(3, 4, "seal"), (240, 6, "pup")], image)


def test_duplicates_are_left_out_with_a_count(tmp_path, image, told):
    found = truth_of(tmp_path, [(3, 4, "seal"), (3.2, 4, "seal"), (3, 4, "pup")], image)[image]
    assert found.labels.tolist() == ["seal", "pup"]
    assert "1 points are left out: another of the same class" in told.text


def test_unknown_labels_are_any_animal_and_told(tmp_path, image, told):
    found = truth_of(tmp_path, [(3, 4, "seal"), (9, 9, "bull"), (20, 9, "bull")], image)
    assert found[image].labels.tolist() == ["seal", "bull", "bull"]
    assert "labels that the run does not know: bull (2)" in told.text
    assert "It knows pup, seal" in told.text
    assert labels_with(CLASSES, found.values()) == ("pup", "seal", "bull")


def test_no_known_label_at_all_is_an_error(tmp_path, image):
    with pytest.raises(DataError, match=r"p\.csv, line 2: expected a label that the run knows, p"):
        truth_of(tmp_path, [(9, 9, "bull")], image)


def test_points_of_the_background_are_none(tmp_path, image, told):
    found = truth_of(tmp_path, [(3, 4, "seal"), (9, 9, "none")], image)
    assert len(found[image]) == 1
    assert "1 points of none are left out" in told.text


def test_images_without_points_are_told(tmp_path, image, told):
    other = paint(tmp_path / "b.tif", [])
    path = write_csv(tmp_path / "p.csv", [(3, 4, "seal")])
    found = read_truth(path, images_of([image, other]), CLASSES)
    assert [len(own) for own in found.values()] == [1, 0]
    warn_of_blank(found, path)
    assert "no point lies on b.tif: taken as images without animals" in told.text


def test_unreadable_images_are_passed_over(tmp_path, image):
    (tmp_path / "bad.tif").write_bytes(b"II*\0no image")
    path = write_csv(tmp_path / "p.csv", [(3, 4, "seal")])
    assert list(read_truth(path, images_of([tmp_path / "bad.tif", image]), CLASSES)) == [image]


def test_where_no_image_can_be_read_the_first_says_why(tmp_path):
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).write_text("no image")
    points = write_csv(tmp_path / "p.csv", [(3, 4, "seal")])
    with pytest.raises(ImageError, match=r"a\.tif cannot be read as an image"):
        read_truth(points, images_of([tmp_path / "a.tif", tmp_path / "b.tif"]), CLASSES)
