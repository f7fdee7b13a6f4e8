import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tltool.explanation.boxes import Box, find_box, localise

HEAT = np.array(
    [
        [0.0, 0.1, 0.0, 0.0, 0.9],
        [0.0, 0.5, 0.4, 0.0, 1.0],
        [0.0, 0.3, 0.0, 0.1, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0],
    ]
)


def test_the_largest_part_above_a_fifth_of_the_maximum():
    # 0.5, 0.4 and 0.3 touch; 0.9 and 1 are one less, though higher; 0.1 is below 0.2.
    assert find_box(HEAT) == Box(1, 1, 3, 3)


def test_the_threshold_is_a_share_of_the_maximum():
    assert find_box(HEAT, 0.6) == Box(4, 0, 5, 2)
    assert find_box(7 * HEAT, 0.05) == Box(1, 0, 3, 3)


def test_corners_do_not_connect():
    assert find_box(np.array([[1.0, 0, 0], [0, 1, 1]])) == Box(1, 1, 3, 2)


def test_nothing_positive_has_no_box():
    assert find_box(np.zeros((3, 3))) is None
    assert find_box(np.full((3, 3), -1.0)) is None
    # Below zero is not heat, however small the share.
    assert find_box(np.array([[-1.0, 0, 2]]), 0.01) == Box(2, 0, 3, 1)


def test_iou_by_hand():
    # 2 x 2 and 3 x 2 share 1 x 2: 2 / (4 + 6 - 2)
    assert Box(0, 0, 2, 2).iou(Box(1, 0, 4, 2)) == pytest.approx(0.25)
    assert Box(0, 0, 2, 2).iou(Box(2, 0, 4, 2)) == 0
    assert Box(3, 3, 3, 3).iou(Box(3, 3, 3, 3)) == 0


corners = st.tuples(
    *[st.floats(-50, 50) for _ in range(2)], *[st.floats(0.1, 50) for _ in range(2)]
)


@given(corners, corners)
def test_iou_is_a_share_and_symmetric(one, other):
    a, b = (Box(x, y, x + w, y + h) for x, y, w, h in (one, other))
    assert 0 <= a.iou(b) <= 1 + 1e-9
    assert a.iou(b) == pytest.approx(b.iou(a))
    assert a.iou(a) == pytest.approx(1)


def test_distance_to_a_point():
    box = Box(2, 2, 4, 6)
    assert box.distance(3, 5) == 0
    assert box.distance(7, 10) == pytest.approx(5)


def test_localisation_counts():
    found = localise([(0.5, True), (0.8, False), (0.2, True), (0.9, None)])
    assert found.images == 4
    assert found.mean_iou == pytest.approx(0.6)
    assert found.accuracy == pytest.approx(0.75)
    # Of the three whose class is known, one is right in both.
    assert found.accuracy_with_class == pytest.approx(1 / 3)
    assert localise([]) is None
    assert localise([(1.0, None)]).accuracy_with_class is None
