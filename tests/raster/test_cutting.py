import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp
from rasters import reflected, write_raster

from tltool.errors import ImageError
from tltool.raster import Raster
from tltool.raster.writing import save_bands

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_window_of_a_turned_image_is_upright_and_in_its_place(tmp_path, orientation):
    values = np.random.default_rng(0).integers(0, 65536, (30, 40), dtype=np.uint16)
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(values).save(tmp_path / "a.tif", exif=exif)
    with Raster(tmp_path / "a.tif") as raster:
        assert not raster.as_seen
        raster.save_window(tmp_path / "part.tif", -3, 20, 12, 16)
        seen = raster.read(-3, 20, 12, 16)
    with Raster(tmp_path / "part.tif") as part, rasterio.open(tmp_path / "part.tif") as file:
        np.testing.assert_array_equal(part.read(0, 0, 12, 16), seen)
        stored = file.read(1)
    turns = {
        1: values, 2: values[:, ::-1], 3: values[::-1, ::-1], 4: values[::-1],
        5: values.T, 6: values[::-1].T, 7: values[::-1, ::-1].T, 8: values.T[::-1],
    }  # fmt: skip
    np.testing.assert_array_equal(stored, reflected(turns[orientation], -3, 20, 12, 16))


@pytest.mark.parametrize(
    ("bands", "kind", "colours", "seen"),
    [
        (1, np.uint8, ("gray",), True),
        (2, np.uint8, ("gray", "alpha"), True),
        (3, np.uint8, ("red", "green", "blue"), True),
        (4, np.uint8, ("red", "green", "blue", "alpha"), True),
        (3, np.uint8, ("blue", "green", "red"), True),
        (3, np.uint16, ("red", "green", "blue"), False),
        (2, np.uint8, ("gray", "undefined"), False),
        (4, np.uint8, ("red", "green", "blue", "undefined"), False),
        (4, np.uint8, ("gray", "undefined", "undefined", "undefined"), False),
    ],
)
def test_what_three_bands_of_eight_bits_show_wholly(tmp_path, bands, kind, colours, seen):
    look = "RGB" if colours[0] == "red" else "MINISBLACK"
    path = write_raster(
        tmp_path / "a.tif", np.zeros((bands, 8, 8), kind), colours, photometric=look
    )
    with Raster(path) as raster:
        assert raster.as_seen == seen


def test_folder_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match=r"a\.tif"):
        save_bands(tmp_path / "no" / "a.tif", np.zeros((1, 4, 4), np.uint8), [ColorInterp.gray])


def test_damaged_window_names_the_file(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (2, 64, 64), dtype=np.uint16)
    path = write_raster(tmp_path / "a.tif", values, compress="deflate")
    path.write_bytes(path.read_bytes()[:6000])
    with Raster(path) as raster, pytest.raises(ImageError, match=r"a\.tif cannot be read"):
        raster.save_window(tmp_path / "part.tif", 0, 40, 16, 16)
