"""The numbers of a task by scikit-learn: of each class, averaged, and of all images together."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn import metrics as sklearn

from tltool.evaluation.answers import Answers
from tltool.evaluation.metrics import confusion_matrix

Number = float | None

# Of a class; `averages` takes the mean of each.
MEASURES = (
    "precision",
    "recall",
    "f1",
    "f_beta",
    "specificity",
    "roc_auc",
    "average_precision",
)

_SCORES = {
    "accuracy": sklearn.accuracy_score,
    "balanced_accuracy": sklearn.balanced_accuracy_score,
    "kappa": sklearn.cohen_kappa_score,
}


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of scikit-learn on what is undefined: it is None in the result."""
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")
        yield


def number(value: Any) -> Number:
    """A float, or None for one that is undefined."""
    return float(value) if value is not None and math.isfinite(value) else None


def question(
    truth: np.ndarray, told: np.ndarray, scores: np.ndarray, beta: float
) -> dict[str, Any]:
    """The numbers of one yes-or-no question.

    Parameters
    ----------
    truth, told : (n,) bool arrays
    scores : (n,) array
        Probability of yes.
    beta : float

    Returns
    -------
    dict
        `MEASURES`; None where undefined: precision without a yes told, recall
        without a true yes, specificity without a true no, F without either
        yes, the area under the ROC curve without both, average precision
        without a true yes.
    """
    if not len(truth):
        return dict.fromkeys(MEASURES)
    kept = {"zero_division": np.nan}
    yes, no = bool(truth.any()), not truth.all()
    found = (
        sklearn.precision_score(truth, told, **kept),
        sklearn.recall_score(truth, told, **kept),
        sklearn.f1_score(truth, told, **kept),
        sklearn.fbeta_score(truth, told, beta=beta, **kept),
        sklearn.recall_score(truth, told, pos_label=False, **kept),
        sklearn.roc_auc_score(truth, scores) if yes and no else None,
        sklearn.average_precision_score(truth, scores) if yes else None,
    )
    return dict(zip(MEASURES, map(number, found), strict=True))


def _mean(values: list[Number], weights: np.ndarray) -> Number:
    pairs = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None]
    total = sum(w for _, w in pairs)
    return number(sum(v * w for v, w in pairs) / total) if total else None


def by_class(told: Answers, beta: float) -> dict[str, dict[str, Any]]:
    """The numbers of each class against the rest, and ``samples``, its true images."""
    return {
        name: {
            "samples": int(told.truth[:, c].sum()),
            **question(told.truth[:, c], told.told[:, c], told.scores[:, c], beta),
        }
        for c, name in enumerate(told.task.classes)
    }


def averages(told: Answers, classes: dict[str, dict[str, Any]], beta: float) -> dict[str, Any]:
    """``macro``, ``weighted`` and ``micro`` averages of the classes.

    Classes whose number is undefined are left out of a mean. Weights are the
    true images of each class. Micro takes all pairs of image and class as
    one question.
    """
    samples = np.array([each["samples"] for each in classes.values()], float)
    columns = {key: [each[key] for each in classes.values()] for key in MEASURES}
    flat = (told.truth.ravel(), told.told.ravel(), told.scores.ravel())
    return {
        "macro": {key: _mean(values, np.ones(len(values))) for key, values in columns.items()},
        "weighted": {key: _mean(values, samples) for key, values in columns.items()},
        "micro": question(*flat, beta),
    }


def losses(told: Answers) -> dict[str, Number]:
    """``log_loss`` and ``brier``, see `tltool.evaluate`."""
    if not len(told):
        return {"log_loss": None, "brier": None}
    if told.exclusive:
        truth, scores, every = told.labels, told.scores, list(range(told.truth.shape[1]))
        brier = sklearn.brier_score_loss(truth, scores, labels=every)
    else:
        truth, scores, every = told.truth.ravel(), told.scores.ravel(), [False, True]
        brier = sklearn.brier_score_loss(truth, scores, pos_label=True)
    return {
        "log_loss": number(sklearn.log_loss(truth, scores, labels=every)),
        "brier": number(brier),
    }


def _top_k(told: Answers, top_k: int) -> dict[str, Number]:
    classes = told.truth.shape[1]
    every = np.arange(classes)
    return {
        str(k): number(sklearn.top_k_accuracy_score(told.labels, told.scores, k=k, labels=every))
        if len(told)
        else None
        for k in range(2, min(top_k, classes - 1) + 1)
    }


def _of_one_class(told: Answers, top_k: int) -> dict[str, Any]:
    """Numbers of all images together, where each has one class."""
    labels, predicted = told.labels, told.predicted
    matrix = confusion_matrix(labels, predicted, told.truth.shape[1])
    found: dict[str, Any] = {
        name: number(score(labels, predicted)) if len(told) else None
        for name, score in _SCORES.items()
    }
    if told.task.kind == "multi-class":
        found["top_k"] = _top_k(told, top_k)
    rows = [(row, row.sum()) for row in matrix]
    return found | {
        "confusion": matrix.tolist(),
        "confusion_normalised": [
            (row / total).tolist() if total else [None] * len(row) for row, total in rows
        ],
    }


def _of_labels(told: Answers) -> dict[str, Any]:
    """Numbers of all images together, where each has any number of classes."""
    if not len(told):
        return dict.fromkeys(("accuracy", "subset_accuracy", "hamming_loss"))
    lost = float(sklearn.hamming_loss(told.truth, told.told))
    whole = float(sklearn.accuracy_score(told.truth, told.told))
    return {"accuracy": 1 - lost, "subset_accuracy": whole, "hamming_loss": lost}


def measures(told: Answers, beta: float, top_k: int) -> dict[str, Any]:
    """All numbers that are neither a curve nor calibration, as `tltool.evaluate` tells them."""
    with quiet():
        classes = by_class(told, beta)
        means = averages(told, classes, beta)
        whole = _of_one_class(told, top_k) if told.exclusive else _of_labels(told)
        if not told.exclusive:
            whole["mean_average_precision"] = means["macro"]["average_precision"]
        return {**whole, **losses(told), **means, "classes": classes}
