import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from tltool.data.images import read_image
from tltool.errors import ImageError
from tltool.files import list_images
from tltool.raster import ArrayRaster, Raster
from tltool.raster.reading import reflect_indices

HEIGHT, WIDTH = 23, 37
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)

offsets = st.integers(-90, 90)
sides = st.integers(1, 80)
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(scope="module")
def png(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "random.png"
    Image.fromarray(PIXELS).save(path)
    return path


def read_whole(path):
    with Raster(path) as raster:
        return raster.read(0, 0, raster.width, raster.height)


def reflected_window(pixels, x, y, width, height, reach=200):
    """The window of the image padded as NumPy reflects it."""
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    return padded[y + reach : y + reach + height, x + reach : x + reach + width]


def write_tif(path, bands, dtype="uint8", colours=None, **profile):
    count, height, width = bands.shape
    shape = {"count": count, "height": height, "width": width, "dtype": dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, **profile) as file:
        file.write(bands)
        if colours:
            file.colorinterp = colours
    return path


def oriented_jpeg(path, orientation):
    """A JPEG and what a person sees of it: its stored pixels turned by Pillow."""
    exif = Image.Exif()
    exif[0x112] = orientation
    image = Image.fromarray(PIXELS)
    image.save(path, quality=95, subsampling=0)
    stored = Image.fromarray(read_whole(path))
    image.save(path, quality=95, subsampling=0, exif=exif)
    stored.getexif()[0x112] = orientation
    return np.asarray(ImageOps.exif_transpose(stored))


@given(st.integers(-200, 200), sides, st.integers(1, 50))
def test_indices_reflect_like_numpy(start, length, size):
    found = reflect_indices(start, start + length, size)
    expected = np.pad(np.arange(size), 300, mode="reflect")[start + 300 : start + 300 + length]
    np.testing.assert_array_equal(found, expected)


@settings(deadline=None, max_examples=80)
@given(offsets, offsets, sides, sides)
def test_window_is_that_of_the_image_reflected(png, x, y, width, height):
    expected = reflected_window(PIXELS, x, y, width, height)
    np.testing.assert_array_equal(ArrayRaster(PIXELS).read(x, y, width, height), expected)
    with Raster(png) as raster:
        np.testing.assert_array_equal(raster.read(x, y, width, height), expected)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1), (2, 2)])
def test_tiny_image_reflects(tmp_path, shape):
    pixels = PIXELS[: shape[0], : shape[1]]
    Image.fromarray(pixels).save(tmp_path / "tiny.png")
    expected = reflected_window(pixels, -7, -4, 20, 15)
    with Raster(tmp_path / "tiny.png") as raster:
        np.testing.assert_array_equal(raster.read(-7, -4, 20, 15), expected)


def test_size_is_known_before_reading(png):
    with Raster(png) as raster:
        assert (raster.width, raster.height) == (WIDTH, HEIGHT)
        assert (raster.crs, raster.gsd) == (None, None)
        assert raster.transform == Affine.identity()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_to_windows_and_reflections(tmp_path, orientation):
    upright = oriented_jpeg(tmp_path / "turned.jpg", orientation)
    with Raster(tmp_path / "turned.jpg") as raster:
        assert (raster.height, raster.width) == upright.shape[:2]
        windows = [
            (0, 0, raster.width, raster.height),
            (4, 7, 11, 5),
            (raster.width - 6, 2, 6, 9),
            (-9, -5, 60, 60),
            (raster.width - 3, raster.height - 4, 17, 13),
        ]
        for window in windows:
            expected = reflected_window(upright, *window)
            np.testing.assert_array_equal(raster.read(*window), expected)


@pytest.mark.parametrize("orientation", [0, 9])
def test_orientation_that_does_not_exist_is_ignored(tmp_path, orientation):
    oriented_jpeg(tmp_path / "a.jpg", 1)
    plain = read_whole(tmp_path / "a.jpg")
    oriented_jpeg(tmp_path / "a.jpg", orientation)
    np.testing.assert_array_equal(read_whole(tmp_path / "a.jpg"), plain)


