import os

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.enums import Resampling
from rasters import reflected, write_raster

from tltool.errors import ImageError
from tltool.raster import Raster

HEIGHT, WIDTH = 40, 61
TILES = {"tiled": True, "blockxsize": 16, "blockysize": 16}
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(1, 256, (3, HEIGHT, WIDTH), dtype=np.uint8)
VALID = RNG.random((HEIGHT, WIDTH)) > 0.3
ALPHA = np.where(VALID, 255, 0).astype(np.uint8)[None]
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def write_masked(folder, kind, **options):
    """The same pixels of which the same are valid, said in one of the ways there are."""
    path = folder / f"{kind}.tif"
    if kind == "nodata":
        return write_raster(path, np.where(VALID, PIXELS, 0), nodata=0, **options)
    if kind == "nan":
        values = np.where(VALID, PIXELS, np.nan).astype(np.float32)
        return write_raster(path, values, nodata=float("nan"))
    if kind == "alpha":
        colours = ("red", "green", "blue", "alpha")
        return write_raster(path, np.concatenate([PIXELS, ALPHA]), colours, **options)
    if kind == "png":
        picture = Image.fromarray(np.concatenate([PIXELS, ALPHA]).transpose(1, 2, 0))
        picture.save(folder / "a.png")
        return folder / "a.png"
    internal = kind == "mask"
    return write_raster(path, PIXELS, mask=VALID, internal=internal, photometric="RGB", **options)


