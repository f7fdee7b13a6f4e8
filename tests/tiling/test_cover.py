"""Masks and areas: which cells have data, and which tiles are not read."""

import json
import logging

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import transform as warp
from rasterio.windows import Window
from rasters import write_raster

import tltool
from tltool.errors import DataError, MapsError
from tltool.runtime import quiet_import

quiet_import("keras")

from small_maps import STRIDE, mapper_of  # noqa: E402
from small_runs import ZOO, small_run  # noqa: E402

from tltool.mapping import image_map  # noqa: E402
from tltool.mapping.image_map import write_map  # noqa: E402
from tltool.raster import Raster, load_area  # noqa: E402
from tltool.run.map_options import MapOptions, Output  # noqa: E402
from tltool.tiling.pipeline import (  # noqa: E402
    EnginePredictor,
    ImageCover,
)

pytestmark = [
    pytest.mark.usefixtures("without_pictures"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
UTM = CRS.from_epsg(32633)
PLACE = Affine(0.5, 0, 480_000, 0, -0.5, 6_000_000)


@pytest.fixture
def reads(monkeypatch):
    """The windows of pixels that were read."""
    plain, windows = Raster.read, []

    def read(self, *window):
        windows.append(window)
        return plain(self, *window)

    monkeypatch.setattr(Raster, "read", read)
    return windows


def noise(height, width, seed=0):
    # Nothing is 0, which means no data.
    return np.random.default_rng(seed).integers(1, 256, (3, height, width), dtype=np.uint8)


def values_of(made):
    with rasterio.open(made.map_path) as source:
        return source.read()


def write_masked(path, pixels, valid, kind):
    if kind == "mask":
        return write_raster(path, pixels, mask=255 * valid.astype(np.uint8))
    if kind == "alpha":
        colours = ["red", "green", "blue", "alpha"]
        alpha = 255 * valid[None].astype(np.uint8)
        return write_raster(path, np.concatenate([pixels, alpha]), colours)
    return write_raster(path, np.where(valid, pixels, 0).astype(np.uint8), nodata=0)


@pytest.mark.parametrize("kind", ["nodata", "alpha", "mask"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_cells_without_a_valid_pixel_have_no_data_others_keep_their_value(tmp_path, kind, dtype):
    pixels, valid = noise(121, 162), np.zeros((121, 162), bool)
    valid[21:90, 34:100] = True
    valid[0, 161] = valid[119, 3] = True
    masked = write_masked(tmp_path / "a.tif", pixels, valid, kind)
    seen = np.where(valid, pixels, 0).astype(np.uint8) if kind == "nodata" else pixels
    plain = write_raster(tmp_path / "b.tif", seen)
    output = Output(dtype=dtype)
    received = values_of(write_map(mapper_of(40), masked, tmp_path / "maps", output))
    expected = values_of(write_map(mapper_of(40), plain, tmp_path / "maps", output))
    grid = np.zeros((124, 164), bool)
    grid[:121, :162] = valid
    data = grid.reshape(31, STRIDE, 41, STRIDE).any((1, 3))
    assert 300 < data.sum() < data.size
    nothing = np.nan if dtype == "float32" else 255
    np.testing.assert_array_equal(received, np.where(data, expected, nothing))


def write_mostly_empty(path, how):
    """A tenth of 640 x 640 px with data, from (192, 128) on: 192 x 213 px."""
    shape = {"width": 640, "height": 640, "dtype": "uint8", "nodata": 0}
    tiled = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    colours = {"count": 4, "photometric": "RGB", "alpha": "YES", "nodata": None}
    more = {"sparse": {"sparse_ok": True}, "alpha": colours}.get(how, {})
    values = np.zeros((4 if how == "alpha" else 3, 640, 640), np.uint8)
    part = np.s_[128:320, 192:405]
    values[:3, *part] = noise(192, 213)
    values[3:, *part] = 255
    profile = {"driver": "GTiff", "count": 3, **shape, **tiled} | more
    with rasterio.open(path, "w", **profile) as file:
        if how == "sparse":
            file.write(values[:3, *part], window=Window.from_slices(*part))
        else:
            file.write(values)
        if how == "overview":
            file.build_overviews([2, 4], Resampling.average)
    return path


@pytest.mark.parametrize("how", ["sparse", "equal blocks", "alpha", "overview"])
def test_a_tenth_of_a_raster_with_a_tenth_of_data_is_read(tmp_path, reads, how):
    image = write_mostly_empty(tmp_path / "a.tif", how)
    made = write_map(mapper_of(64), image, tmp_path / "maps")
    facts = json.loads(made.json_path.read_text())["this_run"]
    assert facts["tiles"] == 100
    assert 0.08 <= len(reads) / facts["tiles"] <= 0.14
    assert facts["tiles_without_data"] == facts["tiles"] - len(reads)
    assert np.isfinite(values_of(made)).mean() == pytest.approx(0.1, abs=0.005)
    assert made.predicted == pytest.approx(0.001 * STRIDE**2 * 16 * 16 * len(reads) / 1000)


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_a_map_without_any_data_is_written_with_one_warning(tmp_path, reads, caplog, dtype):
    image = write_raster(tmp_path / "a.tif", np.zeros((3, 80, 96), np.uint8), nodata=0)
    made = write_map(mapper_of(40), image, tmp_path / "maps", Output(dtype=dtype))
    with rasterio.open(made.map_path) as source:
        values, nodata = source.read(), source.nodata
    np.testing.assert_array_equal(values, np.full((3, 20, 24), nodata))
    assert reads == []
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{image}: the map has no data anywhere: ")
    assert made.json_path.exists()


def test_that_there_is_no_data_is_known_of_what_another_process_did(tmp_path, caplog, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    model = tmp_path / "model"
    model.touch()
    valid = np.zeros((80, 96), bool)
    for name, row in (("empty", None), ("full", 3)):
        valid[:] = False
        if row is not None:
            valid[row] = True
        image = write_masked(tmp_path / f"{name}.tif", noise(80, 96), valid, "nodata")
        with monkeypatch.context() as patch:
            patch.setattr(image_map, "map_georeference", stop)
            with pytest.raises(KeyboardInterrupt):
                write_map(mapper_of(40), image, tmp_path / "maps", model=model)
        caplog.clear()
        write_map(mapper_of(40), image, tmp_path / "maps", model=model)
        warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(warned) == (row is None)


def write_area(path, rings, crs=UTM, transform=PLACE, named=True):
    """Polygons given in pixels, of one ring each."""
    found = []
    for ring in rings:
        corners = [transform @ corner for corner in [*ring, ring[0]]]
        found.append([list(zip(*warp(UTM, crs, *zip(*corners, strict=True)), strict=True))])
    document = {"type": "MultiPolygon", "coordinates": found}
    if named:
        document["crs"] = {"type": "name", "properties": {"name": f"EPSG:{crs.to_epsg()}"}}
    path.write_text(json.dumps(document))
    return path


SQUARE = [(41, 49), (101, 49), (101, 95), (41, 95)]


@pytest.mark.parametrize("crs", [UTM, CRS.from_epsg(3857), None])
def test_cells_have_values_where_their_centre_lies_in_the_area(tmp_path, reads, crs):
    image = write_raster(tmp_path / "a.tif", noise(160, 200), crs=UTM, transform=PLACE)
    wgs84 = CRS.from_user_input("OGC:CRS84")
    area = write_area(tmp_path / "a.geojson", [SQUARE], crs or wgs84, named=crs is not None)
    whole = values_of(write_map(mapper_of(20), image, tmp_path / "whole"))
    tiles = len(reads)
    reads.clear()
    made = write_map(mapper_of(20, options=MapOptions(aoi=area)), image, tmp_path / "maps")
    inside = np.zeros((40, 50), bool)
    # Centres are at 2, 6, ... px.
    inside[12:24, 10:25] = True
    np.testing.assert_array_equal(values_of(made), np.where(inside, whole, np.nan))
    # Of a tile into which only an edge reaches no cell is inside.
    assert (tiles, len(reads)) == (80, 9)


def test_an_area_in_pixels_lies_on_an_image_without_a_crs(tmp_path):
    image = write_raster(tmp_path / "a.tif", noise(160, 200))
    ring = [[*map(list, SQUARE), list(SQUARE[0])]]
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": ring}))
    made = write_map(
        mapper_of(64, options=MapOptions(aoi=tmp_path / "a.geojson")), image, tmp_path / "maps"
    )
    rows, columns = np.nonzero(np.isfinite(values_of(made)[0]))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (12, 23, 10, 24)


def test_an_area_and_a_mask_are_both_kept(tmp_path):
    valid = np.zeros((160, 200), bool)
    valid[:, :80] = True
    pixels = np.where(valid, noise(160, 200), 0).astype(np.uint8)
    image = write_raster(tmp_path / "a.tif", pixels, nodata=0, crs=UTM, transform=PLACE)
    area = write_area(tmp_path / "a.geojson", [SQUARE])
    values = values_of(
        write_map(mapper_of(64, options=MapOptions(aoi=area)), image, tmp_path / "maps")
    )
    assert np.isfinite(values[0]).sum() == 12 * 10
    assert np.isfinite(values[0, 12:24, 10:20]).all()


def test_read_and_skipped_tiles_are_counted(tmp_path):
    image = write_raster(tmp_path / "a.tif", noise(160, 200), crs=UTM, transform=PLACE)
    area = write_area(tmp_path / "a.geojson", [SQUARE])
    mapper = mapper_of(20)
    with Raster(image) as raster:
        grid = mapper.grid(raster)
        cover = ImageCover(raster, grid, load_area(area, raster))
        read = [tile for tile in grid.tiles(20) if not cover.skips(tile)]
    assert (cover.read, cover.skipped) == (len(read), 80 - len(read)) == (12, 68)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    small_run(folder, ZOO, background="none")
    tltool.convert(folder)
    return folder


@pytest.fixture
def image(tmp_path):
    return write_raster(tmp_path / "a.tif", noise(160, 200), crs=UTM, transform=PLACE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"area.geojson: expected a GeoJSON file of polygons, found none"),
        ("{", r"area.geojson: expected GeoJSON, received what is no JSON"),
        ('{"type": "FeatureCollection", "features": []}', r"area.geojson: .*received nothing"),
        ('{"type": "Point", "coordinates": [1, 2]}', r"area.geojson: .*received Point"),
    ],
)
def test_a_file_without_an_area_is_named_before_anything_is_loaded(tmp_path, image, text, message):
    path = tmp_path / "area.geojson"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message):
        tltool.heatmap(tmp_path / "norun", [image], tmp_path / "maps", aoi=path)
    assert not (tmp_path / "maps").exists()


def test_an_area_that_cannot_lie_on_the_image_is_named(tmp_path, run, image):
    far = write_area(tmp_path / "far.geojson", [[(x + 900, y) for x, y in SQUARE]])
    with pytest.raises(DataError, match=r"far.geojson: expected an area that lies on a.tif"):
        tltool.heatmap(run, [image], tmp_path / "maps", aoi=far)
    near = write_area(tmp_path / "near.geojson", [SQUARE])
    bare = write_raster(tmp_path / "bare.tif", noise(160, 200))
    with pytest.raises(DataError, match=r"near.geojson: .*bare.tif has no CRS to transform"):
        tltool.heatmap(run, [bare], tmp_path / "maps", aoi=near)
    assert not (tmp_path / "maps").exists()


def test_an_image_that_the_area_misses_does_not_stop_the_others(tmp_path, run, image):
    far = PLACE @ Affine.translation(5000, 0)
    other = write_raster(tmp_path / "b.tif", noise(160, 200), crs=UTM, transform=far)
    area = write_area(tmp_path / "area.geojson", [SQUARE])
    with pytest.raises(MapsError, match=r"1 of 2 images could not .*area.geojson: .*b.tif") as told:
        tltool.heatmap(run, [other, image], tmp_path / "maps", aoi=area, engine="tensorflow")
    assert [made.image.name for made in told.value.made] == ["a.tif"]
    assert np.isfinite(values_of(told.value.made[0])[0]).sum() == 12 * 15


def test_another_area_is_told_and_the_map_begun_anew(tmp_path, run, image, monkeypatch, caplog):
    caplog.set_level(logging.WARNING, "tltool")
    area = write_area(tmp_path / "area.geojson", [SQUARE])
    options = {"aoi": area, "tile": 32, "engine": "tensorflow"}
    plain, left = EnginePredictor.predict, [3]

    def predict(self, pixels, tile):
        left[0] -= 1
        if left[0] == -1:
            raise KeyboardInterrupt
        return plain(self, pixels, tile)

    monkeypatch.setattr(EnginePredictor, "predict", predict)
    with pytest.raises(KeyboardInterrupt):
        tltool.heatmap(run, [image], tmp_path / "maps", **options)
    write_area(area, [[(x + 20, y) for x, y in SQUARE]])
    made = tltool.heatmap(run, [image], tmp_path / "maps", **options)[0]
    assert json.loads(made.json_path.read_text())["this_run"]["tiles_resumed"] == 0
    assert len(caplog.messages) == 1
    assert "is begun anew; changed: aoi (was " in caplog.messages[0]
    _, columns = np.nonzero(np.isfinite(values_of(made)[0]))
    assert (columns.min(), columns.max()) == (15, 29)
