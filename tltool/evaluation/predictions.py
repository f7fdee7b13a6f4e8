"""What is said to each image, as rows of CSV or JSON lines."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from tltool.data.manifest import NONE_OF_THEM
from tltool.data.tasks import Task
from tltool.evaluation.answers import told_classes, with_negatives
from tltool.evaluation.judged import Judged


@dataclass(frozen=True)
class Prediction:
    """What a run says to an image.

    Attributes
    ----------
    path : Path
    tasks : tuple of Task
    probabilities : dict of task name to (outputs,) array
    """

    path: Path
    tasks: tuple[Task, ...]
    probabilities: dict[str, np.ndarray]


def join_names(task: Task, places: Iterable[int]) -> str:
    """Classes as a manifest has them: ``boat``, ``boat|person``, ``none``."""
    return "|".join(task.classes[place] for place in places) or NONE_OF_THEM


def _scores(task: Task, probabilities: np.ndarray) -> np.ndarray:
    """(classes,) of (outputs,)."""
    return with_negatives(task, probabilities[None])[0]


def ranked(task: Task, probabilities: np.ndarray, number: int) -> list[tuple[str, float]]:
    """The most probable classes with their probabilities."""
    scores = _scores(task, probabilities)
    # Of equal ones the first, as argmax has it.
    order = np.argsort(-scores, kind="stable")[:number]
    return [(task.classes[place], float(scores[place])) for place in order]


def _prefix(task: Task, tasks: Sequence[Task]) -> str:
    return f"{task.name}." if len(tasks) > 1 else ""


def _labels(task: Task, probabilities: np.ndarray) -> list[str]:
    (places,) = told_classes(task, probabilities[None])
    return [task.classes[place] for place in places]


def _text(probability: float) -> str:
    return f"{probability:.6g}"


def _columns(task: Task, top_k: int) -> list[str]:
    if task.kind == "multi-label":
        return ["label", *(f"p_{name}" for name in task.classes)]
    more = range(2, min(top_k, len(task.classes)) + 1)
    return ["label", "probability", *(f"{c}_{k}" for k in more for c in ("label", "probability"))]


def _cells(task: Task, probabilities: np.ndarray, top_k: int) -> list[str]:
    if task.kind == "multi-label":
        (places,) = told_classes(task, probabilities[None])
        return [join_names(task, places), *map(_text, probabilities)]
    pairs = ranked(task, probabilities, max(1, top_k))
    return [cell for name, score in pairs for cell in (name, _text(score))]


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
    header = [_prefix(task, tasks) + name for task in tasks for name in _columns(task, top_k)]
    for place, each in enumerate(predictions):
        if not place:
            # Not before there is something to tell.
            writer.writerow(["image", *header])
        cells = [c for task in tasks for c in _cells(task, each.probabilities[task.name], top_k)]
        writer.writerow([each.path, *cells])


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
        line = json.dumps({"image": str(each.path), **content}, ensure_ascii=False)
        file.write(f"{line}\n")


# Format -> what writes it.
FORMATS = {"csv": write_csv, "jsonl": write_json_lines}


def _evaluated_columns(task: Task, averaged: bool) -> list[str]:
    one = ["probability"] if task.kind != "multi-label" else []
    mean = ["averaged_predicted", *(f"averaged_{name}" for name in one)] if averaged else []
    every = [f"p_{name}" for name in task.classes]
    return ["label", "predicted", "correct", *one, *mean, *every]


def _evaluated(task: Task, judged: Judged) -> Iterator[list[str]]:
    """The cells of each image for a task."""
    targets, probabilities = judged.targets[task.name], judged.probabilities[task.name]
    means = judged.averaged[task.name] if judged.averaged is not None else None
    truth, told = told_classes(task, targets), told_classes(task, probabilities)
    told_by_mean = told_classes(task, means) if means is not None else None
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
        yield cells + [_text(score) for score in _scores(task, probabilities[row])]


def _most(task: Task, probabilities: np.ndarray) -> list[str]:
    """Of the class that is told, where it is one."""
    return [] if task.kind == "multi-label" else [_text(_scores(task, probabilities).max())]


def write_judged(judged: Judged, file: TextIO) -> None:
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
        _prefix(task, judged.tasks) + name
        for task in judged.tasks
        for name in _evaluated_columns(task, averaged)
    ]
    writer.writerow(["path", *header])
    columns = [_evaluated(task, judged) for task in judged.tasks]
    for path, *parts in zip(judged.paths, *columns, strict=True):
        writer.writerow([path, *(cell for part in parts for cell in part)])
