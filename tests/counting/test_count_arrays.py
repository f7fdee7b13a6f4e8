"""Counts of arrays with networks in memory: no file is needed, and the numbers are the same."""

import numpy as np
import pytest
import rasterio
from painted import ANIMALS, CLASSES, COLOURS, PATCH, colour_model, paint
from PIL import Image

import tltool
from tltool.annotations import Point
from tltool.errors import DataError, UsageError
from tltool.run.sidecar import load_sidecar


@pytest.fixture(scope="module")
def network(converted):
    """The network of a run, opened."""
    return tltool.open(converted)


@pytest.fixture
def pixels(image):
    """The image of `ANIMALS` as an array."""
    with rasterio.open(image) as file:
        return np.moveaxis(file.read(), 0, -1)


def places(points):
    return sorted(zip(points.x.tolist(), points.y.tolist(), points.label.tolist(), strict=True))


EXPECTED = sorted((float(x), float(y), label) for x, y, label in ANIMALS)


def test_an_array_gives_the_points_and_counts_of_its_file(network, converted, image, pixels):
    found = network.count(pixels)
    assert places(found.points) == EXPECTED
    (filed,) = tltool.count(converted, image).images
    assert found.points.score.tolist() == filed.points.score.tolist()
    assert {label: each.detections for label, each in found.counts.items()} == {
        "pup": 2,
        "seal": 2,
        "(any)": 4,
    }
    # Not tuned: nothing is known of how many are missed.
    assert all(each.interval is None for each in found.counts.values())
    assert set(found.points.to_dict()) == {"x", "y", "label", "score"}
    assert type(found.points.to_dict()["label"][0]) is str


def test_a_model_in_memory_counts(pixels):
    network = tltool.open(colour_model(), classes=CLASSES, background="none")
    assert places(network.count(Image.fromarray(pixels)).points) == EXPECTED
    assert places(tltool.count(network, [pixels], stride=2).images[0].points) != []


def test_an_open_network_counts_files_and_takes_their_maps(network, image, maps):
    counted = network.count(image)
    assert places(counted.points) == EXPECTED
    assert places(network.count(image, maps=maps).points) == EXPECTED


def test_nothing_is_written_without_a_folder(network, pixels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    empty = np.broadcast_to(np.array(COLOURS["none"], np.uint8), (40, 60, 3))
    survey = tltool.count(network, (each for each in (pixels, empty)))
    assert sorted(tmp_path.rglob("*")) == before
    assert (survey.folder, survey.files) == (None, [])
    assert [each.image.name for each in survey.images] == ["image_0", "image_1"]
    assert [each.total.detections for each in survey.images] == [4, 0]
    assert [each.detections for each in survey.totals] == [2, 2, 4]


def test_arrays_and_their_counts_go_into_a_folder_where_one_is_named(network, pixels, tmp_path):
    survey = tltool.count(network, pixels[None], tmp_path / "out")
    assert survey.images[0].image == tmp_path / "out" / "images" / "image.tif"
    with rasterio.open(survey.images[0].image) as file:
        assert np.array_equal(np.moveaxis(file.read(), 0, -1), pixels)
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"points.csv", "counts.json", "summary.html", "image.points.png", "maps"} < made


@pytest.mark.parametrize(
    "truth",
    [
        [Point("image", x, y, label) for x, y, label in ANIMALS[:3]],
        {key: [animal[k] for animal in ANIMALS[:3]] for k, key in enumerate(("x", "y", "label"))},
    ],
)
def test_truth_may_be_in_memory(network, pixels, truth):
    survey = tltool.count(network, pixels, truth=truth, radius=5)
    assert (survey.score.any.tp, survey.score.any.fp, survey.score.any.fn) == (3, 1, 0)


def test_what_was_tuned_on_arrays_stays_with_the_network(converted, pixels):
    network = tltool.open(converted)
    points = [Point("image", x, y, label) for x, y, label in ANIMALS[:3]]
    before = load_sidecar(converted / "model.keras").detections
    network.path = None
    tuned = tltool.tune_count(network, pixels, points, radius=10)
    assert tuned.files == []
    assert network.sidecar.detections == tuned.parameters
    assert load_sidecar(converted / "model.keras").detections == before
    counted = network.count(pixels)
    # Four detections, of which three were right.
    assert counted.total.interval.estimate == pytest.approx(3)
    assert "(any): 4, " in repr(counted)


def test_areas_of_an_array_are_in_its_pixels(network, pixels, area):
    found = network.count(pixels, aoi=area(0, 0, 150, 200))
    assert (found.total.detections, found.outside) == (3, 1)
    small = pixels[:80, :80]
    survey = tltool.count(network, [pixels, small], aoi=area(90, 0, 240, 200))
    assert [each.image.name for each in survey.images] == ["image_0"]
    assert [path.name for path in survey.left_out] == ["image_1"]
    with pytest.raises(DataError, match="expected an area that lies on image"):
        network.count(pixels, aoi=area(900, 900, 950, 950))


def test_a_notebook_shows_a_table_and_a_picture(network, pixels):
    found = network.count(pixels)
    assert found.to_image(1200).width > 1000
    html = found._repr_html_()
    assert "<table>" in html
    assert "data:image/" in html
    assert "<td>2</td>" in html
    survey = tltool.count(network, [pixels, pixels])
    assert survey._repr_html_().count("<table>") == 2
    assert repr(found) == (
        "<ImageCount of image: 4 points; Count(pup: 2), Count(seal: 2), Count((any): 4)>"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[..., :2], r"`image`: expected 3 bands"),
        (lambda a: a[0, 0], r"`image`: expected an array \(height, width, bands\)"),
        (lambda a: np.where(a == a[0, 0], np.nan, a), "received NaN or infinity"),
        (lambda a: a / 255, "`scale`"),
        (lambda a: [], "`images`: expected one image or more, received none"),
        (lambda a: 3, "`images`: expected paths, arrays"),
    ],
)
def test_what_is_no_image_is_refused(network, pixels, change, message):
    with pytest.raises(UsageError, match=message):
        tltool.count(network, change(pixels))


def test_floats_are_counted_with_their_scale(network, pixels):
    assert places(network.count(pixels / 255, scale=(0, 1)).points) == EXPECTED


def test_mining_and_maps_need_files(network, converted, pixels, tmp_path):
    with pytest.raises(UsageError, match="`images`: expected files that patches were cut from"):
        tltool.mine(converted, pixels, [], tmp_path)
    with pytest.raises(UsageError, match="`maps`: expected images in files beside it"):
        tltool.count(network, pixels, maps=tmp_path)


def test_a_single_path_is_a_list_of_one(converted, tmp_path):
    image = paint(tmp_path / "a.tif", ANIMALS, side=PATCH)
    assert len(tltool.count(converted, str(image)).points) == 4
