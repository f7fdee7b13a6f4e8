"""TensorFlow operations in the graphs of tf.keras, as layers of Keras that compute the same.

`x / 127.5 - 1` or `tf.nn.relu(x)` on a tensor of a functional model became a
TFOpLambda layer, a slice a SlicingOpLambda: what `preprocess_input` and the
blocks of MobileNetV3 left in many files.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from tltool.errors import ModelError

KINDS = ("TFOpLambda", "SlicingOpLambda")

Arguments = dict[str, Any]
Rule = Callable[[str, Any, Arguments], Any]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor)


def _constant(value: Any, bands: int) -> Any:
    """A number, or a number a band; None where it is neither."""
    array = np.asarray(value, "float64")
    if array.size == 1:
        return float(array.reshape(()))
    return array.reshape(-1).tolist() if array.size == array.shape[-1] == bands else None


def _affine(
    values: Callable[[Any, bool], tuple[Any, Any] | None], merge: type[keras.Layer] | None = None
) -> Rule:
    """`values(constant, whether it comes first)` gives scale and offset; `merge`: two tensors."""

    def rule(name: str, first: Any, more: Arguments) -> Any:
        second = more.pop("y", more.pop("bias", None))
        if _is_tensor(first) and _is_tensor(second):
            return merge(name=name)([first, second]) if merge else None
        tensor, other = (first, second) if _is_tensor(first) else (second, first)
        constant = None if other is None else _constant(other, tensor.shape[-1])
        found = None if constant is None else values(np.asarray(constant), tensor is second)
        if found is None:
            return None
        scale, offset = (np.asarray(value).tolist() for value in found)
        return layers.Rescaling(scale, offset, name=name)(tensor)

    return rule


def _activation(function: str) -> Rule:
    def rule(name: str, first: Any, more: Arguments) -> Any:
        if more.pop("axis", -1) not in (-1, None, len(first.shape) - 1):
            return None
        return layers.Activation(function, name=name)(first)

    return rule


def _pool(kind: type[keras.Layer]) -> Rule:
    def rule(name: str, first: Any, more: Arguments) -> Any:
        axes = more.pop("axis", None)
        if len(first.shape) != 4 or axes not in ([1, 2], [-3, -2], [2, 1]):
            return None
        keep = bool(more.pop("keepdims", False))
        return kind(data_format="channels_last", keepdims=keep, name=name)(first)

    return rule


def _cast(name: str, first: Any, more: Arguments) -> Any:
    return layers.Rescaling(1.0, name=name)(first) if more.pop("dtype") == "float32" else None


def _reshape(name: str, first: Any, more: Arguments) -> Any:
    shape = more.pop("shape", None)
    if not isinstance(shape, list) or not all(isinstance(side, int) for side in shape):
        return None
    return layers.Reshape(tuple(shape[1:]), name=name)(first) if shape[0] == -1 else None


_WHOLE = {"start": None, "stop": None, "step": None}


def _getitem(name: str, first: Any, more: Arguments) -> Any:
    """`x[..., ::-1]`, RGB to BGR: a 1x1 convolution that swaps the bands."""
    *before, last = more.pop("slice_spec")
    whole = all(part == _WHOLE or part == {"class_name": "__ellipsis__"} for part in before)
    if not whole or last != {**_WHOLE, "step": -1} or len(first.shape) != 4:
        return None
    bands = first.shape[-1]
    swap = layers.Conv2D(bands, 1, use_bias=False, trainable=False, name=name)
    result = swap(first)
    swap.set_weights([np.eye(bands, dtype="float32")[::-1][None, None]])
    return result


_ADD = _affine(lambda c, _: (1.0, c), layers.Add)
_SUBTRACT = _affine(lambda c, first: (-1.0, c) if first else (1.0, -c), layers.Subtract)
_MULTIPLY = _affine(lambda c, _: (c, 0.0), layers.Multiply)
_DIVIDE = _affine(lambda c, first: None if first or not c.all() else (1 / c, 0.0))

RULES: dict[str, Rule] = {
    "math.add": _ADD,
    "__operators__.add": _ADD,
    "nn.bias_add": _ADD,
    "math.subtract": _SUBTRACT,
    "math.multiply": _MULTIPLY,
    "math.truediv": _DIVIDE,
    "math.divide": _DIVIDE,
    "nn.leaky_relu": lambda name, x, more: layers.LeakyReLU(more.pop("alpha", 0.2), name=name)(x),
    "concat": lambda name, x, more: layers.Concatenate(more.pop("axis"), name=name)(x),
    "math.reduce_mean": _pool(layers.GlobalAveragePooling2D),
    "math.reduce_max": _pool(layers.GlobalMaxPooling2D),
    "cast": _cast,
    "reshape": _reshape,
    "__operators__.getitem": _getitem,
    **{f"nn.{f}": _activation(f) for f in ("relu", "relu6", "selu", "elu", "silu", "swish")},
    **{f"{m}.{f}": _activation(f) for m in ("nn", "math") for f in ("sigmoid", "tanh", "softmax")},
}


def call(name: str, function: str, first: Any, more: Arguments) -> Any:
    """Call the layers that stand for an operation.

    Parameters
    ----------
    name : str
        For the layer.
    function : str
        Path of the operation below `tf`, as ``math.truediv``.
    first : tensor, constant or list of tensors
        Its first argument.
    more : dict
        The others.

    Raises
    ------
    ModelError
        Names the operation where it is not known to have a layer that
        computes the same.
    """
    rest = {key: value for key, value in more.items() if value is not None and key != "name"}
    rule = RULES.get(function)
    if rest.get("data_format", "NHWC") == "NHWC":
        rest.pop("data_format", None)
        result = rule(name, first, rest) if rule else None
        if result is not None and not rest:
            return result
    raise ModelError(
        f"layer {name} is the TensorFlow operation tf.{function}, called in a way that no layer of"
        f" Keras is known for. Known are {', '.join(sorted(RULES))} with constants. Replace it by a"
        " layer in the script that built the model and save it again"
    )
