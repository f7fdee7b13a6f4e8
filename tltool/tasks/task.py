"""What is to be told of an image: one class of several, one of two, or any number of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tltool.errors import DataError
from tltool.recipe import Kind

UNLABELLED = -1.0

# Fewest classes of each kind, and in words how many it takes.
_EXPECTED: dict[Kind, tuple[int, str]] = {
    "multi-class": (2, "two classes or more"),
    "binary": (2, "exactly two classes, (negative, positive)"),
    "multi-label": (1, "one class or more"),
}


@dataclass(frozen=True)
class Task:
    """One thing to tell of an image.

    Attributes
    ----------
    name : str
        ``label`` for class folders, else the column of the manifest.
    classes : tuple of str
        Sorted, without repeats; of a binary task (negative, positive).
    kind : 'multi-class', 'binary' or 'multi-label'

    Raises
    ------
    DataError
        Too few or too many classes for the kind, or one that is there twice.
    """

    name: str
    classes: tuple[str, ...]
    kind: Kind = "multi-class"

    def __post_init__(self) -> None:
        if self.kind not in _EXPECTED:
            raise DataError(
                f"task {self.name}: expected a kind among {', '.join(_EXPECTED)}; received"
                f" {self.kind!r}"
            )
        fewest, words = _EXPECTED[self.kind]
        number = len(self.classes)
        if number < fewest or (self.kind == "binary" and number != 2):
            raise DataError(
                f"task {self.name}: expected {words} for a {self.kind} task; received"
                f" {number}: {', '.join(self.classes) or 'none'}. Check its labels, or give it"
                " another kind"
            )
        twice = sorted({c for c in self.classes if self.classes.count(c) > 1})
        if twice:
            raise DataError(
                f"task {self.name}: expected every class once; received {', '.join(twice)} more"
                " often. Rename or remove the repeats"
            )

    @property
    def outputs(self) -> int:
        """Number of output channels of the network: 1 for binary, else one a class."""
        return 1 if self.kind == "binary" else len(self.classes)

    @property
    def output_names(self) -> list[str]:
        """What each output channel gives the probability of."""
        return [self.classes[1]] if self.kind == "binary" else list(self.classes)

    def encode(self, labels: Sequence[tuple[int, ...] | None]) -> np.ndarray:
        """Targets of the network.

        Parameters
        ----------
        labels : (n,) sequence of tuple of int, or None
            Indices into `classes`: one for a multi-class or binary sample, any
            number for a multi-label one, where none means that it has none of
            them. None: not labelled.

        Returns
        -------
        (n, outputs) float32 array
            One-hot (multi-class), multi-hot (multi-label) or the positive's 0
            or 1 (binary); a row of -1 where not labelled.

        Raises
        ------
        DataError
            A label that is no class's index, or not one where one is expected.
        """
        hot = np.zeros((len(labels), len(self.classes)), np.float32)
        for row, label in enumerate(labels):
            if label is None:
                hot[row] = UNLABELLED
            else:
                self._check(row, label)
                hot[row, list(label)] = 1
        return hot[:, 1:] if self.kind == "binary" else hot

    def _check(self, row: int, label: tuple[int, ...]) -> None:
        if any(not 0 <= index < len(self.classes) for index in label):
            raise DataError(
                f"task {self.name}: expected indices from 0 to {len(self.classes) - 1}; sample"
                f" {row} has {label}"
            )
        if self.kind != "multi-label" and len(label) != 1:
            raise DataError(
                f"task {self.name}: expected one class for each sample of a {self.kind} task;"
                f" sample {row} has {len(label)}. Give it one, leave it unlabelled, or make the"
                " task multi-label"
            )
