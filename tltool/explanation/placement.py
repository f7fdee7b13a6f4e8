"""Where the cells of a layer's map lie on the image.

A cell lies at the centre of the pixels it can see. That is not where an
enlargement of the map to the image puts it: a convolution of stride 2 with
``padding="same"`` pads only to the right and below where its input has an even
side, so that in MobileNet at stride 32 every cell looks half a cell further
to the right and below.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from keras import layers

from tltool.explanation.flat import Call, Flat
from tltool.fcn.geometry import along, same_padding

_WINDOWS = (
    layers.Conv2D,
    layers.DepthwiseConv2D,
    layers.SeparableConv2D,
    layers.AveragePooling2D,
    layers.MaxPooling2D,
)


@dataclass(frozen=True)
class Axis:
    """Cells along rows or columns.

    Attributes
    ----------
    cells, side : int
        How many cells, and how many pixels the image has.
    pitch : float
        Pixels between the centres of cells.
    first : float
        Of the first cell's centre, px from the image's edge.
    cropped : bool
        Whether cells were cut off: nothing is told of what lies beyond.
    """

    cells: int
    side: int
    pitch: float
    first: float
    cropped: bool = False

    def enlarging(self) -> np.ndarray:
        """(side, cells) float32: linear weights of the cells in each pixel.

        Beyond the outer cells' centres their values go on; where cells were
        cut off, for half a cell.
        """
        centres = np.arange(self.side) + 0.5
        place = (centres - self.first) / self.pitch
        inside = place.clip(0, self.cells - 1)
        low = np.floor(inside).astype(int)
        high = np.minimum(low + 1, self.cells - 1)
        part = (inside - low).astype(np.float32)
        weights = np.zeros((self.side, self.cells), np.float32)
        rows = np.arange(self.side)
        weights[rows, low] += 1 - part
        weights[rows, high] += part
        if self.cropped:
            weights[(place < -0.5) | (place > self.cells - 0.5)] = 0
        return weights

    def reducing(self) -> np.ndarray:
        """(cells, side) float32: the mean of the pixels of each cell's square."""
        centres = np.arange(self.side) + 0.5
        nearest = np.floor((centres - self.first) / self.pitch + 0.5)
        weights = (nearest == np.arange(self.cells)[:, None]).astype(np.float32)
        return weights / np.maximum(weights.sum(axis=1, keepdims=True), 1)


@dataclass(frozen=True)
class Placement:
    """The cells of a map on the image, down and across."""

    rows: Axis
    columns: Axis

    @cached_property
    def _weights(self) -> tuple[np.ndarray, np.ndarray]:
        return self.rows.enlarging(), self.columns.enlarging().T

    def enlarge(self, maps: np.ndarray) -> np.ndarray:
        """Interpolate maps between the centres of their cells.

        Parameters
        ----------
        maps : (..., cells down, cells across) array

        Returns
        -------
        (..., height, width) float32 array, of the image's size.
        """
        down, across = self._weights
        return down @ maps.astype(np.float32) @ across


def place_map(flat: Flat, call: Call) -> Placement:
    """Where the cells of a call's map lie.

    Where a layer on the way moves pixels in a way that is not known here, the
    map is taken to cover the image evenly.
    """
    centres = [_centres(flat, call, axis) for axis in (0, 1)]
    shape = tuple(flat.inputs.shape[1:3])
    cropped = any(_cuts_off(flat.calls[place].layer) for place in call.before)
    rows, columns = (
        _even(cells, side) if found is None else Axis(cells, side, *found, cropped)
        for cells, side, found in zip(call.shape, shape, centres, strict=False)
    )
    return Placement(rows, columns)


def _even(cells: int, side: int) -> Axis:
    return Axis(cells, side, side / cells, side / cells / 2)


def _cuts_off(layer: Any) -> bool:
    """Whether it cuts the context off; networks that shift by a cell crop one side only."""
    if not isinstance(layer, layers.Cropping2D):
        return False
    return all(sum(pair) and min(pair) for pair in layer.cropping)


Centres = tuple[float, float]  # pixels between cells, and where the first one's centre lies


def _centres(flat: Flat, call: Call, axis: int) -> Centres | None:
    known: dict[int, Centres | None] = {id(flat.inputs): (1.0, 0.5)}
    for place in sorted(call.before):
        step = flat.calls[place]
        taken = [
            known.get(id(t)) for t in step.inputs if len(t.shape) == 4 and max(t.shape[1:3]) > 1
        ]
        known[id(step.output)] = _moved(step, axis, _merged(taken))
    return known[id(call.output)]


def _merged(taken: list[Centres | None]) -> Centres | None:
    """Of branches that meet, the mean; None where they do not lie one on the other."""
    found = [each for each in taken if each is not None]
    if not found or len(found) < len(taken) or len({pitch for pitch, _ in found}) > 1:
        return None
    return found[0][0], sum(first for _, first in found) / len(found)


def _moved(call: Call, axis: int, centres: Centres | None) -> Centres | None:
    """Behind a layer: Araujo et al., Distill 2019, eq. 4, whose padding is on the left alone."""
    layer = call.layer
    if centres is None:
        return None
    pitch, first = centres
    if isinstance(layer, layers.ZeroPadding2D):
        return pitch, first - layer.padding[axis][0] * pitch
    if isinstance(layer, layers.Cropping2D):
        return pitch, first + layer.cropping[axis][0] * pitch
    if isinstance(layer, layers.UpSampling2D):
        finer = pitch / layer.size[axis]
        return finer, first - (pitch - finer) / 2
    before = call.inputs[0].shape[1 + axis]
    if not isinstance(layer, _WINDOWS):
        return centres if call.spatial and call.shape[axis] == before else None
    kernel = along(getattr(layer, "kernel_size", getattr(layer, "pool_size", 1)), axis)
    stride, dilation = along(layer.strides, axis), along(getattr(layer, "dilation_rate", 1), axis)
    padding = 0
    if layer.padding == "same":
        padding, _ = same_padding(before, kernel, stride, dilation)
    return pitch * stride, first + (dilation * (kernel - 1) / 2 - padding) * pitch
