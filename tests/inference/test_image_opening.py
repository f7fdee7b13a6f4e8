"""Images of other numbers, bands and ground sample distances than those of the training."""

import json
import logging

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import Affine
from rasters import write_raster

import tltool
from tltool.errors import ImageError, MapsError, UsageError
from tltool.runtime import quiet_import

quiet_import("keras")

from small_runs import ZOO, small_run  # noqa: E402

from tltool.inference.image_opening import open_image, warn_of_distance  # noqa: E402
from tltool.run.sidecar import Sidecar, load_sidecar  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("without_pictures"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
GSD = 0.4
SIDECAR = Sidecar(classes=["a", "b"], patch=16, input_side=16, gsd=GSD)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    small_run(folder, ZOO, background="none")
    path = folder / "model.keras"
    load_sidecar(path).model_copy(update={"gsd": GSD}).save(path)
    tltool.convert(folder)
    return folder


def blobs(height=80, width=96, top=255, bands=3, dtype=np.uint8):
    coarse = np.random.default_rng(3).integers(0, top + 1, (bands, height // 8, width // 8))
    return np.kron(coarse, np.ones((1, 8, 8))).astype(dtype)


def at(gsd):
    return {"crs": "EPSG:32633", "transform": Affine(gsd, 0, 5e5, 0, -gsd, 6e6)}


def map_of(run, image, out, **options):
    made = tltool.heatmap(run, [image], out, engine="tensorflow", **options)[0]
    with rasterio.open(made.map_path) as source:
        return source.read(), json.loads(made.json_path.read_text())


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_other_numbers_are_scaled_and_the_limits_told(run, tmp_path, dtype):
    exact = blobs()
    plain, facts = map_of(run, write_raster(tmp_path / "a.tif", exact), tmp_path / "plain")
    assert (facts["scale"], facts["limits"]) == (None, None)
    # Of which 1000 is to be black, 6100 white.
    deep = write_raster(tmp_path / "b.tif", (1000 + 20.0 * exact).astype(dtype))
    scaled, facts = map_of(run, deep, tmp_path / "scaled", scale=(1000, 6100))
    np.testing.assert_allclose(scaled, plain, atol=1e-5)
    assert (facts["scale"], facts["limits"]) == ([1000, 6100], [[1000, 6100]] * 3)


def test_percentiles_are_taken_once_and_told(run, tmp_path):
    deep = blobs(top=60_000, dtype=np.uint16)
    image = write_raster(tmp_path / "a.tif", deep)
    found, facts = map_of(run, image, tmp_path / "found", scale="percentiles")
    limits = np.percentile(deep.reshape(3, -1), (2, 98), axis=1).T
    np.testing.assert_allclose(facts["limits"], limits)
    assert facts["scale"] == "percentiles"
    scaled = (deep - limits[:, 0, None, None]) * 255 / np.diff(limits)[:, :, None]
    same = write_raster(tmp_path / "b.tif", np.rint(scaled.clip(0, 255)).astype(np.uint8))
    np.testing.assert_allclose(found, map_of(run, same, tmp_path / "same")[0], atol=1e-5)


def test_a_float_image_without_a_scale_is_told_what_to_do(run, tmp_path):
    image = write_raster(tmp_path / "a.tif", blobs(dtype=np.float32))
    with pytest.raises(
        ImageError, match=r"a.tif: .*received float32.*`scale=\(MIN, MAX\)` or `scale='p"
    ):
        tltool.heatmap(run, [image], tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


def test_an_image_without_valid_pixels_has_no_percentiles_and_the_others_are_mapped(run, tmp_path):
    empty = write_raster(tmp_path / "a.tif", np.zeros((3, 80, 96), np.float32), nodata=0)
    full = write_raster(tmp_path / "b.tif", blobs(dtype=np.float32))
    with pytest.raises(MapsError, match=r"1 of 2 .*a.tif: expected valid pixels to take") as told:
        tltool.heatmap(run, [empty, full], tmp_path / "maps", scale="percentiles")
    assert [made.image for made in told.value.made] == [full]


def test_bands_are_those_that_are_named(run, tmp_path):
    exact = blobs()
    plain, _ = map_of(run, write_raster(tmp_path / "a.tif", exact), tmp_path / "plain")
    # A band of other numbers is no hindrance where it is not read.
    many = np.concatenate([exact[2:], 0 * exact[:1], exact[:2]])
    image = write_raster(tmp_path / "b.tif", many, photometric="MINISBLACK")
    found, facts = map_of(run, image, tmp_path / "found", bands=[3, 4, 1])
    np.testing.assert_allclose(found, plain, atol=1e-6)
    assert facts["bands_read"] == [3, 4, 1]
    for bands, message in (
        ([1, 2], r"b.tif: expected 3 bands, .* received 2\. .*`bands`"),
        ([1, 2, 5], r"b.tif: expected .*5.*"),
        (None, r"b.tif: expected 3 bands, .* received 4"),
    ):
        with pytest.raises(ImageError, match=message):
            tltool.heatmap(run, [image], tmp_path / "maps", bands=bands)


def test_bands_of_the_training_are_checked_alone(tmp_path):
    """One that the network does not take may have any numbers."""
    small_run(tmp_path / "run", ZOO, background="none", band_numbers=[1, 2, 3])
    tltool.convert(tmp_path / "run")
    image = tmp_path / "a.vrt"
    write_raster(tmp_path / "b.tif", blobs(bands=4), photometric="MINISBLACK")
    write_raster(tmp_path / "c.tif", blobs(bands=1, dtype=np.float32))
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{number}"><SimpleSource><SourceFilename'
        f' relativeToVRT="1">{name}</SourceFilename><SourceBand>{band}</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
        for number, (kind, name, band) in enumerate(
            [*(("Byte", "b.tif", band) for band in (1, 2, 3)), ("Float32", "c.tif", 1)], 1
        )
    )
    image.write_text(f'<VRTDataset rasterXSize="96" rasterYSize="80">{bands}</VRTDataset>')
    values, _ = map_of(tmp_path / "run", image, tmp_path / "maps")
    assert np.isfinite(values).all()


def test_an_image_of_twice_the_distance_says_what_the_enlarged_one_says(run, tmp_path):
    # Smooth, for at edges the enlargements of Pillow and of a map may round apart.
    small = Image.fromarray(blobs(24, 32).transpose(1, 2, 0)).resize((72, 56), 3)
    large = small.resize((144, 112), Image.Resampling.BILINEAR)
    coarse = write_raster(tmp_path / "a.tif", np.asarray(small).transpose(2, 0, 1), **at(2 * GSD))
    fine = write_raster(tmp_path / "b.tif", np.asarray(large).transpose(2, 0, 1), **at(GSD))
    received, facts = map_of(run, coarse, tmp_path / "maps", resample=True)
    expected, plain = map_of(run, fine, tmp_path / "maps", resample=True)
    assert received.shape == expected.shape
    np.testing.assert_allclose(received[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], atol=0.02)
    assert np.ptp(expected) > 0.1
    assert facts["gsd"] == pytest.approx(GSD)
    assert (facts["width"], facts["height"]) == (plain["width"], plain["height"]) == (144, 112)
    assert facts["resample"]
    transforms = []
    for name in "ab":
        with rasterio.open(tmp_path / "maps" / f"{name}.heatmap.tif") as source:
            transforms.append(source.transform)
    assert transforms[0].almost_equals(transforms[1])


@pytest.mark.parametrize(
    ("gsd", "warned"), [(0.43, False), (0.45, True), (0.37, False), (0.35, True)]
)
def test_another_distance_is_warned_of_with_both_numbers(tmp_path, caplog, gsd, warned):
    image = write_raster(tmp_path / "a.tif", blobs(), **at(gsd))
    with open_image(image, SIDECAR) as raster:
        warn_of_distance(raster, SIDECAR)
    told = f"a.tif has {gsd} m per pixel, the network was trained at 0.4 m"
    assert (told in caplog.text) == warned == bool(caplog.messages)


def test_a_call_warns_once_an_image_unless_it_resamples_or_nothing_is_known(run, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "tltool")
    far = write_raster(tmp_path / "a.tif", blobs(), **at(1))
    bare = write_raster(tmp_path / "b.tif", blobs())
    tltool.heatmap(run, [far, bare], tmp_path / "maps", engine="tensorflow")
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "a.tif has 1 m per pixel, the network was trained at 0.4 m"
    ]
    caplog.clear()
    map_of(run, far, tmp_path / "again", resample=True)
    assert caplog.messages == []


def test_feet_are_no_metres(tmp_path):
    # EPSG:2263 is in US survey feet.
    image = write_raster(tmp_path / "a.tif", blobs(), crs="EPSG:2263", transform=at(1)["transform"])
    with open_image(image, SIDECAR, resample=True) as raster:
        assert raster.gsd == pytest.approx(GSD, rel=0.02)
        assert raster.width == round(96 * 0.3048 / GSD)


def test_an_image_of_nearly_that_distance_is_read_as_it_is(tmp_path):
    image = write_raster(tmp_path / "a.tif", blobs(), **at(0.405))
    with open_image(image, SIDECAR, resample=True) as raster:
        assert raster.width == 96


def test_what_cannot_be_resampled_is_told(run, tmp_path):
    near, bare, far = (tmp_path / name for name in ("near.tif", "bare.tif", "far.tif"))
    write_raster(near, blobs(), **at(1))
    write_raster(bare, blobs())
    write_raster(far, blobs(), **at(100))
    unknown = SIDECAR.model_copy(update={"gsd": None})
    with pytest.raises(UsageError, match=r"`resample`: the network's JSON file does not know"):
        open_image(near, unknown, resample=True)
    with pytest.raises(ImageError, match=r"bare.tif: `resample` needs its ground sample distance"):
        tltool.heatmap(run, [bare], tmp_path / "maps", resample=True)
    with pytest.raises(MapsError, match=r"2 of 3 .*bare.tif.*far.tif: .* received 250") as told:
        tltool.heatmap(run, [bare, far, near], tmp_path / "maps", resample=True)
    assert [made.image for made in told.value.made] == [near]
