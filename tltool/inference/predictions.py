"""What is said to each image, as rows of CSV or JSON lines."""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from tltool.data.manifest import NONE_OF_THEM
from tltool.tasks.answers import predicted_classes, with_negatives
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


def join_names(task: Task, places: Iterable[int]) -> str:
    """Classes as a manifest has them: ``boat``, ``boat|person``, ``none``."""
    return "|".join(task.classes[place] for place in places) or NONE_OF_THEM


def scores_of(task: Task, probabilities: np.ndarray) -> np.ndarray:
    """(classes,) of (outputs,)."""
    return with_negatives(task, probabilities[None])[0]


def ranked(task: Task, probabilities: np.ndarray, number: int) -> list[tuple[str, float]]:
    """The most probable classes with their probabilities."""
    scores = scores_of(task, probabilities)
    # Of equal ones the first, as argmax has it.
    order = np.argsort(-scores, kind="stable")[:number]
    return [(task.classes[place], float(scores[place])) for place in order]


def prefix_of(task: Task, tasks: Sequence[Task]) -> str:
    """Prefix of the columns of a task, where there are several."""
    return f"{task.name}." if len(tasks) > 1 else ""


def _labels(task: Task, probabilities: np.ndarray) -> list[str]:
    (places,) = predicted_classes(task, probabilities[None])
    return [task.classes[place] for place in places]


def text_of(probability: float) -> str:
    """A probability in six digits."""
    return f"{probability:.6g}"


def _columns(task: Task, top_k: int) -> list[str]:
    if task.kind == "multi-label":
        return ["label", *(f"p_{name}" for name in task.classes)]
    more = range(2, min(top_k, len(task.classes)) + 1)
    return ["label", "probability", *(f"{c}_{k}" for k in more for c in ("label", "probability"))]


def _cells(task: Task, probabilities: np.ndarray, top_k: int) -> list[str]:
    if task.kind == "multi-label":
        (places,) = predicted_classes(task, probabilities[None])
        return [join_names(task, places), *map(text_of, probabilities)]
    pairs = ranked(task, probabilities, max(1, top_k))
    return [cell for name, score in pairs for cell in (name, text_of(score))]


def write_csv(
    predictions: Iterable[Prediction], tasks: Sequence[Task], file: TextIO, top_k: int
) -> None:
    """Write a row an image.

    Columns: ``image``; of each task ``label`` and ``probability`` and, up to
    `top_k`, ``label_2``, ``probability_2`` ..., of a multi-label task
    ``label`` (``boat|person``, ``none``) and ``p_<class>``. Where there are
    several tasks each has its name before: ``zoo.label``.
    """
    writer = csv.writer(file, lineterminator="\n")
    header = [prefix_of(task, tasks) + name for task in tasks for name in _columns(task, top_k)]
    for place, each in enumerate(predictions):
        if not place:
            # Not before there is something to tell.
            writer.writerow(["image", *header])
        cells = [c for task in tasks for c in _cells(task, each.probabilities[task.name], top_k)]
        writer.writerow([each.name, *cells])


def _object(task: Task, probabilities: np.ndarray, top_k: int) -> dict[str, Any]:
    if task.kind == "multi-label":
        every = dict(zip(task.classes, map(float, probabilities), strict=True))
        return {"labels": _labels(task, probabilities), "probabilities": every}
    pairs = ranked(task, probabilities, max(1, top_k))
    found: dict[str, Any] = {"label": pairs[0][0], "probability": pairs[0][1]}
    if top_k > 1:
        found["top"] = [{"label": name, "probability": score} for name, score in pairs]
    return found


def write_json_lines(
    predictions: Iterable[Prediction], tasks: Sequence[Task], file: TextIO, top_k: int
) -> None:
    """Write a JSON object an image.

    Keys: ``image``, ``label``, ``probability`` and from a `top_k` of 2 on
    ``top``, a list of the same; of a multi-label task ``labels`` and
    ``probabilities``. Where there are several ``tasks``: name -> these.
    """
    for each in predictions:
        told = {task.name: _object(task, each.probabilities[task.name], top_k) for task in tasks}
        content = {"tasks": told} if len(tasks) > 1 else told[tasks[0].name]
        line = json.dumps({"image": each.name, **content}, ensure_ascii=False)
        file.write(f"{line}\n")


# Format -> what writes it.
FORMATS = {"csv": write_csv, "jsonl": write_json_lines}
