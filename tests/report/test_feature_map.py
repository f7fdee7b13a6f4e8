import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.report import feature_map
from tltool.report.feature_map import (
    arrange,
    draw_layout,
    draw_sheet,
    neighbourhoods,
    principal_components,
    spread,
    thumbnail_side,
)


def features_of(number, width=5, seed=0):
    return np.random.default_rng(seed).normal(size=(number, width)).astype("float32")


@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (3, 1), (5, 40)])
def test_few_images_or_features_have_principal_components(shape):
    layout = principal_components(features_of(*shape))
    assert layout.points.shape == (shape[0], 2)
    assert np.isfinite(layout.points).all()


def test_principal_components_tell_what_they_hold():
    line = np.outer(np.arange(9.0), [3, 4])
    layout = principal_components(line)
    # Distances along the line are kept.
    assert np.ptp(layout.points[:, 0]) == pytest.approx(40)
    assert np.ptp(layout.points[:, 1]) == pytest.approx(0, abs=1e-6)
    assert layout.note == "two axes hold 100 % of the variance"


@pytest.mark.parametrize("number", [6, 7, 12])
def test_few_images_have_neighbourhoods(number):
    layout = neighbourhoods(features_of(number))
    assert layout.points.shape == (number, 2)
    assert np.isfinite(layout.points).all()


@pytest.mark.parametrize("features", [features_of(1), features_of(5), np.ones((20, 3), "float32")])
def test_too_few_images_or_none_that_differ_have_no_neighbourhoods(features):
    assert neighbourhoods(features) is None


def test_one_feature_has_neighbourhoods():
    assert np.isfinite(neighbourhoods(features_of(12, width=1)).points).all()


def test_neighbours_stay_neighbours():
    # Two far clusters: of every point the nearest is of its own.
    features = np.concatenate([features_of(15), 60 + features_of(15, seed=1)])
    points = neighbourhoods(features).points
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert ((distances.argmin(1) < 15) == (np.arange(30) < 15)).all()


def test_the_same_seed_gives_the_same_layout():
    features = features_of(30)
    first, second = (neighbourhoods(features, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.points, second.points)


def gaps_between(centres):
    gaps = np.abs(centres[:, None] - centres[None]).max(axis=2)
    np.fill_diagonal(gaps, np.inf)
    return gaps


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.integers(0, 1000), st.sampled_from([0.01, 1, 100]))
def test_squares_part_and_stay_inside(number, seed, scale):
    side, size = 400, 20
    points = scale * np.random.default_rng(seed).normal(size=(number, 2)) ** 3
    places, centres = arrange(points, np.arange(number), size, side)
    assert places.shape == centres.shape == (number, 2)
    assert (centres >= size / 2).all()
    assert (centres <= side - size / 2).all()
    # A few px of overlap may be left where it is crowded.
    assert gaps_between(centres).min() > 0.6 * size


def test_squares_that_have_room_stay_where_they_are():
    points = np.array([[0.0, 0], [100, 0], [0, 100], [100, 100]])
    np.testing.assert_allclose(spread(points, 20), points, atol=0.5)


def test_a_crowd_does_not_pile_up_at_the_edge():
    rng = np.random.default_rng(0)
    crowd = np.concatenate([0.01 * rng.normal(size=(60, 2)), 1 + 0.01 * rng.normal(size=(60, 2))])
    _, centres = arrange(crowd, np.arange(120), 30, 600)
    for axis in (0, 1):
        at_edge = np.isclose(centres[:, axis], 15) | np.isclose(centres[:, axis], 585)
        assert at_edge.sum() <= 2


def test_squares_in_the_same_place_part():
    assert gaps_between(spread(np.full((4, 2), 50.0), 10)).min() > 6


def draw(points, images=None, **more):
    points = np.array(points, float)
    images = np.full((len(points), 8, 8, 3), 128, np.uint8) if images is None else images
    return draw_layout(points, images, [(200, 0, 0)] * len(points), **more)


def test_a_layout_has_a_frame_in_the_colour_of_each_image():
    picture = draw([(0, 0), (1, 0), (0, 1)], side=300)
    assert picture.width == 300
    assert picture.height <= 300
    pixels = np.asarray(picture)
    red = (pixels == (200, 0, 0, 255)).all(axis=2).sum()
    grey = (pixels == (128, 128, 128, 255)).all(axis=2).sum()
    side, frame = thumbnail_side(3, 300), feature_map._FRAME
    assert red == 3 * (side**2 - (side - 2 * frame) ** 2)
    assert grey == 3 * (side - 2 * frame) ** 2
    # The rest lets the page through.
    assert (pixels[..., 3] == 0).sum() == pixels[..., 3].size - 3 * side**2


def test_up_is_up():
    images = np.stack([np.full((8, 8, 3), level, np.uint8) for level in (10, 240)])
    pixels = np.asarray(draw([(0, 0), (0, 5)], images, side=300))
    assert np.argmax((pixels[..., 0] == 240).any(1)) < np.argmax((pixels[..., 0] == 10).any(1))


def test_one_image_and_none_are_drawn():
    assert draw([(0, 0)], side=200).getbbox()
    assert draw(np.zeros((0, 2)), side=200).getbbox() is None


def test_beyond_the_thumbnails_there_are_dots(monkeypatch):
    monkeypatch.setattr(feature_map, "MOST_THUMBNAILS", 1)
    pixels = np.asarray(draw([(0, 0), (9, 0), (9, 9)], side=300))
    assert (pixels[..., 3] == 200).sum() > 50


def test_the_same_layout_gives_the_same_picture():
    points = features_of(20, 2)
    assert draw(points).tobytes() == draw(points).tobytes()


def test_a_sheet_holds_titles_layouts_and_a_legend():
    layout = draw([(0, 0), (1, 1)])
    legend = [("seal", (1, 2, 3)), ("Möwe", (4, 5, 6))]
    sheet = draw_sheet([("t-SNE", layout), ("PCA", layout)], legend)
    assert (sheet.mode, sheet.width) == ("RGB", feature_map.SIDE)
    assert sheet.height > 2 * layout.height
    pixels = np.asarray(sheet)
    for colour in ((1, 2, 3), (4, 5, 6), (200, 0, 0)):
        assert (pixels == colour).all(axis=2).any()
