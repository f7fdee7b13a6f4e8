import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.annotations import Point, read_points, write_points
from tltool.annotations.layouts import SEA_LIONS
from tltool.errors import DataError, UsageError

HEADER = "image,x,y,label\n"


def write(tmp_path, text, encoding="utf-8", name="points.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def refusal(tmp_path, text, **options):
    with pytest.raises(DataError) as caught:
        read_points(write(tmp_path, text), **options)
    assert "points.csv" in str(caught.value)
    return str(caught.value)


def test_points_are_read_with_their_lines(tmp_path):
    path = write(tmp_path, HEADER + "a.jpg,1.5,-2,pup\n\nb.jpg, 3e1 ,4, adult male \n")
    found = read_points(path)
    assert found == [
        Point("a.jpg", 1.5, -2.0, "pup"),
        Point("b.jpg", 30.0, 4.0, "adult male"),
    ]
    assert [point.where for point in found] == [f"{path}, line 2", f"{path}, line 4"]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + HEADER + "a.jpg,1,2,pup\n",
        HEADER.replace("\n", "\r\n") + "a.jpg,1,2,pup\r\n",
        HEADER + '"a.jpg","1","2","pup"',
        "label,score,y,x,image\npup,0.9,2,1,a.jpg\n",
        "image;x;y;label\na.jpg;1;2;pup\n",
        "Image\tX\tY\tLabel\na.jpg\t1\t2\tpup\n",
    ],
    ids=[
        "byte order mark",
        "Windows line ends",
        "quotes, no last line end",
        "columns in disorder",
        "semicolons",
        "tabs and capitals",
    ],
)
def test_forms_of_the_same_point(tmp_path, text):
    (found,) = read_points(write(tmp_path, text))
    assert (found.image, found.x, found.y, found.label) == ("a.jpg", 1.0, 2.0, "pup")


def test_other_column_names(tmp_path):
    path = write(tmp_path, "tid,row,col,species,x\n9,7,8,lion,no number\n")
    columns = ("tid", "col", "row", "species")
    assert read_points(path, columns) == [Point("9", 8.0, 7.0, "lion")]


def test_unknown_columns_list_the_known_layouts(tmp_path):
    message = refusal(tmp_path, "file,x,y,class\na.jpg,1,2,pup\n")
    assert "column image, label is missing (of image,x,y,label), and no other known" in message
    assert "layout fits: image,x,y,label; tid,cls,row,col" in message
    assert "HerdNet" in message
    assert "DeepForest" in message
    assert "the file has file, x, y, class" in message
    assert "`columns=['IMAGE', 'X', 'Y', 'LABEL']`" in message


def test_unknown_columns_are_compared_with_the_nearest_layout(tmp_path):
    message = refusal(tmp_path, "image_path,xmin,ymin,xmax,label\na.jpg,1,2,3,pup\n")
    assert "column ymax is missing (of image_path,xmin,xmax,ymin,ymax,label)" in message


def test_missing_column_that_was_chosen_is_named(tmp_path):
    message = refusal(tmp_path, "file,x,y,kind\na,1,2,c\n", columns=("file", "x", "y", "class"))
    assert "column class is missing; the file has file, x, y, kind" in message


def test_a_table_needs_four_columns(tmp_path):
    path = write(tmp_path, HEADER + "a.jpg,1,2,pup\n")
    with pytest.raises(UsageError, match=r"expected four columns .*; received image,label"):
        read_points(path, ("image", "label"))


