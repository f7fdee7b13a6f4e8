"""The numbers that judge a trained classifier on the images of a split."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import keras
import numpy as np

from tltool.data.stream import Patches
from tltool.inference.network import Network, Probabilities, join
from tltool.inference.views import FlipsAndRotations, mean_of_views
from tltool.prefetch import default_workers, prefetch
from tltool.tasks.answers import basic_metrics
from tltool.tasks.task import Task


def _batches(images: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (images[start : start + size] for start in range(0, len(images), size))


def predict(network: Network, images: np.ndarray, batch_size: int) -> Probabilities:
    """Probabilities of every image: task name to (n, outputs) array."""
    prepared = prefetch(network.prepare, _batches(images, batch_size), default_workers())
    return join([network(each) for each in prepared])


def predict_averaged(network: Network, images: np.ndarray, batch_size: int) -> Probabilities:
    """As `predict`, the mean over the eight flips and rotations of each image."""
    views = FlipsAndRotations()
    parts = _batches(images, batch_size)
    return join([mean_of_views(network, each, views, range(len(each))) for each in parts])


def split_metrics(
    model: keras.Model,
    patches: Patches,
    tasks: Sequence[Task],
    batch_size: int,
    zoom: Fraction,
    averaged: bool,
) -> dict[str, Any]:
    """The numbers of a split.

    Returns
    -------
    dict
        As `tltool.metrics.classification.basic_metrics`; where there are several
        tasks ``tasks``: name -> these. With `averaged` the key ``averaged``
        holds the same for the mean over flips and rotations.
    """
    targets, network = patches.targets(tasks), Network(model, tasks, zoom)

    def numbers(probabilities: Probabilities) -> dict[str, Any]:
        judged = {t.name: basic_metrics(t, probabilities[t.name], targets[t.name]) for t in tasks}
        return {"tasks": judged} if len(tasks) > 1 else next(iter(judged.values()))

    result = numbers(predict(network, patches.images, batch_size))
    if averaged:
        result["averaged"] = numbers(predict_averaged(network, patches.images, batch_size))
    return result
