import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.mapping import image_map
from tltool.mapping.image_map import shrink_factor, shrink_map


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 25), st.integers(1, 25), st.integers(1, 9), st.integers(1, 12))
def test_each_cell_is_the_mean_of_its_block_that_has_data(rows, columns, factor, side):
    rng = np.random.default_rng(rows * columns)
    values = rng.random((2, rows, columns), np.float32)
    values[:, rng.random((rows, columns)) < 0.4] = np.nan
    largest = []

    def read(k, row, column, height, width):
        largest.append(max(height, width))
        return values[k, row : row + height, column : column + width]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_map, "_SIDE", side)
        small = shrink_map(read, (rows, columns), 2, factor)
    assert max(largest) <= max(side, factor)
    for row, column in np.ndindex(small.shape[1:]):
        block = values[
            :, row * factor : (row + 1) * factor, column * factor : (column + 1) * factor
        ]
        known = block[:, np.isfinite(block[0])]
        mean = known.mean(1) if known.size else [np.nan] * 2
        np.testing.assert_allclose(small[:, row, column], mean, rtol=1e-5)
    assert small.shape == (2, -(-rows // factor), -(-columns // factor))


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 2000))
def test_the_small_map_is_small_however_large_or_many(rows, columns, classes):
    factor = shrink_factor((rows, columns), classes, 2500)
    small = -(-rows // factor), -(-columns // factor)
    assert max(small) <= 2500
    assert classes * small[0] * small[1] <= 1 << 25
    assert factor == 1 or max(rows, columns) > 100
