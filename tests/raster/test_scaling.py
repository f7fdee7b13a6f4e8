import numpy as np
import pytest
import rasterio
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from rasterio.enums import Resampling
from rasters import reflected, write_raster

from tltool.errors import ImageError, UsageError
from tltool.raster import Raster, parse_scale
from tltool.raster.bands import to_bytes

HEIGHT, WIDTH = 23, 37
KINDS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64"]
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def noise(kind, count=3, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(kind).kind == "f":
        return rng.normal(0, 1000, (count, HEIGHT, WIDTH)).astype(kind)
    limits = np.iinfo(kind)
    low, high = max(limits.min, -5000), min(limits.max, 5000)
    return rng.integers(low, high, (count, HEIGHT, WIDTH), kind, endpoint=True)


def by_hand(values, low, high):
    """One pixel at a time, in plain numbers."""
    scaled = [255 * (float(v) - low) / (high - low) for v in values.ravel()]
    return np.array([round(min(255, max(0, s))) for s in scaled], np.uint8).reshape(values.shape)


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("0:255", (0, 255)),
        ("-5:2.5e3", (-5, 2500)),
        (" 0.1 : 0.9 ", (0.1, 0.9)),
        ("percentiles", "percentiles"),
    ],
)
def test_scale_is_read(text, scale):
    assert parse_scale(text) == scale


@pytest.mark.parametrize(
    "text",
    ["", "5", ":", "1:", "a:b", "1:2:3", "2:1", "1:1", "0:inf", "nan:1", "percentile", "1,2"],
)
def test_what_is_no_scale_is_refused_with_an_example(text):
    with pytest.raises(UsageError) as caught:
        parse_scale(text)
    expected = (
        "`scale`: expected MIN:MAX, two numbers of which the first is smaller (such as 0:4095)"
    )
    assert str(caught.value) == f"{expected}, or percentiles, received {text!r}"


@pytest.mark.parametrize("scale", ["0:1", (1, 0), (0, 1, 2), (0, float("nan"))])
def test_scale_of_a_script_is_checked_before_the_file(scale):
    with pytest.raises(UsageError, match="`scale`: expected two numbers of which the first is s"):
        Raster("missing.tif", scale=scale)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_number_is_mapped_linearly(tmp_path, kind):
    values, (low, high) = noise(kind), (-100, 90.5)
    path = write_raster(tmp_path / "a.tif", values, photometric="MINISBLACK")
    expected = by_hand(values, low, high).transpose(1, 2, 0)
    with Raster(path, scale=(low, high)) as raster:
        found = raster.read(-4, 3, 50, 30)
        assert raster.limits == [(low, high)] * 3
        np.testing.assert_array_equal(raster.read_whole(), expected)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, reflected(expected, -4, 3, 50, 30))


@given(
    arrays.arrays(st.sampled_from(KINDS), 20),
    st.floats(-1e6, 1e6),
    st.floats(1e-3, 1e6),
)
@example(np.array([np.nan, np.inf, -np.inf, 0], np.float32), -1.0, 2.0)
def test_bytes_keep_the_order_and_the_limits(values, low, span):
    high = low + span
    found = to_bytes(values, (low, high)).astype(int)
    numbers = values.astype(float)
    assert (found[numbers <= low] == 0).all()
    assert (found[numbers >= high] == 255).all()
    assert (found[np.isnan(numbers)] == 0).all()
    order = np.argsort(numbers, kind="stable")
    known = order[~np.isnan(numbers[order])]
    assert (np.diff(found[known]) >= 0).all()


def test_no_data_and_nan_become_zero(tmp_path):
    values = np.full((1, 2, 3), 7, np.float32)
    values[0, 0] = [-9999, np.nan, np.inf]
    path = write_raster(tmp_path / "a.tif", values, nodata=-9999)
    with Raster(path, (1,), scale=(-20000, 8)) as raster:
        assert raster.read(0, 0, 3, 2)[..., 0].tolist() == [[0, 0, 255], [255, 255, 255]]
    whole = write_raster(tmp_path / "b.tif", np.array([[[5, 0, 9]]], np.int16), nodata=5)
    with Raster(whole, (1,), scale=(0, 9)) as raster:
        assert raster.read(0, 0, 3, 1)[..., 0].tolist() == [[0, 0, 255]]


