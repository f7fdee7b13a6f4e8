"""Maps of an engine that is a few lines of NumPy: quick to make, and to interrupt."""

from fractions import Fraction

import numpy as np
from rasterio.transform import Affine

from tltool.raster import ArrayRaster, MapGeoreference, MapWriter
from tltool.run.sidecar import Sidecar, TaskFacts
from tltool.tiling.pipeline import EnginePredictor
from tltool.tiling.products import choose_product
from tltool.tiling.tiles import make_grid
from tltool.tiling.unfinished import UnfinishedMap

STRIDE = 4
PLACE = MapGeoreference(None, Affine.scale(4))
NAMES = ["bird", "nothing", "seal"]
SIDECAR = Sidecar(
    classes=NAMES,
    background="nothing",
    tasks=[TaskFacts(classes=NAMES)],
    patch=STRIDE,
    input_side=STRIDE,
    stride=STRIDE,
    offset=0,
    reach=(0, STRIDE - 1),
)


class MeanEngine:
    """Three probabilities of a cell, from the mean of its 4 x 4 px; raises where it is told to."""

    name, precision = "numpy", "f32"

    def __init__(self, fails_at=None, error=KeyboardInterrupt):
        self.calls, self._fails_at, self._error = 0, fails_at, error

    def __call__(self, pixels):
        if self.calls == self._fails_at:
            raise self._error
        self.calls += 1
        rows, columns = pixels.shape[0] // STRIDE, pixels.shape[1] // STRIDE
        blocks = pixels.reshape(rows, STRIDE, columns, STRIDE, -1).astype(np.float32)
        means = np.exp(blocks.mean((1, 3)) / 32)
        return means / means.sum(-1, keepdims=True)


def predictor(engine=None):
    return EnginePredictor(engine or MeanEngine(), Fraction(1))


def mapper_of(tile, **options):
    """What maps images of three bands by a `MeanEngine`."""
    # Processes that are killed often do without TensorFlow.
    from tltool.mapping.mapper import Mapper

    return Mapper(SIDECAR, MeanEngine(), tile, fixed_tile=True, **options)


def image_of(rows, columns, seed=0):
    """An image of so many cells."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (rows, columns, 3), np.uint8)
    return ArrayRaster(np.kron(pixels, np.ones((STRIDE, STRIDE, 1), np.uint8)))


def tiles_of(image, tile):
    """Tiles of at most so many px."""
    return list(make_grid(SIDECAR, image.width, image.height).tiles(tile))


def expected_of(image):
    """(classes, rows, columns) of the whole image at once."""
    return MeanEngine()(image.read(0, 0, image.width, image.height)).transpose(2, 0, 1)


def make_map(path, image, tile, engine=None, *, fingerprint=None, product=None, cover=None, **more):
    """Make a map as `tltool.heatmap` does, without pictures; returns the places found done."""
    product = product or choose_product(SIDECAR)
    tiles = tiles_of(image, tile)
    with UnfinishedMap(path, tiles, product, fingerprint or {"tile": tile}, **more) as work:
        found = set(work.done)
        if work.ended:
            return None
        work.fill(image, predictor(engine), cover)
        work.writing()
        with MapWriter(path, *work.shape, product.kind, PLACE, durable=True) as to:
            work.write(to)
        work.finish()
    return found
