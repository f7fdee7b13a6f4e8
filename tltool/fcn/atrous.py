"""A denser map: the à trous rewriting of an FCN, and shift-and-stitch, its reference.

From the layer on where the accumulated stride would exceed the wanted one,
strides become 1 and every window behind is dilated by what was left out. Each
cell then says what the FCN says of the image shifted to it (Sermanet et al.,
"OverFeat", ICLR 2014, section 3.3; Giusti et al., "Fast Image Scanning with
Deep Max-Pooling Convolutional Neural Networks", ICIP 2013; Long, Shelhamer and
Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015,
section 3.2).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from tltool.errors import UsageError
from tltool.fcn.geometry import POOLS, SLIDING, refuse, same_padding, window_of
from tltool.fcn.surgery import arguments_of, converts, scale_and_shift
from tltool.models.graph import Step, UniqueNames, give_weights, steps

# How the converter repeats a map's edge cells.
_EDGES = ("GetItem", "Concatenate")
# Less than any feature, in half precision too once it is cast.
_LOWEST = float(np.finfo(np.float32).min)

Pair = tuple[int, int]


@dataclass(frozen=True)
class _Layer:
    """A tensor of the FCN.

    Attributes
    ----------
    dense : KerasTensor
        As the dense network has it; a cell every ``min(step, stride)`` px.
    own : KerasTensor
        As the FCN has it at the classifier's input size, which tells how
        'same' layers pad.
    step : (int, int)
        Pixels between its cells in the FCN, along rows and columns.
    """

    dense: Any
    own: Any
    step: Pair


@dataclass(frozen=True)
class _Window:
    """A layer's window along one axis, in cells of the dense network."""

    size: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def pads_as_same(self) -> bool:
        """Whether ``padding="same"`` pads like this at every size."""
        total = self.dilation * (self.size - 1)
        return self.stride == 1 and (self.before, self.after) == (total // 2, total - total // 2)


def _window(layer: Any, axis: int, size: int, step: int, wanted: int) -> _Window:
    kernel, stride, dilation = window_of(layer, axis)
    before = after = 0
    if layer.padding == "same":
        before, after = same_padding(size, kernel, stride, dilation)
    # What the FCN's last window leaves over; a smaller stride would find another window there.
    slack = (size + before + after - dilation * (kernel - 1) - 1) % stride
    wider = max(1, step // wanted)
    dense_stride = stride if step * stride <= wanted else max(1, wanted // step)
    dense_dilation = dilation * wider if kernel > 1 else 1
    return _Window(kernel, dense_stride, dense_dilation, before * wider, (after - slack) * wider)


def _folded(layer: Any, norm: layers.BatchNormalization) -> list[np.ndarray]:
    """Weights of a convolution with a bias that normalises its outputs too."""
    factor, shift = scale_and_shift(norm)
    weights = layer.get_weights()
    bias = weights.pop() if layer.use_bias else 0
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    weights[-1] = weights[-1] * (factor.reshape(weights[-1].shape[2:]) if depthwise else factor)
    return [*weights, bias * factor + shift]


def _foldable(fcn: keras.Model) -> dict[int, layers.BatchNormalization]:
    """Normalisations that a convolution before them can do, by the tensor between (`id`).

    They cost more time than many a convolution where maps are large.
    """
    all_steps = list(steps(fcn))
    made_by: dict[int, Any] = {
        id(tensor): step.layer for step in all_steps for tensor in step.outputs
    }
    uses = Counter(id(tensor) for step in all_steps for tensor in step.inputs)
    uses.update(id(tensor) for tensor in fcn.outputs)
    calls = Counter(id(step.layer) for step in all_steps)
    found = {}
    for step in all_steps:
        before: Any = made_by.get(id(step.inputs[0]))
        if (
            type(step.layer) is layers.BatchNormalization
            and type(before) in SLIDING
            and before.activation is keras.activations.linear
            and uses[id(step.inputs[0])] == calls[id(before)] == calls[id(step.layer)] == 1
        ):
            found[id(step.inputs[0])] = step.layer
    return found


class _Rewriting:
    def __init__(self, fcn: keras.Model, stride: int):
        self.stride = stride
        self.folds = _foldable(fcn)
        self._copies: dict[Any, Any] = {}
        self._unique = UniqueNames()

    def call(
        self,
        layer: Any,
        changes: dict[str, Any],
        *args: Any,
        weights: list[np.ndarray] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call a copy of `layer` with some of its configuration, or its weights, changed."""
        key = (id(layer), repr(changes))
        if key not in self._copies:
            config = {**layer.get_config(), **changes, "name": self._unique(layer.name)}
            self._copies[key] = type(layer).from_config(config)
        result = self._copies[key](*args, **kwargs)
        if getattr(layer, "weights", None):
            give_weights(self._copies[key], layer.get_weights() if weights is None else weights)
        return result

    def windows(self, layer: Any, place: _Layer) -> tuple[_Window, _Window]:
        """The layer's window along rows and columns."""
        sizes = place.own.shape[1:3]
        rows, columns = (
            _window(layer, axis, sizes[axis], place.step[axis], self.stride) for axis in (0, 1)
        )
        return rows, columns

    def changes_nothing(self, layer: Any, place: _Layer) -> bool:
        """Whether the layer stays as it is: nothing before it is dilated, nor will it be."""
        strides = (window_of(layer, axis)[1] for axis in (0, 1))
        return all(
            step * stride <= self.stride for step, stride in zip(place.step, strides, strict=True)
        )

    def dense(self, step: Step, places: list[_Layer]) -> Any:
        """The dense tensor behind a step."""
        layer, place, kind = step.layer, places[0], type(step.layer)
        # Cells of the dense tensor for each of the FCN's.
        wider = [max(1, each // self.stride) for each in place.step]
        if isinstance(layer, layers.ZeroPadding2D | layers.Cropping2D):
            option = "padding" if isinstance(layer, layers.ZeroPadding2D) else "cropping"
            sides = zip(getattr(layer, option), wider, strict=True)
            widened = tuple((before * by, after * by) for (before, after), by in sides)
            return self.call(layer, {option: widened}, place.dense)
        if kind in SLIDING:
            return _convolution(self, step, place)
        if kind in POOLS:
            return _pool(self, layer, place)
        if kind is layers.BatchNormalization and id(step.inputs[0]) in self.folds:
            return place.dense
        if kind.__name__ == "Repeat":
            return self.call(layer, {"repeats": layer.repeats * wider[layer.axis - 1]}, place.dense)
        if not converts(layer) and kind.__name__ not in _EDGES:
            reason = "it is not known how to dilate it. Expected a network of tltool convert"
            raise refuse(layer, reason)
        # It treats every position by itself.
        args, kwargs = arguments_of(step, [each.dense for each in places])
        return self.call(layer, {}, *args, **kwargs)


def _padded(tensor: Any, windows: tuple[_Window, _Window], name: str, value: float = 0) -> Any:
    """Pad, or crop where the padding is negative."""
    sides = [(w.before, w.after) for w in windows]
    if any(after < 0 for _, after in sides):
        crop = tuple((0, max(0, -after)) for _, after in sides)
        tensor = layers.Cropping2D(crop, name=f"{name}_crop")(tensor)
    pad = tuple((before, max(0, after)) for before, after in sides)
    if not np.any(pad):
        return tensor
    if value:
        return ops.pad(tensor, ((0, 0), *pad, (0, 0)), constant_values=value)
    return layers.ZeroPadding2D(pad, name=f"{name}_pad")(tensor)


def _convolution(rewriting: _Rewriting, step: Step, place: _Layer) -> Any:
    layer = step.layer
    norm = rewriting.folds.get(id(step.outputs[0]))
    weights = None if norm is None else _folded(layer, norm)
    changes: dict[str, Any] = {} if norm is None else {"use_bias": True}
    if rewriting.changes_nothing(layer, place):
        return rewriting.call(layer, changes, place.dense, weights=weights)
    windows = rewriting.windows(layer, place)
    same = all(window.pads_as_same for window in windows)
    tensor = place.dense if same else _padded(place.dense, windows, layer.name)
    changes |= {
        "strides": tuple(window.stride for window in windows),
        "dilation_rate": tuple(window.dilation for window in windows),
        "padding": "same" if same else "valid",
    }
    return rewriting.call(layer, changes, tensor, weights=weights)


def _pool(rewriting: _Rewriting, layer: Any, place: _Layer) -> Any:
    if rewriting.changes_nothing(layer, place):
        return rewriting.call(layer, {}, place.dense)
    windows = rewriting.windows(layer, place)
    if isinstance(layer, layers.MaxPooling2D):
        padded = _padded(place.dense, windows, layer.name, _LOWEST)
        return _pool_padded(padded, windows, layers.MaxPooling2D, layer.name)
    name = f"{layer.name}_sum"
    pooled = _pool_padded(
        _padded(place.dense, windows, layer.name), windows, layers.AveragePooling2D, layer.name
    )
    if layer.padding != "same" or not any(w.before or w.after > 0 for w in windows):
        return pooled
    # Padding does not count: the mean is of what lies inside the map.
    ones = _padded(ops.ones_like(place.dense[..., :1]), windows, name)
    return pooled / _pool_padded(ones, windows, layers.AveragePooling2D, name)


def _pool_padded(
    tensor: Any, windows: tuple[_Window, _Window], kind: type[keras.Layer], name: str
) -> Any:
    if all(window.dilation == 1 for window in windows):
        size, strides = tuple(w.size for w in windows), tuple(w.stride for w in windows)
        return kind(size, strides=strides, name=name)(tensor)
    merge = layers.Maximum if kind is layers.MaxPooling2D else layers.Average
    # A map is merged with itself moved by each step of the dilated window.
    for axis, (window, word) in enumerate(zip(windows, ("rows", "columns"), strict=True)):
        total = window.dilation * (window.size - 1)
        views = []
        for start in range(0, total + 1, window.dilation) if total else ():
            crop = [(0, 0), (0, 0)]
            crop[axis] = (start, total - start)
            cropping = layers.Cropping2D(tuple(crop), name=f"{name}_{word}_{start}")
            views.append(cropping(tensor))
        tensor = merge(name=f"{name}_{word}")(views) if views else tensor
    return tensor


def _walk(fcn: keras.Model, side: int, rule: Callable[[Step, list[_Layer]], Any]) -> list[_Layer]:
    """Go through the FCN; `rule` gives the dense tensor behind each step."""
    source = fcn.inputs[0]
    own = keras.KerasTensor((1, side, side, source.shape[-1]), dtype=source.dtype)
    inputs = keras.Input(tuple(source.shape[1:]), name="image", dtype=source.dtype)
    places = {id(source): _Layer(inputs, own, (1, 1))}
    for step in steps(fcn):
        before = [places[id(tensor)] for tensor in step.inputs]
        args, kwargs = arguments_of(step, [place.own for place in before])
        output = step.layer.compute_output_spec(*args, **kwargs)
        rows, columns = (before[0].step[axis] * window_of(step.layer, axis)[1] for axis in (0, 1))
        places[id(step.outputs[0])] = _Layer(rule(step, before), output, (rows, columns))
    ends = [places[id(tensor)] for tensor in (source, *fcn.outputs)]
    return [*ends, *places.values()]


def possible_strides(fcn: keras.Model, side: int) -> list[int]:
    """Strides that a dense map can have, px of the enlarged image, from the network's own down.

    Parameters
    ----------
    fcn : keras.Model
    side : int
        Side of the classifier's input.
    """
    _, end, *places = _walk(fcn, side, lambda step, before: None)
    own = end.step[0]
    reached = {cell_size for place in places for cell_size in place.step}
    return [
        stride
        for stride in range(own, 0, -1)
        if all(stride % cell_size == 0 or cell_size % stride == 0 for cell_size in reached)
    ]


def choose_stride(stride: float, zoom: Fraction, possible: Sequence[int]) -> int:
    """A stride in px of the image as one of the network's, px of the enlarged image.

    Raises
    ------
    UsageError
        Where it is none of `possible`; lists these.
    """
    for each in possible:
        # As they are written with two decimals.
        if abs(float(each / zoom) - stride) <= 0.0051:
            return each
    known = ", ".join(f"{float(each / zoom):.2f}".rstrip("0").rstrip(".") for each in possible)
    raise UsageError(
        f"`stride`: expected one of {known} px, which this network can have; received {stride:g}."
        " Any other stride takes `mode='patches'`"
    )


def to_dense(fcn: keras.Model, side: int, stride: int) -> keras.Model:
    """Rewrite an FCN so that it has a cell every `stride` px: à trous.

    Parameters
    ----------
    fcn : keras.Model
        Of `tltool.fcn.surgery.to_fcn`.
    side : int
        Side of the classifier's input. The dense network takes this plus any
        multiple of `stride`: layers then pad as in training.
    stride : int
        One of `possible_strides`, px of the enlarged image.

    Returns
    -------
    keras.Model
        Plain Keras layers only; from (b, side + m * stride, side + n * stride,
        bands) to (b, m + 1, n + 1, classes). What its cells see is what the
        FCN sees, but for padding: the FCN pads each shifted image at its own
        borders, the dense network at the image's. Batch normalisation is
        folded into the convolution before it.

    Raises
    ------
    UsageError
        A stride that the network cannot have.
    ConversionError
        Names a layer that cannot be dilated.

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
    >>> fcn = tltool.open(model).fcn
    >>> dense = tltool.to_dense(fcn, side=16, stride=1)
    """
    possible = possible_strides(fcn, side)
    choose_stride(stride, Fraction(1), possible)
    if stride == possible[0]:
        return fcn
    start, end, *_ = _walk(fcn, side, _Rewriting(fcn, stride).dense)
    return keras.Model(start.dense, end.dense, name=f"{fcn.name}_stride{stride}")


def shift_and_stitch(
    network: Callable[[np.ndarray], np.ndarray],
    pixels: np.ndarray,
    side: int,
    network_stride: int,
    stride: int,
) -> np.ndarray:
    """Interleave the maps of all shifted images: what `to_dense` gives, run by run.

    Parameters
    ----------
    network : callable
        From (height, width, bands) to (rows, columns, classes), as an engine
        of `tltool.tiling.engines` does.
    pixels : (side + m * stride, side + n * stride, bands) array
    side, network_stride : int
        The classifier's side and the FCN's stride, px of the enlarged image.
    stride : int
        Wanted, px of the enlarged image; divides `network_stride`.

    Returns
    -------
    (m + 1, n + 1, classes) array
    """
    factor = network_stride // stride
    rows, columns = ((length - side) // stride + 1 for length in pixels.shape[:2])
    stitched: np.ndarray | None = None
    for row, column in np.ndindex(min(factor, rows), min(factor, columns)):
        top, left = row * stride, column * stride
        height = side + (rows - 1 - row) // factor * network_stride
        width = side + (columns - 1 - column) // factor * network_stride
        cells = network(pixels[top : top + height, left : left + width])
        if stitched is None:
            stitched = np.empty((rows, columns, cells.shape[-1]), cells.dtype)
        stitched[row::factor, column::factor] = cells
    assert stitched is not None
    return stitched
