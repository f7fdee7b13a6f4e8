"""Test-time augmentation on the grid of cells: any engine, averaged over flips and rotations."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tltool.tiling.engines import Engine


class AveragedEngine:
    """The mean of an engine's answers to the eight flips and rotations of a tile (the group D4).

    A tile's side is the classifier's and a whole number of strides, so that
    a turned tile has the same windows, and each answer is turned back to its
    cell exactly.

    Parameters
    ----------
    engine : Engine
    """

    def __init__(self, engine: "Engine"):
        self.name, self.precision = engine.name, engine.precision
        self.engine = engine

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Run one tile eight times."""
        total = np.zeros((), np.float32)
        for turns in range(4):
            turned = np.rot90(pixels, turns)
            for step in (1, -1):
                told = self.engine(np.ascontiguousarray(turned[:, ::step]))
                # A classifier has no cells to turn back.
                total = total + (told if told.ndim == 1 else np.rot90(told[:, ::step], -turns))
        return total / 8
