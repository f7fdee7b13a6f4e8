import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasters import write_raster

from tltool.raster import Raster
from tltool.raster.georeference import fit_transform, move_gcps

HEIGHT, WIDTH = 60, 90
UTM = CRS.from_epsg(32633)
PIXELS = np.random.default_rng(0).integers(0, 256, (3, HEIGHT, WIDTH), dtype=np.uint8)
NORTH_UP = Affine(0.5, 0, 500_000, 0, -0.5, 6_000_000)
SOUTH_UP = Affine(0.5, 0, 500_000, 0, 0.5, 6_000_000)
ROTATED = NORTH_UP @ Affine.rotation(33)
PLACES = [(0, 0), (0, 90), (60, 0), (60, 90), (30, 45), (10, 80), (50, 20)]
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def points_of(transform, bend=0.0, places=PLACES):
    """Ground control points of a transform; `bend` is how far the middle lies off, in metres."""
    found = []
    for row, column in places:
        x, y = transform @ (column, row)
        away = bend * (1 - ((column - 45) / 45) ** 2)
        found.append(GroundControlPoint(row, column, x + away, y, 3.0))
    return found


@pytest.mark.parametrize("transform", [NORTH_UP, SOUTH_UP, ROTATED])
def test_transform_and_ground_sample_distance_are_kept(tmp_path, transform):
    path = write_raster(tmp_path / "a.tif", PIXELS, crs=UTM, transform=transform)
    with Raster(path) as raster:
        assert raster.transform.almost_equals(transform, 1e-6)
        assert (raster.crs, raster.world_crs) == (UTM, UTM)
        assert raster.gcps == ([], None)
        assert raster.gsd == pytest.approx(0.5)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([0.01, 0.5, 30]),
    st.sampled_from([1, -1]),
    st.floats(0, 360),
    st.lists(st.tuples(st.floats(-100, 200), st.floats(-100, 200)), min_size=1, max_size=5),
)
def test_pixels_to_the_world_and_back(tmp_path_factory, size, side, angle, places):
    transform = Affine(size, 0, 5e5, 0, side * size, 6e6) @ Affine.rotation(angle)
    path = tmp_path_factory.mktemp("places") / "a.tif"
    write_raster(path, PIXELS[:1], crs=UTM, transform=transform)
    xs, ys = np.array(places).T
    with Raster(path) as raster:
        world = raster.to_world(xs, ys)
        back = raster.to_pixels(*world)
    expected = np.array([transform @ place for place in places]).T
    np.testing.assert_allclose(world, expected, rtol=0, atol=1e-6 * size + 1e-8)
    np.testing.assert_allclose(back, (xs, ys), atol=1e-5)


@pytest.mark.parametrize("georeferenced", ["transform", "gcps", "world file"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_image_keeps_each_pixel_in_its_place(tmp_path, orientation, georeferenced):
    """The brightest pixel of the stored image lies where it lay."""
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[12, 70] = 255
    exif = Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(values).save(path, exif=exif)
    bend = 1 if georeferenced == "gcps" else 0
    if georeferenced == "world file":
        numbers = (0.5, 0, 0, -0.5, 500_000.25, 5_999_999.75)
        (tmp_path / "a.pgw").write_text("\n".join(map(str, numbers)))
    else:
        with rasterio.open(path, "r+") as file:
            if bend:
                file.gcps = points_of(NORTH_UP, bend), UTM
            else:
                file.crs, file.transform = UTM, NORTH_UP
    with Raster(path) as raster:
        y, x, _ = np.argwhere(raster.read_whole() == 255)[0]
        found = np.array(raster.to_world([x + 0.5], [y + 0.5]))[:, 0]
        back = np.array(raster.to_pixels(found[:1], found[1:]))[:, 0]
        assert bool(raster.gcps[0]) == bool(bend)
    expected = np.array(NORTH_UP @ (70.5, 12.5))
    expected[0] += bend * (1 - ((70.5 - 45) / 45) ** 2)
    np.testing.assert_allclose(found, expected, atol=0.01)
    np.testing.assert_allclose(back, (x + 0.5, y + 0.5), atol=0.1)


def test_turned_image_without_georeference_stays_in_pixels(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(PIXELS.transpose(1, 2, 0)).save(tmp_path / "a.jpg", exif=exif)
    with Raster(tmp_path / "a.jpg") as raster:
        assert (raster.width, raster.height) == (HEIGHT, WIDTH)
        assert raster.transform.is_identity
        assert raster.world_crs is None
        assert raster.to_world([3], [4]) == (3, 4)


@pytest.mark.parametrize("transform", [NORTH_UP, SOUTH_UP, ROTATED])
def test_points_on_a_plane_become_its_transform(tmp_path, transform):
    path = write_raster(tmp_path / "a.tif", PIXELS, gcps=points_of(transform), crs=UTM)
    with Raster(path) as raster:
        assert raster.transform.almost_equals(transform, 1e-5)
        assert raster.crs == UTM
        assert raster.gcps == ([], None)
        assert raster.gsd == pytest.approx(0.5, rel=1e-5)


def test_points_that_bend_are_kept_as_points(tmp_path):
    points = points_of(NORTH_UP, bend=1)
    path = write_raster(tmp_path / "a.tif", PIXELS, gcps=points, crs=UTM)
    with Raster(path) as raster:
        assert (raster.crs, raster.gsd) == (None, None)
        assert raster.transform.is_identity
        found, crs = raster.gcps
        assert raster.world_crs == crs == UTM
        numbers = [(p.row, p.col, p.x, p.y, p.z) for p in found]
        assert numbers == [(p.row, p.col, p.x, p.y, p.z) for p in points]
        xs, ys = np.array([(p.col, p.row) for p in found]).T
        world = raster.to_world(xs, ys)
        np.testing.assert_allclose(world, np.array([(p.x, p.y) for p in points]).T, atol=1e-3)
        np.testing.assert_allclose(raster.to_pixels(*world), (xs, ys), atol=0.1)


@pytest.mark.parametrize("places", [[], PLACES[:1], PLACES[:2], [(0, 0), (10, 15), (20, 30)]])
def test_too_few_points_or_points_on_a_line_are_no_transform(places):
    assert fit_transform(points_of(NORTH_UP, places=places)) is None


@pytest.mark.parametrize("places", [PLACES[:1], [(0, 0), (10, 15), (20, 30)], [(5, 5)] * 4])
def test_points_that_say_nothing_are_left_out(tmp_path, places):
    points = points_of(NORTH_UP, places=places)
    path = write_raster(tmp_path / "a.tif", PIXELS, gcps=points, crs=UTM)
    with Raster(path) as raster:
        assert raster.gcps == ([], None)
        assert raster.world_crs is None
        assert raster.to_pixels([3], [4]) == (3, 4)


@pytest.mark.parametrize(("off", "fits"), [(0.1, True), (1.0, False)])
def test_points_fit_within_a_quarter_of_a_pixel(off, fits):
    points = points_of(NORTH_UP)
    points[4].x += off
    assert (fit_transform(points) is not None) == fits


def test_points_move_to_the_cells_of_a_map():
    cells = ~(Affine.translation(-4, -8) @ Affine.scale(16, 32))
    moved = move_gcps(points_of(NORTH_UP), cells)
    for before, after in zip(points_of(NORTH_UP), moved, strict=True):
        assert (after.col, after.row) == ((before.col + 4) / 16, (before.row + 8) / 32)
        assert (after.x, after.y, after.z) == (before.x, before.y, before.z)
