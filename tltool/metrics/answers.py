"""Probabilities of classes as yes-or-no questions: what is true, what is predicted, how surely."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Answers:
    """The labelled images of a task and what a classifier says to them.

    Attributes
    ----------
    classes : (c,) tuple of str
    truth : (n, c) bool array
        A column a class, the negative one of two among them.
    scores : (n, c) float64 array
        Probabilities; rows add up to 1 where `exclusive`.
    labelled : (all images,) bool array
        Which of the images these are.
    exclusive : bool
        Whether an image has exactly one of the classes.
    asked : tuple of int
        Columns that are asked about each by itself, with a threshold of its
        own; empty: the most probable class is asked for.
    """

    classes: tuple[str, ...]
    truth: np.ndarray
    scores: np.ndarray
    labelled: np.ndarray
    exclusive: bool = True
    asked: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.truth)

    @cached_property
    def labels(self) -> np.ndarray:
        """True classes of exclusive ones: (n,) int array."""
        return self.truth.argmax(axis=1)

    @cached_property
    def predicted(self) -> np.ndarray:
        """Most probable classes: (n,) int array."""
        return self.scores.argmax(axis=1)

    @cached_property
    def decided(self) -> np.ndarray:
        """Predicted classes: (n, c) bool array; a label of several from 0.5 on."""
        if not self.exclusive:
            return self.scores >= 0.5
        decided = np.zeros(self.truth.shape, bool)
        decided[np.arange(len(decided)), self.predicted] = True
        return decided
