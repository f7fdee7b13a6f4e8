"""From a patch classifier to a fully convolutional network that says the same everywhere.

The classifier's graph is rebuilt without a fixed input size. A vector of
features becomes a map of vectors, so that

- Dense on features is a 1x1 convolution,
- Flatten and Dense is a convolution with a kernel as large as the map
  (Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic
  Segmentation", CVPR 2015, section 3.1),
- a pool over the whole map is a stride-1 pool of the map's size,
- a global pool inside the backbone (squeeze-and-excitation) is a stride-1
  pool over the window it had, which is kept inside the map at its borders. At
  the classifier's own size that is the whole map for every cell.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import layers, ops, tree

from tltool.errors import ConversionError
from tltool.fcn.geometry import GLOBAL_POOLS, check_channels_last, refuse, shape_of, whole_map_pools
from tltool.fcn.single import as_single
from tltool.models.graph import Copier, Step, is_layer, replay, steps

TOLERANCE = 1e-5

# Side of a window, in cells, up to which it is pooled at once.
_SMALL_POOL = 4


@dataclass(frozen=True)
class Part:
    """A tensor of the classifier as it stands in the FCN.

    Attributes
    ----------
    tensor : (b, h, w, c) KerasTensor
    pooled : bool
        Whether it was a vector, or a map of one cell, made by pooling a whole
        map; here it has a cell for every position.
    flat : (int, int, int) or None
        Height, width and bands of a map that was flattened and waits for its
        Dense layer.
    scale, shift : (h * w * c,) arrays or None
        Normalisation of the flattened features, to be folded into that layer.
    """

    tensor: Any
    pooled: bool = False
    flat: tuple[int, int, int] | None = None
    scale: np.ndarray | None = None
    shift: np.ndarray | None = None


Rule = Callable[["_Conversion", Step, list[Part]], Part]


class _Conversion:
    def __init__(self, model: keras.Model):
        self.copy = Copier()
        self.pools = whole_map_pools(model)
        self.slides = any(hasattr(step.layer, "strides") for step in steps(model))

    def apply(self, step: Step, parts: dict[int, Part]) -> Part:
        own = [parts[id(tensor)] for tensor in step.inputs]
        rule = _rule_of(step.layer)
        if rule is None:
            raise refuse(
                step.layer,
                "it is not known to treat every position alike. Replace it by convolution, pooling,"
                " Flatten, Dense, normalisation, activation, dropout or a merge",
            )
        check_channels_last(step)
        try:
            return rule(self, step, own)
        except ConversionError:
            raise
        except (TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise refuse(step.layer, f"it does not take a map of any size: {reason}") from error

    def call(self, step: Step, parts: list[Part]) -> Any:
        """Call a copy of the step's layer on the parts, in the structure it was called with."""
        arguments, named = arguments_of(step, [part.tensor for part in parts])
        # What a layer is named besides is `training` or a mask, which inference has not.
        return self.copy(step.layer, *arguments, **({} if is_layer(step.layer) else named))


def arguments_of(step: Step, tensors: list[Any]) -> Any:
    """The step's ``args`` and ``kwargs`` with other tensors in place of its inputs."""
    values = {id(own): tensor for own, tensor in zip(step.inputs, tensors, strict=True)}

    def value_of(item: Any) -> Any:
        return values[id(item)] if isinstance(item, keras.KerasTensor) else item

    return tree.map_structure(value_of, (step.args, step.kwargs))


def _is_vector(tensor: Any) -> bool:
    shape = shape_of(tensor)
    return len(shape) == 1 or shape[:-1] == (1,) * (len(shape) - 1)


def _no_flat(step: Step, parts: list[Part]) -> None:
    if any(part.flat for part in parts):
        raise refuse(
            step.layer,
            "it stands between Flatten and the Dense layer that Flatten needs."
            " Move it before Flatten or behind the Dense layer",
        )


def _on_map(conversion: _Conversion, step: Step, parts: list[Part]) -> Part:
    """Layers that slide over a map or change its borders."""
    _no_flat(step, parts)
    kernel = getattr(step.layer, "kernel_size", (1, 1))
    if parts[0].pooled and max(kernel) > 1:
        # The classifier saw nothing but padding around the one cell.
        raise refuse(step.layer, f"its {kernel} kernel slides over a map of one cell")
    return replace(parts[0], tensor=conversion.call(step, parts))


