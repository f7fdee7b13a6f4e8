import numpy as np
import pytest

from tltool.explanation.boxes import Box
from tltool.explanation.picture import FOUND, SIDE, TRUE, draw_explanation, lay_over

GREY = np.full((20, 30, 3), 128, np.uint8)


def test_small_images_are_enlarged_and_heat_gets_its_colours():
    heat = np.zeros((20, 30))
    heat[:, 20:] = 1
    picture = lay_over(GREY, heat)
    # 20 px become 23 times as many, the first whole factor that gives SIDE.
    assert picture.shape == (460, 690, 3)
    assert min(picture.shape[:2]) >= SIDE
    cold, hot = picture[230, 50].astype(int), picture[230, 650].astype(int)
    # Inferno ends in a pale yellow, and cold ground stays near the image.
    assert hot[0] > hot[2] + 40
    assert np.abs(cold - 128).max() < 30


def test_one_band_is_shown_as_grey():
    picture = lay_over(GREY[..., :1], np.zeros((2, 3)))
    assert picture.shape == (460, 690, 3)


@pytest.mark.parametrize("box", [Box(4, 4, 12, 16), Box(4, 4, 4.01, 4.01), Box(-5, -5, 50, 50)])
def test_frames_of_any_size_are_drawn(box):
    page = draw_explanation(GREY, np.zeros((20, 30)), ["seal 0.9"], found=box, true=[box])
    colours = {colour for _, colour in page.getcolors(1 << 20)}
    assert {FOUND, TRUE} <= colours
    assert page.width == 2 * 690 + 12


def test_long_names_in_any_script_fit():
    name = "Größe Robbe " * 30
    page = draw_explanation(GREY, np.zeros((20, 30)), [name, name])
    assert page.size == draw_explanation(GREY, np.zeros((20, 30)), ["a", "b"]).size
