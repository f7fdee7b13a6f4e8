import json
import shutil

import numpy as np
import pytest
import rasterio
from PIL import Image

import tltool
from tltool.errors import ImageError, ModelError, OutputError, UsageError
from tltool.models.graph import is_layer  # noqa: F401 - imports Keras quietly first
from tltool.models.loading import load_network
from tltool.raster import ArrayRaster, as_zoom, enlarge
from tltool.run.sidecar import Sidecar, load_sidecar


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose network is small."""
    from small_runs import ZOO, small_run

    folder = tmp_path_factory.mktemp("run") / "run"
    small_run(folder, ZOO, background="none")
    tltool.convert(folder)
    return folder


def make_run(folder, patch, context, zoom=1.0):
    """A run of a random classifier whose answers differ from place to place."""
    from networks import random_classifier

    model = random_classifier("MobileNet", patch, 3, context=context, zoom=zoom, alpha=0.25)
    folder.mkdir()
    model.save(folder / "model.keras")
    side = model.inputs[0].shape[1]
    sidecar = Sidecar(
        classes=["bird", "nothing", "seal"],
        background="nothing",
        patch=patch,
        context=context,
        zoom=zoom,
        input_side=side,
    )
    sidecar.save(folder / "model.keras")
    return folder


def write_image(path, width, height, seed=0, **profile):
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3))
    pixels = np.kron(pixels, np.ones((8, 8, 1)))[:height, :width].astype(np.uint8)
    if profile:
        profile |= {"driver": "GTiff", "dtype": "uint8", "count": 3}
        with rasterio.open(path, "w", width=width, height=height, **profile) as file:
            file.write(pixels.transpose(2, 0, 1))
    else:
        Image.fromarray(pixels).save(path)
    return pixels


@pytest.mark.parametrize(
    ("patch", "context", "zoom"),
    [pytest.param(32, *more, marks=pytest.mark.slow) for more in ((112, 1.5), (160, 1), (80, 2))],
)
def test_each_cell_is_the_classifier_on_its_own_window(tmp_path, patch, context, zoom):
    run = make_run(tmp_path / "run", patch, context, zoom)
    pixels = write_image(tmp_path / "a.png", 150, 131)
    made = tltool.heatmap(run, [tmp_path / "a.png"], tmp_path / "maps", engine="tensorflow")[0]
    facts = json.loads(made.json_path.read_text())
    with rasterio.open(made.map_path) as source:
        values = source.read()
    assert values.shape == (3, facts["rows"], facts["columns"])
    classifier, image = load_network(run / "model.keras"), ArrayRaster(pixels)
    side, compared = patch + 2 * context, 0
    for row, column in np.ndindex(values.shape[1:]):
        top = row * facts["stride"] + facts["offset"] - context
        left = column * facts["stride"] + facts["offset"] - context
        if top % 1 == 0 and left % 1 == 0:
            window = enlarge(image.read(int(left), int(top), side, side), as_zoom(zoom))
            expected = classifier(window[None].astype("float32"))[0]
            np.testing.assert_allclose(values[:, row, column], expected, atol=2e-5)
            compared += 1
    assert compared >= 4
    assert values.std() > 0.01


def make_small_run(folder):
    from small_runs import padded_run

    padded_run(folder)
    return folder


@pytest.mark.parametrize(
    ("make", "small"),
    [
        (make_small_run, 96),
        pytest.param(lambda folder: make_run(folder, 32, 32), 600, marks=pytest.mark.slow),
    ],
    ids=["small", "MobileNet"],
)
def test_tiles_do_not_show(tmp_path, make, small):
    run = make(tmp_path / "run")
    write_image(tmp_path / "a.png", 400, 330)
    maps = []
    for tile in (None, small):
        out = tmp_path / f"maps{tile}"
        made = tltool.heatmap(run, [tmp_path / "a.png"], out, tile=tile, engine="tensorflow")[0]
        with rasterio.open(made.map_path) as source:
            maps.append(source.read())
    np.testing.assert_allclose(maps[0], maps[1], rtol=0, atol=1e-5)


def test_a_georeferenced_map_lies_on_its_image(tmp_path, run):
    transform = rasterio.Affine(0.0, 0.5, 5000.0, 0.5, 0.0, 7000.0)
    write_image(tmp_path / "a.tif", 200, 100, crs="EPSG:32605", transform=transform)
    made = tltool.heatmap(run, [tmp_path / "a.tif"], tmp_path / "maps", engine="tensorflow")[0]
    with rasterio.open(made.map_path) as source:
        assert source.crs.to_epsg() == 32605
        assert source.descriptions == ("bird", "none", "seal")
        assert np.isnan(source.nodata)
        # Pixel 64 of the image is the corner of cell 16.
        assert source.transform @ (16, 8) == pytest.approx(transform @ (64, 32))
        assert source.shape == (25, 50)


def test_an_image_without_georeference_is_mapped_in_its_pixels(tmp_path, run):
    write_image(tmp_path / "a.jpg", 200, 100)
    made = tltool.heatmap(run, [tmp_path / "a.jpg"], tmp_path / "maps", engine="tensorflow")[0]
    with rasterio.open(made.map_path) as source:
        assert source.crs is None
        assert source.transform @ (3, 2) == pytest.approx((12, 8))
    with Image.open(made.overlay_path) as overlay:
        assert overlay.width >= 200


def test_the_fcn_is_made_on_the_way_and_kept(tmp_path, run):
    write_image(tmp_path / "a.png", 64, 64)
    shutil.copytree(run, tmp_path / "run")
    for name in ("fcn.keras", "fcn.json"):
        (tmp_path / "run" / name).unlink()
    written = []
    for out in ("maps", "again"):
        tltool.heatmap(tmp_path / "run", [tmp_path / "a.png"], tmp_path / out, engine="tensorflow")
        written.append((tmp_path / "run" / "fcn.keras").stat().st_mtime_ns)
    assert written[0] == written[1]


@pytest.mark.slow
def test_the_fcn_of_a_trained_run_is_measured_on_its_images(tmp_path, tiny_run, survey):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    (run / "fcn.keras").unlink(missing_ok=True)
    tltool.heatmap(run, [survey[0]], tmp_path / "maps")
    sidecar = load_sidecar(run / "fcn.keras")
    assert sidecar.fidelity["windows"] > 0
    assert sidecar.fidelity["image"] == survey[0].name
    written = (run / "fcn.keras").stat().st_mtime_ns
    tltool.heatmap(run / "fcn.keras", [survey[0]], tmp_path / "again")
    assert (run / "fcn.keras").stat().st_mtime_ns == written


def test_bad_images_are_named_before_anything_is_written(tmp_path, run):
    write_image(tmp_path / "small.png", 15, 64)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ImageError, match=r"small.png is 15 x 64 px: expected at least the 16 px"):
        tltool.heatmap(run, [tmp_path / "small.png"], tmp_path / "maps")
    with pytest.raises(ImageError, match=r"text.png cannot be read as an image"):
        tltool.heatmap(run, [tmp_path / "text.png"], tmp_path / "maps")
    with pytest.raises(ImageError, match=r"gone.png does not exist"):
        tltool.heatmap(run, [tmp_path / "gone.png"], tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


def test_an_earlier_map_is_not_overwritten_unasked(tmp_path, run):
    write_image(tmp_path / "a.png", 64, 64)
    tltool.heatmap(run, [tmp_path / "a.png"], tmp_path / "maps")
    with pytest.raises(OutputError, match=r"a.heatmap.tif exists already.*overwrite=True"):
        tltool.heatmap(run, [tmp_path / "a.png"], tmp_path / "maps")
    tltool.heatmap(run, [tmp_path / "a.png"], tmp_path / "maps", overwrite=True)


def test_wrong_usage_is_refused(tmp_path, run):
    write_image(tmp_path / "a.png", 64, 64)
    (tmp_path / "b").mkdir()
    write_image(tmp_path / "b" / "a.jpg", 64, 64)
    with pytest.raises(UsageError, match="two images are called a"):
        tltool.heatmap(run, [tmp_path / "a.png", tmp_path / "b"], tmp_path / "maps")
    with pytest.raises(UsageError, match=r"`tile`: expected \d+ px or more, .* received 12"):
        tltool.heatmap(run, [tmp_path / "a.png"], tmp_path / "maps", tile=12)
    with pytest.raises(ModelError, match="does not exist"):
        tltool.heatmap(tmp_path / "norun", [tmp_path / "a.png"], tmp_path / "maps")
