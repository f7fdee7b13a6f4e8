import logging

import pytest

from tltool.data.annotations import Point, find_images, points_by_image, read_points
from tltool.errors import DataError, ImageError

HEADER = "image,x,y,label\n"


def write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "points.csv"
    path.write_bytes(text.encode(encoding))
    return path


def refusal(tmp_path, text, **options):
    with pytest.raises(DataError) as caught:
        read_points(write(tmp_path, text), **options)
    assert "points.csv" in str(caught.value)
    return str(caught.value)


def images(tmp_path, *names):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return [tmp_path / name for name in names]


def point(image, line=2):
    return Point(image, 1.0, 2.0, "pup", line)


def test_points_are_read_with_their_lines(tmp_path):
    path = write(tmp_path, HEADER + "a.jpg,1.5,-2,pup\n\nb.jpg, 3e1 ,4, adult male \n")
    assert read_points(path) == [
        Point("a.jpg", 1.5, -2.0, "pup", 2),
        Point("b.jpg", 30.0, 4.0, "adult male", 4),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + HEADER + "a.jpg,1,2,pup\n",
        HEADER.replace("\n", "\r\n") + "a.jpg,1,2,pup\r\n",
        HEADER + '"a.jpg","1","2","pup"',
        "label,score,y,x,image\npup,0.9,2,1,a.jpg\n",
    ],
    ids=["byte order mark", "Windows line ends", "quotes, no last line end", "columns in disorder"],
)
def test_forms_of_the_same_point(tmp_path, text):
    (found,) = read_points(write(tmp_path, text))
    assert (found.image, found.x, found.y, found.label) == ("a.jpg", 1.0, 2.0, "pup")


def test_other_column_names(tmp_path):
    path = write(tmp_path, "tid,row,col,species,x\n9,7,8,lion,no number\n")
    columns = ("tid", "col", "row", "species")
    assert read_points(path, columns) == [Point("9", 8.0, 7.0, "lion", 2)]


def test_missing_column_names_both_lists(tmp_path):
    message = refusal(tmp_path, "file,x,y,class\na.jpg,1,2,pup\n")
    assert "column image, label is missing" in message
    assert "the file has file, x, y, class" in message
    assert "--columns" in message


def test_semicolons_are_told_by_the_header(tmp_path):
    assert "the file has image;x;y;label" in refusal(tmp_path, "image;x;y;label\na.jpg;1;2;pup\n")


@pytest.mark.parametrize(
    ("row", "received"),
    [
        ("a.jpg,left,2,pup", "'left' and '2'"),
        ("a.jpg,1,,pup", "'1' and ''"),
        ('a.jpg,"1,5",2,pup', "'1,5' and '2'"),
        ("a.jpg,1", "'1' and None"),
    ],
)
def test_coordinate_that_is_no_number_is_named_with_its_line(tmp_path, row, received):
    message = refusal(tmp_path, f"{HEADER}a.jpg,1,2,pup\n{row}\n")
    assert f"points.csv, line 3: expected numbers for x and y, received {received}" in message


@pytest.mark.parametrize("label", ["", "  ", ".", "..", ".hidden", "a/b", "../up", "/root", "a/"])
def test_label_must_name_a_folder(tmp_path, label):
    message = refusal(tmp_path, f"{HEADER}a.jpg,1,2,pup\na.jpg,1,2,{label}\n")
    assert "line 3: expected a class name that can name a folder, received" in message


@pytest.mark.parametrize("label", ["seal lion", "pup.2", "Seelöwe", "a,b"])
def test_label_that_can_name_a_folder(tmp_path, label):
    (found,) = read_points(write(tmp_path, f'{HEADER}a.jpg,1,2,"{label}"\n'))
    assert found.label == label


@pytest.mark.parametrize("text", ["", "\n", HEADER, HEADER + "\n\n"])
def test_file_without_points_is_refused(tmp_path, text):
    refusal(tmp_path, text)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: expected a CSV file of points"):
        read_points(tmp_path / "none.csv")


def test_other_encoding_is_a_data_error(tmp_path):
    path = write(tmp_path, HEADER + "a.jpg,1,2,Seelöwe\n", encoding="latin-1")
    with pytest.raises(DataError, match=r"points\.csv"):
        read_points(path)


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
    assert {path: sorted(p.line for p in own) for path, own in grouped.items()} == {
        a: [2, 4],
        b: [3],
    }


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