@pytest.mark.parametrize(
    ("row", "received"),
    [
        ("a.jpg,left,2,pup", "'left' and '2'"),
        ("a.jpg,1,,pup", "'1' and ''"),
        ('a.jpg,"1,5",2,pup', "'1,5' and '2'"),
        ("a.jpg,nan,2,pup", "nan and 2.0"),
        ("a.jpg,1,-inf,pup", "1.0 and -inf"),
        ("a.jpg,1", "'1' and ''"),
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
    with pytest.raises(DataError, match=r"none\.csv: expected a file of points"):
        read_points(tmp_path / "none.csv")


def test_other_encoding_is_a_data_error(tmp_path):
    path = write(tmp_path, HEADER + "a.jpg,1,2,Seelöwe\n", encoding="latin-1")
    with pytest.raises(DataError, match=r"points\.csv"):
        read_points(path)


def test_a_header_alone_will_do_where_it_is_said(tmp_path):
    assert read_points(write(tmp_path, HEADER), empty=True) == []


@pytest.mark.parametrize("image", ["tid", "train_id"])
def test_kaggle_sea_lions(tmp_path, image):
    # Rows are y, columns x; the image is called by its number.
    text = f"{image},cls,row,col\n41,0,1007,2500\n41,4,10,20\n"
    assert read_points(write(tmp_path, text)) == [
        Point("41", 2500, 1007, "adult_males"),
        Point("41", 20, 10, "pups"),
    ]


def test_kaggle_sea_lions_with_names(tmp_path):
    text = "tid,cls,row,col,class_name\n41,1,7,9,bulls\n"
    assert read_points(write(tmp_path, text)) == [Point("41", 9, 7, "bulls")]


@pytest.mark.parametrize("number", ["5", "-1", "1.5", "pups", ""])
def test_kaggle_class_number_that_is_none(tmp_path, number):
    message = refusal(tmp_path, f"tid,cls,row,col\n41,2,7,9\n41,{number},7,9\n")
    assert "line 3: expected a class number, 0 (adult_males), 1 (subadult_males)" in message
    assert f"received {number!r}" in message
    assert all(name in message for name in SEA_LIONS)


def test_mismatched_images_of_the_competition_are_left_out(tmp_path, told):
    write(tmp_path, "train_id\n3\n7\n", name="MismatchedTrainImages.txt")
    path = write(tmp_path, "tid,cls,row,col\n3,0,1,1\n30,0,1,1\n7,0,2,2\n")
    assert [point.image for point in read_points(path)] == ["30"]
    assert "2 points are left out, on images whose annotation does not fit" in told.text
    other = write(tmp_path, HEADER + "3,1,1,pup\n", name="other.csv")
    assert len(read_points(other)) == 1


def test_herdnet(tmp_path):
    points = write(tmp_path, "images,x,y,labels\nExample.JPG,517,1653,2\n")
    assert read_points(points) == [Point("Example.JPG", 517, 1653, "2")]
    boxes = write(tmp_path, "images,x_min,y_min,x_max,y_max,labels\nE.JPG,10,20,13,40,4\n")
    assert read_points(boxes) == [Point("E.JPG", 11.5, 30, "4")]


def test_deepforest_boxes_stand_for_their_centres(tmp_path):
    text = (
        "image_path,xmin,ymin,xmax,ymax,label,score\n"
        "b/a.tif,10,20,13,40,Bird,0.25\nempty.tif,0,0,0,0,Bird,\n"
    )
    assert read_points(write(tmp_path, text)) == [Point("b/a.tif", 11.5, 30, "Bird", 0.25)]


def test_box_whose_ends_change_places_is_refused(tmp_path):
    message = refusal(tmp_path, "image_path,xmin,ymin,xmax,ymax,label\na,5,2,4,9,Bird\n")
    assert "line 2: expected a box whose xmin and ymin come before xmax and ymax" in message
    assert "received x 5 to 4, y 2 to 9" in message


@pytest.mark.parametrize("score", ["sure", "nan"])
def test_score_that_is_no_number(tmp_path, score):
    message = refusal(tmp_path, f"image,x,y,label,score\na,5,2,pup,{score}\n")
    assert f"line 2: expected a number for the score, received {score!r}" in message


names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1).filter(
    lambda text: not text.startswith(".") and "/" not in text and "\\" not in text
)
numbers = st.floats(-1e7, 1e7)


@settings(max_examples=50)
@given(st.builds(Point, names, numbers, numbers, names, st.none() | st.floats(0, 1)))
def test_what_was_written_is_read_exactly(tmp_path_factory, point):
    path = tmp_path_factory.getbasetemp() / "one.csv"
    write_points(path, [point], overwrite=True)
    assert read_points(path) == [point]
    with path.open(newline="", encoding="utf-8") as file:
        assert next(csv.reader(file)) == ["image", "x", "y", "label", "score"]
