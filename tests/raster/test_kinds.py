"""Integer maps, class maps, Cloud-Optimized GeoTIFFs and Zarr stores."""

import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import Affine

from tltool.errors import UsageError
from tltool.raster import MapGeoreference, MapWriter
from tltool.raster.writing import CLASS_CODES, ENCODINGS, Legend, MapKind
from tltool.raster.zarr_writing import ZarrWriter, check_zarr

TRANSFORM = Affine(8.0, 0, 500_000, 0, -8.0, 6_000_000)
UTM = CRS.from_epsg(32633)
LEGEND = Legend(("none", "bird & <seal>", "boat"), ((128, 128, 128), (255, 0, 0), (0, 10, 250)))
CLASSES = MapKind(("class",), CLASS_CODES["uint8"], LEGEND)
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def write(path, stored, kind, writer=MapWriter, **options):
    with writer(path, *stored.shape[1:], kind, MapGeoreference(UTM, TRANSFORM), **options) as file:
        for band in range(len(stored)):
            file.write(0, 0, stored[band : band + 1], band)


def probabilities(rows=300, columns=280):
    values = np.random.default_rng(0).random((2, rows, columns), np.float32)
    values[:, :100, :90] = np.nan
    return values


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("cog", [False, True])
def test_integers_carry_their_scale_and_no_data(tmp_path, dtype, cog):
    values, encoding = probabilities(), ENCODINGS[dtype]
    kind = MapKind(("a", "b"), encoding)
    write(tmp_path / "a.tif", encoding.encode(values), kind, cog=cog)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.dtypes == (dtype, dtype)
        assert file.scales == pytest.approx((encoding.scale,) * 2)
        assert file.offsets == (0, 0)
        assert file.nodata == encoding.nodata
        assert file.descriptions == ("a", "b")
        read = file.read(masked=True) * file.scales[0]
    np.testing.assert_array_equal(np.ma.getmaskarray(read), np.isnan(values))
    known = ~np.isnan(values)
    np.testing.assert_allclose(read.data[known], values[known], atol=encoding.scale / 2 + 1e-6)


@pytest.mark.parametrize("dtype", list(ENCODINGS))
def test_cog_is_valid_and_its_overviews_leave_no_data_out(tmp_path, dtype):
    cogeo = pytest.importorskip("rio_cogeo.cogeo", reason="rio-cogeo is not installed")
    values, encoding = np.full((1, 600, 520), 0.5, np.float32), ENCODINGS[dtype]
    values[:, :301, :301] = np.nan
    write(tmp_path / "a.tif", encoding.encode(values), MapKind(("a",), encoding), cog=True)
    valid, errors, warnings = cogeo.cog_validate(tmp_path / "a.tif", strict=True, quiet=True)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.overviews(1)
        assert file.crs == UTM
        assert file.transform == TRANSFORM
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as file:
        small = encoding.decode(file.read(1))
    # A cell half of whose parts have no data is the mean of the others, not half of it.
    assert np.isnan(small[:150, :150]).all()
    np.testing.assert_allclose(small[np.isfinite(small)], 0.5, atol=encoding.scale)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.tif"]


@pytest.mark.parametrize("cog", [False, True])
def test_a_class_map_has_colours_and_names(tmp_path, cog):
    stored = np.zeros((1, 40, 600), np.uint8)
    stored[:, :, 100:] = 1
    stored[:, :, 500:] = 255
    write(tmp_path / "a.tif", stored, CLASSES, cog=cog)
    with rasterio.open(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(file.read(), stored)
        assert [file.colormap(1)[k][:3] for k in range(3)] == list(LEGEND.colours)
        assert file.nodata == 255
        assert file.tags()["classes"].split("\n") == list(LEGEND.names)
        assert set(np.unique(file.read(1, out_shape=(10, 150)))) == {0, 1, 255}
    beside = ElementTree.parse(tmp_path / "a.tif.aux.xml")
    names = [each.text for each in beside.iterfind("PAMRasterBand/CategoryNames/Category")]
    assert names == list(LEGEND.names)


def test_names_of_a_former_class_map_do_not_stay(tmp_path):
    write(tmp_path / "a.tif", np.zeros((1, 4, 4), np.uint8), CLASSES)
    write(tmp_path / "a.tif", probabilities(4, 4), MapKind(("a", "b")))
    assert list(tmp_path.iterdir()) == [tmp_path / "a.tif"]


@pytest.mark.parametrize("kind", [MapKind(("a", "b"), ENCODINGS["uint8"]), CLASSES])
def test_a_zarr_store_says_what_it_holds(tmp_path, kind):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    stored = np.random.default_rng(0).integers(0, 3, (len(kind.names), 300, 270), np.uint8)
    write(tmp_path / "a.zarr", stored, kind, ZarrWriter)
    array = zarr.open_group(str(tmp_path / "a.zarr"), mode="r")["heatmap"]
    np.testing.assert_array_equal(array[:], stored)
    told = dict(array.attrs)
    assert told["_ARRAY_DIMENSIONS"] == ["class", "row", "col"]
    assert told["classes"] == list(kind.legend.names if kind.legend else kind.names)
    assert Affine(*told["transform"]) == TRANSFORM
    assert CRS.from_wkt(told["crs"]) == UTM
    assert told.get("scale_factor") == (None if kind.legend else pytest.approx(1 / 254))
    assert (array.fill_value, array.chunks) == (255, (1, 256, 256))
    assert list(tmp_path.iterdir()) == [tmp_path / "a.zarr"]


def test_control_points_are_in_a_zarr_store(tmp_path):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    points = [GroundControlPoint(1.5, 2.5, 10, 20, 3), GroundControlPoint(4, 5, 30, 40)]
    with ZarrWriter(tmp_path / "a.zarr", 3, 3, MapKind(("a",)), MapGeoreference(UTM, gcps=points)):
        pass
    told = dict(zarr.open_group(str(tmp_path / "a.zarr"), mode="r")["heatmap"].attrs)
    assert told["transform"] is None
    assert told["gcps"] == [[2.5, 1.5, 10, 20, 3], [5, 4, 30, 40, 0]]
    assert CRS.from_wkt(told["crs"]) == UTM


def test_a_failing_zarr_store_leaves_nothing(tmp_path):
    pytest.importorskip("zarr", reason="zarr is not installed")
    with (
        pytest.raises(ValueError, match="x"),
        ZarrWriter(tmp_path / "a.zarr", 3, 3, MapKind(("a",)), MapGeoreference(None, TRANSFORM)),
    ):
        raise ValueError("x")
    assert list(tmp_path.iterdir()) == []


def test_zarr_that_is_missing_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(UsageError, match=r"not installed. Install it with pip install 'tltool\[z"):
        check_zarr()