@pytest.mark.parametrize(
    ("suffix", "options"), [(".png", {}), (".tif", {}), (".webp", {"lossless": True})]
)
def test_orientation_is_applied_whatever_the_format(tmp_path, suffix, options):
    exif = Image.Exif()
    exif[0x112] = 6
    path = tmp_path / f"turned{suffix}"
    Image.fromarray(PIXELS).save(path, exif=exif, **options)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_whole(path), upright)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_becomes_rgb_as_pillow_does(tmp_path, mode, suffix):
    image = Image.fromarray(PIXELS).convert("RGBA")
    image.putalpha(Image.fromarray(PIXELS[..., 0]))
    path = tmp_path / f"image{suffix}"
    image.convert("RGB").convert(mode).save(path) if mode == "P" else image.convert(mode).save(path)
    with Image.open(path) as saved:
        expected = np.asarray(saved.convert("RGB"))
    np.testing.assert_array_equal(read_whole(path), expected)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palette_of_few_bits(tmp_path, bits):
    image = Image.fromarray(PIXELS).quantize(2**bits)
    image.save(tmp_path / "few.png", bits=bits)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_whole(tmp_path / "few.png"), expected)


@pytest.mark.parametrize(
    "names",
    [
        ("red", "green", "blue"),
        ("blue", "green", "red"),
        ("alpha", "red", "green", "blue"),
        ("red", "green", "blue", "undefined"),
        ("undefined", "blue", "green", "red", "undefined"),
    ],
)
def test_colours_are_taken_by_name(tmp_path, names):
    stored = {"red": 0, "green": 1, "blue": 2}
    bands = np.stack(
        [PIXELS[..., stored[n]] if n in stored else PIXELS[..., 0] // 2 for n in names]
    )
    path = write_tif(
        tmp_path / "bands.tif",
        bands,
        colours=[ColorInterp[name] for name in names],
        photometric="MINISBLACK",
    )
    np.testing.assert_array_equal(read_whole(path), PIXELS)


def noise(count, dtype, height=HEIGHT, width=WIDTH):
    rng = np.random.default_rng(count)
    return rng.integers(0, np.iinfo(dtype).max, (count, height, width), dtype, endpoint=True)


@pytest.mark.parametrize(
    ("count", "dtype", "photometric", "bands", "number"),
    [
        (1, "uint8", "MINISBLACK", None, 3),
        (1, "uint16", "MINISBLACK", None, 3),
        (2, "uint16", "MINISBLACK", None, 3),
        (3, "uint8", "RGB", None, 3),
        (3, "uint16", "RGB", None, 3),
        (3, "uint16", "MINISBLACK", None, 3),
        (4, "uint8", "RGB", None, 3),
        (5, "uint8", "MINISBLACK", None, 5),
        (5, "uint8", "RGB", None, 3),
        (5, "uint8", "RGB", (4, 1), 2),
        (12, "uint16", "MINISBLACK", None, 12),
        (12, "uint16", "MINISBLACK", (8, 4, 3, 4), 4),
        (1, "uint16", "MINISBLACK", (1,), 1),
    ],
)
def test_map_and_training_see_the_same_numbers(tmp_path, count, dtype, photometric, bands, number):
    values = noise(count, dtype)
    path = write_tif(tmp_path / "a.tif", values, dtype, photometric=photometric)
    write_tif(tmp_path / "tile.tif", values[:, 4:15, 20:33], dtype, photometric=photometric)
    seen = read_image(path, bands)
    with Raster(path, bands) as raster:
        assert raster.bands == number == seen.shape[2]
        np.testing.assert_array_equal(raster.read(0, 0, WIDTH, HEIGHT), seen)
        tile = raster.read(20, 4, 13, 11)
        around = raster.read(-6, -3, 60, 40)
    np.testing.assert_array_equal(tile, read_image(tmp_path / "tile.tif", bands))
    np.testing.assert_array_equal(around, reflected_window(seen, -6, -3, 60, 40))


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(
    ("mode", "bands"),
    [("L", (1,)), ("LA", (2, 1)), ("RGB", (3, 1)), ("RGBA", (4, 2)), ("I;16", (1,))],
)
def test_chosen_bands_of_a_common_image(tmp_path, mode, bands, suffix, orientation):
    image = Image.fromarray(PIXELS).convert("RGBA")
    image.putalpha(Image.fromarray(PIXELS[..., 0]))
    deep = Image.fromarray(noise(1, "uint16")[0])
    exif = Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / f"a{suffix}"
    (deep if mode == "I;16" else image.convert(mode)).save(path, exif=exif)
    with Raster(path, bands) as raster:
        found = raster.read(0, 0, raster.width, raster.height)
    np.testing.assert_array_equal(found, read_image(path, bands))


def test_grey_whose_zero_is_white(tmp_path):
    path = write_tif(tmp_path / "a.tif", PIXELS[None, ..., 0], photometric="MINISWHITE")
    np.testing.assert_array_equal(read_whole(path), read_image(path))
    assert (read_whole(path)[..., 0] == 255 - PIXELS[..., 0]).all()


def test_bands_of_one_bit_or_a_palette(tmp_path):
    Image.fromarray(PIXELS).convert("1").save(tmp_path / "bit.png")
    with Raster(tmp_path / "bit.png", (2,)) as raster:
        found = raster.read(0, 0, WIDTH, HEIGHT)
    np.testing.assert_array_equal(found, read_image(tmp_path / "bit.png", (2,)))
    image = Image.fromarray(PIXELS).quantize(16)
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "a.tif")
    with Raster(tmp_path / "a.png", (3, 1)) as raster:
        found = raster.read(0, 0, WIDTH, HEIGHT)
    np.testing.assert_array_equal(found, np.asarray(image.convert("RGB"))[..., [2, 0]])
    with pytest.raises(ImageError, match=r"expected bands, received a palette\. Expand it first"):
        Raster(tmp_path / "a.tif", (1,))


