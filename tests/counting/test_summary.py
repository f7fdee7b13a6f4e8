import re
from html.parser import HTMLParser

import numpy as np
import pytest
from painted import ANIMALS, paint, write_csv
from rasterio.transform import Affine

import tltool
from tltool.counting.maps import store_parameters
from tltool.counting.summary import place_images, thumbnail_side
from tltool.run.detection_parameters import DetectionParameters, PeakRule, Validation

PLACES = {
    "a": Affine(0.5, 0, 1000, 0, -0.5, 9000),
    "b": Affine(0.5, 0, 1360, 0, -0.5, 9000),
    # A quarter of a turn.
    "c": Affine(0, 0.5, 1000, 0.5, 0, 8500),
}


class Page(HTMLParser):
    """Tags of a page; unclosed ones are an error."""

    def __init__(self, text):
        super().__init__()
        self.images, self.links, self.open, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        if tag == "img":
            self.images.append(told)
        if tag == "a":
            self.links.append(told["href"])
        if tag not in ("img", "meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def surveyed(converted, tmp_path_factory):
    """A survey of three images with places, by an untuned run."""
    folder = tmp_path_factory.mktemp("surveyed")
    for name, transform in PLACES.items():
        animals = ANIMALS if name == "a" else ANIMALS[:1] if name == "b" else []
        paint(folder / f"{name}.tif", animals, crs="EPSG:32633", transform=transform)
    truth = write_csv(folder / "truth.csv", ANIMALS)
    return tltool.count(converted, [folder], folder / "out", truth=truth, radius=6)


def test_page_is_whole_and_needs_nothing_else(surveyed):
    text = (surveyed.folder / "summary.html").read_text()
    page = Page(text)
    assert page.open == []
    assert [img["alt"] for img in page.images] == [
        "a.tif: 4 points",
        "b.tif: 1 point",
        "c.tif: 0 points",
    ]
    assert all(img["src"].startswith("data:image/jpeg;base64,") for img in page.images)
    assert page.links == ["a.points.png", "b.points.png", "c.points.png"]
    assert all((surveyed.folder / link).exists() for link in page.links)
    assert not re.search(r"(src|href)=\"https?:|url\(|@import|<script", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_page_tells_counts_scores_and_that_nothing_is_known(surveyed):
    text = Page((surveyed.folder / "summary.html").read_text()).text
    words = " ".join(text.split())
    assert "Count of 3 images" in words
    assert "Interval unknown: the run is not tuned" in words
    assert "Against the truth" in words
    assert "Matched within 6 px" in words
    assert "What the interval means" not in words


def test_page_of_a_tuned_run_says_what_the_interval_assumes(run, image, maps, tmp_path):
    validation = Validation(tp=30, fp=3, fn=4)
    rules = DetectionParameters(rule=PeakRule(threshold=0.4), validation_any=validation)
    store_parameters(run, rules)
    survey = tltool.count(run, [image], tmp_path / "out", maps=maps)
    words = " ".join(Page((survey.folder / "summary.html").read_text()).text.split())
    assert "Interval unknown of pup, seal: validation has no example" in words
    assert "It assumes that these images resemble the validation images" in words
    assert "(any)343030.9090.882" in words
    assert "Count of a.tif" in words


def test_images_lie_on_the_map_as_on_the_earth(surveyed):
    found = place_images(surveyed.images)
    # From 1000 to 1480 m east and from 9000 to 8900, of the turned one from 8500 to 8620 m north.
    assert found.ratio == pytest.approx(480 / 500)
    a, b, c = found.places
    assert (a.x, a.y) == pytest.approx((60 / 480, 50 / 500))
    assert (b.x, b.y) == pytest.approx((420 / 480, 0.1))
    assert a.width == pytest.approx(120 / 480)
    assert a.ratio == pytest.approx(1.2)
    assert a.angle == pytest.approx(0)
    assert (c.x, c.y) == pytest.approx((50 / 480, 440 / 500))
    assert abs(c.angle) == pytest.approx(90)
    assert "EPSG:32633; 480 m from west to east, 500 m from north to south" in found.caption


def test_images_without_a_place_are_in_a_grid(run, image, maps, tmp_path):
    survey = tltool.count(run, [image], tmp_path / "out", maps=maps)
    assert place_images(survey.images) is None
    text = (survey.folder / "summary.html").read_text()
    assert 'class="grid"' in text
    assert 'class="map' not in text


def test_thumbnails_shrink_with_their_number():
    sides = [thumbnail_side(number) for number in (1, 20, 100, 5000)]
    assert np.all(np.diff(sides) < 0)
