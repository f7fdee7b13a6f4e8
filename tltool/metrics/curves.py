"""ROC and precision-recall curves, and what each threshold of a probability gives."""

from typing import Any

import numpy as np

from tltool.metrics.answers import Answers
from tltool.metrics.measures import divide, number, quiet, scikit

MICRO = "micro"

# A curve of more points is drawn no finer.
_POINTS = 400
# Of the table of thresholds.
_STEPS = np.arange(1, 20) / 20


def _thinned(*columns: np.ndarray) -> list[list[float]]:
    """Evenly chosen points of a curve, first and last among them."""
    length = len(columns[0])
    places = np.unique(np.linspace(0, length - 1, min(length, _POINTS)).round().astype(int))
    return [column[places].tolist() for column in columns]


def _roc(truth: np.ndarray, scores: np.ndarray) -> dict[str, list[float]] | None:
    if truth.all() or not truth.any():
        return None
    fpr, tpr = _thinned(*scikit().roc_curve(truth, scores)[:2])
    return {"fpr": fpr, "tpr": tpr}


def _precision_recall(truth: np.ndarray, scores: np.ndarray) -> dict[str, list[float]] | None:
    if not truth.any():
        return None
    found = scikit().precision_recall_curve(truth, scores, drop_intermediate=True)
    precision, recall = _thinned(*found[:2])
    return {"recall": recall, "precision": precision}


def curves(answers: Answers) -> dict[str, dict[str, Any]]:
    """Curves of each class against the rest and of all of them as one question.

    Returns
    -------
    dict
        ``roc`` and ``precision_recall``, each class or "micro" -> its points,
        thinned to 400 at most; None where a class has no image, or for ROC
        no other image. The areas in the metrics are those of the whole curves.
    """
    columns = dict(
        zip(answers.classes, zip(answers.truth.T, answers.scores.T, strict=True), strict=True)
    )
    columns[MICRO] = (answers.truth.ravel(), answers.scores.ravel())
    with quiet():
        return {
            "roc": {name: _roc(*pair) for name, pair in columns.items()},
            "precision_recall": {name: _precision_recall(*pair) for name, pair in columns.items()},
        }


def best_threshold(truth: np.ndarray, scores: np.ndarray) -> float | None:
    """Find the probability from which on yes gives the highest F1; None without a yes."""
    if not truth.any():
        return None
    precision, recall, thresholds = scikit().precision_recall_curve(truth, scores)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return float(thresholds[f1[:-1].argmax()])


def threshold_table(truth: np.ndarray, scores: np.ndarray) -> list[dict[str, Any]]:
    """Precision, recall and F1 where yes is predicted from a probability on.

    Parameters
    ----------
    truth : (n,) bool array
    scores : (n,) array

    Returns
    -------
    list of dict
        At 0.05, 0.1 .. 0.95 and at the threshold of the highest F1, which is
        ``best``; empty without an image.
    """
    if not len(truth):
        return []
    with quiet():
        best = best_threshold(truth, scores)
    steps = np.array(sorted({*_STEPS.tolist(), *([] if best is None else [best])}))
    predicted = scores[:, None] >= steps
    hit, yes, true = (truth[:, None] & predicted).sum(axis=0), predicted.sum(axis=0), truth.sum()
    rates = {
        "threshold": steps,
        "precision": divide(hit, yes),
        "recall": divide(hit, true),
        "f1": divide(2 * hit, yes + true),
    }
    rows = [
        dict(zip(rates, map(number, row), strict=True)) for row in zip(*rates.values(), strict=True)
    ]
    return [{**row, "best": row["threshold"] == best} for row in rows]


def threshold_tables(answers: Answers) -> dict[str, list[dict[str, Any]]]:
    """Tables of each label of several, or of the positive of a binary task, by class."""
    return {
        answers.classes[c]: threshold_table(answers.truth[:, c], answers.scores[:, c])
        for c in answers.asked
    }
