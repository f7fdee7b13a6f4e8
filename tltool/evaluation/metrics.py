"""Numbers that judge a classifier: arrays in, numbers out."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts of (true class, predicted class).

    Parameters
    ----------
    labels, predicted : (n,) int arrays
    classes : int

    Returns
    -------
    (classes, classes) int array; rows are the truth.
    """
    pairs = np.asarray(labels, np.intp) * classes + np.asarray(predicted)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def judge(probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Accuracy, log loss and per-class precision and recall.

    Parameters
    ----------
    probabilities : (n, c) array, rows add up to 1
    labels : (n,) int array
    names : (c,) sequence of str

    Returns
    -------
    dict
        ``samples``, ``accuracy``, ``log_loss`` (natural logarithm),
        ``classes`` (per name: ``precision``, ``recall``, ``samples``; None
        where undefined) and ``confusion`` (rows are the truth).
    """
    predicted = probabilities.argmax(axis=1)
    matrix = confusion_matrix(labels, predicted, len(names))
    right, true, told = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    likelihood = np.clip(probabilities[np.arange(len(labels)), labels], 1e-12, 1)
    return {
        "samples": len(labels),
        "accuracy": _ratio(right.sum(), len(labels)),
        "log_loss": float(-np.log(likelihood).mean()) if len(labels) else None,
        "classes": {
            name: {
                "precision": _ratio(right[i], told[i]),
                "recall": _ratio(right[i], true[i]),
                "samples": int(true[i]),
            }
            for i, name in enumerate(names)
        },
        "confusion": matrix.tolist(),
    }


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
