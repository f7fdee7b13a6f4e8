"""Conversion of what is not one class of several of an RGB image."""

import csv
import shutil

import numpy as np
import pytest
from PIL import Image

import tltool
from tltool.data.images import read_image
from tltool.data.patch_folder import MANIFEST_COLUMNS
from tltool.errors import ImageError, ModelError
from tltool.raster import ArrayRaster
from tltool.recipe import Recipe
from tltool.run.sidecar import load_sidecar
from tltool.runtime import quiet_import

quiet_import("keras")

from small_runs import ALIVE, PATCH, SEEN, ZOO, small_run, write_bands  # noqa: E402

from tltool.models.loading import load_network  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("without_pictures"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


@pytest.mark.parametrize(
    ("tasks", "background", "told"),
    [
        ([ALIVE], "no", {"agreement": 1.0}),
        ([SEEN], None, {"agreement": 1.0}),
        ([ZOO], "none", {"argmax_agreement": 1.0}),
        ([ZOO, ALIVE], "none", {"agreement": 1.0, "tasks": {"zoo": 1.0, "alive": 1.0}}),
    ],
)
@pytest.mark.filterwarnings("error:The structure of `inputs`")
def test_each_kind_converts_and_agrees(tmp_path, tasks, background, told):
    model = small_run(tmp_path / "run", *tasks, background=background)
    write_bands(tmp_path / "a.tif", 3)
    done = tltool.convert(tmp_path / "run", check_image=tmp_path / "a.tif", windows=50)
    fidelity = done.sidecar.fidelity
    assert {key: fidelity[key] for key in told} == told
    assert fidelity["max_difference"] <= 1e-5
    assert done.sidecar.tasks == load_sidecar(tmp_path / "run" / "model.keras").tasks
    pixels = read_image(tmp_path / "a.tif")[None, :PATCH, :PATCH].astype("float32")
    answers = model(pixels)
    expected = [answers[t.name] for t in tasks] if len(tasks) > 1 else [answers]
    cell = load_network(done.path)(pixels)[0, 0, 0]
    np.testing.assert_allclose(cell, np.concatenate(expected, axis=1)[0], atol=1e-5)


def test_measured_with_the_classifier_as_it_was_trained(tmp_path):
    model = small_run(tmp_path / "run", ZOO, ALIVE)
    write_bands(tmp_path / "a.tif", 3)
    done = tltool.convert(tmp_path / "run", check_image=tmp_path / "a.tif", windows=20)
    image = ArrayRaster(read_image(tmp_path / "a.tif"))
    found = tltool.measure_fidelity(load_network(done.path), model, done.sidecar, image, 20)
    assert found["agreement"] == 1.0


def test_outputs_that_are_not_the_sidecars_tasks_are_refused(tmp_path):
    small_run(tmp_path / "run", ZOO, ALIVE)
    path = tmp_path / "run" / "model.keras"
    sidecar = load_sidecar(path)
    sidecar.tasks[1].name = "sex"
    sidecar.save(path)
    with pytest.raises(ModelError, match=r"tasks zoo, sex; received alive, zoo"):
        tltool.convert(tmp_path / "run")


def test_a_model_of_other_bands_than_its_sidecar_is_refused(tmp_path):
    small_run(tmp_path / "run", ALIVE, bands=5)
    path = tmp_path / "run" / "model.keras"
    load_sidecar(path).model_copy(update={"bands": 4}).save(path)
    with pytest.raises(ModelError, match=r"16 px with 4 bands, received 1, 16 and 5"):
        tltool.convert(tmp_path / "run")


@pytest.mark.parametrize(
    ("dtype", "bands", "numbers"), [("uint8", 5, None), ("uint16", 2, [4, 2]), ("uint16", 1, [5])]
)
def test_the_check_image_is_read_in_the_networks_bands(tmp_path, dtype, bands, numbers):
    small_run(tmp_path / "run", ALIVE, bands=bands, band_numbers=numbers)
    write_bands(tmp_path / "a.tif", 5, dtype)
    write_bands(tmp_path / "few.tif", 4)
    done = tltool.convert(tmp_path / "run", check_image=tmp_path / "a.tif", windows=20)
    assert done.sidecar.fidelity["agreement"] == 1.0
    if numbers is None:
        with pytest.raises(ImageError, match=r"few.tif: expected 5 bands, .* received 4\."):
            tltool.convert(tmp_path / "run", check_image=tmp_path / "few.tif", overwrite=True)


def five_band_tiles(folder, number=8):
    """Tiles of 5 bands with labels in a manifest whose image column is the tile."""
    folder.mkdir()
    rows = [["image", "alive", "zoo"]]
    for place in range(number):
        write_bands(folder / f"{place}.tif", 5, "uint16", PATCH, seed=place)
        rows.append([f"{place}.tif", "yes" if place % 2 else "no", "seal" if place % 4 else "bird"])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "labels.csv"


def test_a_manifest_of_tiles_gives_a_mosaic_in_the_recipes_bands(tmp_path):
    data = five_band_tiles(tmp_path / "data")
    small_run(
        tmp_path / "run",
        ALIVE,
        bands=2,
        band_numbers=[5, 1],
        data={"folder": str(data), "fingerprint": "0", "counts": {}},
    )
    recipe = {"tasks": {"alive": {"kind": "binary"}}, "bands": [5, 1], "patch": PATCH}
    Recipe(**recipe).save(tmp_path / "run" / "recipe.yaml")
    fidelity = tltool.convert(tmp_path / "run", windows=20).sidecar.fidelity
    assert fidelity["image"] == f"a mosaic of patches from {data}"
    assert fidelity["agreement"] == 1.0


def test_data_that_cannot_be_read_any_more_cost_the_fidelity_only(tmp_path, caplog):
    data = five_band_tiles(tmp_path / "data")
    (tmp_path / "data" / "3.tif").unlink()
    facts = {"data": {"folder": str(data), "fingerprint": "0", "counts": {}}}
    small_run(tmp_path / "run", ALIVE, bands=5, **facts)
    assert tltool.convert(tmp_path / "run").sidecar.fidelity is None
    assert "no fidelity is measured, pass `check_image` for it" in caplog.text
    assert "3.tif (line 5)" in caplog.text


@pytest.mark.parametrize("name_it", [True, False])
def test_the_images_of_a_patches_manifest_are_found(tmp_path, name_it):
    data = tmp_path / "data"
    (data / "test" / "seal").mkdir(parents=True)
    write_bands(tmp_path / "aerial.tif", 3)
    Image.new("RGB", (PATCH, PATCH)).save(data / "test" / "seal" / "a.png")
    place = ["test/seal/a.png", "test", "seal", tmp_path / "aerial.tif", 8, 8, PATCH, 0, 0]
    with (data / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([MANIFEST_COLUMNS, place])
    told = data / "manifest.csv" if name_it else data
    small_run(tmp_path / "run", ZOO, data={"folder": str(told), "fingerprint": "", "counts": {}})
    assert tltool.convert(tmp_path / "run", windows=9).sidecar.fidelity["image"] == "aerial.tif"
    shutil.rmtree(data)
    assert tltool.convert(tmp_path / "run", overwrite=True).sidecar.fidelity is None
