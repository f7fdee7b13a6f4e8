"""What holds for any classifier: checked on random small ones."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tltool.runtime import quiet_import

quiet_import("keras")

from small_classifiers import classifiers, noise  # noqa: E402

from tltool.fcn.atrous import possible_strides, shift_and_stitch, to_dense  # noqa: E402
from tltool.fcn.geometry import trace  # noqa: E402
from tltool.fcn.single import as_single  # noqa: E402
from tltool.fcn.surgery import check_equal, to_fcn  # noqa: E402
from tltool.raster import ArrayRaster  # noqa: E402
from tltool.tiling.pipeline import EnginePredictor, predict_tiles  # noqa: E402
from tltool.tiling.tiles import Axis, Grid  # noqa: E402

# Without shrinking: a network takes a second to build.
FEW = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
MANY = settings(FEW, max_examples=40)


def run(network, pixels):
    return np.asarray(network(pixels[None]))[0]


def interior(geometry, stride):
    """Cells that no padding of a shifted image reaches: first and after the last, of many."""
    steps = geometry.stride // stride
    before = -(-max(0, -geometry.first) // geometry.stride) * steps
    after = -(-max(0, geometry.last - geometry.side + 1) // geometry.stride) * steps
    return before, after + steps - 1 if after else 0


def own_size(model):
    single = as_single(model)
    fcn = to_fcn(single)
    assert check_equal(single, fcn) <= 1e-5
    middle = possible_strides(fcn, trace(single).side)
    assert check_equal(single, to_dense(fcn, trace(single).side, middle[len(middle) // 2])) <= 1e-5


def tiled_as_whole(model):
    single = as_single(model)
    fcn, geometry = to_fcn(single), trace(single)
    side, stride = geometry.side, geometry.stride
    image = ArrayRaster(noise(side + 5 * stride + 9, side + 30, model.inputs[0].shape[-1]))
    axes = [
        Axis(length, side, 0, Fraction(1), side, stride, geometry.first, geometry.last)
        for length in (image.height, image.width)
    ]
    grid = Grid(*axes)
    predictor = EnginePredictor(lambda x: run(fcn, x), Fraction(1))
    whole = next(predict_tiles(image, grid.tiles(10**6), predictor))[1]
    length = axes[0].input_length(axes[0].cells // 2)
    for tile, cells in predict_tiles(image, grid.tiles(length), predictor):
        rows = slice(tile.y.cell, tile.y.cell + tile.y.cells)
        columns = slice(tile.x.cell, tile.x.cell + tile.x.cells)
        np.testing.assert_allclose(cells, whole[:, rows, columns], atol=1e-5)


def dense_as_stitched(model):
    single = as_single(model)
    fcn, geometry = to_fcn(single), trace(single)
    side, own = geometry.side, geometry.stride
    for stride in possible_strides(fcn, side):
        before, after = interior(geometry, stride)
        shape = side + (before + after + 3) * stride, side + (before + after + 5) * stride
        pixels = noise(*shape, model.inputs[0].shape[-1])
        expected = shift_and_stitch(lambda x: run(fcn, x), pixels, side, own, stride)
        received = run(to_dense(fcn, side, stride), pixels)
        assert received.shape == expected.shape == (before + after + 4, before + after + 6, 3)
        kept = slice(before, -after or None)
        np.testing.assert_allclose(received[kept, kept], expected[kept, kept], atol=1e-5)


@FEW
@given(classifiers())
def test_the_answer_at_its_own_size_is_the_classifiers(model):
    own_size(model)


@FEW
@given(classifiers())
def test_the_tiled_map_is_the_map_in_one_piece(model):
    tiled_as_whole(model)


@FEW
@given(classifiers())
def test_a_denser_map_is_the_stitched_one_away_from_the_border(model):
    dense_as_stitched(model)


@FEW
@given(classifiers(paddings=("valid",)))
def test_without_padding_a_denser_map_is_the_stitched_one_everywhere(model):
    geometry = trace(as_single(model))
    assert interior(geometry, 1) == (0, 0)
    dense_as_stitched(model)


@pytest.mark.slow
@pytest.mark.parametrize("check", [own_size, tiled_as_whole, dense_as_stitched])
@MANY
@given(model=classifiers())
def test_many_more(check, model):
    check(model)
