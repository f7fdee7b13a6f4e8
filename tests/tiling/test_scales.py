"""One map of an image seen at several scales."""

import json

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasters import write_raster

import tltool
from tltool.errors import UsageError
from tltool.runtime import quiet_import

quiet_import("keras")

from small_runs import ZOO, padded_run, small_run  # noqa: E402

from tltool.mapping.image_map import write_map  # noqa: E402
from tltool.mapping.mapper import load_mapper  # noqa: E402
from tltool.run.map_options import COMBINATIONS, MapOptions  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("without_pictures"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


@pytest.fixture(scope="module", params=["bare", "zoom"])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    if request.param == "bare":
        small_run(folder, ZOO, background="none")
    else:
        padded_run(folder, 1.5)
    tltool.convert(folder)
    return folder / "fcn.keras"


def blobs(height=86, width=107):
    rng = np.random.default_rng(2)
    coarse = rng.integers(0, 256, (3, height // 9 + 1, width // 9 + 1), dtype=np.uint8)
    return np.kron(coarse, np.ones((1, 9, 9), np.uint8))[:, :height, :width]


def map_of(run, folder, pixels, tile=None, **options):
    image = write_raster(folder / "a.tif", np.ascontiguousarray(pixels))
    mapper = load_mapper(run, tile=tile, engine="tensorflow", **options)
    with rasterio.open(write_map(mapper, image, folder / "maps").map_path) as source:
        return source.read()


def test_one_alone_is_the_plain_map(run, tmp_path):
    plain = map_of(run, tmp_path, blobs())
    assert np.ptp(plain) > 0.01
    for combine in COMBINATIONS:
        seen = map_of(run, tmp_path, blobs(), scales=[1], combine=combine)
        np.testing.assert_allclose(seen, plain, atol=1e-5)


def test_of_a_constant_image_all_scales_say_the_same(run, tmp_path):
    # What a network pads is seen at no scale.
    flat = np.full((3, 86, 107), 90, np.uint8)
    plain = map_of(run, tmp_path, flat)
    assert np.ptp(plain, axis=(1, 2)).max() < 1e-5
    seen = map_of(run, tmp_path, flat, scales=(0.5, 1, 1.7))
    np.testing.assert_allclose(seen, plain, atol=1e-5)


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_tiles_do_not_show(run, tmp_path, combine):
    options = {"scales": (0.8, 1, 1.25), "combine": combine}
    whole = map_of(run, tmp_path, blobs(), **options)
    tiled = map_of(run, tmp_path, blobs(), 72, **options)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    plain = map_of(run, tmp_path, blobs())
    assert whole.shape == plain.shape
    assert np.abs(whole - plain).max() > 0.01


def test_a_scale_sees_what_is_in_the_image_of_that_size(tmp_path):
    small_run(tmp_path / "run", ZOO, background="none")
    tltool.convert(tmp_path / "run")
    run, pixels = tmp_path / "run" / "fcn.keras", blobs(96, 120)
    twice = Image.fromarray(pixels.transpose(1, 2, 0)).resize((240, 192), Image.Resampling.BILINEAR)
    enlarged = map_of(run, tmp_path, np.asarray(twice).transpose(2, 0, 1))
    seen = map_of(run, tmp_path, pixels, scales=[2])
    # Between the four cells of the enlarged image around a cell's centre.
    four = enlarged.reshape(3, 24, 2, 30, 2).mean((2, 4))
    inner = np.s_[:, 3:-3, 3:-3]
    np.testing.assert_allclose(seen[inner], four[inner], atol=0.02)
    both = map_of(run, tmp_path, pixels, scales=[1, 2], combine="max")
    plain = map_of(run, tmp_path, pixels)
    np.testing.assert_allclose(both, np.maximum(plain, seen), atol=1e-5)
    mean = map_of(run, tmp_path, pixels, scales=[2, 1])
    np.testing.assert_allclose(mean, (plain + seen) / 2, atol=1e-5)


def test_a_map_of_several_scales_does_not_claim_the_fidelity_of_one(tmp_path):
    small_run(tmp_path / "run", ZOO, background="none")
    image = write_raster(tmp_path / "a.tif", blobs())
    tltool.convert(tmp_path / "run", check_image=image, windows=9)
    for scales, known in (([1], True), ([0.8, 1], False)):
        out = tmp_path / str(known)
        made = tltool.heatmap(tmp_path / "run", [image], out, scales=scales, engine="tensorflow")[0]
        facts = json.loads(made.json_path.read_text())
        assert (facts["fidelity"] is not None) == known
        assert (facts["scales"], facts["combine"]) == (scales, "mean")


@pytest.mark.parametrize(
    ("scales", "combine", "message"),
    [
        ([1, 1], "mean", "`scales`: expected different numbers .* received 1,1"),
        ([0.05], "mean", "`scales`: expected different numbers from 0.1 to 8"),
        ([float("nan")], "mean", "`scales`: .* received nan"),
        ([1, 9], "max", "`scales`: .* received 1,9"),
        ([1, 2], "median", "`combine`: expected mean or max; received median"),
        ([], "median", "`combine`: expected mean or max; received median"),
        ([], "max", "`combine`: expected `scales` beside it; received max alone"),
    ],
)
def test_scales_that_cannot_be_meant_are_refused(tmp_path, scales, combine, message):
    with pytest.raises(UsageError, match=message):
        MapOptions(scales=scales, combine=combine)
    with pytest.raises(UsageError, match=message):
        load_mapper(tmp_path / "norun", scales=scales, combine=combine)


def test_no_scales_are_the_image_as_it_is():
    assert MapOptions().scales == ()
