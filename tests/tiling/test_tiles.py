from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.errors import ModelError
from tltool.run.sidecar import Sidecar
from tltool.tiling.tiles import Axis, extents, make_grid


@st.composite
def axes(draw):
    stride = draw(st.sampled_from([1, 2, 8, 32]))
    zoom = Fraction(draw(st.integers(2, 9)), draw(st.integers(1, 2)))
    zoom = max(zoom, Fraction(1))
    patch = draw(st.integers(1, 40)) * 2
    context = draw(st.integers(0, 20))
    side = int((patch + 2 * context) * zoom)
    return Axis(
        length=draw(st.integers(patch, 900)),
        patch=patch,
        context=context,
        zoom=zoom,
        side=side,
        stride=stride,
        first=draw(st.integers(-200, 20)),
        last=side - 1 + draw(st.integers(-20, 200)),
    )


@given(axes())
def test_cells_cover_the_image_and_no_more_than_it(axis):
    assert -1 < axis.origin <= 0
    end = axis.origin + axis.cells * axis.cell_size
    assert end >= axis.length > end - axis.cell_size


@settings(deadline=None)
@given(axes(), st.integers(1, 2000))
def test_tiles_cover_each_cell_once_and_start_on_whole_pixels(axis, length):
    cells = axis.cells_for(length)
    tiles = extents(axis, cells)
    kept = [cell for tile in tiles for cell in range(tile.cell, tile.cell + tile.cells)]
    assert kept == list(range(axis.cells))
    assert len({(tile.length, tile.size) for tile in tiles}) == 1
    for tile in tiles:
        start = axis.window_start(tile.cell - axis.before)
        assert start.denominator == 1
        # What was read begins exactly `trim` enlarged pixels before the network's input.
        assert (start - tile.start) * axis.zoom == tile.trim
        assert tile.length * axis.zoom >= tile.trim + tile.size


@settings(deadline=None)
@given(axes(), st.integers(1, 2000))
def test_kept_cells_see_nothing_beyond_their_tile(axis, length):
    cells = axis.cells_for(length)
    for tile in extents(axis, cells):
        assert tile.drop * axis.stride + axis.first >= 0
        last_cell = tile.drop + cells - 1
        assert last_cell * axis.stride + axis.last < tile.size
        # The classifier's own side and whole strides more: layers pad as in training.
        assert (tile.size - axis.side) % axis.stride == 0


def test_a_cell_judges_the_patch_around_its_square():
    sidecar = Sidecar(
        classes=["a", "b"],
        patch=96,
        context=64,
        input_side=224,
        stride=32.0,
        offset=64.0,
        receptive_field=379,
        reach=(-60, 280),
    )
    grid = make_grid(sidecar, 500, 300)
    assert (grid.x.offset, float(grid.x.origin), grid.x.cells) == (-32, 0.0, 16)
    assert grid.y.cells == 10
    # The patch of cell 3 is centred on the square of cell 3.
    patch_start = grid.x.window_start(3) + 64
    assert patch_start + 48 == 3 * 32 + 16


def test_a_classifiers_sidecar_is_refused():
    sidecar = Sidecar(classes=["a", "b"], patch=96, input_side=96)
    with pytest.raises(ModelError, match=r"no stride and reach.*tltool convert"):
        make_grid(sidecar, 500, 300)
