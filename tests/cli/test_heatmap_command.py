"""`tltool heatmap`: what each option reaches."""

import json

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

import tltool
from tltool.cli.main import main
from tltool.runtime import quiet_import

quiet_import("keras")

from rasters import write_raster  # noqa: E402
from small_runs import ZOO, small_run  # noqa: E402

from tltool.run.sidecar import load_sidecar  # noqa: E402

PLACE = Affine(0.5, 0, 500_000, 0, -0.5, 6_000_000)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    small_run(folder, ZOO, background="none")
    path = folder / "model.keras"
    load_sidecar(path).model_copy(update={"gsd": 0.25}).save(path)
    tltool.convert(folder)
    return folder


@pytest.fixture
def image(tmp_path):
    coarse = np.random.default_rng(0).integers(0, 4096, (4, 10, 12), dtype=np.uint16)
    values = np.kron(coarse, np.ones((1, 6, 6), np.uint16))
    return write_raster(tmp_path / "a.tif", values, crs="EPSG:32633", transform=PLACE)


def call(*words):
    main(["heatmap", *map(str, words)])


def test_all_ways_of_seeing_reach_the_map(run, image, tmp_path):
    ring = [[*(PLACE @ at)] for at in ((2, 2), (40, 2), (40, 50), (2, 50), (2, 2))]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    area = {"type": "Polygon", "coordinates": [ring], "crs": crs}
    (tmp_path / "a.geojson").write_text(json.dumps(area))
    seeing = ["--engine", "tensorflow", "--precision", "bf16", "--tta", "d4", "--resample"]
    seeing += ["--scale", "0:4095", "--bands", "4,2,1", "--aoi", tmp_path / "a.geojson"]
    seeing += ["--scales", "0.8,1", "--combine", "max", "--tile", 64]
    call(run, image, "-o", tmp_path / "maps", *seeing)
    facts = json.loads((tmp_path / "maps" / "a.json").read_text())
    expected = {
        "engine": "tensorflow",
        "precision": "bf16",
        "tta": "d4",
        "resample": True,
        "gsd": 0.25,
        "scale": [0, 4095],
        "limits": [[0, 4095]] * 3,
        "bands_read": [4, 2, 1],
        "scales": [0.8, 1],
        "combine": "max",
        "tile": 64,
        "fidelity": None,
    }
    assert {key: facts[key] for key in expected} == expected
    with rasterio.open(tmp_path / "maps" / "a.heatmap.tif") as source:
        data = np.isfinite(source.read(1))
    # Cells of 2 px of the image: their centres are odd.
    assert data.sum() == 19 * 24
    assert data[1:25, 1:20].all()


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--scale", "9:3"], 2, "scale: expected MIN:MAX"),
        (["--scale", "much"], 2, "or percentiles, received 'much'"),
        (["--engine", "torch"], 2, "--engine: expected one of auto, tensorflow, openvino"),
        (["--precision", "f64"], 2, "--precision: expected one of f32, bf16, f16"),
        (["--tta", "d8"], 2, "--tta: expected none or d4; received d8"),
        (["--scales", "0,1"], 2, "--scales: expected different numbers from 0.1 to 8"),
        (["--combine", "max"], 2, "--combine: expected --scales beside it"),
        (["--bands", "1,2,7"], 1, "a.tif: expected"),
        ([], 1, "a.tif: expected 3 bands, which the network was trained on; received 4"),
        (["--aoi", "none.geojson"], 1, "none.geojson: expected a GeoJSON file"),
    ],
)
def test_what_cannot_be_meant_is_one_line(run, image, tmp_path, capsys, options, status, message):
    with pytest.raises(SystemExit) as stopped:
        call(run, image, "-o", tmp_path / "maps", *options)
    told = capsys.readouterr()
    assert (stopped.value.code, told.out) == (status, "")
    assert message in told.err.splitlines()[-1]
    assert told.err.splitlines()[-1].startswith("tltool: ")
    assert not (tmp_path / "maps").exists()
