"""The numbers of a task by scikit-learn: of each class, averaged, and of all images together."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tltool.metrics.answers import Answers
from tltool.metrics.classification import confusion_matrix

Number = float | None

# The last two are from how surely it is predicted.
MEASURES = ("precision", "recall", "f1", "f_beta", "specificity", "roc_auc", "average_precision")

_SCORES = {
    "accuracy": "accuracy_score",
    "balanced_accuracy": "balanced_accuracy_score",
    "kappa": "cohen_kappa_score",
}


def scikit() -> Any:
    """Import scikit-learn's metrics, which takes a second: mistakes are found before that."""
    from sklearn import metrics

    return metrics


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings of scikit-learn on what is undefined: it is None in the result."""
    from sklearn import config_context

    with (
        warnings.catch_warnings(),
        np.errstate(divide="ignore", invalid="ignore"),
        config_context(skip_parameter_validation=True),
    ):
        warnings.simplefilter("ignore")
        yield


def number(value: Any) -> Number:
    """A float, or None for one that is undefined."""
    return float(value) if value is not None and math.isfinite(value) else None


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean along the last axis of what is defined, by `weights`.

    As scikit-learn has it, weights do not count where all that are left are 0.
    """
    known = np.isfinite(values)
    kept = np.where(known, weights, 0)
    kept = np.where(kept.any(axis=-1, keepdims=True), kept, known)
    return divide((np.where(known, values, 0) * kept).sum(axis=-1), kept.sum(axis=-1))


def divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Shares of float64 arrays; NaN where there is nothing to divide by."""
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _questions(
    beta: float, truth: np.ndarray, scores: np.ndarray, decided: np.ndarray
) -> dict[str, np.ndarray]:
    """`MEASURES` of each column as arrays; NaN where undefined."""
    if not len(truth):
        return {key: np.full(truth.shape[1], np.nan) for key in MEASURES}
    # A single column would be taken for two classes.
    alone = [True] if truth.shape[1] == 1 else None
    kept = {"labels": alone, "average": None, "zero_division": np.nan}
    precision, recall, f1, _ = scikit().precision_recall_fscore_support(truth, decided, **kept)
    f_beta = scikit().fbeta_score(truth, decided, beta=beta, **kept)
    # Recall of what is not the class.
    no = scikit().recall_score(~truth, ~decided, **kept)
    areas = [
        math.nan if true.all() or not true.any() else scikit().roc_auc_score(true, score)
        for true, score in zip(truth.T, scores.T, strict=True)
    ]
    averages = [
        scikit().average_precision_score(true, score) if true.any() else math.nan
        for true, score in zip(truth.T, scores.T, strict=True)
    ]
    values = (precision, recall, f1, f_beta, no, areas, averages)
    return {key: np.asarray(each, float) for key, each in zip(MEASURES, values, strict=True)}


def of_classes(answers: Answers, beta: float) -> dict[str, dict[str, Any]]:
    """Numbers of each class against the rest, and of all of them.

    Parameters
    ----------
    answers : Answers
    beta : float
        Of F-beta.

    Returns
    -------
    dict
        ``classes``: name -> ``samples``, its true images, and `MEASURES`; and
        their averages ``macro``; ``weighted``, by the true images; ``micro``,
        all pairs of image and class as one question. None where undefined:
        precision without a yes predicted, recall without a true yes, specificity
        without a true no, F without either yes, the area under the ROC curve
        without both, average precision without a true yes. Averages are of the
        classes whose number is defined.
    """
    parts, samples = (answers.truth, answers.scores, answers.decided), answers.truth.sum(axis=0)
    each = _questions(beta, *parts)
    micro = _questions(beta, *(part.reshape(-1, 1) for part in parts))
    classes = {
        name: {"samples": int(samples[c]), **{key: number(each[key][c]) for key in MEASURES}}
        for c, name in enumerate(answers.classes)
    }
    return {
        "macro": {key: number(mean(each[key], np.ones(len(samples)))) for key in MEASURES},
        "weighted": {key: number(mean(each[key], samples)) for key in MEASURES},
        "micro": {key: number(micro[key][0]) for key in MEASURES},
        "classes": classes,
    }


@quiet()
def losses(answers: Answers) -> dict[str, Number]:
    """``log_loss`` and ``brier``, see `tltool.evaluate`."""
    if not len(answers):
        return {"log_loss": None, "brier": None}
    if answers.exclusive:
        truth, scores, every = answers.labels, answers.scores, list(range(answers.truth.shape[1]))
        brier = scikit().brier_score_loss(truth, scores, labels=every)
    else:
        truth, scores, every = answers.truth.ravel(), answers.scores.ravel(), [False, True]
        brier = scikit().brier_score_loss(truth, scores, pos_label=True)
    return {
        "log_loss": number(scikit().log_loss(truth, scores, labels=every)),
        "brier": number(brier),
    }


def _of_one_class(answers: Answers, top_k: int) -> dict[str, Any]:
    """Numbers of all images together, where each has one class."""
    labels, predicted, classes = answers.labels, answers.predicted, answers.truth.shape[1]
    matrix = confusion_matrix(labels, predicted, classes)
    found: dict[str, Any] = {
        name: number(getattr(scikit(), score)(labels, predicted)) if len(answers) else None
        for name, score in _SCORES.items()
    }
    if not answers.asked:
        every = {"labels": np.arange(classes)}
        found["top_k"] = dict.fromkeys(map(str, range(2, min(top_k, classes - 1) + 1)))
        for k in found["top_k"] if len(answers) else ():
            share = scikit().top_k_accuracy_score(labels, answers.scores, k=int(k), **every)
            found["top_k"][k] = number(share)
    rows = [(row, row.sum()) for row in matrix]
    return found | {
        "confusion": matrix.tolist(),
        "confusion_normalised": [
            (row / total).tolist() if total else [None] * len(row) for row, total in rows
        ],
    }


def _of_labels(answers: Answers) -> dict[str, Any]:
    """Numbers of all images together, where each has any number of classes."""
    if not len(answers):
        return dict.fromkeys(("accuracy", "subset_accuracy", "hamming_loss"))
    lost = float(scikit().hamming_loss(answers.truth, answers.decided))
    whole = float(scikit().accuracy_score(answers.truth, answers.decided))
    return {"accuracy": 1 - lost, "subset_accuracy": whole, "hamming_loss": lost}


@quiet()
def measures(answers: Answers, beta: float, top_k: int) -> dict[str, Any]:
    """Compute the numbers that are neither a curve nor calibration."""
    classes = of_classes(answers, beta)
    whole = _of_one_class(answers, top_k) if answers.exclusive else _of_labels(answers)
    if not answers.exclusive:
        whole["mean_average_precision"] = classes["macro"]["average_precision"]
    return {**whole, **losses(answers), **classes}
