import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import transform as warp
from rasters import write_raster

from tltool.errors import DataError
from tltool.raster import Raster, load_area

SIDE = 100
UTM, WGS84 = CRS.from_epsg(32633), CRS.from_user_input("OGC:CRS84")
NORTH_UP = Affine(0.5, 0, 480_000, 0, -0.5, 6_000_000)
SOUTH_UP = Affine(0.5, 0, 480_000, 0, 0.5, 6_000_000)
ROTATED = NORTH_UP @ Affine.rotation(33)
PIXELS = np.zeros((1, SIDE, SIDE), np.uint8)
# In pixels: a square with a hole.
SQUARE, HOLE = [(20, 30), (70, 30), (70, 80), (20, 80)], [(40, 40), (50, 40), (50, 55), (40, 55)]
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def write_area(path, rings, crs=None):
    """Rings without their last corner as a GeoJSON polygon."""
    closed = [[list(map(float, corner)) for corner in [*ring, ring[0]]] for ring in rings]
    document = {"type": "Polygon", "coordinates": closed}
    if crs is not None:
        document["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(document))
    return path


def to_world(ring, transform, crs=UTM):
    corners = [transform @ corner for corner in ring]
    return list(zip(*warp(UTM, crs, *zip(*corners, strict=True)), strict=True))


def expected_cells():
    cells = np.zeros((SIDE, SIDE), bool)
    cells[30:80, 20:70] = True
    cells[40:55, 40:50] = False
    return cells


@pytest.fixture
def utm(tmp_path):
    with Raster(write_raster(tmp_path / "a.tif", PIXELS, crs=UTM, transform=NORTH_UP)) as raster:
        yield raster


@pytest.mark.parametrize("crs", [None, "urn:ogc:def:crs:EPSG::32633", "EPSG:3857"])
@pytest.mark.parametrize("transform", [NORTH_UP, SOUTH_UP, ROTATED])
def test_area_lies_where_its_coordinates_say(tmp_path, transform, crs):
    rings = [to_world(ring, transform, crs or WGS84) for ring in (SQUARE, HOLE)]
    path = write_area(tmp_path / "a.geojson", rings, crs)
    image = write_raster(tmp_path / "a.tif", PIXELS, crs=UTM, transform=transform)
    with Raster(image) as raster:
        area = load_area(path, raster)
    np.testing.assert_array_equal(area.on_cells(0, 0, 1, 1, SIDE, SIDE), expected_cells())
    np.testing.assert_allclose(area.bounds, (20, 30, 70, 80), atol=0.05)
    assert area.overlaps(60, 70, 40, 40)
    assert not area.overlaps(42, 42, 5, 5)


@settings(deadline=None, max_examples=30)
@given(
    st.floats(0, 360),
    st.sampled_from([1, -1]),
    st.lists(st.tuples(*[st.integers(-20, 120)] * 2), min_size=3, max_size=6, unique=True),
)
def test_world_points_are_covered_where_their_pixels_are(tmp_path_factory, angle, side, ring):
    folder = tmp_path_factory.mktemp("areas")
    transform = Affine(0.5, 0, 4.8e5, 0, 0.5 * side, 6e6) @ Affine.rotation(angle)
    if abs(np.cross(*np.diff(np.array([[*c, 0] for c in ring[:3]]), axis=0))[2]) < 1:
        return
    image = write_raster(folder / "a.tif", PIXELS, crs=UTM, transform=transform)
    world = write_area(folder / "w.geojson", [to_world(ring, transform)], "EPSG:32633")
    plain = write_area(folder / "p.geojson", [ring])
    Image.fromarray(PIXELS[0]).save(folder / "a.png")
    with Raster(image) as placed, Raster(folder / "a.png") as unplaced:
        try:
            expected = load_area(plain, unplaced)
        except DataError:
            with pytest.raises(DataError, match="expected an area that lies on"):
                load_area(world, placed)
            return
        found = load_area(world, placed)
    # Off the edges, where rounding decides.
    xs, ys = np.meshgrid(np.arange(2**0.5 / 100, 100, 3.7), np.arange(3**0.5 / 100, 100, 3.1))
    np.testing.assert_array_equal(found.covers(xs, ys), expected.covers(xs, ys))


def test_image_without_a_crs_has_areas_in_pixels(tmp_path):
    Image.fromarray(PIXELS[0]).save(tmp_path / "a.png")
    for crs in (None, "urn:ogc:def:crs:OGC:1.3:CRS84"):
        path = write_area(tmp_path / "a.geojson", [SQUARE, HOLE], crs)
        with Raster(tmp_path / "a.png") as raster:
            found = load_area(path, raster).on_cells(0, 0, 1, 1, SIDE, SIDE)
        np.testing.assert_array_equal(found, expected_cells())


def test_world_file_without_a_crs_has_areas_in_its_units(tmp_path):
    Image.fromarray(PIXELS[0]).save(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text("2\n0\n0\n-2\n101\n999\n")
    path = write_area(tmp_path / "a.geojson", [[(100 + 2 * x, 1000 - 2 * y) for x, y in SQUARE]])
    with Raster(tmp_path / "a.png") as raster:
        assert load_area(path, raster).bounds == (20, 30, 70, 80)


def test_area_of_an_image_with_control_points_that_bend(tmp_path):
    def bent(column):
        return 480_000 + column / 2 + 1e-3 * column**2

    places = [(r, c) for r in (0, 50, 100) for c in (0, 50, 100)]
    points = [GroundControlPoint(r, c, bent(c), 6_000_000 - r / 2) for r, c in places]
    image = write_raster(tmp_path / "a.tif", PIXELS, gcps=points, crs=UTM)
    left, right = bent(20), bent(70)
    corners = [(left, 5_999_985), (right, 5_999_985), (right, 5_999_960), (left, 5_999_960)]
    path = write_area(tmp_path / "a.geojson", [corners], "EPSG:32633")
    with Raster(image) as raster:
        assert len(raster.gcps[0]) == 9
        bounds = load_area(path, raster).bounds
    np.testing.assert_allclose(bounds, (20, 30, 70, 80), atol=0.7)


def test_long_edges_follow_the_coordinates_they_are_straight_in(tmp_path):
    """Along a parallel of latitude, which bends by some pixels over 50 km."""
    image = write_raster(
        tmp_path / "a.tif", PIXELS, crs=UTM, transform=Affine(500, 0, 575_000, 0, -5, 6_600_000)
    )
    (west, east), (top, _) = warp(UTM, WGS84, [575_000, 625_000], [6_599_800, 6_599_800])
    ring = [(west, top), (east, top), (east, top - 0.1), (west, top - 0.1)]
    path = write_area(tmp_path / "a.geojson", [ring])
    with Raster(image) as raster:
        area = load_area(path, raster)
        longitudes = np.linspace(west, east, 50)[1:-1]
        xs, ys = raster.to_pixels(*np.array(warp(WGS84, UTM, longitudes, [top] * 48)))
    straight = np.interp(xs, [xs[0], xs[-1]], [ys[0], ys[-1]])
    assert np.abs(ys - straight).max() > 5
    assert area.covers(xs, ys + 0.2).all()
    assert not area.covers(xs, ys - 0.2).any()


def test_area_that_misses_says_both_extents(tmp_path, utm):
    ring = to_world([(x + 500, y) for x, y in SQUARE], NORTH_UP)
    path = write_area(tmp_path / "a.geojson", [ring], "EPSG:32633")
    with pytest.raises(DataError) as caught:
        load_area(path, utm)
    assert str(caught.value) == (
        f"{path}: expected an area that lies on a.tif, which reaches from (480000, 5999950) to"
        " (480050, 6000000), received one that reaches from (480260, 5999960) to"
        " (480285, 5999985), in EPSG:32633"
    )


def test_area_around_the_image_but_for_a_hole_misses_it(tmp_path):
    Image.fromarray(PIXELS[0]).save(tmp_path / "a.png")
    around = [[(-50, -50), (150, -50), (150, 150), (-50, 150)]]
    hole = [(-1, -1), (101, -1), (101, 101), (-1, 101)]
    with Raster(tmp_path / "a.png") as raster:
        load_area(write_area(tmp_path / "a.geojson", around), raster)
        with pytest.raises(DataError, match=r"from \(0, 0\) to \(100, 100\), .* in its pixels"):
            load_area(write_area(tmp_path / "b.geojson", [*around, hole]), raster)


@pytest.mark.parametrize(
    ("crs", "message"),
    [
        ("EPSG:99999", "expected a crs that is known, such as urn:ogc:def:crs:EPSG::32633"),
        ("nonsense", "received 'nonsense'"),
        (None, "its coordinates in OGC:CRS84 cannot be transformed to those of a.tif, EPSG:32633"),
    ],
)
def test_crs_that_cannot_be_transformed_is_named(tmp_path, utm, crs, message):
    path = write_area(tmp_path / "a.geojson", [[(15, 95), (400, 95), (400, 99)]], crs)
    with pytest.raises(DataError) as caught:
        load_area(path, utm)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_crs_of_a_site_cannot_be_reached(tmp_path):
    site = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]')
    image = write_raster(tmp_path / "a.tif", PIXELS, crs=site, transform=NORTH_UP)
    path = write_area(tmp_path / "a.geojson", [SQUARE])
    with Raster(image) as raster:
        assert raster.crs is not None
        with pytest.raises(DataError, match=r"in OGC:CRS84 cannot be transformed to those of a\.t"):
            load_area(path, raster)


def test_projected_area_has_no_place_in_an_image_without_a_crs(tmp_path):
    Image.fromarray(PIXELS[0]).save(tmp_path / "a.png")
    path = write_area(tmp_path / "a.geojson", [SQUARE], "EPSG:32633")
    with Raster(tmp_path / "a.png") as raster, pytest.raises(DataError) as caught:
        load_area(path, raster)
    assert str(caught.value) == (
        f"{path}: its coordinates are in EPSG:32633, a.png has no CRS to transform them to. Give"
        " them in pixels of the image, without a crs"
    )


def test_area_that_may_miss_covers_nothing(tmp_path, utm):
    ring = to_world([(200, 200), (300, 200), (300, 300)], NORTH_UP, WGS84)
    path = write_area(tmp_path / "a.geojson", [ring])
    area = load_area(path, utm, may_miss=True)
    assert not area.on_cells(0, 0, 1, 1, SIDE, SIDE).any()
    with pytest.raises(DataError, match="expected an area that lies on"):
        load_area(path, utm)
