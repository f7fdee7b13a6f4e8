"""`tltool predict`: the classes of images, a batch at a time."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from tltool.errors import ImageError
from tltool.inference.network import LoadedNetwork, Openable, open_network
from tltool.inference.predict_batches import Images, each_image, predict_batches
from tltool.inference.predictions import FORMATS, Prediction
from tltool.progress import progress_bar
from tltool.raster import Scale
from tltool.tasks.task import Task

logger = logging.getLogger(__name__)


@dataclass
class Predictions:
    """Predictions of images, made while one goes through them, once.

    Attributes
    ----------
    network : LoadedNetwork
    images : iterable
        As of `tltool.inference.predict_batches.each_image`.
    total : int or None
        Number of images; None: not known.
    temperature : dict of task name to float, or None
    progress : bool
        Whether a bar is shown.
    options : dict
        Options of `tltool.inference.predict_batches.predict_batches`.
    read, unreadable : int
        Images so far.
    """

    network: LoadedNetwork
    images: Iterable[Any]
    total: int | None
    temperature: dict[str, float] | None
    progress: bool
    options: dict[str, Any]
    read: int = 0
    unreadable: int = 0

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks of the network."""
        return self.network.tasks

    def __repr__(self) -> str:
        number = "a stream of" if self.total is None else self.total
        return f"<Predictions of {number} images by {self.network.name}>"

    def __iter__(self) -> Iterator[Prediction]:
        batches = predict_batches(self.network, self.images, **self.options)
        with progress_bar("predicting", self.total, "images", shown=self.progress) as bar:
            for batch in batches:
                self.read += len(batch.names)
                self.unreadable += len(batch.unreadable)
                for error in batch.unreadable:
                    logger.warning("left out: %s", error)
                for found in batch.probabilities:
                    self.network.check_finite(batch.names, found)
                    if self.temperature is not None:
                        found = {
                            task.name: task.at_temperature(
                                found[task.name], self.temperature.get(task.name, 1.0)
                            )
                            for task in self.tasks
                        }
                    for row, (index, name) in enumerate(
                        zip(batch.indices, batch.names, strict=True)
                    ):
                        path = name if isinstance(name, Path) else None
                        probabilities = {task: values[row] for task, values in found.items()}
                        yield Prediction(path, self.tasks, probabilities, index)
                bar.advance(len(batch))
        if self.unreadable:
            text = f"{self.unreadable} of {self.read + self.unreadable} images cannot be read"
            if not self.read:
                raise ImageError(text)
            logger.warning("%s", text)
        elif not self.read:
            raise ImageError("`images`: expected images, received none")

    def to_array(self) -> np.ndarray | dict[str, np.ndarray]:
        """Go through all images and give the probability of every class.

        Returns
        -------
        (n, classes) float32 array, of several tasks a dict of these by name.
        Images that cannot be read are left out: `Prediction.index` tells the
        place of the others.
        """
        every = [each.probabilities for each in self]
        found = {
            task.name: task.class_scores(np.stack([each[task.name] for each in every]))
            for task in self.tasks
        }
        return found if len(found) > 1 else next(iter(found.values()))

    def write(self, file: TextIO, form: str = "csv", top_k: int = 1) -> None:
        """Write them as they are made.

        Parameters
        ----------
        file : text file
        form : str
            One of `tltool.inference.predictions.FORMATS`.
        top_k : int
            Most probable classes to tell of each image.
        """
        FORMATS[form](self, self.tasks, file, top_k)


def predict(
    network: Openable,
    images: Images,
    *,
    tta: str | int | None = None,
    calibrated: bool = False,
    scale: Scale = None,
    batch_size: int = 32,
    seed: int = 0,
    strict: bool = False,
    progress: bool = True,
) -> Predictions:
    """Predict the classes of images.

    Parameters
    ----------
    network : str, Path, Network or keras.Model
        A run folder, a model file, or what `tltool.open` takes or gave.
    images : str, Path, array, PIL image or iterable of them
        Image files, folders with images at any depth, arrays (height, width,
        bands) or (n, height, width, bands) of numbers in 0..255. Taken as they
        are needed: it may be a generator without end.
    tta : 'd4', int or None
        Average the eight flips and rotations, or so many random draws of the
        recipe's augmentation.
    calibrated : bool
        Probabilities at the temperature that `tltool.evaluate` stored, in
        place of the network's own. It changes no answer.
    scale : (float, float) or 'percentiles', optional
        Numbers of arrays that become 0 and 255, where they are not 0..255.
    batch_size : int
        Images that the network sees at a time; no more than a few batches are
        in memory.
    seed : int
        Seed of the draws.
    strict : bool
        Stop at an unreadable image instead of leaving it out, with a warning.
    progress : bool
        Show a bar on standard error where that is a terminal.

    Returns
    -------
    Predictions
        An iterable of `Prediction`, with ``write(file, form, top_k)`` and
        ``to_array()``.

    Raises
    ------
    ModelError
        No classifier there, no temperature stored, or outputs that are no
        numbers.
    UsageError
        An array that is no image for the network, naming what is wrong.
    ImageError
        Where `strict`, or not one image can be read; while going through them.

    Notes
    -----
    Images are seen as in training. Patches that `tltool.patches` cut (its
    ``patches.json`` lies at most two folders above) keep their scale: the
    middle of the side that the network sees is cut out. Every other image is
    resized until its shorter side is that, and its middle square is taken; the
    first that has another size is warned of.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> import tltool
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((16, 16, 3)),
    ...         keras.layers.Conv2D(4, 3, activation="relu"),
    ...         keras.layers.GlobalAveragePooling2D(),
    ...         keras.layers.Dense(2, activation="softmax"),
    ...     ]
    ... )
    >>> images = [np.zeros((16, 16, 3), "uint8"), np.full((16, 16, 3), 255, "uint8")]
    >>> predictions = tltool.predict(model, images)
    >>> predictions.to_array().shape
    (2, 2)
    """
    opened = open_network(network)
    views = opened.views(tta, seed)
    temperature = opened.temperature() if calibrated else None
    expanded: Iterable[Any] = each_image(images)
    total = None
    if isinstance(images, np.ndarray):
        total = 1 if images.ndim < 4 else len(images)
    elif isinstance(images, str | Path | Sequence):
        # What has an end is gone through at once, so that an empty folder is named by the call.
        expanded = list(expanded)
        total = len(expanded)
    options = {"views": [views], "batch_size": batch_size, "scale": scale, "strict": strict}
    return Predictions(opened, expanded, total, temperature, progress, options)
