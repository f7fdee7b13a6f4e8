"""One class of several."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tltool.recipe import LossRecipe
from tltool.tasks.classification import Classification


@dataclass(frozen=True)
class MultiClass(Classification):
    """One class of several, an output each, which exclude each other by a softmax."""

    kind: ClassVar[str] = "multi-class"
    activation: ClassVar[str] = "softmax"
    agreement_key: ClassVar[str] = "argmax_agreement"

    def from_scores(self, scores: np.ndarray) -> np.ndarray:
        """(n, outputs) scores to probabilities that add up to 1."""
        from scipy.special import softmax

        return softmax(scores, axis=1)

    @classmethod
    def loss_words(cls, loss: LossRecipe) -> list[str]:
        """Describe a loss in a report: labels are smoothed where nothing is said of that."""
        smoothed = loss.label_smoothing is None and loss.name != "focal"
        return [*super().loss_words(loss), *["labels smoothed by 0.1"] * smoothed]

    def best(self, values: np.ndarray) -> np.ndarray:
        """The most probable class of each cell."""
        return values.argmax(0)[None]

    def same(self, one: np.ndarray, other: np.ndarray, scores: bool = False) -> np.ndarray:
        """Whether one class is the most probable for both."""
        return one.argmax(1) == other.argmax(1)

    @classmethod
    def agreement_words(cls, half: str) -> str:
        """Describe what is the same where `same` is."""
        return "class"
