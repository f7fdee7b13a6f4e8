import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.windows import Window

from tltool.errors import ImageError
from tltool.raster import Raster
from tltool.raster.source import RowCache, Source

VALUES = np.random.default_rng(0).integers(0, 256, (4, 1000, 30), dtype=np.uint8)


def load(top, rows):
    part = VALUES[:, top : top + rows]
    return part, part[3] > 127


@settings(deadline=None)
@given(
    st.integers(0, 40_000),
    st.lists(st.tuples(*[st.integers(0, n) for n in (29, 999, 29, 999)]), max_size=8),
)
def test_window_is_that_of_the_rows(budget, corners):
    cache = RowCache(load, 1000, budget)
    for x, y, across, down in corners:
        width, height = min(across + 1, 30 - x), min(down + 1, 1000 - y)
        pixels, valid = cache.window(Window(x, y, width, height))
        expected = VALUES[:, y : y + height, x : x + width]
        np.testing.assert_array_equal(pixels, expected)
        np.testing.assert_array_equal(valid, expected[3] > 127)


def test_tiles_side_by_side_decode_their_rows_once():
    asked = []

    def counted(top, rows):
        asked.append(top)
        return load(top, rows)

    cache = RowCache(counted, 1000, 0)
    for y in range(0, 1000, 250):
        for x in range(0, 30, 10):
            height = min(300, 1000 - y)
            cache.window(Window(x, y, 10, height))
    # Each once, downwards: never back to the first row.
    assert asked == list(range(0, 1000, 128))


def test_rows_that_are_not_needed_are_let_go():
    for budget, kept in ((0, 1), (2 * 128 * 30 * 5, 3)):
        cache = RowCache(load, 1000, budget)
        for y in range(0, 1000, 100):
            cache.window(Window(0, y, 30, 20))
        assert len(cache._chunks) <= kept + 1


@pytest.fixture
def in_rows(monkeypatch):
    """Every JPEG and PNG is one that GDAL's cache does not hold."""
    monkeypatch.setattr("tltool.raster.source.CACHE_BYTES", 0)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("suffix", "mode"),
    [(".jpg", "L"), (".jpg", "RGB"), (".png", "RGBA"), (".tif", "RGBA"), (".tif", "L")],
)
def test_large_image_reads_as_a_small_one(tmp_path, monkeypatch, suffix, mode, orientation):
    picture = Image.fromarray(VALUES.transpose(1, 2, 0)).convert(mode)
    exif = Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / f"a{suffix}"
    picture.save(path, exif=exif)
    windows = [(0, 0, 30, 300), (10, 200, 20, 300), (-5, 900, 50, 150), (3, 0, 9, 9)]
    found = []
    for limit in (128 << 20, 0):
        monkeypatch.setattr("tltool.raster.source.CACHE_BYTES", limit)
        with Raster(path) as raster:
            assert (raster._source._rows is None) == (limit > 0)
            found.append([(raster.read(*w), raster.valid(*w)) for w in windows])
    monkeypatch.setattr("tltool.raster.source._MOST_ROWS", 0)
    with Raster(path) as raster:
        found.append([(raster.read(*w), raster.valid(*w)) for w in windows])
    for small, large in zip(found[0] * 2, found[1] + found[2], strict=True):
        np.testing.assert_array_equal(small[0], large[0])
        np.testing.assert_array_equal(small[1], large[1])


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_large_image_names_the_window(tmp_path, in_rows, suffix):
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(VALUES[:3].transpose(1, 2, 0)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with Raster(path) as raster:
        raster.read(0, 0, 30, 100)
        with pytest.raises(ImageError, match=r"read in the window x 2, y 880, 8 x 90 px: "):
            raster.read(2, 880, 8, 90)
        with pytest.raises(ImageError, match=rf"cut\{suffix} cannot be read in the window"):
            raster.thumbnail(1000)


def test_image_in_one_piece_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    picture = Image.fromarray(VALUES[:3, :67].transpose(1, 2, 0))
    for suffix in (".webp", ".jpg", ".png"):
        picture.save(tmp_path / f"a{suffix}")
    for suffix in (".jpg", ".png"):
        Source(tmp_path / f"a{suffix}").close()
    with pytest.raises(ImageError) as caught:
        Raster(tmp_path / "a.webp")
    assert str(caught.value) == (
        f"{tmp_path / 'a.webp'}: expected an image that is read in windows, or one of at most 2000"
        " px, received 30 x 67 px that are decoded at once. If you trust the file, write it in"
        " tiles, for example with gdal_translate -co TILED=YES"
    )


def test_block_of_a_tiff_that_is_too_large_is_refused(tmp_path, monkeypatch):
    picture = Image.fromarray(VALUES[:3, :67].transpose(1, 2, 0))
    picture.save(tmp_path / "a.tif", compression="tiff_deflate", strip_size=1 << 20)
    with Raster(tmp_path / "a.tif") as raster:
        assert raster.read_whole().shape == (67, 30, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match="received 30 x 67 px that are decoded at once"):
        Raster(tmp_path / "a.tif")