KINDS = ["nodata", "nan", "alpha", "png", "mask", "msk"]


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masked")
    return {kind: write_masked(folder, kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=25)
@given(
    x=st.integers(-90, 90),
    y=st.integers(-90, 90),
    width=st.integers(1, 80),
    height=st.integers(1, 80),
)
def test_valid_window_is_that_of_the_whole_mask_reflected(masked, kind, x, y, width, height):
    with Raster(masked[kind], scale=(0, 255)) as raster:
        found = raster.valid(x, y, width, height)
        assert raster.has_mask
    assert found.dtype == bool
    np.testing.assert_array_equal(found, reflected(VALID, x, y, width, height))


def test_every_way_of_masking_is_another_file(masked):
    assert (masked["msk"].parent / "msk.tif.msk").exists()
    assert not (masked["mask"].parent / "mask.tif.msk").exists()


def test_image_without_a_mask_is_valid_everywhere(tmp_path):
    path = write_raster(tmp_path / "a.tif", PIXELS)
    with Raster(path) as raster:
        assert not raster.has_mask
        assert raster.valid(-5, 3, 90, 7).all()
        assert raster.valid(-5, 3, 90, 7).shape == (7, 90)
        assert not raster.surely_empty(0, 0, 5, 5)


def test_pixel_is_valid_where_one_band_is_and_where_alpha_is_faint(tmp_path):
    values = np.array([[[0, 0, 7]], [[0, 5, 0]]], np.uint8)
    with Raster(write_raster(tmp_path / "a.tif", values, nodata=0)) as raster:
        assert raster.valid(0, 0, 3, 1).tolist() == [[False, True, True]]
    faint = np.array([[[9, 9, 9]], [[0, 1, 255]]], np.uint8)
    with Raster(write_raster(tmp_path / "b.tif", faint, ("gray", "alpha"))) as raster:
        assert raster.valid(0, 0, 3, 1).tolist() == [[False, True, True]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_mask_is_turned_with_the_pixels(tmp_path, orientation):
    # Each pixel says itself whether it is valid.
    alpha = ALPHA[0]
    picture = Image.fromarray(np.stack([alpha, alpha, alpha, alpha], 2))
    exif = Image.Exif()
    exif[0x112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    with Raster(tmp_path / "a.png") as raster:
        for window in ((0, 0, raster.width, raster.height), (-4, 5, 30, 70), (20, -9, 9, 12)):
            seen = raster.read(*window)[..., 0] > 0
            np.testing.assert_array_equal(raster.valid(*window), seen)


def test_chosen_bands_of_a_turned_tiff_have_its_stored_mask(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    pixels = np.concatenate([PIXELS, ALPHA]).transpose(1, 2, 0)
    Image.fromarray(pixels).save(tmp_path / "a.tif", exif=exif)
    with Raster(tmp_path / "a.tif", (1,)) as raster:
        np.testing.assert_array_equal(raster.valid(0, 0, WIDTH, HEIGHT), VALID)
    with Raster(tmp_path / "a.tif") as raster:
        np.testing.assert_array_equal(raster.valid(0, 0, HEIGHT, WIDTH), np.rot90(VALID, -1))


@pytest.mark.parametrize("kind", ["nodata", "alpha", "mask"])
def test_damage_names_the_window_of_the_mask(tmp_path, kind):
    path = write_masked(tmp_path, kind, **TILES)
    # Of all of them the mask comes last.
    os.truncate(path, path.stat().st_size - 20)
    with Raster(path) as raster:
        raster.valid(2, 3, 40, 9)
        with pytest.raises(ImageError) as caught:
            raster.valid(2, 19, 50, 21)
    place = "cannot be read in the window x 2, y 19, 50 x 21 px: "
    assert str(caught.value).startswith(f"{path} {place}")


SIDE = 320


@st.composite
def sparse_masks(draw):
    """Few valid pixels and rectangles in a large empty image."""
    valid = np.zeros((SIDE, SIDE + 13), bool)
    for _ in range(draw(st.integers(0, 3))):
        x, y = draw(st.integers(0, SIDE)), draw(st.integers(0, SIDE))
        valid[y : y + draw(st.integers(1, 60)), x : x + draw(st.integers(1, 60))] = True
    for _ in range(draw(st.integers(0, 2))):
        valid[draw(st.integers(0, SIDE - 1)), draw(st.integers(0, SIDE + 12))] = True
    return valid


PROFILES = {
    "sparse": {"compress": "deflate", "SPARSE_OK": True},
    "dense": {"compress": "deflate"},
    "lzw": {"compress": "lzw", "interleave": "band"},
    "plain": {},
}
windows = st.lists(
    st.tuples(st.integers(-70, 300), st.integers(-70, 300), st.integers(1, 90), st.integers(1, 90)),
    min_size=10,
    max_size=30,
)


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", ["nodata", "alpha"])
@settings(deadline=None, max_examples=8)
@given(valid=sparse_masks(), places=windows)
def test_empty_is_never_said_wrongly(tmp_path_factory, kind, profile, averaged, valid, places):
    path = tmp_path_factory.mktemp("sparse") / "a.tif"
    grey = np.where(valid, 9, 0).astype(np.uint8)
    options = {**TILES, **PROFILES[profile]}
    if kind == "nodata":
        write_raster(path, np.stack([grey, grey]), nodata=0, **options)
    else:
        write_raster(path, np.stack([grey, grey * 28]), ("gray", "alpha"), **options)
    if averaged:
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4, 8], Resampling.average)
    with Raster(path) as raster:
        for window in places:
            if raster.surely_empty(*window):
                assert not reflected(valid, *window, reach=300).any()


def count_empty(path, side=32):
    """Tiles that are known to be empty, and all."""
    with Raster(path) as raster:
        corners = [
            (x, y) for y in range(0, raster.height, side) for x in range(0, raster.width, side)
        ]
        return sum(raster.surely_empty(x, y, side, side) for x, y in corners), len(corners)


def tenth(bands=1):
    """A tenth of a square holds noise."""
    values = np.zeros((bands, SIDE, SIDE), np.uint8)
    values[:, :32] = np.random.default_rng(0).integers(1, 255, (bands, 32, SIDE))
    return values


@pytest.mark.parametrize("profile", ["sparse", "dense", "lzw"])
@pytest.mark.parametrize("kind", ["nodata", "alpha"])
def test_nine_tenths_of_empty_tiles_are_known_unread(tmp_path, kind, profile):
    values, options = tenth(2), {**TILES, **PROFILES[profile]}
    if kind == "nodata":
        path = write_raster(tmp_path / "a.tif", values, nodata=0, **options)
    else:
        path = write_raster(tmp_path / "a.tif", values, ("gray", "alpha"), **options)
    assert count_empty(path) == (90, 100)


@pytest.mark.parametrize("number", ["uint8", "int16", "float32"])
@pytest.mark.parametrize(("external", "bands"), [(False, 1), (True, 1), (False, 3)])
def test_averaged_overview_tells_what_is_empty(tmp_path, number, external, bands):
    lowest = np.nan if number == "float32" else np.iinfo(number).min
    values = tenth(bands).astype(number)
    values[values == 0] = lowest
    path = write_raster(tmp_path / "a.tif", values, nodata=lowest)
    with rasterio.Env(TIFF_USE_OVR=external), rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], Resampling.average)
    assert (tmp_path / "a.tif.ovr").exists() == external
    with Raster(path, scale=(0, 255)) as raster:
        found = [raster.surely_empty(0, y, SIDE, 32) for y in range(0, SIDE, 32)]
    # Next to what is valid it is not sure.
    assert found == [False] * 2 + [True] * 8


