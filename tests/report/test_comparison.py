import numpy as np
import pytest
from sklearn.metrics import f1_score

from tltool.metrics.baselines import Baseline
from tltool.report.comparison import compare, mean_interval
from tltool.tasks.kinds import make_task

ZOO = make_task("zoo", ("bird", "none", "seal"))
SEEN = make_task("seen", ("boat", "person"), "multi-label")


def baseline(told, places=None):
    told = np.array(told)
    places = np.arange(len(told)) if places is None else np.array(places)
    return Baseline("guess", "", told, places, 0.1)


def test_accuracies_and_gain_are_of_the_same_images():
    targets = ZOO.encode([(0,), (1,), (2,), (2,)])
    probabilities = np.float32([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]])
    # Asked about the second and third image alone: right and wrong, as the network is.
    rows = compare(ZOO, probabilities, targets, np.arange(4), [baseline([0, 2], [1, 2])])
    assert [row.images for row in rows] == [2, 4]
    assert rows[0].score == 0.5
    assert rows[0].gain == 0.0
    assert (rows[1].score, rows[1].gain) == (0.75, None)
    expected = f1_score([1, 2], [0, 2], labels=[0, 1, 2], average="macro", zero_division=0)
    assert rows[0].other == pytest.approx(expected)


def test_places_lead_to_the_labelled_images():
    targets = ZOO.encode([None, (1,), None, (2,)])
    outputs = np.float32(np.eye(3)[[0, 1, 1, 2]])
    rows = compare(ZOO, outputs, targets, np.array([1]), [baseline([2])])
    assert (rows[0].images, rows[0].score, rows[1].images) == (1, 1.0, 2)


def test_of_several_labels_each_counts():
    targets = SEEN.encode([(0,), (0, 1)])
    outputs = np.float32([[0.9, 0.1], [0.9, 0.1]])
    rows = compare(SEEN, outputs, targets, np.arange(2), [baseline([[0, 0], [0, 0]])])
    assert rows[1].score == 0.75
    assert (rows[0].score, rows[0].gain) == (0.25, 0.5)


def test_the_interval_of_a_mean_holds_it_and_is_of_the_right_width():
    values = np.repeat([0.0, 1.0], [150, 250])
    low, high = mean_interval(values)
    assert low < values.mean() < high
    # The normal approximation: 1.96 standard errors either way.
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.625 * 0.375 / 400), rel=0.15)


def test_groups_are_drawn_whole():
    values = np.repeat([0.0, 1.0] * 10, 20)
    alone = mean_interval(values)
    grouped = mean_interval(values, [str(k // 20) for k in range(400)])
    assert grouped[1] - grouped[0] > 3 * (alone[1] - alone[0])


def test_one_image_has_no_interval():
    assert mean_interval(np.array([1.0])) is None
