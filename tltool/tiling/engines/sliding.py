"""The untouched classifier as an engine: slid over a tile in batches."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops
from numpy.lib.stride_tricks import sliding_window_view

from tltool.fcn.single import in_order


class SlidingEngine:
    """The untouched classifier on every window of a tile, in batches.

    Parameters
    ----------
    model : keras.Model
        Classifier.
    stride : int
        Between windows, px of the enlarged image.
    tasks : sequence of str
        As `tltool.fcn.single.in_order`.
    dtype : str
        Of the pixels.
    batch_size : int
        Windows at a time.
    """

    name, precision = "tensorflow", "f32"

    def __init__(
        self,
        model: keras.Model,
        stride: int,
        tasks: Sequence[str] = (),
        dtype: str = "uint8",
        batch_size: int = 64,
    ):
        import tensorflow as tf

        def run(pixels: tf.Tensor) -> tf.Tensor:
            told = model(tf.cast(pixels, tf.float32), training=False)
            vectors = [ops.reshape(t, (-1, t.shape[-1])) for t in in_order(model.name, told, tasks)]
            return tf.cast(tf.concat(vectors, 1), tf.float32)

        shape = tuple(model.inputs[0].shape[1:])
        self._owner = tf.function(run)
        self._run = self._owner.get_concrete_function(tf.TensorSpec((None, *shape), dtype))
        self._to_tensor, self._dtype = tf.convert_to_tensor, dtype
        self._side, self._stride, self._batch = shape[0], stride, batch_size

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Run one tile."""
        views = sliding_window_view(pixels, (self._side, self._side), (0, 1))
        views = views[:: self._stride, :: self._stride].transpose(0, 1, 3, 4, 2)
        rows, columns = np.indices(views.shape[:2]).reshape(2, -1)
        told = []
        for start in range(0, len(rows), self._batch):
            chosen = slice(start, start + self._batch)
            windows = views[rows[chosen], columns[chosen]]
            told.append(self._run(self._to_tensor(windows, self._dtype)).numpy())
        return np.concatenate(told).reshape(*views.shape[:2], -1)
