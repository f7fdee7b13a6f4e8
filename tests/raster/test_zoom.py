from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tltool.errors import UsageError
from tltool.raster import as_zoom, enlarge

zooms = st.sampled_from(sorted({Fraction(p, q) for q in range(1, 9) for p in range(q, 8 * q + 1)}))


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@st.composite
def windows(draw):
    """A zoom and a window whose enlarged corners are whole pixels."""
    zoom = draw(zooms)
    step = zoom.denominator
    length = draw(st.integers(2, 5))
    start = draw(st.integers(0, 3))
    return zoom, start * step, length * step, (start + length + draw(st.integers(0, 3))) * step


@settings(deadline=None)
@given(windows(), st.integers(0, 99))
def test_window_enlarged_alone_is_that_of_the_enlarged_whole(case, seed):
    zoom, start, length, size = case
    whole = enlarge(noise(size, 12, seed), zoom)
    alone = enlarge(noise(size, 12, seed)[start : start + length], zoom)
    border = -(-zoom.numerator // (2 * zoom.denominator))
    first = border if start > 0 else 0
    last = len(alone) - (border if start + length < size else 0)
    place = int(start * zoom)
    np.testing.assert_array_equal(alone[first:last], whole[place + first : place + last])


@settings(deadline=None)
@given(windows(), st.integers(0, 99))
def test_columns_are_enlarged_like_rows(case, seed):
    zoom, pixels = case[0], noise(9, 9, seed)
    turned = enlarge(pixels.transpose(1, 0, 2), zoom).transpose(1, 0, 2)
    np.testing.assert_allclose(enlarge(pixels, zoom), turned, atol=1e-3)


@pytest.mark.parametrize("zoom", [2, 3, 5, 8, Fraction(3, 2), Fraction(9, 4)])
def test_agrees_with_pillow(zoom):
    pixels = noise(16, 24)
    size = (int(24 * zoom), int(16 * zoom))
    expected = np.stack(
        [
            np.asarray(
                Image.fromarray(band.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
            )
            for band in pixels.transpose(2, 0, 1)
        ],
        axis=-1,
    )
    np.testing.assert_allclose(enlarge(pixels, Fraction(zoom)), expected, atol=1e-2)


def test_a_row_of_two_pixels_by_hand():
    row = np.array([0, 8], np.uint8).reshape(1, 2, 1)
    assert enlarge(row, Fraction(2)).ravel().tolist() == [0, 2, 6, 8] * 2
    assert enlarge(row, Fraction(4))[0].ravel().tolist() == [0, 0, 1, 3, 5, 7, 8, 8]


@pytest.mark.parametrize("zoom", [1, Fraction(3, 2), Fraction(7, 3), 8])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_constant_stays_constant_and_size_rounds_down(zoom, dtype):
    large = enlarge(np.full((5, 7, 3), 201, dtype), Fraction(zoom))
    assert large.shape == (int(5 * zoom), int(7 * zoom), 3)
    assert (large == 201).all()


def test_zoom_one_is_the_image_itself():
    pixels = noise(4, 5)
    assert enlarge(pixels, Fraction(1)) is pixels


@settings(deadline=None)
@given(zooms)
def test_nothing_leaves_the_range_of_the_pixels(zoom):
    pixels = noise(6, 6)
    large = enlarge(pixels, zoom)
    assert large.min() >= pixels.min()
    assert large.max() <= pixels.max()
    assert large.dtype == (np.uint8 if zoom == 1 else np.float32)


@given(zooms)
def test_ratio_is_found_in_its_float(zoom):
    assert as_zoom(float(zoom)) == zoom


@pytest.mark.parametrize(
    "zoom", [0, -1, 0.5, 0.999, 8.01, 9, 3.14159, 1.05, 1.333, float("nan"), float("inf")]
)
def test_illegal_zoom_is_refused(zoom):
    with pytest.raises(UsageError, match=rf"`zoom`: expected a number from 1 to 8.*ved {zoom}"):
        as_zoom(zoom)
