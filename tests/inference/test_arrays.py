"""Arrays and PIL images in place of files."""

import numpy as np
import pytest
from PIL import Image

from tltool.errors import ImageError, UsageError
from tltool.inference.image_opening import as_pixels, open_image
from tltool.raster import ArrayRaster, Raster, ResampledRaster
from tltool.run.sidecar import Sidecar

SIDECAR = Sidecar(classes=["a", "b"], patch=8, input_side=8)
RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 256, (20, 30, 3), np.uint8)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (PIXELS, PIXELS),
        (PIXELS.astype(np.int64), PIXELS),
        ((PIXELS + 0.25).clip(0, 255), PIXELS),
        (PIXELS.astype(np.uint16) * 256 + 7, PIXELS),
        (PIXELS[..., 0], np.repeat(PIXELS[..., :1], 3, 2)),
        (PIXELS[..., :1], np.repeat(PIXELS[..., :1], 3, 2)),
        (Image.fromarray(PIXELS), PIXELS),
        (Image.fromarray(PIXELS[..., 0]), np.repeat(PIXELS[..., :1], 3, 2)),
        (Image.fromarray(np.dstack([PIXELS, PIXELS[..., 0]])), PIXELS),
        (np.zeros((2, 2, 3), np.float32), np.zeros((2, 2, 3), np.uint8)),
    ],
    ids=["uint8", "int64", "float", "uint16", "grey", "band", "pil", "pil-grey", "rgba", "black"],
)
def test_numbers_become_bytes(image, expected):
    received = as_pixels(image, 3)
    assert received.dtype == np.uint8
    np.testing.assert_array_equal(received, expected)


def test_a_scale_says_what_becomes_black_and_white():
    floats = PIXELS.astype(np.float64) / 255
    np.testing.assert_array_equal(as_pixels(floats, 3, (0, 1)), PIXELS)
    low, high = np.percentile(floats, (2, 98), axis=(0, 1))
    expected = np.rint(((floats - low) / (high - low)).clip(0, 1) * 255)
    np.testing.assert_array_equal(as_pixels(floats, 3, "percentiles"), expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (PIXELS[None], r"`photo`: expected an array .*shape \(1, 20, 30, 3\): one image at a time"),
        (PIXELS[0, :, 0], r"`photo`: expected an array \(height, width, bands\).*shape \(30,\)"),
        (PIXELS[:0], r"`photo`: .* with pixels in it, received the shape \(0, 30, 3\)"),
        (PIXELS[..., :2], r"`photo`: expected 3 bands on the last axis.*; received 2"),
        (PIXELS.transpose(2, 0, 1), r"bands stand first: np.moveaxis\(photo, 0, -1\)"),
        (np.where(PIXELS > 99, np.nan, 9.0), "`photo`: expected numbers, received NaN or infinity"),
        (PIXELS / 255, r"`scale`: `photo` holds numbers from 0 to 1, .*: `scale=\(0, 1\)`"),
        (PIXELS > 9, r"`scale`: `photo` holds numbers from 0 to 1"),
        (
            PIXELS - 300.0,
            r"`scale`: `photo` holds float64 from -300 to -45.*scale=\(MIN, MAX",
        ),
        (PIXELS.astype(np.int16) * 9, "`scale`: `photo` holds int16 from 0 to 2295"),
        (np.array(["a"]), "`photo`: expected a path, an array of numbers or a PIL image"),
        (object(), "`photo`: expected a path, an array of numbers or a PIL image, received object"),
    ],
)
def test_what_is_no_image_names_the_parameter(image, message):
    with pytest.raises(UsageError, match=message):
        as_pixels(image, 3, name="photo")


def test_an_array_is_read_like_a_file(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    with (
        open_image(tmp_path / "a.png", SIDECAR) as file,
        open_image(PIXELS, SIDECAR) as array,
        open_image(Image.open(tmp_path / "a.png"), SIDECAR) as picture,
    ):
        assert (array.width, array.height, array.bands) == (30, 20, 3)
        assert (array.name, array.label, picture.name) == ("image", "`image`", "a.png")
        assert array.crs is array.gsd is array.path is None
        for raster in (array, picture):
            np.testing.assert_array_equal(raster.read(-5, -3, 44, 31), file.read(-5, -3, 44, 31))
            np.testing.assert_array_equal(raster.thumbnail(30), file.thumbnail(30))
            np.testing.assert_allclose(raster.thumbnail(15), file.thumbnail(15), atol=1)


def test_bands_of_an_array_are_those_that_are_named():
    many = np.dstack([PIXELS, PIXELS[..., ::-1]])
    numbered = SIDECAR.model_copy(update={"band_numbers": [6, 5, 4]})
    np.testing.assert_array_equal(open_image(many, numbered).read(0, 0, 30, 20), PIXELS)
    # Which were chosen already.
    np.testing.assert_array_equal(open_image(PIXELS, numbered).read(0, 0, 30, 20), PIXELS)
    with pytest.raises(ImageError, match="`image`: expected band 7, the array has 6"):
        open_image(many, SIDECAR, bands=[7, 1, 2])


def test_an_open_raster_stays_open(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    with Raster(tmp_path / "a.png") as raster:
        with open_image(raster, SIDECAR) as borrowed:
            np.testing.assert_array_equal(borrowed.read(0, 0, 30, 20), PIXELS)
        np.testing.assert_array_equal(raster.read(0, 0, 30, 20), PIXELS)


def test_an_array_is_resampled_like_a_file(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    with (
        ResampledRaster(Raster(tmp_path / "a.png"), 0.7) as file,
        ResampledRaster(ArrayRaster(PIXELS), 0.7) as array,
    ):
        np.testing.assert_array_equal(array.read(-2, 0, 25, 14), file.read(-2, 0, 25, 14))
        assert (array.name, array.gsd) == ("image", None)
