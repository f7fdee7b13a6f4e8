"""A classifier as a function from images to the probabilities of its tasks."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy.special import expit, softmax

from tltool.errors import ModelError
from tltool.raster import enlarge
from tltool.tasks.task import Task

# Task name -> (b, outputs) float32.
Probabilities = dict[str, np.ndarray]


def join(parts: Sequence[Probabilities]) -> Probabilities:
    """Probabilities of several batches, in order."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class Network:
    """A classifier and what it takes to ask it.

    Parameters
    ----------
    model : keras.Model
        From (b, side, side, bands) float32 in 0..255 to the outputs of the
        tasks: by name, or side by side.
    tasks : sequence of Task
    zoom : Fraction
        Enlargement before the network sees an image.
    scores : bool
        Whether its outputs are scores, to be made probabilities.

    Attributes
    ----------
    model : keras.Model
    """

    def __init__(
        self,
        model: keras.Model,
        tasks: Sequence[Task],
        zoom: Fraction = Fraction(1),
        scores: bool = False,
    ):
        self.tasks = tuple(tasks)
        self.model, self._zoom, self._scores = model, zoom, scores
        self._rows = 0

    def prepare(self, images: np.ndarray) -> np.ndarray:
        """What the network takes, of (b, side, side, bands) uint8 images; any thread may do it."""
        if self._zoom != 1:
            images = np.stack([enlarge(pixels, self._zoom) for pixels in images])
        return images.astype(np.float32)

    def __call__(self, prepared: np.ndarray) -> Probabilities:
        """Probabilities of prepared images."""
        count = len(prepared)
        self._rows = max(self._rows, count)
        if count < self._rows:
            # Another number of images would be another graph: the last batch is filled up.
            missing = np.zeros((self._rows - count, *prepared.shape[1:]), prepared.dtype)
            prepared = np.concatenate([prepared, missing])
        told = self.model.predict_on_batch(prepared)
        return {name: self._finish(name, values[:count]) for name, values in self._split(told)}

    def _split(self, told: Any) -> list[tuple[str, np.ndarray]]:
        if isinstance(told, dict):
            return [(task.name, told[task.name]) for task in self.tasks]
        ends = np.cumsum([task.outputs for task in self.tasks])[:-1]
        parts = np.split(told, ends, axis=-1)
        return [(task.name, part) for task, part in zip(self.tasks, parts, strict=True)]

    def _finish(self, name: str, values: np.ndarray) -> np.ndarray:
        if not self._scores:
            return values
        kind = next(task.kind for task in self.tasks if task.name == name)
        return softmax(values, axis=1) if kind == "multi-class" else expit(values)


def check_finite(run: Path, paths: Sequence[Path], probabilities: Probabilities) -> None:
    """Raise a `ModelError` that names the first images whose outputs are no numbers."""
    good = np.ones(len(paths), bool)
    for values in probabilities.values():
        good &= np.isfinite(values).all(axis=1)
    bad = np.flatnonzero(~good)
    if len(bad):
        names = ", ".join(str(paths[place]) for place in bad[:3])
        raise ModelError(
            f"{run}: expected probabilities, received NaN or infinity for {len(bad)} of"
            f" {len(paths)} images: {names}{', ...' if len(bad) > 3 else ''}. Its weights are"
            " spoilt: train it anew, with a smaller rate"
        )
