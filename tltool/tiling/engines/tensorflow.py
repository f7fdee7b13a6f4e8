"""TensorFlow as an engine, in single or mixed precision."""

from typing import Any

import keras
import numpy as np

from tltool.models.graph import Copier, is_layer, replay

# Computation in the short type, weights in float32.
_POLICIES = {"bf16": "mixed_bfloat16", "f16": "mixed_float16"}


class _MixedCopier(Copier):
    """Copies layers under a policy; those that make the outputs stay in float32."""

    def __init__(self, model: keras.Model, policy: str):
        super().__init__(policy)
        self._last = {id(tensor._keras_history.operation) for tensor in model.outputs}

    def __call__(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the copy of `layer`."""
        if id(layer) not in self._last or not is_layer(layer):
            return super().__call__(layer, *args, **kwargs)
        policy, self.policy = self.policy, "float32"
        try:
            return super().__call__(layer, *args, **kwargs)
        finally:
            self.policy = policy


def in_precision(model: keras.Model, precision: str) -> keras.Model:
    """Copy a network to compute in another precision.

    Parameters
    ----------
    model : keras.Model
    precision : 'f32', 'bf16' or 'f16'
        f32: `model` itself.

    Returns
    -------
    keras.Model
        Its weights and outputs are float32.
    """
    if precision not in _POLICIES:
        return model
    inputs = keras.Input(tuple(model.inputs[0].shape[1:]), name="image")
    outputs = replay(model, inputs, _MixedCopier(model, _POLICIES[precision]))
    return keras.Model(inputs, outputs, name=model.name)


class TensorFlowEngine:
    """TensorFlow, on a GPU where there is one.

    The graph is made here, once, for tiles of any size.

    Parameters
    ----------
    model : keras.Model
        FCN.
    dtype : str
        Of the pixels: ``uint8``, or ``float32`` where they are enlarged.
    precision : str
        One of `tltool.tiling.engines.PRECISIONS`; bf16 and f16 are Keras's mixed
        precision.
    """

    name = "tensorflow"

    def __init__(self, model: keras.Model, dtype: str = "uint8", precision: str = "f32"):
        import tensorflow as tf

        shape = (1, *model.inputs[0].shape[1:])
        network = in_precision(model, precision)

        def run(pixels: tf.Tensor) -> tf.Tensor:
            return tf.cast(network(tf.cast(pixels, tf.float32), training=False), tf.float32)

        # The concrete function lives only as long as its function.
        self._owner = tf.function(run)
        self._run = self._owner.get_concrete_function(tf.TensorSpec(shape, dtype))
        self._to_tensor, self._dtype = tf.convert_to_tensor, dtype
        self.precision = precision

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Run one tile."""
        return self._run(self._to_tensor(pixels[None], self._dtype)).numpy()[0]
