"""Images worth looking at: the most confident mistakes, and those the network is least sure of."""

from dataclasses import dataclass

import numpy as np

from tltool.metrics.answers import Answers


@dataclass(frozen=True)
class Example:
    """An image and what was said of it.

    Attributes
    ----------
    place : int
        Among the judged images.
    said, true : str
        What was answered, and what is so; of a multi-label task about one
        label: "seal" or "not seal".
    probability : float
        Of the answer.
    target : int
        The network's output that the answer is about, ~output where it speaks
        against it, as of `tltool.explanation.methods.maps_of`.
    """

    place: int
    said: str
    true: str
    probability: float
    target: int

    @property
    def right(self) -> bool:
        """Whether it is so."""
        return self.said == self.true


def _phrase(name: str, there: bool) -> str:
    return name if there else f"not {name}"


class Examples:
    """The answers to every labelled image, to choose among; of a multi-label task to every label.

    Parameters
    ----------
    answers : Answers
    """

    def __init__(self, answers: Answers):
        self._answers = answers
        if answers.exclusive:
            rows = np.arange(len(answers))
            self._cells = np.stack([rows, answers.predicted], axis=1)
            self._certain = answers.scores[rows, answers.predicted]
            self._wrong = answers.predicted != answers.labels
        else:
            told, scores = answers.told, answers.scores
            self._cells = np.indices(told.shape).reshape(2, -1).T
            self._certain = np.where(told, scores, 1 - scores).ravel()
            self._wrong = (told != answers.truth).ravel()

    def _example(self, place: int) -> Example:
        answers, classes = self._answers, self._answers.classes
        row, column = self._cells[place]
        image = int(np.flatnonzero(answers.labelled)[row])
        probability = float(self._certain[place])
        name = classes[column]
        if answers.exclusive:
            true = classes[answers.labels[row]]
            target = int(column) if answers.kind == "multi-class" else (0 if column else ~0)
            return Example(image, name, true, probability, target)
        told, there = answers.told[row, column], answers.truth[row, column]
        # A label that is not told too is asked about by what speaks for it.
        return Example(image, _phrase(name, told), _phrase(name, there), probability, int(column))

    def mistakes(self, number: int) -> list[Example]:
        """The wrong answers of the highest probability, the most probable first."""
        wrong = np.flatnonzero(self._wrong)
        order = wrong[np.argsort(-self._certain[wrong], kind="stable")]
        return [self._example(place) for place in order[:number]]

    def least_certain(self, number: int) -> list[Example]:
        """The answers of the lowest probability, each image once."""
        chosen: dict[int, Example] = {}
        for place in np.argsort(self._certain, kind="stable"):
            if len(chosen) == number:
                break
            found = self._example(int(place))
            chosen.setdefault(found.place, found)
        return list(chosen.values())