def test_percentiles_are_each_band_s_own_of_its_valid_pixels(tmp_path):
    values = noise("float32")
    values[1] = values[1] * 50 + 300
    values[:, :4] = -32768
    values[2, 5] = np.nan
    path = write_raster(tmp_path / "a.tif", values, nodata=-32768, photometric="MINISBLACK")
    with Raster(path, (3, 1, 2, 3), scale="percentiles") as raster:
        limits, pixels = raster.limits, raster.read(0, 0, WIDTH, HEIGHT)
    for place, band in enumerate((2, 0, 1, 2)):
        valid = values[band, 4:][np.isfinite(values[band, 4:])]
        expected = np.percentile(valid.astype(float), (2, 98))
        np.testing.assert_allclose(limits[place], expected)
        inner = by_hand(np.nan_to_num(values[band, 6:]), *limits[place])
        np.testing.assert_array_equal(pixels[6:, :, place], inner)
    assert not pixels[:4].any()
    assert not pixels[5, :, 0].any()


def test_percentiles_leave_out_what_alpha_and_masks_hide(tmp_path):
    values = noise("uint16", 1)
    hidden = np.zeros((HEIGHT, WIDTH), bool)
    hidden[:, :20] = True
    values[0, hidden] = 65535
    expected = [tuple(np.percentile(values[0, ~hidden].astype(float), (2, 98)))]
    write_raster(tmp_path / "mask.tif", values, mask=~hidden)
    both = np.concatenate([values, np.where(hidden, 0, 65535)[None].astype(np.uint16)])
    write_raster(tmp_path / "alpha.tif", both, colours=("gray", "alpha"))
    for name in ("mask", "alpha"):
        with Raster(tmp_path / f"{name}.tif", (1,), scale="percentiles") as raster:
            assert raster.limits == expected


def test_flat_band_has_percentiles_too(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.full((1, 5, 5), 7, np.float32))
    with Raster(path, scale="percentiles") as raster:
        assert raster.limits == [(7, 7)] * 3
        assert not raster.read(0, 0, 5, 5).any()


