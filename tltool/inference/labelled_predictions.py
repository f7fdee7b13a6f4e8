"""What a run says to the images of a split, beside what they are."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np

from tltool.errors import ImageError
from tltool.inference.predictions import join_names, prefix_of, scores_of, text_of
from tltool.tasks.answers import predicted_classes
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


def _evaluated_columns(task: Task, averaged: bool) -> list[str]:
    one = ["probability"] if task.kind != "multi-label" else []
    mean = ["averaged_predicted", *(f"averaged_{name}" for name in one)] if averaged else []
    every = [f"p_{name}" for name in task.classes]
    return ["label", "predicted", "correct", *one, *mean, *every]


def _evaluated(task: Task, judged: LabelledPredictions) -> Iterator[list[str]]:
    """The cells of each image for a task."""
    targets, probabilities = judged.targets[task.name], judged.probabilities[task.name]
    means = judged.averaged[task.name] if judged.averaged is not None else None
    truth, told = predicted_classes(task, targets), predicted_classes(task, probabilities)
    told_by_mean = predicted_classes(task, means) if means is not None else None
    for row, (true, answer) in enumerate(zip(truth, told, strict=True)):
        labelled = bool((targets[row] >= 0).all())
        cells = [
            join_names(task, true) if labelled else "",
            join_names(task, answer),
            str(int(true == answer)) if labelled else "",
            *_most(task, probabilities[row]),
        ]
        if means is not None and told_by_mean is not None:
            cells += [join_names(task, told_by_mean[row]), *_most(task, means[row])]
        yield cells + [text_of(score) for score in scores_of(task, probabilities[row])]


def _most(task: Task, probabilities: np.ndarray) -> list[str]:
    """Of the class that is told, where it is one."""
    return [] if task.kind == "multi-label" else [text_of(scores_of(task, probabilities).max())]


def write_labelled_predictions(judged: LabelledPredictions, file: TextIO) -> None:
    """Write a row an image of an evaluation.

    Columns: ``path``; of each task ``label`` (nothing where not labelled),
    ``predicted``, ``correct`` (0 or 1), ``probability`` of the class predicted
    (not of a multi-label task), with test-time augmentation
    ``averaged_predicted`` and ``averaged_probability``, and ``p_<class>``.
    Where there are several tasks each has its name before: ``zoo.label``.
    """
    writer = csv.writer(file, lineterminator="\n")
    averaged = judged.averaged is not None
    header = [
        prefix_of(task, judged.tasks) + name
        for task in judged.tasks
        for name in _evaluated_columns(task, averaged)
    ]
    writer.writerow(["path", *header])
    columns = [_evaluated(task, judged) for task in judged.tasks]
    for path, *parts in zip(judged.paths, *columns, strict=True):
        writer.writerow([path, *(cell for part in parts for cell in part)])
