"""Windows of an image through the FCN, and how large they may be."""

from collections.abc import Generator, Iterable
from contextlib import closing
from fractions import Fraction
from typing import Any

import keras
import numpy as np

from tltool.models.graph import replay
from tltool.raster import Image
from tltool.tiling.engines import Engine
from tltool.tiling.pipeline import EnginePredictor, predict_tiles, read_tile
from tltool.tiling.tiles import Tile

__all__ = [
    "batch_size",
    "largest_layer",
    "pixel_type",
    "read_tile",
    "run_tiles",
    "tile_length",
]

# What the largest layer of a tile may hold, in bytes, and the longest side of a tile.
_LAYER_BYTES = 256 << 20
_LONGEST = 2048
# Windows that a classifier is given at a time.
_BATCH = 64


def pixel_type(zoom: Fraction) -> str:
    """Data type of what `read_tile` gives."""
    return "uint8" if zoom == 1 else "float32"


def run_tiles(
    image: Image, tiles: Iterable[Tile], zoom: Fraction, engine: Engine
) -> Generator[tuple[Tile, np.ndarray]]:
    """Each tile with its (classes, rows, columns) probabilities; close it as `predict_tiles`."""
    with closing(predict_tiles(image, tiles, EnginePredictor(engine, zoom))) as judged:
        for tile, values in judged:
            assert values is not None  # without a cover every tile is judged
            yield tile, values


def tile_length(fcn: keras.Model, side: int, stride: int) -> int:
    """Side of a tile whose largest layer stays within a fixed memory, px of the enlarged image.

    Parameters
    ----------
    fcn : keras.Model
    side, stride : int
        The classifier's, px of the enlarged image.
    """
    probe = side + 4 * stride
    bytes_per_pixel = 4 * largest_layer(fcn, probe) / probe**2
    return int(min(_LONGEST, (_LAYER_BYTES / bytes_per_pixel) ** 0.5))


def batch_size(classifier: keras.Model) -> int:
    """How many windows the classifier takes at a time within the same memory."""
    numbers = largest_layer(classifier, classifier.inputs[0].shape[1])
    return max(1, min(_BATCH, _LAYER_BYTES // (4 * numbers)))


def largest_layer(model: keras.Model, side: int) -> int:
    """Numbers that the largest layer holds of one image of `side` px."""
    largest = 0

    def measure(layer: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal largest
        outputs = layer.compute_output_spec(*args, **kwargs)
        sizes = [np.prod(t.shape) for t in keras.tree.flatten(outputs)]
        largest = max(largest, int(max(sizes)))
        return outputs

    replay(model, keras.KerasTensor((1, side, side, model.inputs[0].shape[-1])), measure)
    return largest
