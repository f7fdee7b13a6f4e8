"""How fast an engine is and how far from TensorFlow, measured on the first tile of an image."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from tltool.errors import UsageError
from tltool.tiling.engines import (
    AveragedEngine,
    Engine,
    ShiftAndStitchEngine,
    TensorFlowEngine,
)
from tltool.tiling.tiles import Grid, Tile

# A smaller tile must be this much faster: below it is the machine's own unsteadiness.
_CLEARLY = 1.1
# Fractions of the longest tile that are tried.
_FRACTIONS = (1.0, 0.7, 0.5, 0.35)


def _innermost(engine: Engine) -> Engine:
    """What runs the network, under engines that run another several times."""
    while isinstance(engine, ShiftAndStitchEngine | AveragedEngine):
        engine = engine.engine
    return engine


def is_reference(engine: Engine) -> bool:
    """Whether it is TensorFlow in float32 itself."""
    engine = _innermost(engine)
    return (engine.name, engine.precision) == ("tensorflow", "f32")


def difference_from_tensorflow(engine: Engine, model: keras.Model, pixels: np.ndarray) -> float:
    """Largest difference of any output of an engine from TensorFlow's in float32.

    Parameters
    ----------
    engine : Engine
        Of one that runs another several times that other is measured.
    model : keras.Model
        The FCN that the engine runs.
    pixels : (height, width, bands) array
        A tile.

    Returns
    -------
    float
        0 for TensorFlow in float32 itself.
    """
    if is_reference(engine):
        return 0.0
    engine = _innermost(engine)
    expected = TensorFlowEngine(model, str(pixels.dtype))(pixels)
    return float(np.abs(engine(pixels) - expected).max())


@dataclass(frozen=True)
class ChosenTile:
    """A tile's size and what it was chosen by.

    Attributes
    ----------
    length : int
        Longest side, px of the enlarged image.
    megapixels_per_second : dict of int to float
        Of the image, halos not counted, for each length that was tried.
    """

    length: int
    megapixels_per_second: dict[int, float]


def tile_candidates(grid: Grid, longest: int) -> list[int]:
    """Sides of tiles worth trying, longest first, px of the enlarged image.

    Parameters
    ----------
    grid : Grid
        The cells of an image. Lengths that give it the same tiles are tried once.
    longest : int
        What memory allows.
    """
    axis, bound = grid.y, longest
    # Smaller ones compute halos above all; the network needs these even beyond the bound.
    smallest = 2 * axis.input_length(axis.step)
    lengths = [max(smallest, int(bound * part)) for part in _FRACTIONS]
    by_tiles = {(grid.y.cells_for(n), grid.x.cells_for(n)): n for n in reversed(lengths)}
    return sorted(by_tiles.values(), reverse=True)


def _speed(engine: Engine, pixels: np.ndarray, kept: float, repeats: int) -> float:
    engine(pixels)  # the first of a size prepares it
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        engine(pixels)
        seconds.append(time.perf_counter() - started)
    # The least disturbed one.
    return kept / min(seconds)


def choose_tile(
    engine: Engine,
    grid: Grid,
    candidates: Sequence[int],
    read: Callable[[Tile], np.ndarray],
    repeats: int = 3,
) -> ChosenTile:
    """Choose the size of tiles by running the first tile of each.

    Parameters
    ----------
    engine : Engine
    grid : Grid
        The cells of an image.
    candidates : sequence of int
        Longest sides, px of the enlarged image, the preferred first: another
        one must be a tenth faster. `tile_candidates` gives some.
    read : callable
        The pixels of a tile, as `tltool.tiling.inference.read_tile`.
    repeats : int
        Runs of each, after one that is not counted.

    Returns
    -------
    ChosenTile
        Store its length: another run on a busier machine may choose another.

    Raises
    ------
    UsageError
        No candidates.
    """
    if not candidates:
        raise UsageError("candidates: expected at least one length of a tile, received none")
    area = float(grid.y.cell_size * grid.x.cell_size) / 1e6
    speeds: dict[int, float] = {}
    for length in candidates:
        tile = next(grid.tiles(length))
        kept = tile.y.cells * tile.x.cells * area
        speeds[length] = _speed(engine, read(tile), kept, repeats)
    best = candidates[0]
    for length in candidates[1:]:
        if speeds[length] > _CLEARLY * speeds[best]:
            best = length
    return ChosenTile(best, {n: round(speed, 3) for n, speed in speeds.items()})
