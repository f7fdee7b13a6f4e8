import logging

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasters import write_raster

# Its central meridian and origin are in no registry.
_OWN = "+proj=tmerc +lat_0=51.123 +lon_0=9.77 +x_0=1000 +y_0=2000 +ellps=GRS80 +units=m"

_PLACES = {
    "utm": ("EPSG:32633", Affine(0.25, 0, 5e5, 0, -0.25, 6e6)),
    "degrees": ("EPSG:4326", Affine(1e-6, 0, 15, 0, -1e-6, 54)),
    "own": (CRS.from_string(_OWN), Affine(0.2, 0.05, 1000, 0.05, -0.2, 2000)),
    "plain": (None, None),
}


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """Images of 200 x 160 px that lie somewhere, by name; of floats, which need a scale."""
    folder = tmp_path_factory.mktemp("places")
    pixels = np.zeros((1, 160, 200), np.float32)
    return {
        name: write_raster(
            folder / f"{name}.tif", pixels, **({"crs": crs, "transform": move} if crs else {})
        )
        for name, (crs, move) in _PLACES.items()
    }


@pytest.fixture
def told(caplog):
    """What is logged."""
    logging.getLogger("tltool").propagate = True
    caplog.set_level(logging.WARNING, "tltool")
    return caplog
