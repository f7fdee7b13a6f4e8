"""Numbers that evaluate a classifier: arrays in, numbers out."""

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


def classification_metrics(
    probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
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
    right, true, found = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    likelihood = np.clip(probabilities[np.arange(len(labels)), labels], 1e-12, 1)
    return {
        "samples": len(labels),
        "accuracy": _ratio(right.sum(), len(labels)),
        "log_loss": float(-np.log(likelihood).mean()) if len(labels) else None,
        "classes": _of_classes(names, right, found, true),
        "confusion": matrix.tolist(),
    }


def _of_classes(
    names: Sequence[str], right: np.ndarray, found: np.ndarray, true: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Precision, recall and samples of each class, from (classes,) counts."""
    rows = zip(names, right, found, true, strict=True)
    return {
        name: {"precision": _ratio(r, f), "recall": _ratio(r, t), "samples": int(t)}
        for name, r, f, t in rows
    }


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def multi_label_metrics(
    probabilities: np.ndarray, targets: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """Numbers of a multi-label classifier, each label at a probability of 0.5.

    Parameters
    ----------
    probabilities, targets : (n, c) arrays
        Targets are 0 or 1.
    names : (c,) sequence of str

    Returns
    -------
    dict
        ``samples``, ``accuracy`` (share of all labels that are right),
        ``subset_accuracy`` (share of samples with every label right),
        ``log_loss`` (mean over labels) and ``classes`` as in `classification_metrics`.
    """
    found, true = probabilities >= 0.5, targets >= 0.5
    right = found == true
    clipped = np.clip(np.where(true, probabilities, 1 - probabilities), 1e-12, 1)
    return {
        "samples": len(targets),
        "accuracy": _ratio(right.sum(), right.size),
        "subset_accuracy": _ratio(right.all(1).sum(), len(targets)),
        "log_loss": float(-np.log(clipped).mean()) if len(targets) else None,
        "classes": _of_classes(names, (found & true).sum(0), found.sum(0), true.sum(0)),
    }
