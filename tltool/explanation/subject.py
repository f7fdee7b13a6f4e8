"""A classifier opened at a layer: images to that layer's map, the scores and their gradient."""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tltool.explanation.cell_layout import CellLayout, default_map, layout_of
from tltool.explanation.flat import Call, Flat, lay_flat
from tltool.explanation.scores import scores_of


class Subject:
    """A classifier opened at a layer.

    Parameters
    ----------
    flat : Flat
    call : Call
        Whose map is looked at.
    task : str or int, optional
        Which output, where there are several.
    given : bool
        Whether the layer is one that somebody asked for.

    Attributes
    ----------
    layer : str
        Path of the layer.
    cells : (int, int)
        Cells of its map, down and across.
    shape : (height, width, bands)
        Shape of the images.
    output : KerasTensor
        The task's.
    outputs : int
        Number of numbers it has.
    """

    def __init__(self, flat: Flat, call: Call, task: str | int | None, given: bool = False):
        self.flat, self.call, self.task, self.given = flat, call, task, given
        self.layer, self.cells = call.path, call.shape[:2]
        self.shape, self.output = tuple(flat.inputs.shape[1:]), flat.output(task)
        self.outputs = math.prod(self.output.shape[1:])
        ends = [call.output, scores_of(flat, self.output)]
        self._network = keras.Model(flat.inputs, ends, name="subject")

    def at(self, call: Call) -> "Subject":
        """Subject of the same classifier, opened at another layer."""
        return Subject(self.flat, call, self.task)

    @cached_property
    def layout(self) -> CellLayout:
        """CellLayout of the cells of the map on the image."""
        return layout_of(self.flat, self.call)

    def _seen(self, images: Any, targets: Any) -> tuple[Any, Any]:
        features, scores = self._network(images, training=False)
        scores = tf.reshape(tf.cast(scores, tf.float32), (tf.shape(scores)[0], -1))
        # ~k, below 0, stands for "not k".
        chosen = tf.gather(scores, tf.where(targets < 0, -1 - targets, targets), batch_dims=1)
        return features, tf.where(targets < 0, -chosen, chosen)

    def _compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        specs = tf.TensorSpec((None, *self.shape), tf.float32), tf.TensorSpec((None,), tf.int32)
        compiled = tf.function(function, specs)

        def call(images: np.ndarray, targets: np.ndarray) -> Any:
            given = np.asarray(images, np.float32), np.asarray(targets, np.int32)
            found = compiled(*map(tf.constant, given))
            return tuple(np.asarray(tensor, np.float32) for tensor in found)

        return call

    @cached_property
    def see(self) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Makes of images and targets the layer's map and the score of each image.

        Parameters
        ----------
        images : (n, height, width, bands) array
        targets : (n,) int array
            As of `tltool.explanation.methods.maps_of`.

        Returns
        -------
        (n, rows, columns, channels) and (n,) float32 arrays
        """
        return self._compiled(self._seen)

    @cached_property
    def differentiate(self) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]:
        """Makes of the same the layer's map, the gradient of the score by it, and the score.

        Returns
        -------
        two (n, rows, columns, channels) and a (n,) float32 array
        """

        def differentiate(images: Any, targets: Any) -> tuple[Any, Any, Any]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(images)
                features, scores = self._seen(images, targets)
            return features, tape.gradient(scores, features), scores

        return self._compiled(differentiate)


def open_at(flat: Flat, layer: str | None = None, task: str | int | None = None) -> Subject:
    """Open a classifier that is laid flat; as `open_subject`."""
    call = default_map(flat, task) if layer is None else flat.find(layer, task)
    return Subject(flat, call, task, given=layer is not None)


def open_subject(
    model: keras.Model,
    shape: tuple[int, ...],
    layer: str | None = None,
    task: str | int | None = None,
) -> Subject:
    """Open a classifier at a layer.

    Parameters
    ----------
    model : keras.Model
        With one image input; it stays as it is.
    shape : (height, width, bands)
        Shape of the images.
    layer : str, optional
        Its path, or its name where only one has it. Default: as of
        `tltool.explanation.cell_layout.default_map`.
    task : str or int, optional
        Which output, where there are several: its name, or its index where
        they are a list.

    Raises
    ------
    UsageError
        A layer or task that there is not, or a layer without map.
    ModelError
        A model whose graph cannot be read.
    """
    return open_at(lay_flat(model, shape), layer, task)
