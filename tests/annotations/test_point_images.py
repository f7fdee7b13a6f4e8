import logging

import pytest

from tltool.annotations import Point, points_by_image
from tltool.errors import DataError, ImageError
from tltool.files import find_images


def images(tmp_path, *names):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return [tmp_path / name for name in names]


def point(image, x=1.0):
    return Point(image, x, 2.0, "pup")


def test_folders_and_files_are_found(tmp_path):
    images(tmp_path, "photos/b.jpg", "photos/a.png", "photos/points.csv", "c.tif")
    found = find_images([tmp_path / "c.tif", tmp_path / "photos"])
    assert [path.name for path in found] == ["c.tif", "a.png", "b.jpg"]


def test_source_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ImageError, match="nowhere does not exist"):
        find_images([tmp_path / "nowhere"])


def test_folder_without_images_is_named(tmp_path):
    with pytest.raises(ImageError, match="expected images in the folder, found none"):
        find_images([tmp_path])


def test_points_go_to_images_by_name_or_stem(tmp_path):
    a, b, c = images(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    first, second, third = point("a.jpg", 2), point("b", 3), point("a", 4)
    grouped = points_by_image([a, b, c], [first, second, third], tmp_path / "points.csv")
    assert grouped == {a: [first, third], b: [second]}


def test_image_without_suffix_gets_its_points_once(tmp_path):
    (path,) = images(tmp_path, "scan")
    assert points_by_image([path], [point("scan")], tmp_path) == {path: [point("scan")]}


def test_two_images_of_one_name_are_refused(tmp_path):
    pair = images(tmp_path, "north/a.jpg", "south/a.jpg")
    with pytest.raises(DataError, match=r"two images are called a\.jpg"):
        points_by_image(pair, [point("a.jpg")], tmp_path)


def test_stem_of_two_images_is_refused(tmp_path):
    pair = images(tmp_path, "a.jpg", "a.png")
    with pytest.raises(DataError):
        points_by_image(pair, [point("a")], tmp_path)


def test_points_on_none_of_the_images_names_both(tmp_path):
    with pytest.raises(DataError, match=r"no point lies on a\.jpg;.*names z\.jpg"):
        points_by_image(images(tmp_path, "a.jpg"), [point("z.jpg")], tmp_path / "points.csv")


def test_points_on_other_images_are_counted_in_a_warning(tmp_path, caplog):
    logging.getLogger("tltool").propagate = True
    points = [point("a.jpg"), point("z.jpg"), point("z.jpg")]
    with caplog.at_level(logging.WARNING, "tltool"):
        points_by_image(images(tmp_path, "a.jpg"), points, tmp_path / "points.csv")
    assert "2 points lie on images that were not given" in caplog.text


def test_folders_tell_images_of_one_name_apart(tmp_path):
    north, south = images(tmp_path, "north/a.jpg", "south/a.jpg")
    first, second = point("north/a.jpg"), point("south\\a.jpg", 5)
    for given in ([north, south], [south, north]):
        grouped = points_by_image(given, [first, second], tmp_path / "points.csv")
        assert grouped == {north: [first], south: [second]}
    assert points_by_image([south], [first, second], tmp_path) == {south: [second]}


def test_folders_of_another_machine_do_not_matter_to_one_image(tmp_path):
    (path,) = images(tmp_path, "a.jpg")
    found = point("/home/somebody/a.jpg")
    assert points_by_image([path], [found], tmp_path) == {path: [found]}
