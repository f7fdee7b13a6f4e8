import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from tltool.metrics.classification import classification_metrics, confusion_matrix


@st.composite
def judged(draw):
    """Probabilities, labels and names; some classes may never occur."""
    classes, number = draw(st.integers(2, 6)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    probabilities = rng.dirichlet(np.full(classes, draw(st.sampled_from([0.1, 1.0]))), number)
    labels = rng.integers(0, draw(st.integers(1, classes)), number)
    return probabilities, labels, [f"class {i}" for i in range(classes)]


@settings(deadline=None, max_examples=60)
@given(judged())
def test_agrees_with_scikit_learn(case):
    probabilities, labels, names = case
    every = np.arange(len(names))
    predicted = probabilities.argmax(axis=1)
    found = classification_metrics(probabilities, labels, names)
    assert found["samples"] == len(labels)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted))
    assert found["log_loss"] == pytest.approx(
        reference.log_loss(labels, np.clip(probabilities, 1e-12, 1), labels=every), rel=1e-6
    )
    matrix = reference.confusion_matrix(labels, predicted, labels=every)
    assert found["confusion"] == matrix.tolist()
    options = {"labels": every, "average": None, "zero_division": np.nan}
    precision = reference.precision_score(labels, predicted, **options)
    recall = reference.recall_score(labels, predicted, **options)
    for i, name in enumerate(names):
        of_class = found["classes"][name]
        assert of_class["precision"] == (None if np.isnan(precision[i]) else precision[i])
        assert of_class["recall"] == (None if np.isnan(recall[i]) else recall[i])
        assert of_class["samples"] == (labels == i).sum()


def test_four_samples_by_hand():
    probabilities = np.array([[0.8, 0.2], [0.6, 0.4], [0.5, 0.5], [0.1, 0.9]])
    found = classification_metrics(probabilities, np.array([0, 1, 1, 1]), ["sea", "pup"])
    assert found["confusion"] == [[1, 0], [2, 1]]
    assert found["accuracy"] == 0.5
    assert found["log_loss"] == pytest.approx(-math.log(0.8 * 0.4 * 0.5 * 0.9) / 4)
    assert found["classes"] == {
        "sea": {"precision": pytest.approx(1 / 3), "recall": 1.0, "samples": 1},
        "pup": {"precision": 1.0, "recall": pytest.approx(1 / 3), "samples": 3},
    }


def test_rows_of_the_confusion_matrix_are_the_truth():
    matrix = confusion_matrix(np.array([0, 0, 2]), np.array([1, 1, 2]), 3)
    assert matrix.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.int64])
def test_any_integer_type_counts_right(dtype):
    labels = np.arange(30).astype(dtype)
    assert (confusion_matrix(labels, labels, 30) == np.eye(30)).all()


def test_no_sample_is_undefined_not_zero():
    found = classification_metrics(np.zeros((0, 2)), np.zeros(0, int), ["a", "b"])
    assert (found["samples"], found["accuracy"], found["log_loss"]) == (0, None, None)
    assert found["classes"]["a"] == {"precision": None, "recall": None, "samples": 0}
    assert found["confusion"] == [[0, 0], [0, 0]]


def test_class_never_told_and_class_never_there_are_undefined():
    found = classification_metrics(
        np.array([[0.9, 0.1, 0.0]] * 3), np.array([0, 1, 1]), ["a", "b", "c"]
    )
    assert found["classes"]["a"]["precision"] == pytest.approx(1 / 3)
    assert found["classes"]["b"] == {"precision": None, "recall": 0.0, "samples": 2}
    assert found["classes"]["c"] == {"precision": None, "recall": None, "samples": 0}


def test_one_class_alone():
    found = classification_metrics(np.ones((4, 1)), np.zeros(4, int), ["only"])
    assert (found["accuracy"], found["log_loss"]) == (1.0, 0.0)


def test_certain_and_wrong_has_a_finite_loss():
    loss = classification_metrics(np.array([[1.0, 0.0]]), np.array([1]), ["a", "b"])["log_loss"]
    assert loss == pytest.approx(-math.log(1e-12))


def test_numbers_can_be_written_as_json():
    probabilities = np.random.default_rng(0).dirichlet([1, 1], 9).astype(np.float32)
    found = classification_metrics(probabilities, np.arange(9) % 2, ["a", "b"])
    assert json.loads(json.dumps(found)) == found
