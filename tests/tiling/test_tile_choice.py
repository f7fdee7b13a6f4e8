from fractions import Fraction

import numpy as np
import pytest

from tltool.errors import UsageError
from tltool.runtime import quiet_import

quiet_import("keras")

from small_runs import ZOO, small_model  # noqa: E402

from tltool.fcn.surgery import to_fcn  # noqa: E402
from tltool.raster import ArrayRaster  # noqa: E402
from tltool.tiling.engines import (  # noqa: E402
    ShiftAndStitchEngine,
    TensorFlowEngine,
    difference_from_tensorflow,
    make_engine,
)
from tltool.tiling.pipeline import read_tile  # noqa: E402
from tltool.tiling.tiles import (  # noqa: E402
    Axis,
    Grid,
    choose_tile,
    tile_candidates,
)


@pytest.fixture(scope="module")
def fcn():
    return to_fcn(small_model([ZOO]))


@pytest.fixture(scope="module")
def image():
    pixels = np.random.default_rng(0).integers(0, 256, (400, 600, 3), np.uint8)
    return ArrayRaster(pixels)


@pytest.fixture
def grid(image):
    # What a cell sees reaches a window beyond it on either side.
    shared = (16, 0, Fraction(1), 16, 4, -16, 31)
    return Grid(Axis(image.height, *shared), Axis(image.width, *shared))


def test_the_difference_is_the_largest_of_any_output(fcn, image):
    pixels = image.read(0, 0, 64, 48)
    bf16 = make_engine("tensorflow", fcn, precision="bf16")
    expected = np.abs(bf16(pixels) - TensorFlowEngine(fcn)(pixels)).max()
    assert expected > 1e-4
    assert difference_from_tensorflow(bf16, fcn, pixels) == pytest.approx(expected)
    shifting = ShiftAndStitchEngine(bf16, 16, 4, 2)
    assert difference_from_tensorflow(shifting, fcn, pixels) == pytest.approx(expected)
    assert difference_from_tensorflow(TensorFlowEngine(fcn), fcn, pixels) == 0


class Clock:
    """An engine that takes the time it is told for tiles of a size."""

    name, precision = "tensorflow", "f32"

    def __init__(self, monkeypatch, seconds):
        self.seconds, self.now, self.seen = seconds, 0.0, []
        monkeypatch.setattr("tltool.tiling.tiles.time.perf_counter", lambda: self.now)

    def __call__(self, pixels):
        self.seen.append(pixels.shape)
        self.now += self.seconds(pixels.shape)
        return pixels


def test_the_first_candidate_stays_unless_another_is_clearly_faster(monkeypatch, grid, image):
    def chosen(seconds):
        engine = Clock(monkeypatch, seconds)
        return engine, choose_tile(engine, grid, [320, 160], lambda t: read_tile(image, t, t_zoom))

    t_zoom = Fraction(1)
    # Time by the pixel: the larger tile has less surroundings.
    engine, large = chosen(lambda shape: shape[0] * shape[1] / 1e6)
    assert large.length == 320
    assert large.megapixels_per_second[320] > large.megapixels_per_second[160]
    assert max(engine.seen)[0] <= 320
    # A speed is of the image's pixels, not of the halos'.
    assert large.megapixels_per_second[320] < 1
    # Caches: the larger one takes twice as long a pixel.
    _, small = chosen(lambda shape: shape[0] * shape[1] / 1e6 * (3 if shape[0] > 200 else 1))
    assert small.length == 160
    with pytest.raises(UsageError, match="expected at least one length"):
        choose_tile(engine, grid, [], lambda tile: read_tile(image, tile, t_zoom))


def test_a_real_engine_gets_a_tile(fcn, grid, image):
    candidates = tile_candidates(grid, 256)
    assert candidates == sorted(candidates, reverse=True)
    assert candidates[0] <= 256
    assert len(candidates) > 1
    engine = TensorFlowEngine(fcn)
    chosen = choose_tile(engine, grid, candidates, lambda t: read_tile(image, t, Fraction(1)), 1)
    assert chosen.length in candidates
    assert set(chosen.megapixels_per_second) == set(candidates)


def test_candidates_stay_within_memory_and_above_the_surroundings(grid):
    # The image is smaller than the bound: one tile whatever the length, so it is tried once.
    found = tile_candidates(grid, 2000)
    assert found[0] <= 2000
    tiles = [len(list(grid.tiles(length))) for length in found]
    assert len(set(tiles)) == len(tiles)
    assert tile_candidates(grid, 16) == [2 * grid.y.input_length(1)]
