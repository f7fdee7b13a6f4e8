import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.augment.pipeline import Augmenter
from tltool.augment.presets import (
    add_sensor_noise,
    decode_srgb,
    defocus,
    disc,
    encode_srgb,
    expose,
    from_light,
    to_light,
)

LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)


def grey(level, side=100):
    return np.full((side, side, 1), level, np.uint8)


def test_srgb_by_known_values():
    # The standard's: the toe is straight, and middle grey is a fifth of the light.
    np.testing.assert_allclose(decode_srgb(np.array([0, 0.04045, 1])), [0, 0.0031308, 1], rtol=1e-4)
    np.testing.assert_allclose(decode_srgb(np.array([0.5])), 0.21404, rtol=1e-4)
    np.testing.assert_allclose(
        encode_srgb(decode_srgb(np.linspace(0, 1, 99))), np.linspace(0, 1, 99)
    )


def test_levels_survive_the_way_through_light():
    np.testing.assert_array_equal(from_light(to_light(LEVELS)), LEVELS)
    assert from_light(np.array([-1.0, 2.0], np.float32)).tolist() == [0, 255]


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 20))
def test_disc_sums_to_one_and_is_round(radius):
    kernel = disc(radius)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert len(kernel) % 2 == 1
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-7)
    np.testing.assert_allclose(kernel, kernel[::-1], atol=1e-7)
    reach = np.hypot(*np.meshgrid(*[np.arange(len(kernel)) - len(kernel) // 2] * 2))
    assert (kernel[reach > max(radius, 0.5) + 0.75] == 0).all()
    # Even, unlike a Gaussian's: every pixel well inside has the same share.
    inside = kernel[reach < radius - 0.75]
    assert inside.size == 0 or np.ptp(inside) < 1e-6


def test_disc_has_the_area_of_a_disc():
    assert 1 / disc(6.0).max() == pytest.approx(np.pi * 36, rel=0.01)
    np.testing.assert_array_equal(disc(0.3), [[1]])


def test_a_point_out_of_focus_is_a_disc_of_the_same_light():
    point = np.zeros((21, 21, 3), np.uint8)
    point[10, 10] = 255
    blurred = defocus(point, 3.0)
    light = to_light(blurred)[..., 0]
    assert light.sum() == pytest.approx(1, rel=0.01)
    assert len(np.unique(blurred[9:12, 9:12])) == 1
    assert (blurred[10, :6] == 0).all()
    assert (blurred[10, 8:13] > 0).all()


def test_one_stop_doubles_the_light():
    dark, bright = grey(60), expose(grey(60), 1)
    np.testing.assert_allclose(to_light(bright), 2 * to_light(dark), rtol=0.01)
    assert expose(grey(200), 2).max() == 255
    np.testing.assert_array_equal(expose(LEVELS, 0), LEVELS)


@pytest.mark.parametrize("level", [40, 128, 220])
def test_noise_has_the_variance_of_its_model(level):
    light = to_light(grey(level)).astype(float)
    noisy = to_light(add_sensor_noise(grey(level), 2000, 20, np.random.default_rng(1)))
    expected = light[0, 0, 0] / 2000 + (20 / 2000) ** 2
    # Levels are rounded, which adds a little.
    assert noisy.var() == pytest.approx(expected, rel=0.1)
    assert noisy.mean() == pytest.approx(light[0, 0, 0], rel=0.02)


@pytest.mark.parametrize("bands", [1, 3, 5])
@pytest.mark.parametrize("name", ["defocus", "bad_exposure", "sensor_noise"])
def test_entries_by_bare_name(name, bands):
    image = np.random.default_rng(0).integers(0, 256, (20, 24, bands), dtype=np.uint8)
    augmenter = Augmenter([name])
    found = [augmenter(image, (place,)) for place in range(20)]
    changed = [not np.array_equal(image, other) for other in found]
    assert any(changed)
    assert not all(changed)
    assert {(f.shape, f.dtype) for f in found} == {(image.shape, np.dtype(np.uint8))}
