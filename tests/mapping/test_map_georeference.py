"""Of any place in the world a map says what the network says of the pixels around it."""

import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.features import geometry_mask
from rasterio.transform import Affine, GCPTransformer
from rasters import write_raster

import tltool
from tltool.runtime import quiet_import

quiet_import("keras")

from small_maps import mapper_of  # noqa: E402
from small_runs import ZOO, padded_run, small_run  # noqa: E402

from tltool.mapping.image_map import write_map  # noqa: E402
from tltool.mapping.mapper import load_mapper  # noqa: E402
from tltool.models.loading import load_network  # noqa: E402
from tltool.raster import ArrayRaster, Raster, ResampledRaster, as_zoom, enlarge  # noqa: E402
from tltool.run.map_options import MapOptions, Output  # noqa: E402
from tltool.run.sidecar import load_sidecar  # noqa: E402

GSD = 0.4
# Never on the border of two cells, where rounding decides.
SHARES = st.lists(
    st.tuples(*[st.integers(0, 999).map(lambda part: (part + 0.377123) / 1000)] * 2),
    min_size=4,
    max_size=8,
)

pytestmark = pytest.mark.usefixtures("without_pictures")


def pixels_of(height, width):
    """Blobs and noise: (3, height, width)."""
    rng = np.random.default_rng(height * width)
    blobs = rng.integers(0, 200, (3, height // 5 + 1, width // 5 + 1))
    blobs = np.kron(blobs, np.ones((1, 5, 5), int))[:, :height, :width]
    return (blobs + rng.integers(0, 50, blobs.shape)).astype(np.uint8)


@st.composite
def places(draw):
    """Transforms that put the image north up, south up or turned."""
    size = GSD * draw(st.floats(0.6, 1.6))
    angle = draw(st.sampled_from([0.0, 0.0, 90.0]) | st.floats(0, 360))
    side = draw(st.sampled_from([-1, 1]))
    corner = Affine.translation(500_000 + draw(st.floats(0, 9)), 6_000_000)
    return corner @ Affine.rotation(angle) @ Affine.scale(size, side * size)


@pytest.fixture(scope="module", params=["bare", "context", "zoom"])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "run"
    if request.param == "bare":
        small_run(folder, ZOO, background="none")
    else:
        padded_run(folder, 1.5 if request.param == "zoom" else 1.0)
    path = folder / "model.keras"
    load_sidecar(path).model_copy(update={"gsd": GSD}).save(path)
    tltool.convert(folder)
    path = folder / "fcn.keras"
    mappers = {tile: load_mapper(path, tile=tile, engine="tensorflow") for tile in (None, 160)}
    return mappers, load_network(path)


def seen_from(image, centre, side, zoom):
    """What a network sees of an enlarged image around a position in pixels."""
    reads, cuts = [], []
    for at in centre:
        start = Fraction(at).limit_denominator(48) - Fraction(side, 2) / zoom
        first = math.floor(start)
        # Pixels of the enlarged image begin where those of the image do.
        while ((start - first) * zoom).denominator > 1:
            first -= 1
        margin = 2 * zoom.denominator
        reads.append((first - margin, math.ceil(side / zoom) + 3 * margin + 8))
        cuts.append(int((start - first + margin) * zoom))
    (x, width), (y, height) = reads
    pixels = enlarge(image.read(x, y, width, height), zoom)
    return pixels[cuts[1] : cuts[1] + side, cuts[0] : cuts[0] + side].astype("float32")


def check_places(map_path, image, transform, network, shares):
    """The map, opened with rasterio alone, at places that are shares of the image's sides."""
    sidecar, fcn = network
    zoom, side = as_zoom(sidecar.zoom), sidecar.input_side
    at = [transform @ (x * image.width, y * image.height) for x, y in shares]
    windows = []
    with rasterio.open(map_path) as source:
        received = np.array(list(source.sample(at)))
        for place, (x, y) in zip(at, shares, strict=True):
            column, row = (math.floor(number) for number in ~source.transform @ place)
            centre = ~transform @ (source.transform @ (column + 0.5, row + 0.5))
            # The cell nearest to the place.
            off = np.abs(np.subtract(centre, (x * image.width, y * image.height)))
            assert off.max() <= sidecar.stride / 2 + 1e-4
            windows.append(seen_from(image, centre, side, zoom))
    expected = np.asarray(fcn(np.stack(windows)))[:, 0, 0]
    np.testing.assert_allclose(received, expected, atol=2e-5)
    return expected


@settings(deadline=None, max_examples=20)
@given(
    places(),
    st.tuples(st.integers(34, 90), st.integers(34, 90)),
    SHARES,
    st.sampled_from([None, 160]),
)
def test_the_map_of_a_place_is_the_network_on_the_pixels_around_it(
    run, tmp_path_factory, transform, size, shares, tile
):
    folder, pixels = tmp_path_factory.mktemp("maps"), pixels_of(*size)
    image = write_raster(folder / "a.tif", pixels, crs="EPSG:32633", transform=transform)
    mappers, fcn = run
    made = write_map(mappers[tile], image, folder)
    with rasterio.open(made.map_path) as source:
        assert source.crs.to_epsg() == 32633
    check_places(
        made.map_path,
        ArrayRaster(pixels.transpose(1, 2, 0)),
        transform,
        (mappers[tile].sidecar, fcn),
        shares,
    )


@settings(deadline=None, max_examples=8)
@given(places(), SHARES)
def test_resampled_the_map_lies_on_the_image_too(run, tmp_path_factory, transform, shares):
    folder = tmp_path_factory.mktemp("maps")
    pixels = pixels_of(70, 83)
    image = write_raster(folder / "a.tif", pixels, crs="EPSG:32633", transform=transform)
    mappers, fcn = run
    mapper = replace(mappers[160], options=MapOptions(resample=True))
    made = write_map(mapper, image, folder)
    with mapper.open(image) as resampled:
        assert resampled.gsd == pytest.approx(GSD, rel=0.02)
        if isinstance(resampled, ResampledRaster):
            place = transform @ Affine.scale(83 / resampled.width, 70 / resampled.height)
            assert resampled.transform.almost_equals(place, 1e-9)
        check_places(made.map_path, resampled, resampled.transform, (mapper.sidecar, fcn), shares)


POINTS = [
    GroundControlPoint(row, column, 1000 + column + 0.002 * row * row, 2000 - row + 0.1 * column)
    for row in (0, 30, 60)
    for column in (0, 40, 80)
]


@pytest.mark.parametrize("options", [{}, {"cog": True}, {"full_resolution": True}])
def test_control_points_put_cells_where_they_put_pixels(tmp_path, options):
    pixels = pixels_of(60, 80)
    image = write_raster(tmp_path / "a.tif", pixels, crs="EPSG:32633", gcps=POINTS)
    output = Output(**options)
    made = write_map(mapper_of(40), image, tmp_path / "maps", output)
    cell_size = 4
    path = made.map_path
    if made.full_path:
        cell_size, path = 1, made.full_path
    with rasterio.open(path) as source, GCPTransformer(POINTS) as of_image:
        points, crs = source.gcps
        assert crs.to_epsg() == 32633
        assert source.crs is None
        assert len(points) == len(POINTS)
        rows, columns = np.mgrid[: source.height, : source.width].reshape(2, -1) + 0.5
        with GCPTransformer(points) as of_map:
            found = of_map.xy(rows, columns, offset="ul")
        expected = of_image.xy(rows * cell_size, columns * cell_size, offset="ul")
        np.testing.assert_allclose(found, expected, atol=1e-3)
        # They bend: no transform says as much.
        assert source.transform.is_identity
    with Raster(image) as raster:
        assert raster.gcps[0]


@pytest.mark.parametrize("angle", [0, 25])
@pytest.mark.parametrize("side", [-1, 1])
def test_geojson_and_map_lie_on_each_other_in_one_crs(tmp_path, angle, side):
    transform = (
        Affine.translation(500_000, 6_000_000) @ Affine.rotation(angle) @ Affine.scale(1, side)
    )
    image = write_raster(
        tmp_path / "a.tif", pixels_of(96, 120), crs="EPSG:32633", transform=transform
    )
    ring = [transform @ corner for corner in ((11, 15), (97, 8), (70, 81), (30, 60), (11, 15))]
    area = {"type": "Polygon", "coordinates": [[list(corner) for corner in ring]]}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    (tmp_path / "a.geojson").write_text(json.dumps({**area, "crs": crs}))
    made = write_map(
        mapper_of(40, options=MapOptions(aoi=tmp_path / "a.geojson")), image, tmp_path / "maps"
    )
    with rasterio.open(made.map_path) as source:
        inside = geometry_mask([area], source.shape, source.transform, invert=True)
        np.testing.assert_array_equal(np.isfinite(source.read(1)), inside)
    assert 100 < inside.sum() < inside.size
