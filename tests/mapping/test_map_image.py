"""Maps in memory: the numbers that files hold, from files, arrays and networks in hand."""

import json

import numpy as np
import pytest
import rasterio
from PIL import Image

import tltool
from tltool.errors import ImageError, OutputError, UsageError
from tltool.runtime import quiet_import

quiet_import("keras")

from small_runs import ALIVE, ZOO, small_run  # noqa: E402

from tltool.inference.network import open_network  # noqa: E402
from tltool.mapping import map_image as in_memory  # noqa: E402
from tltool.mapping.heatmap import named_images  # noqa: E402
from tltool.raster import Raster  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

PIXELS = np.kron(
    np.random.default_rng(2).integers(0, 256, (8, 9, 3), np.uint8), np.ones((7, 7, 1), np.uint8)
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    small_run(folder, ZOO, ALIVE, background="none")
    tltool.convert(folder)
    return folder


@pytest.fixture
def image(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def written(made):
    with rasterio.open(made.map_path) as source:
        return source.read().transpose(1, 2, 0), json.loads(made.json_path.read_text())


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2.0}, {"tta": "d4"}, {"scales": (0.8, 1)}, {"mode": "patches", "stride": 7}],
    ids=["plain", "dense", "tta", "scales", "patches"],
)
def test_a_map_in_memory_has_the_numbers_of_the_file(run, image, tmp_path, options):
    values, facts = written(tltool.heatmap(run, image, tmp_path / "maps", **options)[0])
    network = open_network(run)
    for source, pixels in ((run, image), (network, PIXELS), (network, Image.open(image))):
        made = tltool.map_image(source, pixels, **options)
        assert made.values.dtype == np.float32
        np.testing.assert_array_equal(made.values, values)
        np.testing.assert_array_equal(np.asarray(made), values)
        assert list(made.classes) == facts["classes"]
        for key in ("width", "height", "rows", "columns", "stride", "offset", "scales", "tta"):
            assert getattr(made.facts, key) == facts[key]


def test_what_is_saved_is_the_file_that_heatmap_writes(run, image, tmp_path):
    (made,) = tltool.heatmap(run, [image], tmp_path / "maps")
    in_hand = tltool.map_image(run, image)
    saved = in_hand.save(tmp_path / "own.tif")
    assert saved.read_bytes() == made.map_path.read_bytes()
    with pytest.raises(OutputError, match=r"own\.tif exists already"):
        in_hand.save(saved)
    overlay = np.asarray(Image.open(made.overlay_path))
    np.testing.assert_array_equal(np.asarray(in_hand.to_image()), overlay)


def test_a_map_shows_itself(run):
    made = tltool.map_image(run, PIXELS)
    classes = "zoo.bird, zoo.none, zoo.seal, alive.yes"
    assert repr(made) == f"<Map of image: 14 x 16 cells of 4 px, {classes}>"
    assert made._repr_html_().startswith("<img src=")
    assert (made.geometry.width, made.geometry.height) == (63, 56)


def test_a_model_in_memory_is_compiled_once(run, monkeypatch):
    network, made = open_network(run), []
    plain = in_memory.load_mapper
    monkeypatch.setattr(in_memory, "load_mapper", lambda *args: made.append(1) or plain(*args))
    for options in ({}, {"bands": (3, 2, 1)}, {"scale": (0, 128)}, {"stride": 2.0}, {}):
        tltool.map_image(network, PIXELS, **options)
    assert len(made) == 2


def test_a_keras_model_maps_arrays(run, tmp_path):
    import keras

    model = keras.saving.load_model(run / "model.keras")
    flat = keras.Model(model.inputs, model.outputs[1])
    made = tltool.map_image(flat, PIXELS)
    assert made.classes == ("class_0", "class_1", "class_2")
    assert made.values.shape == (14, 16, 3)
    maps = tltool.heatmap(flat, [PIXELS, PIXELS[:40]], tmp_path / "maps")
    assert [each.image.name for each in maps] == ["image-0", "image-1"]
    np.testing.assert_array_equal(written(maps[0])[0], made.values)
    assert (tmp_path / "maps" / "image-1.overlay.png").exists()


def test_pixels_without_data_are_nan_and_areas_are_kept(run, tmp_path):
    area = {"type": "Polygon", "coordinates": [[[0, 0], [30, 0], [30, 56], [0, 56], [0, 0]]]}
    (tmp_path / "a.geojson").write_text(json.dumps(area))
    whole = tltool.map_image(run, PIXELS)
    part = tltool.map_image(run, PIXELS, aoi=tmp_path / "a.geojson")
    inside = np.isfinite(part.values[..., 0])
    assert 0 < inside.mean() < 1
    np.testing.assert_array_equal(part.values[inside], whole.values[inside])


def test_images_are_named_by_path_or_place(image):
    with Raster(image) as raster:
        batch = np.stack([PIXELS, PIXELS])
        assert list(map(str, named_images(batch))) == ["image-0", "image-1"]
        assert list(map(str, named_images(PIXELS))) == ["image"]
        assert list(named_images(raster)) == list(named_images(str(image))) == [image]
        names = named_images(each for each in (image, PIXELS, Image.open(image)))
        assert list(map(str, names)) == [str(image), "image-1"]
    with pytest.raises(UsageError, match="`images`: expected at least one image, received none"):
        named_images([])


def test_wrong_calls_name_the_parameter(run, tmp_path):
    with pytest.raises(UsageError, match="`engin` is not an option here; did you mean `engine`"):
        tltool.map_image(run, PIXELS, engin="auto")
    with pytest.raises(UsageError, match=r"`scale`: `image` holds .*`scale=\(0, 1\)`"):
        tltool.map_image(run, PIXELS / 255)
    with pytest.raises(ImageError, match="`image` is 63 x 9 px: expected at least the 16 px"):
        tltool.map_image(run, PIXELS[:9])
    with pytest.raises(UsageError, match="`image`: expected an array"):
        tltool.heatmap(run, PIXELS[0, :, 0], tmp_path / "maps")
    floats = tltool.map_image(run, PIXELS / 255, scale=(0, 1))
    np.testing.assert_array_equal(floats.values, tltool.map_image(run, PIXELS).values)
    assert floats.facts.limits == [(0, 1)] * 3
