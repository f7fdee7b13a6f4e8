import numpy as np
import pytest

from tltool.explanation.boxes import Box
from tltool.explanation.faithfulness import (
    STEPS,
    area_under,
    deletion,
    insertion,
    points_at,
    rank_pixels,
)

IMAGE = np.array([[8, 4], [2, 0]], float)[..., None]
WEIGHTS = np.array([[1, 0.5], [0, 2]])


def linear(images):
    return (images[..., 0] * WEIGHTS).sum(axis=(1, 2))


def area_by_hand(v):
    """Of 32 steps over 4 pixels: from step 1 on one is changed, from 9, 17 and 25 on one more."""
    return (0.5 * v[0] + 8 * (v[1] + v[2] + v[3]) + 7.5 * v[4]) / 32


def test_deletion_of_a_linear_model_by_hand():
    # The mean is 3.5. In the order of the heat 8, 4, 0, 2 become 3.5:
    # 8 + 2 + 0 = 10; 3.5 + 2 = 5.5; 3.5 + 1.75 = 5.25; + 2 * 3.5 = 12.25; the last has weight 0.
    heat = np.array([[4, 3], [1, 2]])
    curve = deletion(linear, IMAGE, heat)
    assert curve[[0, 1, 9, 17, 25, STEPS]] == pytest.approx([10, 5.5, 5.25, 12.25, 12.25, 12.25])
    assert area_under(curve) == pytest.approx(area_by_hand([10, 5.5, 5.25, 12.25, 12.25]))


def test_the_order_of_the_weights_deletes_best():
    gain = WEIGHTS * (IMAGE[..., 0] - IMAGE.mean())
    best = area_under(deletion(linear, IMAGE, gain))
    rng = np.random.default_rng(0)
    others = [area_under(deletion(linear, IMAGE, rng.random((2, 2)))) for _ in range(10)]
    assert best <= min(others)
    assert area_under(deletion(linear, IMAGE, -gain)) >= max(others)


def test_insertion_goes_from_the_blurred_image_to_the_image():
    image = np.zeros((24, 24, 1))
    image[5, 6] = 100
    at_the_spot = np.zeros((24, 24))
    at_the_spot[5, 6] = 1

    def predict(images):
        return images[:, 5, 6, 0]

    curve = insertion(predict, image, at_the_spot)
    # A Gaussian of 2 px has 1 / (2 pi 4) of the spot's light in its middle.
    assert curve[0] == pytest.approx(100 / (8 * np.pi), rel=0.01)
    assert curve[1:] == pytest.approx(100)
    assert area_under(curve) > area_under(insertion(predict, image, -at_the_spot))


def test_areas():
    assert area_under(np.ones(STEPS + 1)) == pytest.approx(1)
    assert area_under(np.linspace(0, 1, 5)) == pytest.approx(0.5)


def test_ranks_are_a_permutation_and_ties_are_drawn():
    heat = np.zeros((6, 6))
    heat[2, 3] = 5
    ranks = rank_pixels(heat)
    assert ranks[2, 3] == 0
    assert sorted(ranks.ravel()) == list(range(36))
    # Not in the order of the rows, which would favour the top.
    assert not (np.diff(np.delete(ranks.ravel(), 15)) > 0).all()


def test_pointing():
    heat = np.zeros((10, 10))
    heat[4, 7] = 1  # centre at (7.5, 4.5)
    assert points_at(heat, [(Box(7, 4, 9, 9), 0)])
    assert not points_at(heat, [(Box(0, 0, 5, 5), 2)])
    assert points_at(heat, [(Box(0, 0, 5, 5), 2.5)])
    assert points_at(heat, [(Box(0, 0, 1, 1), 2), (Box(7.5, 6.5, 7.5, 6.5), 2)])
    assert not points_at(np.zeros((10, 10)), [(Box(0, 0, 10, 10), 0)])
