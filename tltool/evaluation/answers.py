"""The probabilities of a task as yes-or-no questions: what is true, what is told, how surely."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tltool.data.tasks import Task


@dataclass(frozen=True)
class Answers:
    """The labelled images of a task and what a classifier says to them.

    Attributes
    ----------
    task : Task
    truth : (n, c) bool array
        A column a class, for a binary task two.
    scores : (n, c) float64 array
        Probabilities; rows add up to 1 but for a multi-label task.
    labelled : (all images,) bool array
        Which of the images these are.
    """

    task: Task
    truth: np.ndarray
    scores: np.ndarray
    labelled: np.ndarray

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def exclusive(self) -> bool:
        """Whether an image has exactly one of the classes."""
        return self.task.kind != "multi-label"

    @cached_property
    def labels(self) -> np.ndarray:
        """True classes of exclusive ones: (n,) int array."""
        return self.truth.argmax(axis=1)

    @cached_property
    def predicted(self) -> np.ndarray:
        """Most probable classes: (n,) int array."""
        return self.scores.argmax(axis=1)

    @cached_property
    def told(self) -> np.ndarray:
        """What is answered: (n, c) bool array; a label of several from 0.5 on."""
        if not self.exclusive:
            return self.scores >= 0.5
        told = np.zeros(self.truth.shape, bool)
        told[np.arange(len(told)), self.predicted] = True
        return told


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
    return Answers(task, truth, scores, labelled)


def told_classes(task: Task, probabilities: np.ndarray) -> list[tuple[int, ...]]:
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
