import numpy as np
import pytest
from hypothesis import given, settings
from random_answers import told
from sklearn import metrics as reference

from tltool.metrics.curves import best_threshold, curves, threshold_table, threshold_tables
from tltool.tasks.kinds import make_task


@settings(deadline=None, max_examples=12)
@given(told())
def test_curves_are_scikit_learns(case):
    found = curves(case)
    columns = dict(zip(case.classes, zip(case.truth.T, case.scores.T, strict=True), strict=True))
    columns["micro"] = (case.truth.ravel(), case.scores.ravel())
    assert list(found["roc"]) == list(found["precision_recall"]) == list(columns)
    for name, (truth, scores) in columns.items():
        roc, precision_recall = found["roc"][name], found["precision_recall"][name]
        assert (roc is None) == (truth.all() or not truth.any())
        assert (precision_recall is None) == (not truth.any())
        if roc is not None:
            fpr, tpr, _ = reference.roc_curve(truth, scores)
            assert roc == {"fpr": pytest.approx(fpr), "tpr": pytest.approx(tpr)}
        if precision_recall is not None:
            precision, recall, _ = reference.precision_recall_curve(
                truth, scores, drop_intermediate=True
            )
            assert precision_recall["precision"] == pytest.approx(precision)
            assert precision_recall["recall"] == pytest.approx(recall)


@settings(deadline=None, max_examples=12)
@given(told(("binary", "multi-label")))
def test_the_best_threshold_has_the_highest_f1_of_all(case):
    tables = threshold_tables(case)
    assert list(tables) == [case.classes[c] for c in case.asked]
    for name, rows in tables.items():
        c = case.classes.index(name)
        truth, scores = case.truth[:, c], case.scores[:, c]
        assert [row["threshold"] for row in rows] == sorted(row["threshold"] for row in rows)
        best = [row for row in rows if row["best"]]
        assert len(best) == (1 if truth.any() else 0)
        if best:
            f1 = [reference.f1_score(truth, scores >= t, zero_division=0) for t in scores]
            assert best[0]["f1"] == pytest.approx(max(f1))
        for row in rows:
            told = scores >= row["threshold"]
            assert (row["precision"] is None) == (not told.any())
            if told.any():
                assert row["precision"] == pytest.approx(truth[told].mean())


def test_a_table_by_hand():
    truth, scores = np.array([True, False, True, False]), np.array([0.9, 0.62, 0.6, 0.1])
    rows = {round(row["threshold"], 2): row for row in threshold_table(truth, scores)}
    assert len(rows) == 19
    assert best_threshold(truth, scores) == 0.6
    assert rows[0.6] == {
        "threshold": 0.6,
        "precision": pytest.approx(2 / 3),
        "recall": 1,
        "f1": pytest.approx(0.8),
        "best": True,
    }
    assert rows[0.65]["recall"] == 0.5
    assert rows[0.95]["precision"] is None
    assert threshold_table(truth[:0], scores[:0]) == []


def test_a_long_curve_keeps_its_ends_and_its_area():
    rng = np.random.default_rng(0)
    truth = rng.random(5000) < 0.5
    scores = truth + rng.normal(0, 1, 5000)
    scores = (scores - scores.min()) / np.ptp(scores)
    task = make_task("y", ("no", "yes"), "binary")
    case = task.answers(scores[:, None], truth[:, None].astype(float))
    roc = curves(case)["roc"]["yes"]
    assert len(roc["fpr"]) == 400
    assert (roc["fpr"][0], roc["tpr"][0], roc["fpr"][-1], roc["tpr"][-1]) == (0, 0, 1, 1)
    area = np.trapezoid(roc["tpr"], roc["fpr"])
    assert area == pytest.approx(reference.roc_auc_score(truth, scores), abs=2e-3)
