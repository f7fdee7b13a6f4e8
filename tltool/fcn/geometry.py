"""Stride and receptive field of a classifier's only cell, computed from its layers.

Each tensor of the graph has a span: the pixels of the input that its first
cell looks at, and the step from one cell to the next. Layers transform spans
(Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural
Networks", Distill 2019, eq. 1 to 4):

    step' = step * stride
    first' = first - padding * step
    last' = last + (dilation * (kernel - 1) - padding) * step
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from tltool.errors import ConversionError
from tltool.models.graph import Step, steps


@dataclass(frozen=True)
class Span:
    """Pixels first..last that cell 0 of a tensor looks at, and px between its cells."""

    step: int
    first: int
    last: int

    def window(self, kernel: int, stride: int = 1, dilation: int = 1, padding: int = 0) -> "Span":
        """The span behind a window that slides over the tensor."""
        first = self.first - padding * self.step
        last = self.last + (dilation * (kernel - 1) - padding) * self.step
        return Span(self.step * stride, first, last)


@dataclass(frozen=True)
class Geometry:
    """Geometry of a classifier's window as a cell of the map; px of the enlarged image.

    Attributes
    ----------
    side : int
        Side of the classifier's square input.
    stride : int
        Pixels between neighbouring cells.
    first, last : int
        Pixels that can influence a cell, counted from its window's start.
        Below 0 or beyond ``side - 1``: the classifier sees padding there, the
        map sees the image's surroundings.
    global_pools : bool
        Whether a pool inside the backbone looks at the whole window.
    """

    side: int
    stride: int
    first: int
    last: int
    global_pools: bool

    @property
    def receptive_field(self) -> int:
        """Number of pixels, along one axis, that can influence a cell."""
        return self.last - self.first + 1

    @property
    def missing_context(self) -> int:
        """Pixels of image that would have to be added on each side until no padding is seen."""
        return max(0, -self.first, self.last - (self.side - 1))


def shape_of(tensor: Any) -> tuple[int, ...]:
    """Shape without the batch axis."""
    return tuple(tensor.shape[1:])


SLIDING = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
GLOBAL_POOLS = (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
POOLS = (layers.AveragePooling2D, layers.MaxPooling2D)


def _slides(step: Step) -> bool:
    sizes = getattr(step.layer, "kernel_size", getattr(step.layer, "pool_size", (1, 1)))
    return max(sizes) > 1


def _covers_map(step: Step) -> bool:
    layer = step.layer
    if isinstance(layer, GLOBAL_POOLS):
        return True
    size = shape_of(step.inputs[0])[:2]
    return isinstance(layer, POOLS) and layer.padding == "valid" and layer.pool_size == size


def whole_map_pools(model: keras.Model) -> dict[int, bool]:
    """Find the steps that pool a whole map into one cell.

    A pool layer that something slides over afterwards is an ordinary
    reduction that happens to end with one cell, and is not among them.

    Returns
    -------
    dict
        From the identity (`id`) of the step's output tensor to whether its
        result meets a map again, as in squeeze-and-excitation.
    """
    all_steps = list(steps(model))
    slid_over: set[int] = set()
    for step in reversed(all_steps):
        if _slides(step) or any(id(tensor) in slid_over for tensor in step.outputs):
            slid_over.update(id(tensor) for tensor in step.inputs)
    origins: dict[int, set[int]] = {}
    inner: dict[int, bool] = {}
    for step in all_steps:
        own = [origins.get(id(tensor), set()) for tensor in step.inputs]
        found = set().union(*own)
        for tensor, known in zip(step.inputs, own, strict=True):
            shape = shape_of(tensor)
            if len(shape) == 3 and shape[0] * shape[1] > 1:
                inner.update(dict.fromkeys(found - known, True))
        output = id(step.outputs[0])
        if _covers_map(step) and (isinstance(step.layer, GLOBAL_POOLS) or output not in slid_over):
            inner[output] = False
            found = found | {output}
        origins.update((id(tensor), found) for tensor in step.outputs)
    return inner


def refuse(layer: Any, reason: str) -> ConversionError:
    """Make the error that names a layer, what is wrong and what to do."""
    return ConversionError(
        f"layer {layer.name} ({type(layer).__name__}) cannot be converted: {reason}. As it is, the"
        " model can be slid over an image with `tltool.heatmap(mode='patches')`: slower, and always"
        " faithful"
    )


def check_channels_last(step: Step) -> None:
    """Refuse a layer that expects a map's bands on its first axis."""
    first = getattr(step.layer, "data_format", None) == "channels_first"
    if first and any(len(shape_of(tensor)) == 3 for tensor in step.inputs):
        raise refuse(
            step.layer,
            "expected bands on the last axis, received data_format='channels_first'. Build the"
            " model with channels_last and load the same weights: kernels have one layout in both,"
            " only a Dense kernel behind Flatten must be transposed",
        )