def test_band_that_is_not_there_is_named(tmp_path):
    path = write_tif(tmp_path / "a.tif", noise(5, "uint8"))
    with pytest.raises(ImageError, match=r"a\.tif: expected band 6, the image has 5 \(bands count"):
        Raster(path, (1, 6))


@pytest.mark.parametrize("dtype", ["uint32", "float32", "int16"])
def test_other_numbers_are_refused_with_a_way_out(tmp_path, dtype):
    path = write_tif(tmp_path / "deep.tif", np.zeros((1, 9, 9), dtype), dtype=dtype)
    with pytest.raises(ImageError) as caught:
        Raster(path)
    assert f"deep.tif: expected 8 or 16 bits a band, received {dtype}" in str(caught.value)
    assert "gdal_translate" in str(caught.value)


@pytest.mark.parametrize(
    ("count", "photometric", "bands", "shown"),
    [
        (5, "RGB", (5, 4), [0, 1, 2]),
        (5, "MINISBLACK", None, [0, 1, 2]),
        (5, "MINISBLACK", (5, 2, 4, 1), [4, 1, 3]),
        (5, "MINISBLACK", (4, 2), [3, 3, 3]),
    ],
)
def test_thumbnail_of_many_bands_is_a_picture(tmp_path, count, photometric, bands, shown):
    values = noise(count, "uint8")
    path = write_tif(tmp_path / "a.tif", values, photometric=photometric)
    with Raster(path, bands) as raster:
        small = raster.thumbnail(WIDTH)
    np.testing.assert_array_equal(small, values[shown].transpose(1, 2, 0))


def test_thumbnail_of_deep_bands_is_bright(tmp_path):
    values = noise(3, "uint16") // 16
    path = write_tif(tmp_path / "a.tif", values, "uint16", photometric="RGB")
    with Raster(path) as raster:
        assert raster.read(0, 0, WIDTH, HEIGHT).max() < 16
        small = raster.thumbnail(WIDTH)
    assert (small.dtype, small.shape) == (np.uint8, (HEIGHT, WIDTH, 3))
    assert small.max() == 255
    assert small.min() == 0


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated_image_is_refused_never_read_wrong(tmp_path, suffix, share):
    path = tmp_path / f"whole{suffix}"
    Image.fromarray(PIXELS).save(path)
    content = path.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ImageError, match=f"cut{suffix} cannot be read"):
        read_whole(cut)


def test_damage_names_the_window(tmp_path):
    path = tmp_path / "cut.tif"
    Image.fromarray(PIXELS).save(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with Raster(path) as raster, pytest.raises(ImageError, match="window x 3, y 19, 5 x 4 px"):
        raster.read(3, 19, 5, 4)


def test_damage_names_the_window_of_a_thumbnail(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 1500, 40), np.uint8)
    path = write_tif(tmp_path / "cut.tif", pixels, photometric="RGB", blockysize=16)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 300)
    with Raster(path) as raster, pytest.raises(ImageError) as caught:
        raster.thumbnail(1500)
    place = "cannot be read in the window x 0, y 1024, 40 x 476 px: "
    assert str(caught.value).startswith(f"{path} {place}")


