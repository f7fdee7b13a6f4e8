"""Every number is scikit-learn's, on random and degenerate answers; some are solved by hand."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_answers import told
from sklearn import metrics as reference
from sklearn.utils.multiclass import type_of_target

from tltool.metrics.measures import measures
from tltool.tasks.kinds import make_task

AVERAGES = ("macro", "weighted", "micro")


def same(found, expected):
    """Equal; None is scikit-learn's NaN."""
    if found is None:
        assert np.isnan(expected)
    else:
        assert found == pytest.approx(float(expected), abs=1e-9)


def ignoring(function, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **options)


@settings(deadline=None, max_examples=15)
@given(told(), st.sampled_from([0.5, 2.0]))
def test_rates_and_their_averages_are_scikit_learns(case, beta):
    found = measures(case, beta, 3)
    truth, predicted = case.truth.astype(int), case.decided.astype(int)
    if case.exclusive:
        # As labels, not as the questions that tltool makes of them.
        truth, predicted = case.labels, case.predicted
        options = {"labels": np.arange(len(case.classes)), "zero_division": np.nan}
    elif type_of_target(truth) == "binary":
        # One label: the averages are the label's.
        options = {"labels": [1], "zero_division": np.nan}
    else:
        options = {"zero_division": np.nan}
    keys = ("precision", "recall", "f1")
    for average in (None, *AVERAGES):
        options["average"] = average
        expected = ignoring(reference.precision_recall_fscore_support, truth, predicted, **options)
        weighted = ignoring(reference.fbeta_score, truth, predicted, beta=beta, **options)
        expected = dict(zip((*keys, "f_beta"), (*expected[:3], weighted), strict=True))
        for key, values in expected.items():
            if average is None:
                for numbers, value in zip(found["classes"].values(), values, strict=True):
                    same(numbers[key], value)
            else:
                same(found[average][key], values)


@settings(deadline=None, max_examples=15)
@given(told(("multi-class", "binary")))
def test_numbers_of_one_class_an_image_are_scikit_learns(case):
    found, every = measures(case, 2.0, 4), np.arange(len(case.classes))
    labels, predicted = case.labels, case.predicted
    same(found["accuracy"], reference.accuracy_score(labels, predicted))
    same(found["balanced_accuracy"], ignoring(reference.balanced_accuracy_score, labels, predicted))
    same(found["kappa"], ignoring(reference.cohen_kappa_score, labels, predicted, labels=every))
    same(found["log_loss"], ignoring(reference.log_loss, labels, case.scores, labels=every))
    same(found["brier"], reference.brier_score_loss(labels, case.scores, labels=every))
    matrix = reference.confusion_matrix(labels, predicted, labels=every)
    assert found["confusion"] == matrix.tolist()
    for row, normalised in zip(matrix, found["confusion_normalised"], strict=True):
        assert normalised == (
            [None] * len(row) if not row.any() else pytest.approx(row / row.sum())
        )
    expected = {
        str(k): reference.top_k_accuracy_score(labels, case.scores, k=k, labels=every)
        for k in range(2, min(4, len(every) - 1) + 1)
    }
    assert found.get("top_k", {}) == pytest.approx(expected)


@settings(deadline=None, max_examples=15)
@given(told())
def test_areas_are_scikit_learns(case):
    found = measures(case, 2.0, 3)
    truth, scores = case.truth, case.scores
    for c, numbers in enumerate(found["classes"].values()):
        yes = truth[:, c].sum()
        assert numbers["samples"] == yes
        both = 0 < yes < len(case)
        assert (numbers["roc_auc"] is not None) == both
        assert (numbers["average_precision"] is not None) == (yes > 0)
        if both:
            same(numbers["roc_auc"], reference.roc_auc_score(truth[:, c], scores[:, c]))
        if yes:
            same(
                numbers["average_precision"],
                reference.average_precision_score(truth[:, c], scores[:, c]),
            )
    present = (truth.any(axis=0) & ~truth.all(axis=0)).all() and truth.shape[1] > 1
    for average in AVERAGES if present else ():
        options = {"average": average}
        same(found[average]["roc_auc"], reference.roc_auc_score(truth, scores, **options))
        expected = reference.average_precision_score(truth, scores, **options)
        same(found[average]["average_precision"], expected)
    if present and not case.asked and truth.shape[1] > 2:
        expected = reference.roc_auc_score(case.labels, scores, multi_class="ovr")
        same(found["macro"]["roc_auc"], expected)


@settings(deadline=None, max_examples=12)
@given(told(("multi-label",)))
def test_numbers_of_several_labels_are_scikit_learns(case):
    found, truth = measures(case, 2.0, 3), case.truth
    same(found["subset_accuracy"], reference.accuracy_score(truth, case.decided))
    same(found["hamming_loss"], reference.hamming_loss(truth, case.decided))
    same(found["accuracy"], 1 - reference.hamming_loss(truth, case.decided))
    columns = list(zip(truth.T, case.scores.T, strict=True))
    losses = [ignoring(reference.log_loss, t, s, labels=[False, True]) for t, s in columns]
    same(found["log_loss"], np.mean(losses))
    same(found["brier"], np.mean([((t - s) ** 2).mean() for t, s in columns]))
    assert found["mean_average_precision"] == found["macro"]["average_precision"]
    assert "kappa" not in found


@settings(deadline=None, max_examples=15)
@given(told())
def test_nothing_is_printed_and_json_knows_every_number(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        json.dumps(measures(case, 2.0, 3), allow_nan=False)


def test_specificity_is_the_recall_of_what_is_not_the_class():
    task = make_task("label", ("a", "b", "c"))
    truth = np.eye(3)[[0, 0, 1, 1, 2]]
    scores = np.eye(3)[[0, 1, 1, 1, 0]]
    found = measures(task.answers(scores, truth), 2.0, 3)
    # Of 3 images that are no a, one is told to be a; of 3 that are no b, one is told to be b.
    expected = {"a": 2 / 3, "b": 2 / 3, "c": 1.0}
    assert {n: c["specificity"] for n, c in found["classes"].items()} == pytest.approx(expected)
    assert found["macro"]["specificity"] == pytest.approx(7 / 9)
    assert found["weighted"]["specificity"] == pytest.approx((2 * 2 / 3 + 2 * 2 / 3 + 1) / 5)
    assert found["micro"]["specificity"] == pytest.approx(8 / 10)


@pytest.mark.parametrize("kind", ["multi-class", "binary", "multi-label"])
def test_without_a_labelled_image_everything_is_undefined(kind):
    task = make_task("label", ("a", "b"), kind)
    unlabelled = np.full((3, task.outputs), -1.0)
    found = measures(task.answers(np.full((3, task.outputs), 0.5), unlabelled), 2.0, 3)
    alone = {"accuracy", "log_loss", "brier"} & set(found)
    assert [found[key] for key in alone] == [None] * 3
    assert set(found["macro"].values()) == set(found["micro"].values()) == {None}
    assert {c["samples"] for c in found["classes"].values()} == {0}


def test_one_image_has_no_area_and_a_class_never_told_no_precision():
    task = make_task("label", ("a", "b"))
    found = measures(task.answers(np.array([[0.9, 0.1]]), np.array([[1.0, 0.0]])), 2.0, 3)
    assert (found["accuracy"], found["kappa"]) == (1, None)
    assert found["classes"]["a"]["roc_auc"] is None
    assert found["classes"]["b"]["precision"] is None
    assert found["classes"]["b"]["specificity"] == 1
