"""What runs the FCN over a tile: one table, one small interface."""

from typing import Protocol

import keras
import numpy as np


class Engine(Protocol):
    """Runs a network over one tile at a time."""

    name: str

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """From (height, width, bands) in 0..255 to (rows, columns, classes) float32."""
        ...


class TensorFlowEngine:
    """TensorFlow, on a GPU where there is one.

    The graph is made here, once, for tiles of any size.

    Parameters
    ----------
    model : keras.Model
        FCN.
    dtype : str
        Of the pixels: ``uint8``, or ``float32`` where they are enlarged.
    """

    name = "tensorflow"

    def __init__(self, model: keras.Model, dtype: str = "uint8"):
        import tensorflow as tf

        shape = (1, *model.inputs[0].shape[1:])
        run = tf.function(lambda pixels: model(tf.cast(pixels, tf.float32), training=False))
        self._run = run.get_concrete_function(tf.TensorSpec(shape, dtype))
        # The concrete function lives only as long as its function.
        self._owner, self._to_tensor, self._dtype = run, tf.convert_to_tensor, dtype

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Run one tile."""
        return self._run(self._to_tensor(pixels[None], self._dtype)).numpy()[0]


ENGINES = {"tensorflow": TensorFlowEngine}
