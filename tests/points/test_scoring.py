import json
from dataclasses import asdict

import numpy as np
import pytest
from sklearn import metrics as reference

from tltool.errors import DataError
from tltool.points.scoring import Scene, mean_columnwise_rmse, score_points

NAMES = ("pup", "bull")


def scene(detections=(), truth=(), gsd=None):
    """From (x, label, score) of detections and (x, label) of true points on a line."""
    return Scene(
        np.array([(x, 0) for x, *_ in detections]).reshape(-1, 2),
        np.array([label for _, label, _ in detections]),
        np.array([score for *_, score in detections]),
        np.array([(x, 0) for x, _ in truth]).reshape(-1, 2),
        np.array([label for _, label in truth]),
        gsd,
    )


# Matched: 0 and 100 (1 and 4 px off, both right), 200 (2 px off, told a pup); missed: 300.
FIRST = scene(
    [(1, "pup", 0.9), (104, "bull", 0.8), (198, "pup", 0.7), (500, "bull", 0.6)],
    [(0, "pup"), (100, "bull"), (200, "bull"), (300, "pup")],
    gsd=0.5,
)
SECOND = scene([(60, "pup", 0.95)], [])


def test_two_images_by_hand():
    found = score_points([FIRST, SECOND], 10.0, NAMES)
    every = found.any
    assert (every.tp, every.fp, every.fn) == (3, 2, 1)
    assert (every.precision, every.recall, every.f1) == (0.6, 0.75, pytest.approx(2 / 3))
    # Ranked: wrong, right, right, right, wrong.
    assert every.average_precision == pytest.approx((1 / 2 + 2 / 3 + 3 / 4) / 4)
    pup, bull = found.classes["pup"], found.classes["bull"]
    assert (pup.tp, pup.fp, pup.fn) == (1, 2, 1)
    assert (bull.tp, bull.fp, bull.fn) == (1, 1, 1)
    assert found.confusion == [[1, 0], [1, 1]]
    assert (found.localisation.mean, found.localisation.median) == (pytest.approx(7 / 3), 2)
    assert found.localisation.mean_metres == pytest.approx(7 / 6)
    # Pups 2 of 2 and 1 of 0, bulls 2 of 2 and 0 of 0.
    assert (found.counts["pup"].mae, found.counts["pup"].bias) == (0.5, 0.5)
    assert found.counts["pup"].rmse == pytest.approx(0.5**0.5)
    assert (found.counts["bull"].mae, found.any_count.rmse) == (0, pytest.approx(0.5**0.5))
    assert found.mean_columnwise_rmse == pytest.approx(0.5**0.5 / 2)
    assert json.loads(json.dumps(asdict(found)))["any"]["tp"] == 3


def test_metres_are_those_of_the_images_that_know_them():
    far = scene([(6, "pup", 0.9)], [(0, "pup")])
    found = score_points([FIRST, far], 10.0, NAMES).localisation
    assert found.mean == pytest.approx(13 / 4)
    assert found.mean_metres == pytest.approx(7 / 6)
    assert score_points([far], 10.0, NAMES).localisation.mean_metres is None


def test_a_detection_of_another_class_is_false_and_its_point_missed():
    found = score_points([scene([(0, "pup", 0.9)], [(0, "bull")])], 5.0, NAMES)
    assert (found.any.tp, found.any.fp, found.any.fn) == (1, 0, 0)
    assert (found.classes["pup"].fp, found.classes["bull"].fn) == (1, 1)
    assert found.classes["pup"].recall is None
    assert found.classes["bull"].precision is None


def test_nothing_is_undefined_not_zero():
    found = score_points([], 5.0, NAMES)
    assert (found.any.precision, found.any.average_precision) == (None, None)
    assert (found.any_count, found.counts, found.mean_columnwise_rmse) == (None, {}, None)
    assert found.localisation.mean is None
    empty = score_points([scene()], 5.0, NAMES)
    assert (empty.any.f1, empty.counts["pup"].mae) == (None, 0)


def test_agrees_with_scikit_learn():
    # Each detection has one true point in reach, or none: matching is beyond doubt.
    rng = np.random.default_rng(0)
    labels = rng.choice(NAMES, (200, 2))
    there = rng.random(200) < 0.7
    score = rng.random(200)
    places = np.arange(200) * 50
    told = [(x, label, s) for x, (label, _), s in zip(places, labels, score, strict=True)]
    true = [(x + 3, label) for x, (_, label) in zip(places[there], labels[there], strict=True)]
    found = score_points([scene(told, true)], 10.0, NAMES)
    confused = reference.confusion_matrix(labels[there, 1], labels[there, 0], labels=NAMES)
    assert found.confusion == confused.tolist()
    assert found.any.average_precision == pytest.approx(
        reference.average_precision_score(there, score)
    )
    for name in NAMES:
        of_true, of_told = (labels[:, 1] == name) & there, labels[:, 0] == name
        of_class = found.classes[name]
        assert of_class.precision == pytest.approx(reference.precision_score(of_true, of_told))
        assert of_class.recall == pytest.approx(reference.recall_score(of_true, of_told))
        assert of_class.f1 == pytest.approx(reference.f1_score(of_true, of_told))


def test_mean_columnwise_rmse_is_the_mean_over_classes_of_the_root_over_images():
    told, true = np.array([[1, 0], [5, 2]]), np.array([[0, 0], [8, 2]])
    assert mean_columnwise_rmse(told, true) == pytest.approx((5**0.5 + 0) / 2)
    by_column = [reference.root_mean_squared_error(true[:, k], told[:, k]) for k in (0, 1)]
    assert mean_columnwise_rmse(told, true) == pytest.approx(np.mean(by_column))


def test_unknown_labels_are_named():
    with pytest.raises(DataError, match=r"truth: expected labels of pup, bull; received cow"):
        score_points([scene([], [(0, "cow")])], 5.0, NAMES)
    with pytest.raises(DataError, match=r"detections: expected labels of .* received sea"):
        score_points([scene([(0, "sea", 0.5)], [])], 5.0, NAMES)
