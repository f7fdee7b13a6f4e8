"""Calibration as scikit-learn and the paper have it, and the temperature that mends it."""

import numpy as np
import pytest
from hypothesis import given, settings
from random_answers import told
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator

from tltool.metrics.calibration import (
    BINS,
    at_temperature,
    calibration,
    compared,
    fit_temperature,
    soften,
)
from tltool.metrics.measures import losses
from tltool.tasks.kinds import make_task

FOUR = make_task("label", ("a", "b", "c", "d"))


def overconfident(task, temperature, number=4000, seed=0):
    """Answers whose scores were multiplied by a temperature, so that it is what mends them."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1.5, (number, task.outputs))
    if task.kind == "multi-class":
        labels = [(int(rng.choice(len(p), p=p)),) for p in softmax(scores, axis=1)]
        said = softmax(temperature * scores, axis=1)
    else:
        hot = rng.random(scores.shape) < expit(scores)
        labels = [
            (int(row[0]),) if task.kind == "binary" else tuple(np.flatnonzero(row)) for row in hot
        ]
        said = expit(temperature * scores)
    return task.answers(said, task.encode(labels))


@settings(deadline=None, max_examples=15)
@given(told())
def test_the_curve_is_scikit_learns_and_the_error_its_weighted_gaps(case):
    error, curve = calibration(case)
    probability, right = (values.ravel() for values in compared(case))
    frequency, confidence = calibration_curve(right, probability, n_bins=BINS)
    assert [row["frequency"] for row in curve] == pytest.approx(frequency)
    assert [row["confidence"] for row in curve] == pytest.approx(confidence)
    number = np.array([row["samples"] for row in curve])
    assert number.sum() == len(probability)
    gaps = np.abs(frequency - confidence)
    assert error == pytest.approx((gaps * number).sum() / number.sum())
    for row in curve:
        assert row["low"] - 1e-9 <= row["confidence"] <= row["high"] + 1e-9


def test_the_error_by_hand():
    scores = [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]
    case = make_task("label", ("a", "b")).answers(np.array(scores), np.eye(2)[[0, 0, 1, 0, 1]])
    # Sure 0.9 three times and right two of them; once 0.8 and 0.7, and right.
    expected = (abs(2.7 - 2) + abs(0.8 - 1) + abs(0.7 - 1)) / 5
    assert calibration(case)[0] == pytest.approx(expected)
    task = make_task("yes", ("no", "yes"), "binary")
    positive = task.answers(np.array([[0.1], [0.1]]), np.array([[0.0], [1.0]]))
    # Of a binary task it is the positive's probability, also where the negative is told.
    assert calibration(positive)[0] == pytest.approx(0.4)
    assert calibration(FOUR.answers(np.zeros((1, 4)), np.full((1, 4), -1.0))) == (None, [])


@pytest.mark.parametrize("kind", ["multi-class", "binary", "multi-label"])
@pytest.mark.parametrize("temperature", [0.5, 2.5])
def test_the_temperature_that_spoilt_the_probabilities_is_found(kind, temperature):
    task = make_task("label", FOUR.classes[: 2 if kind == "binary" else 4], kind)
    case = overconfident(task, temperature)
    found = fit_temperature(case)
    assert found == pytest.approx(temperature, rel=0.1)
    mended = at_temperature(case, found)
    assert losses(mended)["log_loss"] < losses(case)["log_loss"]
    assert calibration(mended)[0] < calibration(case)[0]
    np.testing.assert_array_equal(mended.decided, case.decided)


class _Scores(ClassifierMixin, BaseEstimator):
    """A classifier whose scores are its inputs."""

    def fit(self, x, y):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, x):
        return x

    def predict(self, x):
        return x.argmax(axis=1)


def test_the_temperature_is_scikit_learns():
    case = overconfident(FOUR, 1.8, number=500)
    scores, labels = np.log(case.scores), case.labels
    frozen = FrozenEstimator(_Scores().fit(scores, labels))
    reference = CalibratedClassifierCV(frozen, method="temperature").fit(scores, labels)
    expected = reference.predict_proba(scores)
    found = at_temperature(case, fit_temperature(case)).scores
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_images_that_do_not_determine_a_temperature():
    sure = np.full((6, 4), 0.1) + 0.6 * np.eye(4)[[0, 1, 2, 3, 0, 1]]
    right = np.eye(4)[[0, 1, 2, 3, 0, 1]]
    assert fit_temperature(FOUR.answers(sure, right)) is None
    assert fit_temperature(FOUR.answers(sure, np.roll(right, 1, axis=1))) is None
    assert fit_temperature(FOUR.answers(sure, np.full((6, 4), -1.0))) is None


def test_softening_by_hand():
    np.testing.assert_allclose(soften(np.array([[0.8, 0.2]]), 2, True), [[2 / 3, 1 / 3]])
    np.testing.assert_allclose(soften(np.array([[0.8]]), 2, False), [[2 / 3]])
    kept = soften(np.array([[0.0, 1.0, 0.3]]), 1.0, False)
    np.testing.assert_allclose(kept, [[0, 1, 0.3]], atol=1e-9)
