from fractions import Fraction

import numpy as np
import pytest
import rasterio

from tltool.raster import MapGeoreference, MapWriter, Raster
from tltool.tiling import full_resolution
from tltool.tiling.full_resolution import write_full_resolution
from tltool.tiling.tiles import Axis, Grid

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def centres(axis):
    """Where the cells' squares have their middle, px of the image, half-pixel centres."""
    return (np.arange(axis.cells) + 0.5) * float(axis.cell_size) + float(axis.origin)


def enlarge_map(tmp_path, width, height, zoom, values_of):
    """Write a map of the values at its cells' centres, then enlarge it."""
    axes = [Axis(n, 20, 4, zoom, int(28 * zoom), 8, 0, 27) for n in (height, width)]
    grid = Grid(*axes)
    values = values_of(centres(grid.y)[:, None], centres(grid.x)[None]).astype("float32")
    image = np.zeros((3, height, width), np.uint8)
    transform = rasterio.Affine(0.5, 0, 100, 0, -0.5, 200)
    shape = {"width": width, "height": height, "count": 3, "dtype": "uint8"}
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:32605", transform=transform, **shape
    ) as file:
        file.write(image)
    with MapWriter(
        tmp_path / "map.tif", *values.shape[1:], ["a", "b"], MapGeoreference()
    ) as writer:
        writer.write(0, 0, values)
    with Raster(path) as raster:
        write_full_resolution(tmp_path / "map.tif", tmp_path / "full.tif", grid, raster)
    with rasterio.open(tmp_path / "full.tif") as source:
        assert (source.transform, source.descriptions) == (transform, ("a", "b"))
        assert source.crs.to_epsg() == 32605
        return grid, source.read()


@pytest.mark.parametrize(("width", "height"), [(700, 300), (41, 20)])
@pytest.mark.parametrize("zoom", [Fraction(1), Fraction(3, 2)])
def test_a_ramp_stays_a_ramp(tmp_path, monkeypatch, width, height, zoom):
    # Windows smaller than the image, so that their seams are seen.
    monkeypatch.setattr(full_resolution, "_WINDOW_BYTES", 1)

    def ramps(y, x):
        return np.stack([2 * y + 0 * x + 5, 3 * x - y])

    grid, full = enlarge_map(tmp_path, width, height, zoom, ramps)
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
    # Beyond the outermost centres the map goes on as it ends.
    rows = np.clip(rows, centres(grid.y)[0], centres(grid.y)[-1])[:, None]
    columns = np.clip(columns, centres(grid.x)[0], centres(grid.x)[-1])[None]
    assert full.shape == (2, height, width)
    np.testing.assert_allclose(full, ramps(rows, columns), atol=1e-2)


def test_a_single_cell_fills_its_image(tmp_path):
    full = enlarge_map(tmp_path, 6, 5, Fraction(1), lambda y, x: np.stack([0 * y * x + 7] * 2))[1]
    assert (full == 7).all()


def test_windows_cover_the_image_once_and_stay_small():
    for classes in (1, 6, 1000):
        seen = np.zeros((1300, 2100), int)
        for window in full_resolution._windows(2100, 1300, classes):
            assert window.width * window.height * classes * 4 <= max(32 << 20, 256**2 * 4 * classes)
            seen[window.toslices()] += 1
        assert (seen == 1).all()
