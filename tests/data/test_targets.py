import numpy as np
import pytest

from tltool.data.targets import UNLABELLED, Targets
from tltool.errors import UsageError


def test_arrays_are_taken_as_they_should_be():
    found = Targets(np.eye(3, dtype=bool), [(0, 0, 2, 3)], keypoints=[(1, 2), (np.nan, np.nan)])
    assert found.mask.dtype == np.uint8
    assert found.boxes.tolist() == [[0, 0, 2, 3]]
    assert found.box_classes.tolist() == [0]
    assert found.keypoints.shape == (2, 2)
    assert found.kinds == {"mask", "boxes", "keypoints"}
    assert Targets().kinds == frozenset()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mask": np.zeros((2, 2, 3), int)}, r"`mask`: expected whole numbers of shape \(n, n\)"),
        ({"mask": np.zeros((2, 2))}, "`mask`: expected whole numbers"),
        ({"mask": np.full((2, 2), 256)}, r"`mask`: expected classes in 0..255, received 256"),
        ({"mask": np.full((2, 2), -1)}, r"`mask`: expected classes in 0..255, received -1"),
        ({"boxes": [(1, 2, 3)]}, r"`boxes`: expected numbers of shape \(n, 4\)"),
        ({"boxes": [(5, 2, 3, 4)]}, "`boxes`: expected xmin, ymin, xmax, ymax"),
        ({"boxes": [(5, 2, np.nan, 4)]}, "`boxes`: expected xmin, ymin, xmax, ymax"),
        ({"boxes": [(1, 2, 3, 4)], "box_classes": [1, 2]}, "`box_classes`: expected one for each"),
        ({"keypoints": [1, 2]}, r"`keypoints`: expected numbers of shape \(n, 2\)"),
        ({"keypoints": [("a", "b")]}, "`keypoints`: expected numbers"),
    ],
)
def test_wrong_arrays_are_named(wrong, message):
    with pytest.raises(UsageError, match=message):
        Targets(**wrong)


def test_enlarged_twice():
    mask = np.array([[0, 1], [2, 3]])
    targets = Targets(mask, [(0, 0, 1, 2)], [4], [(1.5, 0.5), (np.nan, np.nan)])
    found = targets.warped(np.array([[2.0, 0, 0], [0, 2, 0]]), (4, 4))
    np.testing.assert_array_equal(found.mask, np.kron(mask, np.ones((2, 2))))
    assert found.boxes.tolist() == [[0, 0, 2, 4]]
    assert found.box_classes.tolist() == [4]
    np.testing.assert_array_equal(found.keypoints, [(3, 1), (np.nan, np.nan)])


def test_cut_out_of_the_middle():
    mask = np.arange(16).reshape(4, 4)
    boxes = [(0, 0, 2, 2), (0, 0, 1.05, 4), (3, 3, 4, 4), (1, 1, 1, 3)]
    targets = Targets(mask, boxes, [1, 2, 3, 4], [(1, 1), (0.5, 2)])
    found = targets.warped(np.array([[1.0, 0, -1], [0, 1, -1]]), (2, 2))
    np.testing.assert_array_equal(found.mask, [[5, 6], [9, 10]])
    # A quarter of the first is left; a fortieth of the second, and nothing of the others.
    assert found.boxes.tolist() == [[0, 0, 1, 1]]
    assert found.box_classes.tolist() == [1]
    np.testing.assert_array_equal(found.keypoints, [(0, 0), (np.nan, np.nan)])


def test_nothing_is_known_beyond_the_image():
    targets = Targets(np.ones((2, 2), int))
    found = targets.warped(np.array([[1.0, 0, 1], [0, 1, 0]]), (2, 3))
    np.testing.assert_array_equal(found.mask, [[UNLABELLED, 1, 1]] * 2)
