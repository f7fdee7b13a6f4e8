import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rasterio.transform import Affine
from rasters import write_raster

from tltool.errors import ImageError
from tltool.raster import Raster
from tltool.raster.resampling import ResampledRaster

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 37, 53), dtype=np.uint8)
PLACE = Affine.translation(500000, 6000000) @ Affine.rotation(20) @ Affine.scale(0.5, -0.5)
FACTORS = (0.31, 0.5, 0.8, 1.0, 1.25, 2.7)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rasters")
    mask = np.zeros((37, 53), np.uint8)
    mask[10:30, 5:40] = 255
    return write_raster(folder / "a.tif", PIXELS, mask=mask, crs="EPSG:32633", transform=PLACE)


def opened(path, factor):
    return ResampledRaster(Raster(path), factor)


@pytest.mark.parametrize("factor", FACTORS)
def test_it_is_pillows_resampling(path, factor):
    with opened(path, factor) as image:
        found = image.read(0, 0, image.width, image.height)
        wanted = Image.fromarray(PIXELS.transpose(1, 2, 0)).resize(
            (image.width, image.height), Image.Resampling.BILINEAR
        )
    # At the very edge Pillow leaves out what lies outside; here it is the reflection.
    inner = slice(3, -3)
    difference = found.astype(int) - np.asarray(wanted)
    assert np.abs(difference[inner, inner]).max() <= 1
    assert found.shape == (round(37 * factor), round(53 * factor), 3)


def test_at_its_own_size_nothing_changes(path):
    with opened(path, 1.0) as image, Raster(path) as raster:
        np.testing.assert_array_equal(image.read(-4, 2, 30, 50), raster.read(-4, 2, 30, 50))


@given(
    st.sampled_from(FACTORS),
    st.tuples(st.integers(-20, 60), st.integers(-20, 60)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_a_window_is_that_of_the_whole(path, factor, corner, size):
    (x, y), (width, height) = corner, size
    with opened(path, factor) as image:
        whole, valid = image.read(-30, -30, 160, 160), image.valid(-30, -30, 160, 160)
        place = np.s_[y + 30 : y + 30 + height, x + 30 : x + 30 + width]
        np.testing.assert_array_equal(image.read(x, y, width, height), whole[place])
        np.testing.assert_array_equal(image.valid(x, y, width, height), valid[place])


@pytest.mark.parametrize("factor", FACTORS)
def test_places_stay_where_they_are(path, factor):
    with opened(path, factor) as image, Raster(path) as raster:
        across, down = image.width / raster.width, image.height / raster.height
        world = raster.to_world(np.array([7.0]), np.array([11.0]))
        np.testing.assert_allclose(
            image.to_world(np.array([7.0 * across]), np.array([11.0 * down])), world
        )
        np.testing.assert_allclose(
            np.ravel(image.to_pixels(*world)), [7 * across, 11 * down], atol=1e-4
        )
        np.testing.assert_allclose(image.transform @ (7 * across, 11 * down), np.ravel(world))
        assert image.gsd == pytest.approx(0.5 / factor)


def test_valid_pixels_are_those_under_the_centres(path):
    with opened(path, 2.0) as image:
        valid = image.valid(0, 0, image.width, image.height)
    wanted = np.zeros((74, 106), bool)
    wanted[20:60, 10:80] = True
    np.testing.assert_array_equal(valid, wanted)


def test_a_factor_that_cannot_be_meant_is_refused(path):
    with Raster(path) as raster, pytest.raises(ImageError, match=r"by 1/16 to 16, received 40"):
        ResampledRaster(raster, 40)