def _pool(conversion: _Conversion, step: Step, parts: list[Part]) -> Part:
    inner = conversion.pools.get(id(step.outputs[0]))
    if inner is None:
        return _on_map(conversion, step, parts)
    _no_flat(step, parts)
    layer, tensor = step.layer, parts[0].tensor
    size = shape_of(step.inputs[0])[:2] if isinstance(layer, GLOBAL_POOLS) else layer.pool_size
    mean = isinstance(layer, layers.GlobalAveragePooling2D | layers.AveragePooling2D)
    kind = layers.AveragePooling2D if mean else layers.MaxPooling2D
    name = conversion.copy.unique(layer.name)
    if not inner or max(size) <= _SMALL_POOL:
        # At once: the sum is rounded as the classifier rounds it.
        tensor = kind(tuple(size), strides=1, name=name)(tensor)
    else:
        # One axis after the other: 2h instead of h * h values a cell.
        tensor = kind((size[0], 1), strides=1, name=f"{name}_rows")(tensor)
        tensor = kind((1, size[1]), strides=1, name=f"{name}_columns")(tensor)
    for axis, length in enumerate(size if inner else (), 1):
        before = (length - 1) // 2
        tensor = _repeat_edges(tensor, before, length - 1 - before, axis)
    return Part(tensor, pooled=True)


def _repeat_edges(tensor: Any, before: int, after: int, axis: int) -> Any:
    index = (slice(None),) * axis
    parts = [tensor]
    if not before and not after:
        return tensor
    if before:
        parts.insert(0, ops.repeat(tensor[(*index, slice(0, 1))], before, axis=axis))
    if after:
        parts.append(ops.repeat(tensor[(*index, slice(-1, None))], after, axis=axis))
    return ops.concatenate(parts, axis=axis)


def _flatten(conversion: _Conversion, step: Step, parts: list[Part]) -> Part:
    if _is_vector(step.inputs[0]) or parts[0].flat:
        return parts[0]
    height, width, bands = shape_of(step.inputs[0])
    return replace(parts[0], flat=(height, width, bands))


def _reshape(conversion: _Conversion, step: Step, parts: list[Part]) -> Part:
    if _is_vector(step.inputs[0]) and _is_vector(step.outputs[0]):
        return parts[0]
    if len(shape_of(step.outputs[0])) == 1 and len(shape_of(step.inputs[0])) == 3:
        return _flatten(conversion, step, parts)
    if _is_vector(step.inputs[0]):
        raise refuse(
            step.layer,
            "it makes a map of a vector, as whitening (zca_whitening) does, which mixes all"
            " positions of a patch. Train without it",
        )
    raise refuse(
        step.layer,
        f"it rearranges positions, from {shape_of(step.inputs[0])} to {shape_of(step.outputs[0])}",
    )


def _skip(conversion: _Conversion, step: Step, parts: list[Part]) -> Part:
    return parts[0]


def _dense(conversion: _Conversion, step: Step, parts: list[Part]) -> Part:
    layer, part = step.layer, parts[0]
    if not _is_vector(step.inputs[0]):
        return replace(part, tensor=conversion.call(step, parts))
    if part.flat and not conversion.slides:
        raise refuse(
            layer,
            "it looks at the whole image at once, and no layer slides over the image before it, so"
            " that neighbouring windows have nothing in common",
        )
    kernel = np.asarray(layer.kernel)
    bias = np.zeros(layer.units, kernel.dtype) if layer.bias is None else np.asarray(layer.bias)
    if part.shift is not None and part.scale is not None:
        bias = bias + part.shift @ kernel
        kernel = part.scale[:, None] * kernel
    shape = part.flat or (1, 1, kernel.shape[0])
    name, policy = conversion.copy.unique(layer.name), layer.dtype_policy
    convolution = layers.Conv2D(
        layer.units, shape[:2], activation=layer.activation, name=name, dtype=policy
    )
    outputs = convolution(part.tensor)
    convolution.set_weights([kernel.reshape(*shape, layer.units), bias])
    return Part(outputs, pooled=True)


def _last_axis(layer: Any, shape: tuple[int, ...]) -> None:
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    if [axis % (len(shape) + 1) for axis in axes] != [len(shape)]:
        raise refuse(
            layer,
            f"expected it to work along the last axis, received {axes}. Over positions, as"
            " samplewise_std_normalization has it, each patch has a mean and deviation of its own,"
            " and a pixel of the map lies in many patches. Train without it",
        )


