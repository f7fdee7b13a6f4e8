import warnings

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from tltool.data.images import cut_middle, fit_side, read_image
from tltool.errors import ImageError

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_is_read_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("1", "png"),
        ("L", "png"),
        ("LA", "png"),
        ("P", "png"),
        ("P", "gif"),
        ("RGBA", "png"),
        ("CMYK", "jpg"),
        ("CMYK", "tif"),
        ("YCbCr", "jpg"),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(PIXELS).convert(mode).save(path)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))
    found = read_image(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_keeps_its_high_byte(tmp_path, suffix):
    deep = np.array([[0, 255, 256], [0x1234, 0x8000, 0xFFFF]], np.uint16)
    Image.fromarray(deep).save(tmp_path / f"deep.{suffix}")
    found = read_image(tmp_path / f"deep.{suffix}")
    np.testing.assert_array_equal(found, np.repeat((deep // 256)[..., None], 3, axis=2))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "bmp"])
def test_truncated_image_is_named(tmp_path, suffix):
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(PIXELS).save(path)
    truncate(path)
    with pytest.raises(ImageError, match=rf"cut\.{suffix} cannot be read as an image"):
        read_image(path)


@pytest.mark.parametrize("content", [None, b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_image_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "no.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"no\.png"):
        read_image(tmp_path / "no.png")


def test_resizing_keeps_the_middle_square():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    fitted = fit_side(wide, 10)
    assert fitted.shape == (10, 10, 3)
    assert (fitted[:, 1:-1] == 255).all()
    assert fitted.min() > 200


def test_image_of_the_right_size_is_not_resized():
    pixels = PIXELS[:, :9]
    assert fit_side(pixels, 9) is pixels


@pytest.mark.parametrize(
    ("height", "width", "top", "left"), [(9, 14, 2, 4), (6, 5, 0, 0), (5, 5, 0, 0), (9, 5, 2, 0)]
)
def test_middle_is_cut_at_its_scale(height, width, top, left):
    pixels = PIXELS[:height, :width]
    expected = pixels[top : top + 5, left : left + 5]
    np.testing.assert_array_equal(cut_middle(pixels, 5), expected)


def write_bands(path, bands, dtype="uint8", alpha=False, **options):
    """A raster of noise; returns its (bands, height, width) values."""
    values = np.random.default_rng(3).integers(0, np.iinfo(dtype).max, (bands, 9, 14), dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", "GTiff", width=14, height=9, count=bands, dtype=dtype, **options
        ) as file:
            if alpha:
                file.colorinterp = [*file.colorinterp[:-1], ColorInterp.alpha]
            file.write(values)
    return values


def eight_bits(values):
    values = values >> 8 if values.dtype == np.uint16 else values
    return values.transpose(1, 2, 0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("number", [4, 5, 7])
@pytest.mark.parametrize("options", [{}, {"interleave": "band"}, {"compress": "zstd"}])
def test_all_bands_of_a_multispectral_image_are_read(tmp_path, dtype, number, options):
    values = write_bands(tmp_path / "a.tif", number, dtype, photometric="MINISBLACK", **options)
    found = read_image(tmp_path / "a.tif")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, eight_bits(values))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("number", [3, 4, 5])
def test_red_green_and_blue_are_what_a_person_sees(tmp_path, dtype, number):
    values = write_bands(tmp_path / "a.tif", number, dtype, photometric="RGB")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), eight_bits(values)[..., :3])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_alpha_is_no_band(tmp_path, dtype):
    options = {"photometric": "MINISBLACK", "alpha": True}
    three, five = (write_bands(tmp_path / f"{n}.tif", n, dtype, **options) for n in (4, 6))
    np.testing.assert_array_equal(read_image(tmp_path / "4.tif"), eight_bits(three)[..., :3])
    np.testing.assert_array_equal(read_image(tmp_path / "6.tif"), eight_bits(five)[..., :5])


@pytest.mark.parametrize("number", [1, 2])
def test_one_or_two_bands_are_grey(tmp_path, number):
    values = write_bands(tmp_path / "a.tif", number, "uint16")
    expected = np.repeat(eight_bits(values)[..., :1], 3, axis=2)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("bands", [(4, 3, 2), (1,), (5, 5), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("photometric", ["RGB", "MINISBLACK"])
def test_chosen_bands_in_their_order(tmp_path, dtype, bands, photometric):
    values = write_bands(tmp_path / "a.tif", 5, dtype, photometric=photometric)
    expected = eight_bits(values)[..., np.array(bands) - 1]
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", bands), expected)


@pytest.mark.parametrize(
    ("mode", "suffix", "bands"),
    [("L", "png", (1, 1)), ("RGB", "png", (3, 1)), ("RGBA", "png", (4, 2)), ("P", "png", (2,))],
)
def test_chosen_bands_of_a_common_image(tmp_path, mode, suffix, bands):
    path = tmp_path / f"a.{suffix}"
    image = Image.fromarray(PIXELS).convert(mode)
    exif = Image.Exif()
    exif[0x112] = 6
    image.save(path, exif=exif)
    raw = np.asarray(image.convert("RGB") if mode == "P" else image).reshape(9, 14, -1)
    expected = np.rot90(raw, -1)[..., np.array(bands) - 1]
    np.testing.assert_array_equal(read_image(path, bands), expected)


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_band_that_is_not_there_is_named(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(PIXELS).save(path)
    with pytest.raises(
        ImageError, match=rf"a\.{suffix}: expected band 4, the image has 3 \(bands count from 1\)"
    ):
        read_image(path, (3, 4))


def test_bands_of_a_palette_are_refused(tmp_path):
    Image.fromarray(PIXELS).convert("P").save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=r"expected bands, received a palette\. Expand it first"):
        read_image(tmp_path / "a.tif", (1,))


@pytest.mark.parametrize("bands", [None, (1,)])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_more_than_sixteen_bits_are_refused(tmp_path, dtype, bands):
    Image.fromarray(np.ones((3, 4), dtype)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=r"a\.tif: expected 8 or 16 bits a band, received"):
        read_image(tmp_path / "a.tif", bands)


@pytest.mark.parametrize("bands", [None, (1, 2)])
def test_truncated_multispectral_image_is_named(tmp_path, bands):
    write_bands(tmp_path / "cut.tif", 5)
    truncate(tmp_path / "cut.tif")
    with pytest.raises(ImageError, match=r"cut\.tif cannot be read as an image"):
        read_image(tmp_path / "cut.tif", bands)


@given(
    st.integers(1, 30), st.integers(1, 30), st.integers(1, 20), st.integers(1, 6), st.integers(0, 9)
)
def test_resizing_is_the_same_for_any_number_of_bands(height, width, side, bands, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, bands), np.uint8)
    found = fit_side(pixels, side)
    assert found.shape == (side, side, bands)
    three = np.repeat(pixels[..., -1:], 3, axis=2)
    joint = ImageOps.fit(Image.fromarray(three), (side, side), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(found[..., -1], np.asarray(joint)[..., 0])
