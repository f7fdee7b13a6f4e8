"""What a trained classifier says to the images of a split, and the numbers that judge it."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import keras
import numpy as np

from tltool.data.stream import Batches, Patches, default_workers
from tltool.data.tasks import Task
from tltool.evaluation.metrics import judge_task


def _turned(images: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    turned = np.rot90(images, turns, axes=(1, 2))
    return turned[:, :, ::-1] if mirrored else turned


def predict(
    model: keras.Model, patches: Patches, tasks: Sequence[Task], batch: int, zoom: Fraction
) -> dict[str, np.ndarray]:
    """Probabilities of every image: task name to (n, outputs) array."""
    batches = Batches(patches, tasks, batch, zoom, workers=default_workers())
    told = [model.predict_on_batch(images) for images, _ in batches.stream()]
    if len(tasks) == 1:
        return {tasks[0].name: np.concatenate(told)}
    return {task.name: np.concatenate([part[task.name] for part in told]) for task in tasks}


def predict_averaged(
    model: keras.Model, patches: Patches, tasks: Sequence[Task], batch: int, zoom: Fraction
) -> dict[str, np.ndarray]:
    """As `predict`, the mean over the eight flips and rotations of each image."""
    sums = {task.name: np.zeros(()) for task in tasks}
    for turns in range(4):
        for mirrored in (False, True):
            seen = replace(patches, images=_turned(patches.images, turns, mirrored))
            for name, values in predict(model, seen, tasks, batch, zoom).items():
                sums[name] = sums[name] + values / 8
    return sums


def judge_split(
    model: keras.Model,
    patches: Patches,
    tasks: Sequence[Task],
    batch: int,
    zoom: Fraction,
    averaged: bool,
) -> dict[str, Any]:
    """The numbers of a split.

    Returns
    -------
    dict
        As `tltool.evaluation.metrics.judge_task`; where there are several
        tasks ``tasks``: name -> these. With `averaged` the key ``averaged``
        holds the same for the mean over flips and rotations.
    """
    targets = patches.targets(tasks)

    def numbers(probabilities: dict[str, np.ndarray]) -> dict[str, Any]:
        judged = {t.name: judge_task(t, probabilities[t.name], targets[t.name]) for t in tasks}
        return {"tasks": judged} if len(tasks) > 1 else next(iter(judged.values()))

    result = numbers(predict(model, patches, tasks, batch, zoom))
    if averaged:
        result["averaged"] = numbers(predict_averaged(model, patches, tasks, batch, zoom))
    return result
