"""What a classifier tells of a task, out of its probabilities, and the numbers that judge it."""

from typing import Any

import numpy as np

from tltool.metrics.answers import Answers
from tltool.metrics.classification import classification_metrics, multi_label_metrics
from tltool.tasks.task import Task


def with_negatives(task: Task, values: np.ndarray) -> np.ndarray:
    """(n, outputs) probabilities or targets with a column a class: of a binary task two."""
    return np.concatenate([1 - values, values], axis=1) if task.kind == "binary" else values


def answers(task: Task, probabilities: np.ndarray, targets: np.ndarray) -> Answers:
    """Take the images that are labelled for a task.

    Parameters
    ----------
    task : Task
    probabilities : (n, outputs) array
    targets : (n, outputs) array
        As `Task.encode`: rows of -1 are not labelled.
    """
    labelled = np.all(targets >= 0, axis=1)
    truth = with_negatives(task, targets[labelled]) >= 0.5
    scores = with_negatives(task, probabilities[labelled].astype(np.float64))
    if task.kind != "multi-label":
        # Those of single precision add up to 1 only nearly.
        total = scores.sum(axis=1, keepdims=True)
        scores = np.divide(scores, total, out=scores, where=total > 0)
    return Answers(task.kind, task.classes, truth, scores, labelled)


def predicted_classes(task: Task, probabilities: np.ndarray) -> list[tuple[int, ...]]:
    """The classes that a classifier tells of each image, as of `tltool.data.dataset.Sample`.

    Parameters
    ----------
    task : Task
    probabilities : (n, outputs) array
    """
    scores = with_negatives(task, probabilities)
    if task.kind == "multi-label":
        return [tuple(np.flatnonzero(row >= 0.5).tolist()) for row in scores]
    return [(int(place),) for place in scores.argmax(axis=1)]


def basic_metrics(task: Task, probabilities: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """Numbers of a classifier on the samples that are labelled for a task.

    Parameters
    ----------
    task : Task
    probabilities : (n, outputs) array
    targets : (n, outputs) array
        As `Task.encode`: rows of -1 are not labelled.

    Returns
    -------
    dict
        As `multi_label_metrics` for a multi-label task, else as `classification_metrics`.
    """
    told = answers(task, probabilities, targets)
    if told.exclusive:
        return classification_metrics(told.scores, told.labels, task.classes)
    return multi_label_metrics(told.scores, told.truth, task.classes)
