"""What runs the FCN over a tile: one table, one small interface."""

from typing import Protocol

import keras
import numpy as np


class Engine(Protocol):
    """Runs a network over one tile at a time."""

    name: str

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """From (height, width, bands) RGB in 0..255 to (rows, columns, classes) float32."""
        ...


class TensorFlowEngine:
    """TensorFlow, on a GPU where there is one.

    Parameters
    ----------
    model : keras.Model
        FCN.
    """

    name = "tensorflow"

    def __init__(self, model: keras.Model):
        import tensorflow as tf

        # Without a signature each tile size is traced once; all tiles of an image have one size.
        self._run = tf.function(
            lambda pixels: model(tf.cast(pixels, tf.float32), training=False), reduce_retracing=True
        )

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Run one tile."""
        return self._run(pixels[None]).numpy()[0]


ENGINES = {"tensorflow": TensorFlowEngine}