@pytest.mark.parametrize(
    ("resampling", "nodata"),
    [("nearest", 0), ("cubic", 0), ("average", 7)],
)
def test_overview_that_may_lose_pixels_is_not_asked(tmp_path, resampling, nodata):
    values = np.full((1, SIDE, SIDE), nodata, np.uint8)
    # 6 and 8 average to 7.
    values[0, 200:202, 201:203] = [[6, 8], [8, 6]]
    path = write_raster(tmp_path / "a.tif", values, nodata=nodata)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8], Resampling[resampling])
    with Raster(path) as raster:
        assert not any(raster.surely_empty(0, y, SIDE, 32) for y in range(0, SIDE, 32))


def test_averaged_overview_keeps_a_single_pixel(tmp_path):
    values = np.zeros((1, SIDE, SIDE), np.uint8)
    values[0, 201, 203] = 1
    path = write_raster(tmp_path / "a.tif", values, nodata=0)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8, 16], Resampling.average)
    with Raster(path) as raster:
        assert not raster.surely_empty(203, 201, 1, 1)
        assert raster.surely_empty(0, 0, 100, 100)


def test_turned_image_knows_what_is_empty(tmp_path):
    values = np.zeros((SIDE, SIDE + 16, 4), np.uint8)
    values[:40, :90] = 255
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(values).save(
        tmp_path / "a.tif", exif=exif, compression="tiff_lzw", tile=(16, 16)
    )
    with Raster(tmp_path / "a.tif") as raster:
        whole = raster.valid(0, 0, raster.width, raster.height)
        found = []
        for y in range(0, raster.height, 28):
            for x in range(0, raster.width, 32):
                empty = raster.surely_empty(x, y, 32, 28)
                assert not (empty and whole[y : y + 28, x : x + 32].any())
                found.append(empty)
    assert 0 < sum(found) < len(found)


def test_part_of_a_block_at_the_edge_says_nothing_of_whole_ones(tmp_path):
    # Block by block the same bytes; of the last only the empty half is in the image.
    block = np.zeros((16, 16), np.uint8)
    block[:, 8:] = 5
    values = np.tile(block, (1, 3))[None]
    path = write_raster(tmp_path / "a.tif", values, nodata=0, compress="deflate", **TILES)
    content = bytearray(path.read_bytes())
    # ImageWidth, a short of the directory: tag 256, type 3, count 1.
    entry = content.index(b"\x00\x01\x03\x00\x01\x00\x00\x00")
    content[entry + 8 : entry + 10] = (40).to_bytes(2, "little")
    path.write_bytes(content)
    with Raster(path) as raster:
        assert raster.width == 40
        assert not raster.valid(32, 0, 8, 16).any()
        raster.surely_empty(32, 0, 8, 16)
        assert raster.valid(0, 0, 16, 16).any()
        assert not raster.surely_empty(0, 0, 16, 16)


def test_damaged_block_is_not_empty(tmp_path):
    path = write_raster(tmp_path / "a.tif", tenth(), nodata=0, compress="deflate", **TILES)
    assert count_empty(path)[0] == 90
    os.truncate(path, path.stat().st_size - 5000)
    with Raster(path) as raster:
        assert not raster.surely_empty(0, 288, 320, 32)
