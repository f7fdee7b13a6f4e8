from pathlib import Path

import numpy as np
import pytest
import rasterio
from patch_folders import GEOREFERENCED, manifest
from PIL import Image
from rasterio.transform import Affine
from rasters import reflected, write_raster

from tltool import patches
from tltool.data.images import read_image
from tltool.raster import Raster

KINDS = {
    "five bands": (5, np.uint8, None),
    "colours and infrared": (4, np.uint8, ("red", "green", "blue", "undefined")),
    "16-bit grey": (1, np.uint16, ("gray",)),
    "16-bit colours": (3, np.uint16, ("red", "green", "blue")),
    "16-bit, infrared and alpha": (
        5,
        np.uint16,
        ("red", "green", "blue", "undefined", "alpha"),
    ),
    "two bands": (2, np.uint8, None),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_bands_that_png_cannot_hold_are_kept(csv_of, tmp_path, kind):
    bands, dtype, colours = KINDS[kind]
    rng = np.random.default_rng(0)
    values = rng.integers(0, np.iinfo(dtype).max, (bands, 50, 60)).astype(dtype)
    look = "RGB" if colours and colours[0] == "red" else "MINISBLACK"
    image = write_raster(
        tmp_path / "a.tif", values, colours, photometric=look, nodata=7, **GEOREFERENCED
    )
    points = csv_of([("a.tif", 30, 20, "a"), ("a.tif", 2, 48, "a")])
    options = {"size": 10, "context": 3, "split": (1.0, 0.0, 0.0), "backgrounds": 1.0}
    patches([image], points, tmp_path / "out", **options)
    rows = manifest(tmp_path / "out")
    assert len(rows) == 4
    with Raster(image) as raster, rasterio.open(image) as whole:
        for row in rows:
            path = tmp_path / "out" / row["path"]
            left, top = round(float(row["x"])) - 8, round(float(row["y"])) - 8
            # As a training sees it without and with bands named.
            np.testing.assert_array_equal(read_image(path), raster.read(left, top, 16, 16))
            with rasterio.open(path) as file:
                assert file.colorinterp == whole.colorinterp
                assert (file.dtypes, file.nodata, file.crs) == (whole.dtypes, 7, whole.crs)
                assert file.transform.almost_equals(
                    whole.transform @ Affine.translation(left, top), precision=1e-6
                )
                stored = file.read()
            expected = reflected(values.transpose(1, 2, 0), left, top, 16, 16)
            np.testing.assert_array_equal(stored.transpose(1, 2, 0), expected)
            every = range(1, bands + 1)
            with Raster(image, every) as chosen:
                np.testing.assert_array_equal(
                    read_image(path, every), chosen.read(left, top, 16, 16)
                )


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_what_png_can_hold_is_png(csv_of, tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "a.png")
    points = csv_of([("a.png", 20, 20, "a")])
    patches([tmp_path / "a.png"], points, tmp_path / "out", size=8, split=(1.0, 0.0, 0.0))
    assert {Path(row["path"]).suffix for row in manifest(tmp_path / "out")} == {".png"}


def test_far_coordinates_are_written_in_full(csv_of, tmp_path):
    Image.fromarray(np.zeros((8, 123_460, 3), np.uint8)).save(tmp_path / "a.png")
    points = csv_of([("a.png", 123_456.25, 4, "a")])
    options = {"size": 4, "split": (1.0, 0.0, 0.0), "backgrounds": 0}
    patches([tmp_path / "a.png"], points, tmp_path / "out", **options)
    assert manifest(tmp_path / "out")[0]["x"] == "123456.25"
