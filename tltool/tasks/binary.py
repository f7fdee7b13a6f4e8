"""One class of two, by a single output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tltool.tasks.classification import Classification


@dataclass(frozen=True)
class Binary(Classification):
    """One class of two, (negative, positive); the one output is the positive's probability."""

    kind: ClassVar[str] = "binary"
    most: ClassVar[int | None] = 2
    expected: ClassVar[str] = "exactly two classes, (negative, positive)"

    @classmethod
    def order(cls, names: set[str], background: str | None) -> tuple[str, ...]:
        """Background first, as the negative; else sorted."""
        return tuple(sorted(names, key=lambda name: (name != background, name)))

    @classmethod
    def folder_problem(cls, names: Sequence[str]) -> str | None:
        """Two folders are needed."""
        if len(names) == 2:
            return None
        return (
            f"expected exactly two class folders for task: binary, found {len(names)}:"
            f" {', '.join(names)}. Remove or merge folders, or use task: multi-class"
        )

    @property
    def output_names(self) -> list[str]:
        """The positive."""
        return [self.classes[1]]

    @property
    def asked(self) -> tuple[int, ...]:
        """The positive."""
        return (1,)

    def class_scores(self, outputs: np.ndarray) -> np.ndarray:
        """(n, 1) probabilities of the positive to (n, 2) of both."""
        return np.concatenate([1 - outputs, outputs], axis=1)

    def best(self, values: np.ndarray) -> np.ndarray:
        """The positive from 0.5 on."""
        return values >= 0.5

    def output_of(self, classes: np.ndarray) -> np.ndarray:
        """0 for the positive, ~0 (against output 0) for the negative."""
        return np.asarray(classes) - 1
