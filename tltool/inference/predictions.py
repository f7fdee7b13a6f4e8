"""What is said to each image, as rows of CSV or JSON lines."""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from tltool.tasks.task import Task


@dataclass(frozen=True)
class Prediction:
    """The prediction of one image.

    Attributes
    ----------
    path : Path or None
        None: an image in memory.
    tasks : tuple of Task
    probabilities : dict of task name to (outputs,) array
    index : int
        Among all images that were given, from 0.
    """

    path: Path | None
    tasks: tuple[Task, ...]
    probabilities: dict[str, np.ndarray]
    index: int = 0

    @property
    def name(self) -> str:
        """Path of the image; of one in memory ``image <index>``."""
        return f"image {self.index}" if self.path is None else str(self.path)


def prefix_of(task: Task, tasks: Sequence[Task]) -> str:
    """Prefix of the columns of a task, where there are several."""
    return f"{task.name}." if len(tasks) > 1 else ""


def write_csv(
    predictions: Iterable[Prediction], tasks: Sequence[Task], file: TextIO, top_k: int
) -> None:
    """Write a row an image.

    Columns: ``image``; of each task ``label`` and ``probability`` and, up to
    `top_k`, ``label_2``, ``probability_2`` ..., of a multi-label task
    ``label`` (``boat|person``, ``none``) and ``p_<class>``, of a regression
    ``value``. Where there are several tasks each has its name before:
    ``zoo.label``.
    """
    writer = csv.writer(file, lineterminator="\n")
    header = [prefix_of(task, tasks) + name for task in tasks for name in task.columns(top_k)]
    for place, each in enumerate(predictions):
        if not place:
            # Not before there is something to tell.
            writer.writerow(["image", *header])
        cells = [c for task in tasks for c in task.cells(each.probabilities[task.name], top_k)]
        writer.writerow([each.name, *cells])


def write_json_lines(
    predictions: Iterable[Prediction], tasks: Sequence[Task], file: TextIO, top_k: int
) -> None:
    """Write a JSON object an image.

    Keys: ``image``, ``label``, ``probability`` and from a `top_k` of 2 on
    ``top``, a list of the same; of a multi-label task ``labels`` and
    ``probabilities``; of a regression ``value``. Where there are several ``tasks``: name -> these.
    """
    for each in predictions:
        records = {task.name: task.record(each.probabilities[task.name], top_k) for task in tasks}
        content = {"tasks": records} if len(tasks) > 1 else records[tasks[0].name]
        line = json.dumps({"image": each.name, **content}, ensure_ascii=False)
        file.write(f"{line}\n")


# Format -> what writes it.
FORMATS = {"csv": write_csv, "jsonl": write_json_lines}
