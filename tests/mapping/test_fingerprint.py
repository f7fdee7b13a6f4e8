import os
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy

from tltool.mapping.image_map import file_digest, image_state, map_fingerprint
from tltool.raster import Raster
from tltool.run.map_options import Output
from tltool.run.sidecar import Sidecar

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def write(path, value=1):
    with rasterio.open(
        path, "w", driver="GTiff", width=9, height=8, count=1, dtype="uint8"
    ) as file:
        file.write(np.full((1, 8, 9), value, np.uint8))


def test_a_mosaic_changes_with_the_files_it_names(tmp_path):
    write(tmp_path / "a.tif")
    copy(tmp_path / "a.tif", tmp_path / "a.vrt", driver="VRT")
    before = image_state(tmp_path / "a.vrt")
    assert image_state(tmp_path / "a.vrt") == before
    os.utime(tmp_path / "a.tif", ns=(1, 2))
    assert image_state(tmp_path / "a.vrt") != before


def test_what_a_viewer_leaves_beside_an_image_does_not_count(tmp_path):
    write(tmp_path / "a.tif")
    before = image_state(tmp_path / "a.tif")
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset/>")
    assert image_state(tmp_path / "a.tif") == before
    (tmp_path / "b.tif").write_bytes((tmp_path / "a.tif").read_bytes())
    assert image_state(tmp_path / "b.tif") != before


def test_a_network_is_told_by_its_content(tmp_path):
    for name, text in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / name).write_text(text)
    digests = [file_digest(tmp_path / name) for name in "abc"]
    assert digests[0] == digests[1] != digests[2]


def test_what_decides_no_value_of_a_map_does_not_count(tmp_path):
    write(tmp_path / "a.tif")
    (tmp_path / "fcn.keras").write_text("network")
    sidecar = Sidecar(classes=["a", "b"], patch=16, input_side=16, stride=16)

    def told(**facts):
        engine = SimpleNamespace(name="tensorflow")
        seen = sidecar.model_copy(update=facts)
        mapper = SimpleNamespace(engine=engine, sidecar=seen, method="fcn", tile=64)
        with Raster(tmp_path / "a.tif") as raster:
            return map_fingerprint(mapper, raster, tmp_path / "fcn.keras", Output(), {})

    assert told(temperature={"label": 1.5}, fidelity={"windows": 3}) == told()
    assert told(stride=8) != told()
