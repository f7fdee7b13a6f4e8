import csv
import itertools
import math
from collections import Counter

import numpy as np
import pytest
import rasterio

from tltool.demonstration import paint
from tltool.demonstration.paint import BACKGROUND, CLASSES, KINDS, paint_photograph, paint_survey
from tltool.errors import UsageError

WIDTH, HEIGHT = 640, 480


@pytest.fixture(scope="module")
def photograph():
    return paint_photograph(3, WIDTH, HEIGHT, 40)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("painted") / "survey"
    return paint_survey(folder, 2, 320, 272, 12, seed=5)


def shore_of(seed, width, height):
    return paint._lay_out(np.random.default_rng(seed), (height, width)).shore


def test_classes_end_with_the_background():
    assert CLASSES == (
        "adult_males",
        "subadult_males",
        "adult_females",
        "juveniles",
        "pups",
        "backgrounds",
    )
    assert CLASSES[-1] == BACKGROUND


def test_photograph_is_rgb_with_dark_and_bright_parts(photograph):
    image, _ = photograph
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.dtype == np.uint8
    low, high = np.percentile(image, (1, 99))
    assert low < 70
    assert high > 180


def test_same_seed_paints_the_same_and_leaves_global_random_numbers_alone(photograph):
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    image, points = paint_photograph(3, WIDTH, HEIGHT, 40)
    np.testing.assert_array_equal(image, photograph[0])
    assert points == photograph[1]
    np.testing.assert_array_equal(before, np.random.get_state()[1])


def test_seeds_differ_in_shoreline_and_light_and_layout():
    (one, points), (two, others) = (paint_photograph(seed, 320, 256, 10) for seed in (1, 2))
    assert np.abs(one.astype(int) - two).mean() > 20
    land, sea = shore_of(1, 320, 256) > 0, shore_of(2, 320, 256) > 0
    assert 0.1 < np.mean(land != sea) < 0.9
    assert not {point[:2] for point in points} & {point[:2] for point in others}


def test_animals_lie_on_land_and_inside(photograph):
    shore = shore_of(3, WIDTH, HEIGHT)
    for x, y, _ in photograph[1]:
        assert 30 <= x <= WIDTH - 31
        assert 30 <= y <= HEIGHT - 31
        assert shore[round(y), round(x)] > 0


def test_land_and_sea_are_told_apart_by_colour(photograph):
    image = photograph[0].astype(int)
    shore = shore_of(3, WIDTH, HEIGHT)
    warmth = image[..., 0] - image[..., 2]
    assert warmth[shore > 60].mean() > 10
    assert warmth[shore < -60].mean() < -10


def test_all_animals_find_a_place_in_balance(photograph):
    counts = Counter(point.label for point in photograph[1])
    assert set(counts) == set(KINDS)
    assert sum(counts.values()) == 40
    assert max(counts.values()) - min(counts.values()) <= 2


def test_animals_are_close_but_not_too_close(photograph):
    pairs = itertools.combinations(photograph[1], 2)
    distances = [math.dist(one[:2], two[:2]) for one, two in pairs]
    assert min(distances) >= 25
    assert min(distances) < 32


def test_bodies_do_not_overlap():
    scene = paint._lay_out(np.random.default_rng(4), (256, 320))
    _, bodies = paint._settle(np.random.default_rng(4), scene, 60)
    y, x = np.ogrid[:256, :320]
    covered = sum((paint._cover(body, x, y)[0] > 0).astype(int) for body in bodies)
    assert len(bodies) > 10
    assert covered.max() == 1


def test_a_body_is_centred_on_its_place():
    rng = np.random.default_rng(0)
    for kind in KINDS.values():
        body = paint._torso(rng, kind, np.array([40.5, 60.25]))
        middle = (body.centres.min(axis=0) + body.centres.max(axis=0)) / 2
        np.testing.assert_allclose(middle, (40.5, 60.25))


@pytest.mark.parametrize("label", list(KINDS))
def test_bodies_have_the_size_of_their_class(label):
    rng = np.random.default_rng(0)
    kind = KINDS[label]
    for _ in range(20):
        body = paint._torso(rng, kind, np.zeros(2))
        steps = np.hypot(*np.diff(body.centres, axis=0).T).sum()
        length = steps + body.radii[0] + body.radii[-1]
        assert length == pytest.approx(kind.length, rel=0.1)
        assert 2 * body.radii.max() == pytest.approx(kind.width, rel=0.15)


def test_shades_order_the_classes(photograph):
    image, points = photograph
    shade = {}
    for label in KINDS:
        places = [(round(y), round(x)) for x, y, name in points if name == label]
        middles = [image[y - 1 : y + 2, x - 1 : x + 2].mean() for y, x in places]
        shade[label] = np.mean(middles)
    assert shade["pups"] + 25 < shade["adult_males"] < shade["adult_females"] - 50
    assert shade["pups"] + 50 < shade["subadult_males"] < shade["juveniles"] - 15
    assert shade["juveniles"] < shade["adult_females"] - 15


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3))])
def test_smallest_photograph_holds_every_class_and_no_more_than_fit(seed):
    image, points = paint_photograph(seed, 256, 256, 90)
    assert image.shape == (256, 256, 3)
    assert 5 <= len(points) < 90
    assert {point.label for point in points} == set(KINDS)
    assert all(30 <= place <= 225 for point in points for place in point[:2])


def test_any_size_and_no_animals():
    image, points = paint_photograph(1, 333, 259, 0)
    assert image.shape == (259, 333, 3)
    assert points == []


def test_too_small_is_refused():
    with pytest.raises(UsageError, match="256x256"):
        paint_photograph(1, 400, 255)


def test_survey_is_tiled_deflated_and_on_the_map(survey):
    images, _ = survey
    assert [path.name for path in images] == ["survey_01.tif", "survey_02.tif"]
    for path in images:
        with rasterio.open(path) as source:
            assert source.crs.to_epsg() == 32605
            assert source.shape == (272, 320)
            assert source.dtypes == ("uint8",) * 3
            assert source.block_shapes == [(256, 256)] * 3
            assert source.compression.name == "deflate"
            assert source.transform.a == pytest.approx(0.05)
            assert source.transform.e == pytest.approx(-0.05)
            assert source.transform.b == source.transform.d == 0


def test_photographs_of_a_survey_lie_side_by_side_and_differ(survey):
    with rasterio.open(survey[0][0]) as one, rasterio.open(survey[0][1]) as two:
        assert two.bounds.left > one.bounds.right
        assert two.bounds.top == pytest.approx(one.bounds.top)
        assert np.abs(one.read().astype(int) - two.read()).mean() > 20


def test_survey_holds_the_painted_pixels_and_points(survey):
    images, table = survey
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["image", "x", "y", "label"]
    assert {row[0] for row in rows[1:]} == {path.name for path in images}
    for number, path in enumerate(images):
        pixels, points = paint_photograph(5000 + number, 320, 272, 12)
        expected = [[path.name, f"{x:.1f}", f"{y:.1f}", label] for x, y, label in points]
        assert [row for row in rows if row[0] == path.name] == expected
        with rasterio.open(path) as source:
            np.testing.assert_array_equal(source.read().transpose(1, 2, 0), pixels)


def test_survey_leaves_nothing_else_behind(survey):
    folder = survey[1].parent
    names = {path.name for path in folder.iterdir()}
    assert names == {"survey_01.tif", "survey_02.tif", "points.csv"}