def along(value: Any, axis: int) -> int:
    """An option of a layer along rows (0) or columns (1)."""
    return int(value if isinstance(value, int) else value[axis])


def window_of(layer: Any, axis: int) -> tuple[int, int, int]:
    """Kernel, stride and dilation of a layer along an axis; 1 where it has none."""
    kernel = getattr(layer, "kernel_size", getattr(layer, "pool_size", 1))
    options = kernel, getattr(layer, "strides", 1), getattr(layer, "dilation_rate", 1)
    size, stride, dilation = (along(option, axis) for option in options)
    return size, stride, dilation


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Cells that ``padding="same"`` adds before and after an axis of `size` cells."""
    cells = -(-size // stride)
    total = max(0, (cells - 1) * stride + dilation * (kernel - 1) + 1 - size)
    return total // 2, total - total // 2


def _behind(step: Step, span: Span, axis: int, inner: bool | None) -> Span:
    """The span of what a layer makes of a tensor; most layers leave it as it is."""
    layer, kind, shape = step.layer, type(step.layer), shape_of(step.inputs[0])
    if kind in (*SLIDING, *POOLS):
        size, stride, dilation = window_of(layer, axis)
        padding = 0
        if layer.padding == "same":
            padding, _ = same_padding(shape[axis], size, stride, dilation)
        return span.window(size, 1 if inner is not None else stride, dilation, padding)
    if kind in GLOBAL_POOLS:
        return span.window(shape[axis], padding=(shape[axis] - 1) // 2 if inner else 0)
    flattens = len(shape) == 3 and len(shape_of(step.outputs[0])) == 1
    if kind in (layers.Flatten, layers.Reshape) and flattens:
        return span.window(shape[axis])
    if kind is layers.ZeroPadding2D:
        return span.window(1, padding=layer.padding[axis][0])
    if kind is layers.Cropping2D:
        return span.window(1, padding=-layer.cropping[axis][0])
    return span


def _merge(layer: Any, spans: Iterable[Span]) -> Span:
    all_spans = list(spans)
    if len({span.step for span in all_spans}) != 1:
        raise refuse(layer, "its inputs have different strides")
    first = min(span.first for span in all_spans)
    return Span(all_spans[0].step, first, max(span.last for span in all_spans))


def _trace_axis(model: keras.Model, axis: int, pools: dict[int, bool]) -> Span:
    spans = {id(model.inputs[0]): Span(1, 0, 0)}
    for step in steps(model):
        span = _merge(step.layer, [spans[id(tensor)] for tensor in step.inputs])
        span = _behind(step, span, axis, pools.get(id(step.outputs[0])))
        spans.update((id(tensor), span) for tensor in step.outputs)
    return _merge(model.layers[-1], [spans[id(tensor)] for tensor in model.outputs])


def trace(model: keras.Model) -> Geometry:
    """Compute the geometry of a flat classifier with a fixed square input.

    Parameters
    ----------
    model : keras.Model
        From (b, side, side, bands) to (b, classes), or to a list or dict of
        such; layers that `tltool.fcn.surgery.to_fcn` accepts.

    Raises
    ------
    ConversionError
        The input is not square, the axes end with different strides, or the
        inputs of a merge have; names the layer.
    """
    height, width = model.inputs[0].shape[1:3]
    if height != width:
        raise ConversionError(
            f"model {model.name}: expected a square input, received {height} x {width}"
        )
    pools = whole_map_pools(model)
    rows, columns = (_trace_axis(model, axis, pools) for axis in (0, 1))
    if rows.step != columns.step:
        raise ConversionError(
            f"model {model.name}: expected one stride along both axes, received {rows.step} down"
            f" and {columns.step} across. As it is, the model can be slid over an image with"
            " `tltool.heatmap(mode='patches')`: slower, and always faithful"
        )
    span = _merge(model.layers[-1], [rows, columns])
    return Geometry(int(height), span.step, span.first, span.last, any(pools.values()))
