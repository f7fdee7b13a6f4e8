"""Shift-and-stitch over any engine."""

import numpy as np

from tltool.fcn.atrous import shift_and_stitch
from tltool.tiling.engines import Engine


class ShiftAndStitchEngine:
    """An FCN's engine run on a tile shifted to every cell between its own, and interleaved.

    Parameters
    ----------
    engine : Engine
    side, network_stride, stride : int
        As `tltool.fcn.atrous.shift_and_stitch`.

    Attributes
    ----------
    engine : Engine
        What runs the FCN on each shift.
    """

    def __init__(self, engine: Engine, side: int, network_stride: int, stride: int):
        self.name, self.precision = engine.name, engine.precision
        self.engine, self._geometry = engine, (side, network_stride, stride)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Run one tile."""
        return shift_and_stitch(self.engine, pixels, *self._geometry)
