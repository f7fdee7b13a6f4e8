import colorsys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tltool.pictures import overlay
from tltool.pictures.overlay import (
    MAX_LEGEND,
    MAX_PANELS,
    class_colours,
    draw_overlay,
    tint_photograph,
)

CLASSES = ["background", "adult", "pup"]


def photo(height=400, width=600):
    """Ramps in red and green over blue 90: no two places look alike."""
    y, x = np.mgrid[:height, :width]
    ramps = [x * 200 // width + 20, y * 200 // height + 20, np.full_like(x, 90)]
    return np.stack(ramps, axis=-1).astype(np.uint8)


def one_hot(labels, count=3):
    return np.moveaxis(np.eye(count, dtype=np.float32)[np.asarray(labels)], -1, 0)


def tinted(photograph, probabilities, extent, background="background"):
    return tint_photograph(photograph, probabilities, class_colours(CLASSES, background), extent)


def changed(photograph, probabilities, extent):
    """Where the picture differs from that of a map with background alone, as (y, x)."""
    empty = one_hot(np.zeros(probabilities.shape[1:], int))
    with_heat = tinted(photograph, probabilities, extent).astype(int)
    return np.nonzero((with_heat != tinted(photograph, empty, extent)).any(axis=-1))


@pytest.fixture
def written(monkeypatch):
    """All texts drawn, as (text, left, top, right, bottom, image size)."""
    texts, draw = [], ImageDraw.ImageDraw.text

    def record(pen, xy, text, fill, font, anchor):
        box = pen.textbbox(xy, text, font, anchor=anchor)
        texts.append((text, *box, pen.im.size))
        draw(pen, xy, text, fill, font, anchor=anchor)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", record)
    return texts


def oklab(srgb):
    """Björn Ottosson's forward transform, written apart from the module's inverse."""
    value = srgb / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    lms = linear @ np.array(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    return np.cbrt(lms) @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )


@pytest.mark.parametrize("count", [1, 2, 6, 7, 20])
def test_colours_have_equal_lightness_and_chroma_and_distinct_hues(count):
    lab = oklab(class_colours([str(k) for k in range(count)], None))
    np.testing.assert_allclose(lab[:, 0], overlay.LIGHTNESS, atol=1e-3)
    np.testing.assert_allclose(np.hypot(lab[:, 1], lab[:, 2]), overlay.CHROMA, atol=1e-3)
    hues = np.sort(np.rad2deg(np.arctan2(lab[:, 2], lab[:, 1])) % 360)
    assert np.diff(hues, append=hues[0] + 360).min() > min(45, 0.99 * 360 / count)


def test_background_takes_no_colour_from_the_others():
    with_background = class_colours(["adult", "background", "pup"], "background")
    assert np.isnan(with_background[1]).all()
    np.testing.assert_array_equal(with_background[[0, 2]], class_colours(["adult", "pup"], None))


def test_cell_lands_where_the_extent_puts_it():
    labels = np.zeros((100, 100), int)
    labels[30, 70] = 1
    y, x = changed(photo(), one_hot(labels), (50, 20, 450, 320))  # cells of 4 x 3 px
    assert (x.mean(), y.mean()) == pytest.approx(
        (50 + 70.5 * 4 - 0.5, 20 + 30.5 * 3 - 0.5), abs=0.15
    )
    assert np.ptp(x) < 3 * 4
    assert np.ptp(y) < 3 * 3


def test_small_cells_blend_without_overshoot():
    labels = np.zeros((100, 100), int)
    labels[:, 50:] = 1
    grey = np.full((1000, 1000, 3), 100, np.uint8)
    row = tinted(grey, one_hot(labels), (0, 0, 1000, 1000))[500, :, 0].astype(int)
    assert (np.diff(row) >= 0).all()
    assert len(np.unique(row[495:505])) > 5
    assert set(row[:495]) == {row[0]}
    assert set(row[505:]) == {row[-1]}


def test_large_cells_stay_crisp():
    y, x = changed(photo(), one_hot([[0, 0, 0], [0, 2, 0]]), (0, 0, 600, 400))
    assert (x.min(), x.max(), y.min(), y.max()) == (200, 399, 200, 399)
    assert len(x) == 200 * 200


def test_map_over_the_edge_is_cropped_not_squeezed():
    labels = np.zeros((10, 10), int)
    labels[:, 4:6] = 1
    y, x = changed(photo(), one_hot(labels), (-200, -40, 800, 440))
    assert (x.min(), x.max()) == (200, 399)
    assert (y.min(), y.max()) == (0, 399)


def test_map_thinner_than_a_pixel_is_drawn():
    y, x = changed(photo(), one_hot([[1]]), (100.6, 50.6, 100.7, 50.7))
    assert (set(y), set(x)) == ({50}, {100})


def test_cell_lands_right_on_the_page_of_an_enlarged_photograph():
    picture = np.full((50, 100, 3), 128, np.uint8)
    empty, lit = np.zeros((5, 10), int), np.zeros((5, 10), int)
    lit[2, 7] = 1
    pages = [
        np.asarray(draw_overlay(picture, one_hot(cells), CLASSES, "background", (0, 0, 100, 50)))
        for cells in (empty, lit)
    ]
    margin = 2 * 16
    main = [page[margin : margin + 500, margin : margin + 1000].astype(int) for page in pages]
    y, x = np.nonzero((main[0] != main[1]).any(axis=-1))
    assert (x.min(), x.max(), y.min(), y.max()) == (700, 799, 200, 299)


def test_heat_grows_with_the_probability_and_keeps_the_hue_of_the_strongest_class():
    steps = np.array([0, 0.25, 0.5, 0.75, 1], np.float32)
    map_ = np.stack([1 - steps, 0.6 * steps, 0.4 * steps])[:, None, :]
    grey = np.full((10, 500, 3), 100, np.uint8)
    row = tinted(grey, map_, (0, 0, 500, 10))[5, 50::100].astype(float)
    away = row - row[0]
    toward = class_colours(CLASSES, "background")[1] - row[0]
    expected = overlay.opacity(0.6 * steps)[:, None] * toward
    assert overlay.opacity(np.float32(0.1)) < 0.03 < 0.8 < overlay.opacity(np.float32(1))
    np.testing.assert_allclose(away, expected, atol=1)


def test_background_alone_keeps_every_hue():
    picture = photo()
    result = tinted(picture, one_hot(np.zeros((8, 12), int)), (0, 0, 600, 400))
    for y, x in [(10, 10), (200, 50), (390, 590), (50, 500)]:
        before = colorsys.rgb_to_hsv(*picture[y, x] / 255)
        after = colorsys.rgb_to_hsv(*result[y, x] / 255)
        assert after[0] == pytest.approx(before[0], abs=0.02)
        assert after[2] < before[2]


def test_no_data_is_hatched_and_leaks_nothing(written):
    map_ = one_hot(np.ones((4, 6), int))
    map_[:, :, 3:] = np.nan
    result = tinted(photo(), map_, (0, 0, 600, 400)).astype(int)
    whole = tinted(photo(), one_hot(np.ones((4, 6), int)), (0, 0, 600, 400))
    np.testing.assert_array_equal(result[:, :300], whole[:, :300])
    bare = tinted(photo(), one_hot(np.zeros((4, 6), int)), (0, 0, 600, 400))[:, 300:]
    lines = (result[:, 300:] - bare).max(axis=-1)
    assert lines.min() == 0
    assert 0.2 < (lines > 20).mean() < 0.6
    draw_overlay(photo(), map_, CLASSES, "background", (0, 0, 600, 400))
    assert {"no data", "50.0%"} <= {text for text, *_ in written}


def test_small_cells_next_to_no_data_keep_their_strength():
    map_ = one_hot(np.ones((100, 100), int))
    map_[:, :, 50:] = np.nan
    grey = np.full((300, 300, 3), 100, np.uint8)
    row = tinted(grey, map_, (0, 0, 300, 300))[150]
    assert (row[:150] == row[0]).all()


def test_nothing_but_no_data():
    map_ = np.full((3, 4, 6), np.nan, np.float32)
    assert isinstance(
        draw_overlay(photo(), map_, CLASSES, "background", (0, 0, 600, 400)), Image.Image
    )


def test_shares_are_of_all_cells_and_named(written):
    map_ = one_hot([[0, 0, 0, 0, 0], [0, 0, 1, 1, 2]])
    draw_overlay(photo(), map_, CLASSES, "background", (0, 0, 600, 400), "Beach 7")
    texts = [text for text, *_ in written]
    for name, share in zip(["background (not drawn)", "adult", "pup"], [70, 20, 10], strict=True):
        assert texts[texts.index(name) - 1] == f"{share}.0%"
    assert texts.count("adult") == 2
    assert "Beach 7" in texts
    assert "no data" not in texts


def test_classes_that_may_be_true_together_are_judged_at_a_half(written):
    map_ = np.zeros((2, 1, 10), np.float32)
    map_[0, 0, :4], map_[0, 0, 4:] = 0.5, 0.49
    map_[1, 0, :9], map_[1, 0, 9:] = 0.9, np.nan
    map_[0, 0, 9:] = np.nan
    draw_overlay(photo(), map_, ["wet", "rock"], None, (0, 0, 600, 400), exclusive=False)
    texts = [text for text, *_ in written]
    assert "Share of the cells with a probability of 0.5 or more" in texts
    for name, share in {"wet": 40, "rock": 90, "no data": 10}.items():
        assert texts[texts.index(name) - 1] == f"{share}.0%"


@pytest.mark.parametrize(("probability", "low", "high"), [(0.1, 0, 0.03), (0.9, 0.75, 0.85)])
def test_a_doubt_everywhere_does_not_paint_the_photograph(probability, low, high):
    grey = np.full((10, 100, 3), 100, np.uint8)
    colours = class_colours(["only"], None)
    painted, bare = (
        tint_photograph(grey, np.full((1, 1, 1), p, "f4"), colours, (0, 0, 100, 10), False)
        for p in (probability, 0)
    )
    share = (painted[5, 50] - bare[5, 50].astype(float)) / (colours[0] - bare[5, 50])
    assert low <= share.mean() <= high


def test_several_backgrounds_take_no_colour():
    colours = class_colours(["a.no", "a.yes", "b.no", "b.yes"], ["a.no", "b.no"])
    assert np.isnan(colours[[0, 2]]).all()
    np.testing.assert_array_equal(colours[[1, 3]], class_colours(["a.yes", "b.yes"], None))


def test_few_cells_are_not_called_none(written):
    labels = np.zeros((60, 60), int)
    labels[0, 0] = 1
    draw_overlay(photo(), one_hot(labels), CLASSES, "background", (0, 0, 600, 400))
    assert {">99.9%", "<0.1%", "0%"} <= {text for text, *_ in written}


def test_panels_are_capped_to_the_highest_means(written):
    count = 30
    names = [f"class {k:02d}" for k in range(count)]
    map_ = np.linspace(0, 1, count, dtype=np.float32)[:, None, None] * np.ones((1, 3, 4), "f4")
    draw_overlay(photo(), map_, names, None, (0, 0, 600, 400))
    texts = [text for text, *_ in written]
    assert [texts.count(name) for name in names] == [0] * 6 + [1] * 12 + [2] * MAX_PANELS
    assert sum("and 6 more classes" in text for text in texts) == 1
    assert sum("and 18 more classes" in text for text in texts) == 1
    assert MAX_LEGEND == 24


def test_picture_grows_with_the_panels():
    heights = [
        draw_overlay(
            photo(), one_hot([[0]], count), [str(k) for k in range(count)], None, (0, 0, 600, 400)
        ).height
        for count in (3, 6, 12)
    ]
    assert heights == sorted(set(heights))


def test_panel_shows_the_colour_map():
    map_ = np.stack([np.zeros((2, 4), "f4"), np.ones((2, 4), "f4")])
    page = draw_overlay(photo(), map_, ["dark", "bright"], None, (0, 0, 600, 400))
    margin, lut = 32, overlay._colour_map().round().astype(np.uint8)
    assert (np.diff(overlay._colour_map() @ [0.2126, 0.7152, 0.0722]) > 0).all()
    row = np.asarray(page)[page.height - margin - 20]
    assert (row[margin + 20] == lut[0]).all()
    assert (row[page.width - margin - 20] == lut[255]).all()


@pytest.mark.parametrize(("height", "width"), [(400, 600), (60, 360), (360, 60), (600, 400)])
@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_no_text_is_cut_or_overlaps(written, height, width, count):
    names = [f"Großer Brachvogel {k} " * (k % 4 + 1) + "\n(Numenius)" for k in range(count)]
    map_ = np.full((count, 3, 4), 1 / count, np.float32)
    map_[:, 0, 0] = np.nan
    title = "A title much longer than the page is wide, " * 9
    draw_overlay(photo(height, width), map_, names, names[0], (0, 0, width, height), title)
    for text, left, top, right, bottom, (page_width, page_height) in written:
        assert left >= 0, text
        assert top >= 0, text
        assert right <= page_width, text
        assert bottom <= page_height, text
    for i, (text, left, top, right, bottom, size) in enumerate(written):
        for other, left2, top2, right2, bottom2, size2 in written[:i]:
            apart = left >= right2 or left2 >= right or top >= bottom2 or top2 >= bottom
            assert apart or size != size2, (text, other)


def test_big_map_on_a_small_photograph():
    rng = np.random.default_rng(0)
    map_ = rng.random((2, 900, 1200), dtype=np.float32)
    page = draw_overlay(photo(80, 100), map_, ["a", "b"], "a", (-3, -2, 104, 81))
    assert page.width > 1000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photograph": np.zeros((4, 6), np.uint8)}, r"\(H, W, 3\).*received uint8.*\(4, 6\)"),
        ({"photograph": np.zeros((4, 6, 3), np.float32)}, "expected uint8.*received float32"),
        ({"probabilities": np.zeros((2, 4, 6), "f4")}, r"\(3, rows, cols\).*\(2, 4, 6\)"),
        ({"probabilities": np.zeros((3, 0, 6), "f4")}, r"received \(3, 0, 6\)"),
        ({"background": "sea"}, "expected one of .*received 'sea'"),
        ({"background": ["pup", "sea"]}, "expected one of .*received .'pup', 'sea'"),
        ({"extent": (600, 0, 700, 400)}, r"600 x 400 px, received \(600, 0, 700, 400\)"),
        ({"extent": (300, 0, 200, 400)}, "expected .left, top, right, bottom."),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    arguments = {
        "photograph": photo(),
        "probabilities": one_hot(np.zeros((4, 6), int)),
        "classes": CLASSES,
        "background": "background",
        "extent": (0, 0, 600, 400),
    }
    with pytest.raises(ValueError, match=message):
        draw_overlay(**arguments | change)