def _along_last_axis(conversion: _Conversion, step: Step, parts: list[Part]) -> Part:
    layer = step.layer
    if parts[0].flat:
        if not isinstance(layer, layers.BatchNormalization):
            _no_flat(step, parts)
        factor, offset = scale_and_shift(layer)
        scale = np.ones_like(factor) if parts[0].scale is None else parts[0].scale
        shift = np.zeros_like(factor) if parts[0].shift is None else parts[0].shift
        return replace(parts[0], scale=scale * factor, shift=shift * factor + offset)
    _last_axis(layer, shape_of(step.inputs[0]))
    tensors = [part.tensor for part in parts]
    # The rank may have been another: 2 where it is 4 now.
    name = conversion.copy.unique(layer.name)
    double = type(layer).from_config({**layer.get_config(), "axis": -1, "name": name})
    outputs = double(tensors if len(tensors) > 1 else tensors[0])
    if layer.weights:
        double.set_weights(layer.get_weights())
    return Part(outputs, pooled=all(part.pooled for part in parts))


def scale_and_shift(layer: layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """Factors and offsets that inference applies to each band: two (bands,) float64 arrays."""
    deviation = np.sqrt(np.asarray(layer.moving_variance, np.float64) + layer.epsilon)
    gamma = np.asarray(layer.gamma) if layer.scale else 1.0
    beta = np.asarray(layer.beta) if layer.center else 0.0
    factor = gamma / deviation
    return factor, beta - np.asarray(layer.moving_mean) * factor


def _pointwise(conversion: _Conversion, step: Step, parts: list[Part]) -> Part:
    """Layers that treat each value, or each vector of a position, by itself."""
    for item in tree.flatten((step.args, step.kwargs)):
        if isinstance(item, np.ndarray) and any(length > 1 for length in item.shape[:-1]):
            raise refuse(step.layer, f"it has a number for each position, of shape {item.shape}")
    if any(part.flat for part in parts):
        softmax = getattr(step.layer, "activation", None) is keras.activations.softmax
        if len(parts) > 1 or softmax or parts[0].scale is not None:
            _no_flat(step, parts)
        return replace(parts[0], tensor=conversion.call(step, parts))
    # A pooled part that meets a map (squeeze-and-excitation) is one no longer.
    return Part(conversion.call(step, parts), pooled=all(part.pooled for part in parts))


def _normalise(conversion: _Conversion, step: Step, parts: list[Part]) -> Part:
    axes = step.layer.axis or ()
    rank = len(shape_of(step.inputs[0])) + 1
    if rank == 4 and any(axis % rank != rank - 1 for axis in axes):
        raise refuse(
            step.layer,
            f"it has a mean for each position, expected axis=-1, received axis={tuple(axes)}",
        )
    return _pointwise(conversion, step, parts)


def _prelu(conversion: _Conversion, step: Step, parts: list[Part]) -> Part:
    slopes = np.asarray(step.layer.alpha)
    if parts[0].flat or slopes.size != slopes.shape[-1]:
        raise refuse(step.layer, "it has a slope for each position. Use shared_axes=[1, 2]")
    name = conversion.copy.unique(step.layer.name)
    double = layers.PReLU(shared_axes=[1, 2], name=name)
    outputs = double(parts[0].tensor)
    double.set_weights([slopes.reshape(1, 1, -1)])
    return replace(parts[0], tensor=outputs)


_NAMED_RULES: dict[str, Rule] = {
    "Conv2D DepthwiseConv2D SeparableConv2D ZeroPadding2D Cropping2D": _on_map,
    "AveragePooling2D MaxPooling2D GlobalAveragePooling2D GlobalMaxPooling2D": _pool,
    "Dropout SpatialDropout2D GaussianDropout GaussianNoise AlphaDropout": _skip,
    # What augments images while training is nothing afterwards.
    "RandomBrightness RandomContrast RandomFlip RandomRotation RandomTranslation": _skip,
    "RandomZoom ActivityRegularization": _skip,
    "Activation ReLU LeakyReLU ELU Rescaling Identity": _pointwise,
    "Add Multiply Subtract Average Maximum Minimum": _pointwise,
    "BatchNormalization LayerNormalization Softmax Concatenate": _along_last_axis,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Dense": _dense,
    "PReLU": _prelu,
    "Normalization": _normalise,
}
_RULES: dict[type, Rule] = {
    getattr(layers, name): rule for names, rule in _NAMED_RULES.items() for name in names.split()
}

# Layers of keras.applications that Keras does not export, and operations (x + 3 in a graph).
_OPERATIONS = """
    LayerScale CustomScaleLayer Add Subtract Multiply Divide TrueDivide Maximum Minimum Clip Relu
    Relu6 Sigmoid HardSigmoid Silu HardSilu Tanh Gelu Elu LeakyRelu Softplus Negative Absolute
    Square Sqrt Exp Log Power
"""
_RULES_BY_NAME: dict[str, Rule] = dict.fromkeys(_OPERATIONS.split(), _pointwise)


def _rule_of(layer: Any) -> Rule | None:
    return _RULES.get(type(layer)) or _RULES_BY_NAME.get(type(layer).__name__)


def converts(layer: Any) -> bool:
    """Whether there is a rule for such a layer or operation."""
    return _rule_of(layer) is not None


def to_fcn(model: keras.Model) -> keras.Model:
    """Convert a classifier to a fully convolutional network, without checking it.

    Parameters
    ----------
    model : keras.Model
        Sequential or Functional, nested or flat, from (b, side, side, bands)
        to (b, classes), or to a list or dict of such.

    Returns
    -------
    keras.Model
        Plain Keras layers only, from (b, height, width, bands) to
        (b, rows, columns, classes); at the classifier's size rows and columns
        are 1 and the output is the classifier's, several outputs side by side
        (a dict's sorted by name).

    Raises
    ------
    ConversionError
        Names the layer that cannot be converted and what to do.
    """
    flat = as_single(model)
    source = flat.inputs[0]
    if len(source.shape) != 4 or None in source.shape[1:]:
        raise ConversionError(
            f"model {model.name}: expected one image input of fixed size (height, width, bands),"
            f" received {tuple(source.shape[1:])}"
        )
    conversion = _Conversion(flat)
    inputs = keras.Input((None, None, source.shape[-1]), name="image")
    parts = {id(source): Part(inputs)}
    for step in steps(flat):
        parts[id(step.outputs[0])] = conversion.apply(step, parts)
    end = parts[id(flat.outputs[0])]
    if end.flat:
        last = next(s for s in steps(flat) if any(t is flat.outputs[0] for t in s.outputs))
        raise refuse(last.layer, "no Dense layer follows the flattened map")
    if not _is_vector(flat.outputs[0]):
        raise ConversionError(
            f"model {model.name}: expected one vector of class scores at the end, received"
            f" {shape_of(flat.outputs[0])}. Is it fully convolutional already?"
        )
    return keras.Model(inputs, end.tensor, name=f"{model.name}_fcn")


def _test_images(shape: tuple[int, ...], seed: int) -> np.ndarray:
    # Shapes of all sizes, as photographs have them: white noise drives deep networks to where
    # the last bit of a sum decides. Little contrast too, since a saturated softmax hides much.
    rng = np.random.default_rng(seed)
    height, width, bands = shape
    images = np.zeros((2, *shape))
    for cells in (1, 2, 4, 8, 16):
        coarse = rng.uniform(0, 255 / 5, (2, cells, cells, bands))
        rows, columns = np.arange(height) * cells // height, np.arange(width) * cells // width
        images += coarse[:, rows][:, :, columns]
    return np.concatenate([images, 120 + (images - 128) / 20]).astype("float32")


def _answers(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The outputs of a model of any structure, side by side: (b, outputs)."""
    # Layer by layer: Keras warns where a model was built of a list or dict and gets a tensor.
    outputs = replay(
        model,
        ops.convert_to_tensor(images),
        lambda layer, *arguments, **named: layer(*arguments, **named),
    )
    vectors = [np.asarray(tensor).reshape(len(images), -1) for tensor in tree.flatten(outputs)]
    return np.concatenate(vectors, axis=1)


def check_equal(model: keras.Model, fcn: keras.Model, seed: int = 0) -> float:
    """Compare classifier and FCN at the classifier's own input size.

    Parameters
    ----------
    model, fcn : keras.Model
    seed : int
        Seed of the random images.

    Returns
    -------
    float
        The largest difference of any class.

    Raises
    ------
    ConversionError
        Where it is above `TOLERANCE` (1e-5), of scores above 1 that share of
        the largest, or no number.
    """
    images = _test_images(model.inputs[0].shape[1:], seed)
    expected = _answers(model, images)
    received = np.asarray(fcn(images, training=False))
    if received.shape[:3] != (len(images), 1, 1):
        raise ConversionError(
            f"model {model.name}: expected one cell at the classifier's own size, the converted"
            f" network gives {received.shape[1]} x {received.shape[2]}"
        )
    difference = float(np.abs(expected - received.reshape(len(images), -1)).max())
    # Single precision rounds large scores more coarsely than probabilities.
    largest = float(np.abs(expected).max())
    if not difference <= TOLERANCE * max(1.0, largest):
        share = f" of the largest score, {largest:.3g}" if largest > 1 else ""
        raise ConversionError(
            f"model {model.name}: the converted network differs from the classifier by"
            f" {difference:.2g} at its own input size; expected at most {TOLERANCE:g}{share}."
            " Nothing was written"
        )
    return difference
