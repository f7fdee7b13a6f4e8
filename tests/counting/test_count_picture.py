import io

import numpy as np
import pytest
from PIL import Image

from tltool.counting.picture import (
    FALSE,
    FOUND,
    MISSED,
    Marks,
    draw_points,
    draw_stamp,
    ring_radius,
    write_picture,
)
from tltool.pictures.overlay import class_colours

NAMES = ("pup", "seal")
COLOURS = class_colours(NAMES, None)


def near(picture, colour):
    """Where a picture has about this colour."""
    return np.abs(np.asarray(picture)[..., :3].astype(int) - colour).max(axis=-1) < 12


def marks(*rows):
    xy, label, kind = zip(*rows, strict=True)
    return Marks(np.array(xy, float), np.array(label), np.array(kind))


def test_rings_lie_around_their_points_in_the_classes_colours():
    grey = np.full((1000, 1200, 3), 200, np.uint8)
    drawn = marks(((300, 400), 0, FOUND), ((900, 200), 1, FOUND))
    page = draw_points(grey, drawn, NAMES, "a", radius=20)
    # Twice the size of the type, and the title above.
    left, top = 34, 34 + round(2.6 * 17)
    for (x, y), colour in (((300, 400), COLOURS[0]), ((900, 200), COLOURS[1])):
        ring = near(page.crop((left + x - 40, top + y - 40, left + x + 40, top + y + 40)), colour)
        rows, columns = np.nonzero(ring)
        assert rows.mean() == pytest.approx(39.5, abs=2)
        assert columns.mean() == pytest.approx(39.5, abs=2)
        # A ring, not a disc: the animal in it is seen.
        assert not ring[35:45, 35:45].any()


def test_kinds_of_marks_differ():
    stamps = [
        np.asarray(draw_stamp(kind, COLOURS[0], 12))[..., 3] for kind in (FOUND, FALSE, MISSED)
    ]
    found, false, missed = (stamp[len(stamp) // 2] > 128 for stamp in stamps)
    middle = len(found) // 2
    assert not found[middle]
    assert false[middle]
    assert not missed[middle]
    assert (stamps[0] != stamps[2]).mean() > 0.05


def test_rings_do_not_hide_neighbours_and_stay_visible():
    apart = np.array([[0.0, 0], [30, 0], [60, 0], [400, 400]])
    assert ring_radius(apart, 100) == pytest.approx(18)
    assert ring_radius(apart, 8) == 8
    assert ring_radius(apart / 100, 100) == 5
    assert ring_radius(apart[:1], 1000) == 24


def test_what_is_not_counted_is_dark():
    grey = np.full((1000, 1000, 3), 200, np.uint8)
    hole = np.zeros((1000, 1000), bool)
    hole[:, 500:] = True
    page = draw_points(grey, marks(((9, 9), 0, FOUND)), NAMES, "a", radius=5, hole=hole)
    row = np.asarray(page)[600, 32:1032].mean(axis=-1)
    assert row[100] == pytest.approx(152, abs=1)
    assert row[900] == pytest.approx(60, abs=1)


def test_legend_names_classes_kinds_and_area_of_a_real_count(run, image, maps, area, tmp_path):
    import tltool

    survey = tltool.count(run, [image], tmp_path / "out", maps=maps, aoi=area(0, 0, 150, 200))
    found = write_picture(survey.images[0], tmp_path, 120)
    assert found.path == tmp_path / "a.points.png"
    with Image.open(found.path) as page:
        assert page.size == (1000 + 2 * 32, page.height)
        for colour in COLOURS:
            assert near(page, colour).sum() > 100
    with Image.open(io.BytesIO(found.thumbnail)) as small:
        assert small.size == (120, 100)