def test_no_valid_pixel_has_no_percentiles(tmp_path):
    values = np.stack([np.full((5, 5), n, np.float32) for n in (1, np.nan)])
    path = write_raster(tmp_path / "a.tif", values)
    with pytest.raises(ImageError) as caught:
        Raster(path, (1, 2), scale="percentiles")
    assert str(caught.value) == (
        f"{path}: expected valid pixels to take percentiles from, found none in band 2. Give"
        " `scale=(MIN, MAX)`"
    )


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A slope of 3000 x 2500 px without overviews, and with."""
    folder = tmp_path_factory.mktemp("large")
    slope = np.add.outer(np.arange(2500), np.arange(3000)).astype(np.int16)[None]
    tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    for name in ("plain", "overviews"):
        write_raster(folder / f"{name}.tif", slope, **tiles)
    with rasterio.open(folder / "overviews.tif", "r+") as file:
        file.build_overviews([2, 4], Resampling.nearest)
    return folder, np.percentile(slope, (2, 98))


@pytest.mark.parametrize("name", ["plain", "overviews"])
def test_percentiles_of_a_large_image_are_those_of_a_sample_always_the_same(large, name):
    folder, expected = large
    found = []
    for _ in range(2):
        with Raster(folder / f"{name}.tif", scale="percentiles") as raster:
            found.append(raster.limits)
    assert found[0] == found[1]
    np.testing.assert_allclose(found[0][0], expected, atol=20)


def test_percentiles_come_from_the_overview_not_from_the_pixels(large, tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes((large[0] / "overviews.tif").read_bytes())
    with rasterio.open(path, "r+") as file:
        file.write(np.zeros((1, 2500, 3000), np.int16))
    with Raster(path, scale="percentiles") as raster:
        np.testing.assert_allclose(raster.limits[0], large[1], atol=20)


def test_colours_of_a_palette_are_scaled(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    image.putpalette([0, 100, 200, 10, 110, 210, 20, 120, 220])
    image.save(tmp_path / "a.png")
    with Raster(tmp_path / "a.png", scale=(10, 210)) as raster:
        found = raster.read(0, 0, 3, 1)[0]
        assert raster.limits == [(10, 210)] * 3
    colours = np.array([[0, 100, 200], [10, 110, 210], [20, 120, 220]])
    np.testing.assert_array_equal(found, by_hand(colours, 10, 210))
    with Raster(tmp_path / "a.png", scale="percentiles") as raster:
        assert raster.limits[2] == tuple(np.percentile([200, 210, 220], (2, 98)))


def test_thumbnail_is_scaled_as_the_pixels_are(tmp_path):
    values = noise("int16", 5)
    path = write_raster(tmp_path / "a.tif", values, photometric="MINISBLACK")
    for scale in ((-3000, 3000), "percentiles"):
        with Raster(path, (5, 2, 4), scale=scale) as raster:
            whole, small = raster.read_whole(), raster.thumbnail(WIDTH)
        np.testing.assert_array_equal(small, whole)


def test_thumbnail_of_bands_that_are_not_read_is_scaled_too(tmp_path):
    values = noise("uint16", 4)
    path = write_raster(tmp_path / "a.tif", values, photometric="RGB")
    with Raster(path, (4,), scale="percentiles") as raster:
        small = raster.thumbnail(WIDTH)
    with Raster(path, (1, 2, 3), scale="percentiles") as raster:
        np.testing.assert_array_equal(small, raster.read_whole())


def test_thumbnail_averages_before_it_scales(tmp_path):
    values = np.array([[[0, 1000], [2000, 1000]]], np.float32)
    path = write_raster(tmp_path / "a.tif", values)
    with Raster(path, scale=(0, 2000)) as raster:
        assert (raster.thumbnail(1) == 128).all()


VRT = """<VRTDataset rasterXSize="37" rasterYSize="23">{}</VRTDataset>"""
VRT_BAND = (
    '<VRTRasterBand dataType="{0}" band="{1}"><SimpleSource><SourceFilename relativeToVRT="1">'
    "{2}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
)


def test_bands_of_different_kinds(tmp_path):
    kinds = {"Byte": "uint8", "UInt16": "uint16", "Float32": "float32"}
    values = {name: noise(kind, 1) for name, kind in kinds.items()}
    for name, band in values.items():
        write_raster(tmp_path / f"{name}.tif", band)
    bands = [VRT_BAND.format(name, i, f"{name}.tif") for i, name in enumerate(kinds, 1)]
    (tmp_path / "a.vrt").write_text(VRT.format("".join(bands)))
    with Raster(tmp_path / "a.vrt", scale=(0, 3000)) as raster:
        found = raster.read(0, 0, WIDTH, HEIGHT)
    expected = [by_hand(band[0], 0, 3000) for band in values.values()]
    np.testing.assert_array_equal(found, np.stack(expected, 2))
    with pytest.raises(ImageError, match=r"8 or 16 bits a band, received float32/uint16/uint8\."):
        Raster(tmp_path / "a.vrt")
    (tmp_path / "b.vrt").write_text(VRT.format("".join(bands[:2])))
    with Raster(tmp_path / "b.vrt", (1, 2)) as raster:
        found = raster.read(0, 0, WIDTH, HEIGHT)
    np.testing.assert_array_equal(found[..., 0], values["Byte"][0])
    np.testing.assert_array_equal(found[..., 1], values["UInt16"][0] >> 8)


def test_other_numbers_name_the_option(tmp_path):
    path = write_raster(tmp_path / "deep.tif", noise("int16"))
    with pytest.raises(ImageError) as caught:
        Raster(path)
    assert str(caught.value) == (
        f"{path}: expected 8 or 16 bits a band, received int16. Say which numbers become black and"
        " white, with `scale=(MIN, MAX)` or `scale='percentiles'`; for training, convert it first,"
        " for example with gdal_translate -ot Byte -scale"
    )


def test_complex_numbers_are_refused(tmp_path):
    path = write_raster(tmp_path / "a.tif", noise("float32").astype(np.complex64))
    with pytest.raises(ImageError, match="expected real numbers, received complex64"):
        Raster(path, scale=(0, 1))
