import json
import logging
import shutil

import pytest

import tltool
from tltool.runtime import quiet_import

quiet_import("keras")

from painted import ANIMALS, paint, painted_run  # noqa: E402


@pytest.fixture(scope="session")
def converted(tmp_path_factory):
    """A run folder with its FCN, not to be changed."""
    folder = painted_run(tmp_path_factory.mktemp("painted") / "run")
    tltool.convert(folder)
    return folder


@pytest.fixture
def run(converted, tmp_path):
    """A run folder of the test's own."""
    return shutil.copytree(converted, tmp_path / "run")


@pytest.fixture
def image(tmp_path):
    """An image of `ANIMALS` without a place on the earth."""
    return paint(tmp_path / "a.tif", ANIMALS)


@pytest.fixture(scope="session")
def maps(converted, tmp_path_factory):
    """A folder with the map of `ANIMALS`, which any run copied from `converted` may reuse."""
    folder = tmp_path_factory.mktemp("maps")
    tltool.heatmap(converted, [paint(folder / "a.tif", ANIMALS)], folder / "maps")
    return folder / "maps"


@pytest.fixture
def told(caplog):
    """What is logged."""
    logging.getLogger("tltool").propagate = True
    caplog.set_level(logging.INFO, "tltool")
    return caplog


@pytest.fixture
def area(tmp_path):
    """Writes a rectangle as GeoJSON in pixels and gives its path."""

    def write(left, top, right, bottom, name="area"):
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        path = tmp_path / f"{name}.geojson"
        path.write_text(json.dumps({"type": "Polygon", "coordinates": [corners]}))
        return path

    return write
