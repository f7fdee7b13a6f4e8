"""Where the cells of a layer's map lie on the image.

As far apart as the strides say, and in the middle of the image. By the padding
alone they would lie elsewhere: a convolution of stride 2 pads only to the right
and below where its input has an even side, and five of them move the centre of
what a cell of MobileNet can see by 15.5 px of its 32. But trained kernels make
up for that: by the squared gradient of the cells on photographs it is about 4
px with ImageNet's weights.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from keras import layers

from tltool.explanation.flat import Call, Flat
from tltool.fcn.geometry import POOLS, SLIDING, along

# Along a side of the map that is looked at where no layer is given.
FEWEST_CELLS = 5
_WINDOWS = (*SLIDING, *POOLS)


@dataclass(frozen=True)
class Axis:
    """Cells along rows or columns.

    Attributes
    ----------
    cells, side : int
        How many cells, and how many pixels the image has.
    cell_size : float
        Pixels between the centres of cells.
    cropped : bool
        Whether cells were cut off: nothing is known of what lies beyond.
    """

    cells: int
    side: int
    cell_size: float
    cropped: bool = False

    @property
    def positions(self) -> np.ndarray:
        """(side,) array: where each pixel's centre lies, in cells from the first one's centre."""
        from_middle = np.arange(self.side) + 0.5 - self.side / 2
        return from_middle / self.cell_size + (self.cells - 1) / 2

    def enlarging(self) -> np.ndarray:
        """(side, cells) float32: linear weights of the cells in each pixel.

        Beyond the outer cells' centres their values go on; where cells were
        cut off, for half a cell.
        """
        position = self.positions
        inside = position.clip(0, self.cells - 1)
        low = np.floor(inside).astype(int)
        high = np.minimum(low + 1, self.cells - 1)
        part = (inside - low).astype(np.float32)
        weights = np.zeros((self.side, self.cells), np.float32)
        rows = np.arange(self.side)
        weights[rows, low] += 1 - part
        weights[rows, high] += part
        if self.cropped:
            weights[(position < -0.5) | (position > self.cells - 0.5)] = 0
        return weights

    def reducing(self) -> np.ndarray:
        """(cells, side) float32: the mean of the pixels of each cell's square."""
        nearest = np.floor(self.positions + 0.5)
        weights = (nearest == np.arange(self.cells)[:, None]).astype(np.float32)
        return weights / np.maximum(weights.sum(axis=1, keepdims=True), 1)


@dataclass(frozen=True)
class CellLayout:
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


def layout_of(flat: Flat, call: Call) -> CellLayout:
    """CellLayout of the cells of a call's map.

    Where a layer on the way changes the size in a way that is not known here,
    the map is taken to cover the image.
    """
    crops = [flat.calls[n].layer for n in call.before]
    crops = [layer for layer in crops if isinstance(layer, layers.Cropping2D)]
    # Networks that shift by a cell crop one side only.
    cropped = any(min(map(min, layer.cropping)) > 0 for layer in crops)

    def axis(which: int) -> Axis:
        cells, side = call.shape[which], flat.inputs.shape[1 + which]
        known = cell_sizes(flat, which)[id(call.output)]
        return Axis(cells, side, known or side / cells, cropped and known is not None)

    return CellLayout(axis(0), axis(1))


def default_map(flat: Flat, task: str | int | None = None) -> Call:
    """The layer to look at where none is given: the last whose map is not too coarse.

    That is the last map before the head, as the papers have it, where it has 5
    cells or more along each side; else the last that has as many over the same
    pixels. On 3 x 3 cells, which small patches end with, each cell has seen the
    whole patch, and maps of sea lions pointed at their corners.

    Raises
    ------
    UsageError
        The network has no map at all.
    """
    last, down, across = flat.last_map(task), cell_sizes(flat, 0), cell_sizes(flat, 1)
    own = [down[id(last.output)], across[id(last.output)]]
    covered = [n * cell_size for n, cell_size in zip(last.shape, own, strict=False) if cell_size]
    if len(covered) < 2:
        return last

    def coarsest(call: Call) -> float:
        return max(each[id(call.output)] or math.inf for each in (down, across))

    # At a cell_size of 1 is the image, scaled or recoloured.
    wanted = min(covered) / FEWEST_CELLS
    fine = [call for call in flat.maps(task) if 1 < coarsest(call) <= wanted]
    return fine[-1] if fine else last


def cell_sizes(flat: Flat, axis: int) -> dict[int, float | None]:
    """Pixels between the cells of every call's map, down (0) or across (1).

    Returns
    -------
    dict
        By the `id` of the call's output; None: not known, or no map.
    """
    known: dict[int, float | None] = {id(flat.inputs): 1.0}
    for step in flat.calls:
        maps = [t for t in step.inputs if len(t.shape) == 4 and max(t.shape[1:3]) > 1]
        own = {known.get(id(tensor)) for tensor in maps}
        cell_size = own.pop() if len(own) == 1 else None
        known[id(step.output)] = None if cell_size is None else _behind(step, axis, cell_size)
    return known


def _behind(step: Call, axis: int, cell_size: float) -> float | None:
    layer = step.layer
    if isinstance(layer, layers.UpSampling2D):
        return cell_size / layer.size[axis]
    if isinstance(layer, _WINDOWS):
        return cell_size * along(layer.strides, axis)
    if isinstance(layer, layers.ZeroPadding2D | layers.Cropping2D):
        return cell_size
    same_size = step.spatial and step.shape[axis] == step.inputs[0].shape[1 + axis]
    return cell_size if same_size else None
