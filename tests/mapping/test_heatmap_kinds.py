"""Maps of what is not one class of several of an RGB image."""

import json

import numpy as np
import pytest
import rasterio
from PIL import Image

import tltool
from tltool.errors import ImageError
from tltool.raster import Raster
from tltool.run.sidecar import load_sidecar
from tltool.runtime import quiet_import
from tltool.tiling.products import nothing_here

quiet_import("keras")

import keras  # noqa: E402
from small_runs import ALIVE, PATCH, SEEN, ZOO, small_run, write_bands  # noqa: E402

from tltool.models.normalisation import normalisation_layers  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.mark.parametrize(
    ("tasks", "names", "nothing"),
    [
        ([ALIVE], ("yes",), []),
        ([SEEN], ("boat", "person"), []),
        ([ZOO, ALIVE], ("zoo.bird", "zoo.none", "zoo.seal", "alive.yes"), ["zoo.none"]),
    ],
)
def test_each_kind_is_mapped(tmp_path, tasks, names, nothing):
    background = {ZOO: "none", ALIVE: "no", SEEN: None}[tasks[0]]
    model = small_run(tmp_path / "run", *tasks, background=background)
    write_bands(tmp_path / "a.tif", 3)
    made = tltool.heatmap(tmp_path / "run", [tmp_path / "a.tif"], tmp_path / "maps")[0]
    with rasterio.open(made.map_path) as source:
        assert source.descriptions == names
        values = source.read()
    facts = json.loads(made.json_path.read_text())
    assert [task["name"] for task in facts["tasks"]] == [task.name for task in tasks]
    start = facts["offset"] + 4 * facts["stride"]
    assert start >= 0
    with Raster(tmp_path / "a.tif") as raster:
        window = raster.read(int(start), int(start), PATCH, PATCH)[None].astype("float32")
    answers = model(window)
    expected = [answers[t.name] for t in tasks] if len(tasks) > 1 else [answers]
    np.testing.assert_allclose(values[:, 4, 4], np.concatenate(expected, 1)[0], atol=1e-5)
    assert nothing_here(load_sidecar(tmp_path / "run" / "fcn.keras")) == nothing
    with Image.open(made.overlay_path) as overlay:
        assert min(overlay.size) > 500


@pytest.mark.parametrize(
    ("dtype", "bands", "numbers"),
    [("uint16", 5, None), ("uint8", 1, [3]), ("uint16", 4, [5, 1, 4, 2])],
)
def test_the_map_reads_the_bands_of_the_training(tmp_path, dtype, bands, numbers):
    model = small_run(tmp_path / "run", ALIVE, bands=bands, band_numbers=numbers)
    values = write_bands(tmp_path / "a.tif", 5, dtype)
    made = tltool.heatmap(tmp_path / "run", [tmp_path / "a.tif"], tmp_path / "maps")[0]
    facts = json.loads(made.json_path.read_text())
    bytes_ = values >> 8 if dtype == "uint16" else values
    pixels = bytes_[[number - 1 for number in numbers or (1, 2, 3, 4, 5)]].transpose(1, 2, 0)
    start = int(facts["offset"] + 4 * facts["stride"])
    window = pixels[None, start : start + PATCH, start : start + PATCH].astype("float32")
    with rasterio.open(made.map_path) as source:
        found = source.read(1)
    assert found[4, 4] == pytest.approx(float(model(window)[0, 0]), abs=1e-5)
    assert np.ptp(found) > 1e-3


def test_an_image_of_other_bands_is_refused_with_both_numbers(tmp_path):
    small_run(tmp_path / "run", ALIVE, bands=5)
    write_bands(tmp_path / "five.tif", 5)
    Image.new("RGB", (40, 40)).save(tmp_path / "rgb.png")
    with pytest.raises(ImageError, match=r"rgb.png: expected 5 bands, .* received 3\."):
        tltool.heatmap(tmp_path / "run", [tmp_path / "rgb.png"], tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


def test_an_image_without_a_chosen_band_is_refused(tmp_path):
    small_run(tmp_path / "run", ALIVE, bands=2, band_numbers=[5, 1])
    write_bands(tmp_path / "four.tif", 4)
    with pytest.raises(ImageError, match=r"four.tif: expected band 5, the image has 4"):
        tltool.heatmap(tmp_path / "run", [tmp_path / "four.tif"], tmp_path / "maps")


def test_tiles_do_not_show_where_each_pixel_has_a_mean_of_its_own(tmp_path):
    model = small_run(tmp_path / "run", ALIVE)
    images = np.zeros((1, PATCH, PATCH, 3), np.uint8)
    inputs = keras.Input((PATCH, PATCH, 3))
    x = normalisation_layers({"samplewise_center": True}, images)(inputs)
    keras.Model(inputs, model(x)).save(tmp_path / "run" / "model.keras")
    write_bands(tmp_path / "a.tif", 3, side=96)
    maps = []
    for tile in (None, 64):
        out = tmp_path / f"maps{tile}"
        made = tltool.heatmap(tmp_path / "run", [tmp_path / "a.tif"], out, tile=tile)[0]
        with rasterio.open(made.map_path) as source:
            maps.append(source.read())
    np.testing.assert_allclose(maps[0], maps[1], rtol=0, atol=1e-5)
    assert np.ptp(maps[0]) > 1e-2