MOSAIC = """<VRTDataset rasterXSize="74" rasterYSize="23">{}</VRTDataset>"""
MOSAIC_BAND = (
    '<VRTRasterBand dataType="Byte" band="{0}"><NoDataValue>0</NoDataValue>'
    "<ColorInterp>{1}</ColorInterp><SimpleSource>"
    '<SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>{0}</SourceBand>'
    '<SrcRect xOff="0" yOff="0" xSize="37" ySize="23"/>'
    '<DstRect xOff="37" yOff="0" xSize="37" ySize="23"/></SimpleSource></VRTRasterBand>'
)


def test_mosaic_is_read_across_its_images_and_its_gaps(tmp_path):
    pixels = PIXELS.clip(1)
    write_tif(tmp_path / "a.tif", pixels.transpose(2, 0, 1), photometric="RGB")
    bands = [MOSAIC_BAND.format(i, c) for i, c in enumerate(("Red", "Green", "Blue"), 1)]
    (tmp_path / "a.vrt").write_text(MOSAIC.format("".join(bands)))
    expected = np.concatenate([np.zeros_like(pixels), pixels], axis=1)
    with Raster(tmp_path / "a.vrt") as raster:
        for window in ((0, 0, 74, 23), (30, 5, 20, 9), (60, -5, 40, 20)):
            seen = reflected_window(expected, *window)
            np.testing.assert_array_equal(raster.read(*window), seen)
            np.testing.assert_array_equal(raster.valid(*window), (seen > 0).all(2))


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".tif", {"driver": "COG", "blocksize": 128, "compress": "deflate"}),
        (".tif", {"driver": "GTiff", "BIGTIFF": "YES", "tiled": True, "interleave": "band"}),
        (".jp2", {"driver": "JP2OpenJPEG", "REVERSIBLE": "YES", "QUALITY": "100"}),
        (".bmp", {"driver": "BMP"}),
    ],
)
def test_any_format_is_read_in_windows(tmp_path, suffix, options):
    pixels = np.random.default_rng(1).integers(0, 256, (3, 300, 410), np.uint8)
    write_tif(tmp_path / "source.tif", pixels, photometric="RGB")
    path = tmp_path / f"a{suffix}"
    rasterio.shutil.copy(tmp_path / "source.tif", path, **options)
    with Raster(path) as raster:
        for window in ((0, 0, 410, 300), (100, 90, 150, 60), (380, 250, 90, 90)):
            expected = reflected_window(pixels.transpose(1, 2, 0), *window)
            np.testing.assert_array_equal(raster.read(*window), expected)


