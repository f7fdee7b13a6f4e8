import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.metrics import average_precision_score

from tltool.errors import DataError
from tltool.points import matching
from tltool.points.matching import average_precision, enlarging_matches, match_points

RADIUS = 10.0


@st.composite
def crowds(draw):
    """Detections and truth so dense that most compete, on a grid (ties) or not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    number, true, side = (draw(st.integers(0, 40)) for _ in range(3))
    detections, truth = rng.uniform(0, side + 1, (number, 2)), rng.uniform(0, side + 1, (true, 2))
    if draw(st.booleans()):
        detections, truth = np.round(detections / 3) * 3, np.round(truth / 3) * 3
    return detections, truth, np.round(rng.random(number), draw(st.sampled_from([1, 6])))


def whole_matrix(detections, truth, radius=RADIUS):
    """Number of matches and total distance by scipy on all pairs."""
    apart = cdist(detections, truth)
    near = apart <= radius
    rows, columns = linear_sum_assignment(np.where(near, apart, 1e6))
    kept = near[rows, columns]
    return kept.sum(), apart[rows, columns][kept].sum()


@settings(max_examples=60, deadline=None)
@given(crowds(), st.booleans())
def test_equals_scipy_on_the_whole_matrix(crowd, sparse):
    detections, truth, _ = crowd
    with pytest.MonkeyPatch.context() as patch:
        if sparse:
            patch.setattr(matching, "_DENSE", 0)
        found = match_points(detections, truth, RADIUS)
    number, total = whole_matrix(detections, truth)
    assert len(found) == number
    assert found.distance.sum() == pytest.approx(total)
    apart = np.linalg.norm(detections[found.detection] - truth[found.truth], axis=1)
    np.testing.assert_allclose(found.distance, apart)
    assert (found.distance <= RADIUS).all()
    assert len(set(found.detection.tolist())) == number
    assert found.truth.tolist() == sorted(set(found.truth.tolist()))


def test_five_points_by_hand():
    # The first detection is nearest to the truth that the second alone could have.
    truth = np.array([[0, 0], [8, 0], [100, 100]])
    detections = np.array([[5, 0], [14, 0], [60, 60], [100, 103]])
    found = match_points(detections, truth, 6.0)
    assert found.truth.tolist() == [0, 1, 2]
    assert found.detection.tolist() == [0, 1, 3]
    assert found.distance.tolist() == [5, 6, 3]


def test_of_as_many_matches_the_nearest_are_taken():
    truth = np.array([[0, 0], [4, 0]])
    detections = np.array([[1, 0], [3, 0]])
    assert match_points(detections, truth, 5.0).detection.tolist() == [0, 1]
    assert match_points(detections[::-1], truth, 5.0).detection.tolist() == [1, 0]


def test_a_point_at_the_radius_counts_and_one_in_the_same_place():
    truth = np.array([[0.0, 0.0], [20, 0]])
    found = match_points(np.array([[3.0, 4.0], [20, 0]]), truth, 5.0)
    assert found.distance.tolist() == [5, 0]


def test_a_chain_is_matched_whole():
    # Each detection lies between two points; a greedy choice would leave the last without.
    truth = np.stack([np.arange(3000) * 10.0, np.zeros(3000)], axis=1)
    detections = truth + np.array([6.0, 0.0])
    detections[-1, 0] -= 12
    found = match_points(detections, truth, 7.0)
    assert (len(found), found.distance.max()) == (3000, 6.0)
    assert enlarging_matches(detections, truth, 7.0, -np.arange(3000)).all()


def test_nothing_to_match():
    none, one = np.zeros((0, 2)), np.zeros((1, 2))
    assert len(match_points(none, one, 5)) == len(match_points(one, none, 5)) == 0
    assert len(match_points(one, one + 9, 5)) == 0
    assert enlarging_matches(none, one, 5, np.zeros(0)).tolist() == []
    assert enlarging_matches(one, none, 5, np.zeros(1)).tolist() == [False]


@pytest.mark.parametrize(
    ("points", "radius", "message"),
    [
        ([[0, np.nan]], 5, "`detections`: expected finite positions, received NaN"),
        ([[0, 1, 2]], 5, r"`detections`: expected \(n, 2\) positions x, y; received \(1, 3\)"),
        ([[0, 1]], 0, "`radius`: expected px above 0, received 0"),
    ],
)
def test_bad_points_are_refused(points, radius, message):
    with pytest.raises(DataError, match=message):
        match_points(np.array(points), np.zeros((1, 2)), radius)


@settings(max_examples=40, deadline=None)
@given(crowds())
def test_ranked_matches_are_as_many_as_assigned_at_each_threshold(crowd):
    detections, truth, score = crowd
    right = enlarging_matches(detections, truth, RADIUS, score)
    for threshold in np.unique(score):
        above = score >= threshold
        assert right[above].sum() == len(match_points(detections[above], truth, RADIUS))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**20), st.integers(1, 30), st.integers(0, 10))
def test_average_precision_is_scikit_learns_where_it_has_one(seed, number, missed):
    rng = np.random.default_rng(seed)
    right, score = rng.random(number) < 0.6, rng.integers(0, 8, number) / 8
    right[0] = True
    reference = average_precision_score(right, score)
    found = int(right.sum())
    assert average_precision(right, score, found) == pytest.approx(reference)
    share = found / (found + missed)
    assert average_precision(right, score, found + missed) == pytest.approx(reference * share)


def test_average_precision_by_hand():
    right, score = np.array([1, 0, 1, 1], bool), np.array([0.9, 0.8, 0.7, 0.7])
    # Recall 1/5 at precision 1, then 3/5 at 3/4, where two detections share a score.
    assert average_precision(right, score, 5) == pytest.approx(1 / 5 + 2 / 5 * 3 / 4)
    assert average_precision(right[:0], score[:0], 5) == 0
    assert average_precision(right[:0], score[:0], 0) is None
