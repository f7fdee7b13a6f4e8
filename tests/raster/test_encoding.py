import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from tltool.raster.writing import CLASS_CODES, ENCODINGS

PROBABILITIES = nps.arrays(
    np.float32, st.integers(1, 30), elements=st.floats(0, 1, width=32) | st.just(np.nan)
)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@given(values=PROBABILITIES)
def test_integers_are_the_nearest_step_and_nan_stays_apart(dtype, values):
    encoding = ENCODINGS[dtype]
    stored = encoding.encode(values)
    assert stored.dtype == dtype
    np.testing.assert_array_equal(stored == encoding.nodata, np.isnan(values))
    read = encoding.decode(stored)
    known = ~np.isnan(values)
    np.testing.assert_array_equal(np.isnan(read), ~known)
    # Float32 itself is off by up to 6e-8.
    assert (np.abs(read - values)[known] <= encoding.scale / 2 + 1.2e-7).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_step_comes_back_and_the_ends_are_exact(dtype):
    encoding = ENCODINGS[dtype]
    steps = np.arange(int(encoding.nodata))
    np.testing.assert_array_equal(encoding.encode(encoding.decode(steps.astype(dtype))), steps)
    ends = encoding.decode(np.array([0, encoding.nodata - 1], dtype))
    assert ends.tolist() == [0, 1]


def test_what_softmax_leaves_outside_takes_the_nearer_end():
    outside = np.array([-1e-7, 1 + 1e-6], np.float32)
    assert ENCODINGS["uint8"].encode(outside).tolist() == [0, 254]


def test_float32_is_kept_as_it_is():
    values = np.array([0.1, np.nan, 1], np.float32)
    encoding = ENCODINGS["float32"]
    np.testing.assert_array_equal(encoding.decode(encoding.encode(values)), values)


def test_class_numbers_never_reach_no_data():
    for dtype, code in CLASS_CODES.items():
        assert code.nodata == np.iinfo(dtype).max
        assert code.scale == 1
