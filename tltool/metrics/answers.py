"""The probabilities of a task as yes-or-no questions: what is true, what is told, how surely."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Answers:
    """The labelled images of a task and what a classifier says to them.

    Attributes
    ----------
    kind : 'multi-class', 'binary' or 'multi-label'
    classes : (c,) tuple of str
    truth : (n, c) bool array
        A column a class, for a binary task two.
    scores : (n, c) float64 array
        Probabilities; rows add up to 1 but for a multi-label task.
    labelled : (all images,) bool array
        Which of the images these are.
    """

    kind: str
    classes: tuple[str, ...]
    truth: np.ndarray
    scores: np.ndarray
    labelled: np.ndarray

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def exclusive(self) -> bool:
        """Whether an image has exactly one of the classes."""
        return self.kind != "multi-label"

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