@pytest.mark.parametrize("behind", [False, True])
def test_orientation_of_a_png_is_found_without_decoding_it(tmp_path, monkeypatch, behind):
    exif = Image.Exif()
    exif[0x112] = 6
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path, exif=exif)
    if behind:
        content = path.read_bytes()
        start = content.index(b"eXIf") - 4
        stop = start + 12 + int.from_bytes(content[start : start + 4])
        end = content.index(b"IEND") - 4
        moved = content[:start] + content[stop:end] + content[start:stop] + content[end:]
        path.write_bytes(moved)
    else:
        # What Pillow decodes pixels with.
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    with Raster(path) as raster:
        assert (raster.width, raster.height) == (HEIGHT, WIDTH)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"missing\.png does not exist"):
        Raster(tmp_path / "missing.png")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_file_that_is_no_image_is_named_in_one_line(tmp_path, content):
    (tmp_path / "text.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"text\.png cannot be read as an image") as caught:
        Raster(tmp_path / "text.png")
    assert "\n" not in str(caught.value)


def test_folder_is_no_image(tmp_path):
    with pytest.raises(ImageError, match="cannot be read as an image"):
        Raster(tmp_path)


@pytest.mark.parametrize("name", ["a b.png", "a#1.png", "a?b=c.png", "a!b.png", "a,b.png", "ü.png"])
def test_odd_names_are_names(tmp_path, name):
    Image.fromarray(PIXELS).save(tmp_path / name)
    np.testing.assert_array_equal(read_whole(tmp_path / name), PIXELS)


@pytest.mark.parametrize(
    ("crs", "pixel", "gsd"),
    [
        ("EPSG:32633", (0.25, -0.25), 0.25),
        ("EPSG:32633", (0.5, -2.0), 1.0),
        ("EPSG:2263", (1.0, -1.0), 0.3048006),
    ],
)
def test_ground_sample_distance_of_a_projected_crs(tmp_path, crs, pixel, gsd):
    transform = Affine(pixel[0], 0, 500_000, 0, pixel[1], 6_000_000)
    path = write_tif(tmp_path / "map.tif", PIXELS[None, ..., 0], crs=crs, transform=transform)
    with Raster(path) as raster:
        assert raster.gsd == pytest.approx(gsd, rel=1e-6)
        assert raster.crs.to_string() == crs
        assert raster.transform == transform


def test_degrees_are_no_ground_sample_distance(tmp_path):
    transform = Affine(1e-5, 0, 15, 0, -1e-5, 54)
    bands = PIXELS[None, ..., 0]
    path = write_tif(tmp_path / "map.tif", bands, crs="EPSG:4326", transform=transform)
    with Raster(path) as raster:
        assert raster.gsd is None


def test_ground_sample_distance_of_a_turned_image(tmp_path):
    transform = Affine(0.32, 0.24, 500_000, 0.24, -0.32, 6_000_000)
    path = write_tif(
        tmp_path / "map.tif", PIXELS[None, ..., 0], crs="EPSG:32633", transform=transform
    )
    with Raster(path) as raster:
        assert raster.gsd == pytest.approx(0.4)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_threads_that_share_an_image_get_right_pixels(tmp_path, suffix):
    pixels = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    path = tmp_path / f"shared{suffix}"
    if suffix == ".tif":
        tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
        write_tif(path, pixels.transpose(2, 0, 1), photometric="RGB", **tiles)
    else:
        Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    corners = np.random.default_rng(2).integers(-40, 300, (60, 2)).tolist()
    with Raster(path) as raster, ThreadPoolExecutor(4) as pool:
        windows = list(pool.map(lambda corner: raster.read(*corner, 70, 50), corners))
    for corner, window in zip(corners, windows, strict=True):
        np.testing.assert_array_equal(window, reflected_window(pixels, *corner, 70, 50))


def test_truncation_is_noticed_in_another_thread(tmp_path):
    path = tmp_path / "cut.jpg"
    Image.fromarray(PIXELS).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with Raster(path) as raster, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(raster.read, 0, 0, WIDTH, HEIGHT)
        with pytest.raises(ImageError, match="cannot be read"):
            reading.result()


def test_image_opened_in_another_thread_can_be_closed_here(png):
    opened = []
    thread = threading.Thread(target=lambda: opened.append(Raster(png)))
    thread.start()
    thread.join()
    with opened[0] as raster:
        np.testing.assert_array_equal(raster.read(0, 0, WIDTH, HEIGHT), PIXELS)


def test_images_close_in_any_order(png):
    first, second = Raster(png), Raster(png)
    first.close()
    np.testing.assert_array_equal(second.read(0, 0, WIDTH, HEIGHT), PIXELS)
    second.close()


@pytest.mark.parametrize("longest", [1, 10, 36, 37, 100])
def test_thumbnail_fits_and_is_never_enlarged(png, longest):
    with Raster(png) as raster:
        height, width = raster.thumbnail(longest).shape[:2]
    # Shrunk by a whole number, the smallest that fits.
    factor = -(-max(WIDTH, HEIGHT) // longest)
    assert max(width, height) <= longest or factor == 1
    assert (width, height) == (-(-WIDTH // factor), -(-HEIGHT // factor))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_thumbnail_is_upright(tmp_path, orientation):
    corner = np.zeros((60, 90, 3), np.uint8)
    corner[:30, :45] = 255
    exif = Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / "turned.jpg"
    Image.fromarray(corner).save(path, exif=exif, quality=95)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))[1::3, 1::3]
    with Raster(path) as raster:
        small = raster.thumbnail(30)
    assert small.shape == upright.shape
    np.testing.assert_array_equal(small > 127, upright > 127)


def test_thumbnail_of_a_palette_has_only_the_colours_of_the_image(tmp_path):
    image = Image.fromarray(np.where(PIXELS[..., 0] > 127, 200, 0).astype(np.uint8))
    image.putpalette([9, 8, 7] + [255, 0, 255] * 199 + [1, 2, 3] + [255, 0, 255] * 55)
    image.save(tmp_path / "palette.png")
    with Raster(tmp_path / "palette.png") as raster:
        small = raster.thumbnail(12)
    assert {tuple(c) for c in small.reshape(-1, 3).tolist()} == {(9, 8, 7), (1, 2, 3)}


def test_folder_lists_images_by_name_whatever_the_case(tmp_path):
    for name in ("b.JPG", "a.png", "c.tiff", "notes.txt", "points.csv"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG", "c.tiff"]
