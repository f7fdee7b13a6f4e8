"""What a run says to the images of a split, beside what they are."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np

from tltool.errors import ImageError
from tltool.inference.predictions import prefix_of
from tltool.tasks.task import Task


@dataclass(frozen=True)
class LabelledPredictions:
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
        As `Task.encode`; see `Task.labelled`.
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


def write_labelled_predictions(predictions: LabelledPredictions, file: TextIO) -> None:
    """Write a row an image of an evaluation.

    Columns: ``path``; of each task ``label`` (nothing where not labelled),
    ``predicted``, ``correct`` (0 or 1), ``probability`` of the class predicted
    (not of a multi-label task), with test-time augmentation
    ``averaged_predicted`` and ``averaged_probability``, and ``p_<class>``; of
    a regression ``true_value``, ``value``, ``error_value`` and
    ``averaged_value``.
    Where there are several tasks each has its name before: ``zoo.label``.
    """
    writer = csv.writer(file, lineterminator="\n")
    averaged = predictions.averaged is not None
    header = [
        prefix_of(task, predictions.tasks) + name
        for task in predictions.tasks
        for name in task.evaluated_columns(averaged)
    ]
    writer.writerow(["path", *header])
    for row, path in enumerate(predictions.paths):
        cells = [
            cell
            for task in predictions.tasks
            for cell in task.evaluated_cells(
                predictions.targets[task.name][row],
                predictions.probabilities[task.name][row],
                predictions.averaged[task.name][row] if predictions.averaged is not None else None,
            )
        ]
        writer.writerow([path, *cells])
