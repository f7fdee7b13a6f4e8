"""One image's map: interrupted, by any engine, in tiles of any size."""

import importlib.util
import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from rasterio.warp import transform as warp
from rasters import write_raster

import tltool
from tltool.errors import ImageError, MapsError, UsageError
from tltool.runtime import quiet_import

quiet_import("keras")

from small_runs import ZOO, small_run  # noqa: E402

from tltool.mapping import image_map  # noqa: E402
from tltool.mapping import mapper as methods  # noqa: E402
from tltool.mapping.image_map import write_map  # noqa: E402
from tltool.mapping.mapper import load_mapper  # noqa: E402
from tltool.raster import Raster  # noqa: E402
from tltool.run import map_options  # noqa: E402
from tltool.run.sidecar import load_sidecar  # noqa: E402
from tltool.tiling.tiles import ChosenTile, choose_tile, tile_candidates  # noqa: E402
from tltool.tiling.unfinished import UnfinishedMap  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)
GSD = 0.4
PLACE = Affine(GSD, 0, 5e5, 0, -GSD, 6e6)


@pytest.fixture(scope="module", autouse=True)
def without_pictures():
    """Most of the time of a small map is its overlay's and its fidelity's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_map, "write_overlay", lambda *facts: facts[0].write_bytes(b"a picture"))
        patch.setattr(methods, "_WINDOWS", 24)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    small_run(folder, ZOO, background="none")
    path = folder / "model.keras"
    load_sidecar(path).model_copy(update={"gsd": GSD}).save(path)
    image = write_raster(folder / "check.tif", blobs())
    tltool.convert(folder, check_image=image, windows=50)
    return folder


def blobs(height=120, width=144, bands=3, dtype=np.uint8):
    coarse = np.random.default_rng(5).integers(0, 256, (bands, height // 8, width // 8))
    return np.kron(coarse, np.ones((1, 8, 8))).astype(dtype)


def values_of(made):
    with rasterio.open(made.map_path) as source:
        return source.read()


def facts_of(made):
    return json.loads(made.json_path.read_text())


def stop_at(monkeypatch, calls):
    """Interrupt the n-th tile from now on, once."""
    plain, left = UnfinishedMap.put, [calls]

    def put(self, place, values):
        left[0] -= 1
        if left[0] == -1:
            raise KeyboardInterrupt
        plain(self, place, values)

    monkeypatch.setattr(UnfinishedMap, "put", put)


def write_area(path):
    corners = [PLACE @ corner for corner in ((5, 5), (130, 9), (90, 110), (5, 5))]
    ring = list(zip(*warp("EPSG:32633", "OGC:CRS84", *zip(*corners, strict=True)), strict=True))
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"scale": (0, 1000)},
        {"scale": "percentiles", "bands": (4, 2, 1), "dtype": "uint8", "classes": ("seal", "bird")},
        {"scale": (0.5, 255), "bands": [1, 2, 3], "scales": (0.8, 1, 1.25), "combine": "max"},
        {"scale": (0, 255), "aoi": True, "tta": "d4", "resample": True, "precision": "bf16"},
        {"scale": (0, 255), "stride": 2, "cog": True, "argmax": True},
    ],
)
def test_an_interrupted_map_goes_on_with_any_options(run, tmp_path, monkeypatch, caplog, options):
    caplog.set_level(logging.WARNING, "tltool")
    count = 4 if "bands" in options else 3
    more = {"crs": "EPSG:32633", "transform": PLACE @ Affine.scale(1.05)}
    image = write_raster(tmp_path / "a.tif", blobs(bands=count, dtype=np.uint16), **more)
    options = {**options, "tile": 40, "engine": "tensorflow"}
    if "aoi" in options:
        options["aoi"] = write_area(tmp_path / "a.geojson")
    whole = tltool.heatmap(run, [image], tmp_path / "whole", **options)[0]
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            tltool.heatmap(run, [image], tmp_path / "maps", **options)
    caplog.clear()
    made = tltool.heatmap(run, [image], tmp_path / "maps", **options)[0]
    assert "begun anew" not in caplog.text
    assert facts_of(made)["this_run"]["tiles_resumed"] == 5
    assert made.map_path.read_bytes() == whole.map_path.read_bytes()
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == [
        "a.heatmap.tif",
        *(["a.heatmap.tif.aux.xml"] if "argmax" in options else []),
        "a.json",
        "a.overlay.png",
    ]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"scale": (0, 1000)}, {"scale": (0, 900)}, "scale"),
        ({"scales": (1,)}, {"scales": (1, 2)}, "scales"),
        ({"tta": "none"}, {"tta": "d4"}, "tta"),
        ({"bands": (1, 2, 3)}, {"bands": (3, 2, 1)}, "bands_read"),
        ({"precision": "f32"}, {"precision": "bf16"}, "precision"),
    ],
)
def test_other_options_begin_anew_and_are_named(
    run, tmp_path, monkeypatch, caplog, before, after, told
):
    caplog.set_level(logging.WARNING, "tltool")
    image = write_raster(tmp_path / "a.tif", blobs())
    more = {"tile": 40, "engine": "tensorflow"}
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            tltool.heatmap(run, [image], tmp_path / "maps", **before, **more)
    made = tltool.heatmap(run, [image], tmp_path / "maps", **after, **more)[0]
    assert facts_of(made)["this_run"]["tiles_resumed"] == 0
    assert len(caplog.messages) == 1
    assert "is begun anew; changed: " in caplog.messages[0]
    assert f"{told} (was " in caplog.messages[0]


def free_mapper(run):
    """One that looks for its tile, small enough for a small image to have many."""
    return replace(load_mapper(run, tile=40, engine="tensorflow"), fixed_tile=False)


def test_the_tile_of_an_interrupted_map_is_kept(run, tmp_path, monkeypatch):
    image = write_raster(tmp_path / "a.tif", blobs(440, 440))
    mapper, model, tried = free_mapper(run), run / "fcn.keras", []

    def choose(*arguments, **options):
        tried.append(choose_tile(*arguments, **options))
        return ChosenTile(32, {})

    whole = write_map(replace(mapper, tile=32, fixed_tile=True), image, tmp_path / "whole")
    monkeypatch.setattr(image_map, "choose_tile", choose)
    with monkeypatch.context() as patch:
        stop_at(patch, 20)
        with pytest.raises(KeyboardInterrupt):
            write_map(mapper, image, tmp_path / "maps", model=model)
    assert len(tried) == 1
    with Raster(image) as raster:
        candidates = tile_candidates(mapper.grid(raster), 40)
    assert tried[0].length in candidates
    made = write_map(mapper, image, tmp_path / "maps", model=model)
    assert len(tried) == 1
    assert facts_of(made)["tile"] == 32
    assert facts_of(made)["this_run"]["tiles_resumed"] == 20
    assert made.map_path.read_bytes() == whole.map_path.read_bytes()


@pytest.mark.parametrize("change", ["tile", "network"])
def test_another_network_or_a_tile_that_is_asked_for_do_not_take_that_tile(
    run, tmp_path, monkeypatch, caplog, change
):
    caplog.set_level(logging.WARNING, "tltool")
    image = write_raster(tmp_path / "a.tif", blobs(440, 440))
    mapper, model = free_mapper(run), run / "fcn.keras"
    monkeypatch.setattr(image_map, "choose_tile", lambda *_, **__: ChosenTile(32, {}))
    with monkeypatch.context() as patch:
        stop_at(patch, 20)
        with pytest.raises(KeyboardInterrupt):
            write_map(mapper, image, tmp_path / "maps", model=model)
    monkeypatch.setattr(image_map, "choose_tile", lambda *_, **__: ChosenTile(36, {}))
    if change == "tile":
        mapper = load_mapper(run, tile=48, engine="tensorflow")
    else:
        model = run / "model.keras"
    made = write_map(mapper, image, tmp_path / "maps", model=model)
    assert facts_of(made)["tile"] == (48 if change == "tile" else 36)
    assert facts_of(made)["this_run"]["tiles_resumed"] == 0
    assert "tile (was 32, is " in caplog.text


def test_small_images_are_not_tuned(run, tmp_path, monkeypatch):
    monkeypatch.setattr(image_map, "choose_tile", None)
    image = write_raster(tmp_path / "a.tif", blobs())
    assert facts_of(write_map(free_mapper(run), image, tmp_path / "maps"))["tile"] == 40


@needs_openvino
def test_the_engines_maps_are_alike_and_the_difference_is_told(run, tmp_path, caplog):
    caplog.set_level(logging.INFO, "tltool")
    image, found = write_raster(tmp_path / "a.tif", blobs()), {}
    for name in ("tensorflow", "openvino"):
        made = tltool.heatmap(run, [image], tmp_path / name, engine=name)[0]
        found[name] = (values_of(made), facts_of(made))
        assert (found[name][1]["engine"], found[name][1]["precision"]) == (name, "f32")
    np.testing.assert_allclose(found["openvino"][0], found["tensorflow"][0], atol=1e-5)
    assert found["tensorflow"][1]["difference_from_tensorflow"] == 0
    difference = found["openvino"][1]["difference_from_tensorflow"]
    assert 0 <= difference < 1e-5
    told = f"openvino in f32 differs from TensorFlow in f32 by {difference:.1g} at most"
    assert (told in caplog.text) == (difference > 0)


def test_a_shorter_type_is_measured_anew(run, tmp_path, caplog):
    caplog.set_level(logging.INFO, "tltool")
    image = write_raster(tmp_path / "a.tif", blobs())
    options = {"engine": "tensorflow"}
    exact = tltool.heatmap(run, [image], tmp_path / "f32", **options)[0]
    short = tltool.heatmap(run, [image], tmp_path / "bf16", precision="bf16", **options)[0]
    known, measured = facts_of(exact), facts_of(short)
    assert known["fidelity"]["image"] == "check.tif"
    assert known["fidelity"]["max_difference"] < 1e-5
    assert measured["precision"] == "bf16"
    assert measured["fidelity"]["image"] == "a.tif"
    off = np.abs(values_of(short) - values_of(exact)).max()
    assert 1e-4 < measured["difference_from_tensorflow"] < 0.1
    # Some windows of all cells.
    assert 1e-4 < measured["fidelity"]["max_difference"] <= off + 1e-5
    assert "tensorflow in bf16 differs from TensorFlow in f32 by " in caplog.text
    assert "fidelity: " in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "torch"}, "`engine`: expected one of auto, .* received torch"),
        ({"engine": "torch", "mode": "patches"}, "`engine`: expected one of auto"),
        ({"precision": "f64"}, "`precision`: expected one of f32, bf16, f16; received f64"),
        ({"precision": "bf16", "mode": "patches"}, "`mode='patches'`: expected .* auto and bf16"),
        ({"tta": "d8"}, "`tta`: expected none or d4; received d8"),
        ({"tile": 12, "tta": "d4"}, "`tile`: expected 16 px or more"),
    ],
)
def test_what_no_engine_does_is_refused(run, tmp_path, options, message):
    image = write_raster(tmp_path / "a.tif", blobs())
    with pytest.raises(UsageError, match=message):
        tltool.heatmap(run, [image], tmp_path / "maps", **options)
    assert not (tmp_path / "maps").exists()


def test_openvino_that_is_missing_is_asked_for(run, tmp_path, monkeypatch):
    monkeypatch.setattr(map_options, "has_openvino", lambda: False)
    image = write_raster(tmp_path / "a.tif", blobs())
    with pytest.raises(UsageError, match=r"pip install 'tltool\[openvino\]'"):
        tltool.heatmap(run, [image], tmp_path / "maps", engine="openvino")
    made = tltool.heatmap(run, [image], tmp_path / "maps")[0]
    assert facts_of(made)["engine"] == "tensorflow"


def write_blocks(path):
    """A tiled raster, and where its blocks lie in the file."""
    tiles = {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate"}
    rng = np.random.default_rng(0)
    write_raster(path, rng.integers(0, 256, (3, 160, 160), np.uint8), **tiles)


def test_a_raster_that_fails_half_way_keeps_its_tiles_and_does_not_stop_the_others(
    run, tmp_path, caplog
):
    caplog.set_level(logging.INFO, "tltool")
    paths = [tmp_path / f"{name}.tif" for name in "abc"]
    for path in paths:
        write_blocks(path)
    whole = paths[1].read_bytes()
    # The last rows of blocks come last.
    paths[1].write_bytes(whole[: len(whole) * 7 // 10] + bytes(len(whole) * 3 // 10))
    options = {"tile": 32, "engine": "tensorflow"}
    with pytest.raises(MapsError) as told:
        tltool.heatmap(run, paths, tmp_path / "maps", **options)
    assert [made.image.name for made in told.value.made] == ["a.tif", "c.tif"]
    error = told.value.failed[paths[1]]
    assert isinstance(error, ImageError)
    assert "b.tif cannot be read in the window x " in str(error)
    assert "b.tif is left out: " in caplog.text
    assert "tiles are kept; the same command goes on from there" in caplog.text
    paths[1].write_bytes(whole)
    made = tltool.heatmap(run, paths, tmp_path / "maps", **options)
    assert [each.seconds > 0 for each in made] == [False, True, False]
    np.testing.assert_array_equal(values_of(made[1]), values_of(made[0]))
