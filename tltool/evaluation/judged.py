"""What a run says to the images of a split, beside what they are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tltool.data.tasks import Task
from tltool.errors import ImageError


@dataclass(frozen=True)
class Judged:
    """The images of a split with their labels and the probabilities a run gives them.

    Attributes
    ----------
    split : str
        ``train``, ``valid``, ``test`` or ``all``.
    paths : list of Path
        The n images that could be read.
    tasks : tuple of Task
        As the run knows them, in its order.
    targets : dict of task name to (n, outputs) float32 array
        As `Task.encode`: rows of -1 are not labelled.
    probabilities : dict of task name to (n, outputs) float32 array
        The network's own, without temperature.
    averaged : dict of task name to (n, outputs) float32 array, or None
        The same with test-time augmentation.
    groups : list of str
        Images of one group are not independent; empty: a group of its own.
    unreadable : list of ImageError
        Of the images that were left out.
    """

    split: str
    paths: list[Path]
    tasks: tuple[Task, ...]
    targets: dict[str, np.ndarray] = field(repr=False)
    probabilities: dict[str, np.ndarray] = field(repr=False)
    averaged: dict[str, np.ndarray] | None = field(default=None, repr=False)
    groups: Sequence[str] = field(default=(), repr=False)
    unreadable: list[ImageError] = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        return len(self.paths)
