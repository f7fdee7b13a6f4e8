"""Exported networks tell what the FCN tells, also where tltool is not installed."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
import rasterio

import tltool
from tltool.errors import ConversionError, ModelError, OutputError, UsageError
from tltool.run.sidecar import load_sidecar
from tltool.runtime import quiet_import

quiet_import("keras")

import keras  # noqa: E402
from keras import layers  # noqa: E402
from networks import random_classifier  # noqa: E402
from small_runs import ALIVE, SEEN, ZOO, small_run, write_bands  # noqa: E402

from tltool.conversion import export as export_module  # noqa: E402
from tltool.conversion.plugin_tiles import overlap_pixels, plan_tile  # noqa: E402
from tltool.models.loading import load_network  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("without_pictures"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


def needs(*packages):
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not installed")


needs_onnx = needs("tf2onnx", "onnx", "onnxruntime")
FORMATS = [
    pytest.param("onnx", marks=needs_onnx),
    pytest.param("openvino", marks=needs("openvino")),
    "saved_model",
]


def converted_run(folder, *tasks, bands=3, **facts):
    small_run(folder, *tasks, bands=bands, **facts)
    write_bands(folder / "a.tif", bands)
    tltool.convert(folder, check_image=folder / "a.tif", windows=4)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return converted_run(tmp_path_factory.mktemp("export") / "run", ZOO, gsd=0.05)


def out_of(folder, form):
    return folder / ("fcn.onnx" if form == "onnx" else form)


def session_of(path):
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def read_metadata(session):
    found = session.get_modelmeta().custom_metadata_map
    return {key: json.loads(value) for key, value in found.items()}


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_is_checked_and_has_its_sidecar(run, tmp_path, form):
    out = out_of(tmp_path, form)
    done = tltool.export(run, out, format=form)
    assert (done.path, done.format) == (out, form)
    assert 0 <= done.difference <= 1e-4
    beside = tmp_path / "fcn.onnx.json" if form == "onnx" else out / "fcn.json"
    assert json.loads(beside.read_text()) == json.loads((run / "fcn.json").read_text())
    with pytest.raises(OutputError, match=r"exists already.*overwrite=True"):
        tltool.export(run / "fcn.keras", out, format=form)
    tltool.export(run / "fcn.keras", out, format=form, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} <= {out.name, "fcn.onnx.json"}


@pytest.mark.parametrize("form", FORMATS)
def test_what_differs_from_keras_is_not_written(run, tmp_path, form, monkeypatch):
    monkeypatch.setattr(export_module, "TOLERANCE", -1.0)
    with pytest.raises(ConversionError, match="expected a difference of at most -1, received"):
        tltool.export(run, out_of(tmp_path, form), format=form)
    assert list(tmp_path.iterdir()) == []


def test_a_saved_model_runs_where_neither_keras_nor_tltool_is(run, tmp_path):
    tltool.export(run, tmp_path / "sm", format="saved_model")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 20, 28, 3), np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    script = (
        "import sys; sys.modules['tltool'] = sys.modules['keras'] = None\n"
        "import numpy as np, tensorflow as tf\n"
        "pixels = np.load('pixels.npy')\n"
        "signatures = tf.saved_model.load('sm').signatures\n"
        "one = signatures['uint8'](pixels=pixels)['probabilities']\n"
        "two = signatures['serving_default'](pixels=pixels.astype('float32'))['probabilities']\n"
        "np.save('out.npy', np.stack([one, two]))\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    expected = np.asarray(load_network(run / "fcn.keras")(pixels.astype("float32")))
    assert expected.shape == (1, 2, 4, 3)
    for received in np.load(tmp_path / "out.npy"):
        np.testing.assert_allclose(received, expected, atol=1e-6)


@needs("openvino")
def test_openvino_has_the_class_names_and_takes_any_size(run, tmp_path):
    from tltool.tiling.engines import import_openvino

    tltool.export(run, tmp_path / "ir", format="openvino")
    core = import_openvino().Core()
    model = core.read_model(tmp_path / "ir" / "fcn.xml")
    assert model.get_rt_info(["model_info", "labels"]).value == "bird none seal"
    stored = json.loads(model.get_rt_info(["tltool", "sidecar"]).value)
    assert stored["classes"] == list(ZOO.classes)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 40, 16, 3)).astype("float32")
    received = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(pixels)[0]
    expected = np.asarray(load_network(run / "fcn.keras")(pixels))
    np.testing.assert_allclose(received, expected, atol=1e-5)


def padded_run(folder, zoom):
    """A network that pads, so that a tile's border shows; small enough for small tiles."""
    converted_run(folder, ZOO)
    keras.utils.set_random_seed(5)
    inputs = keras.Input((48, 48, 3))
    x = layers.Rescaling(1 / 128, -1)(inputs)
    for strides in (2, 2, 2):
        x = layers.Conv2D(6, 3, strides=strides, padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    model.layers[-1].set_weights([8 * model.layers[-1].get_weights()[0], np.zeros(3)])
    model.save(folder / "model.keras")
    side = round(48 / zoom)
    facts = {"input_side": 48, "zoom": zoom, "context": side // 3, "patch": side - 2 * (side // 3)}
    sidecar = load_sidecar(folder / "model.keras").model_copy(update=facts)
    sidecar.save(folder / "model.keras")
    write_bands(folder / "a.tif", 3, side=72)
    tltool.convert(folder, check_image=folder / "a.tif", windows=4, overwrite=True)
    return folder


def map_of_the_plugin(session, image, length, overlap):
    """Tiles of an image that they fill, as the plugin cuts and joins them."""
    step = length - overlap
    tiles = [(n - length) // step + 1 for n in image.shape[:2]]
    assert all(
        (count - 1) * step + length == n for count, n in zip(tiles, image.shape, strict=False)
    )
    whole = np.full((3, *image.shape[:2]), np.nan, np.float32)
    half = overlap // 2
    for row, column in np.ndindex(*tiles):
        top, left = row * step, column * step
        tile = np.float32(image[top : top + length, left : left + length] * 1.0 / 255.0)
        told = session.run(None, {"image": tile.transpose(2, 0, 1)[None]})[0][0]
        inner = np.s_[:, half : length - half, half : length - half]
        whole[:, top + half : top + length - half, left + half : left + length - half] = told[inner]
    return whole


@needs_onnx
@pytest.mark.parametrize(
    ("zoom", "shift", "side"),
    [pytest.param(1.0, 4, 160, marks=pytest.mark.slow), (1.5, 2, 156)],
)
def test_tiles_of_the_plugin_make_the_map_of_tltool(tmp_path, zoom, shift, side):
    run = padded_run(tmp_path / "run", zoom)
    plan = plan_tile(load_network(run / "fcn.keras"), load_sidecar(run / "fcn.keras"), side)
    tltool.export(run, tmp_path / "x.onnx", format="onnx", tile=side)
    session = session_of(tmp_path / "x.onnx")
    facts = read_metadata(session)
    assert (facts["tile_size"], facts["tiles_overlap"]) == (side, plan.overlap)
    overlap = overlap_pixels(side, plan.overlap)
    step = side - overlap
    # The cells of neighbouring tiles lie on one grid.
    assert (step / plan.cell_size) % 1 == pytest.approx(0, abs=1e-9)
    height, width = side + step, side + 2 * step
    pixels = write_bands(tmp_path / "b.tif", 3, side=-(-(width + shift) // 8) * 8)
    image = pixels.transpose(1, 2, 0)[shift : shift + height, shift : shift + width]
    received = map_of_the_plugin(session, image, side, overlap)
    made = tltool.heatmap(run, [tmp_path / "b.tif"], tmp_path / "maps", full_resolution=True)[0]
    with rasterio.open(made.full_path) as source:
        expected = source.read()[:, shift : shift + height, shift : shift + width]
    inside = np.s_[:, overlap // 2 : height - overlap // 2, overlap // 2 : width - overlap // 2]
    assert np.ptp(expected[inside]) > 0.1
    np.testing.assert_allclose(received[inside], expected[inside], atol=1e-4)


@needs_onnx
def test_onnx_has_what_the_plugin_reads(run, tmp_path):
    tltool.export(run, tmp_path / "x.onnx", format="onnx")
    session = session_of(tmp_path / "x.onnx")
    facts = read_metadata(session)
    assert facts["model_type"] == "Segmentor"
    assert facts["class_names"] == {"0": "bird", "1": "none", "2": "seal"}
    assert facts["resolution"] == 5.0
    assert facts["tile_size"] == facts["tiles_size"]
    assert (facts["standardization_mean"], facts["standardization_std"]) == ([0.0] * 3, [1.0] * 3)
    assert (facts["seg_thresh"], facts["seg_small_segment"]) == (0.0, 0)
    assert facts["tltool_sidecar"] == json.loads((run / "fcn.json").read_text())
    side = facts["tile_size"]
    assert [(x.name, x.shape, x.type) for x in session.get_inputs()] == [
        ("image", [1, 3, side, side], "tensor(float)")
    ]
    assert [(x.name, x.shape) for x in session.get_outputs()] == [
        ("probabilities", [1, 3, side, side])
    ]


@needs_onnx
def test_a_network_that_sees_far_is_exported_with_a_warning(run, tmp_path, caplog):
    (tmp_path / "fcn.keras").write_bytes((run / "fcn.keras").read_bytes())
    far = load_sidecar(run / "fcn.keras").model_copy(update={"reach": (-900, 900), "gsd": None})
    far.save(tmp_path / "fcn.keras")
    done = tltool.export(tmp_path / "fcn.keras", tmp_path / "x.onnx", format="onnx")
    assert "50 % overlap" in done.description
    assert "a cell sees up to 9" in caplog.text
    assert "set the resolution in the plugin by hand" in caplog.text


@needs_onnx
def test_outputs_that_do_not_exclude_each_other_are_a_regressor(tmp_path):
    run = converted_run(tmp_path / "run", ALIVE, SEEN, bands=4)
    done = tltool.export(run, tmp_path / "x.onnx", format="onnx")
    assert "a regressor for tiles of" in done.description
    session = session_of(tmp_path / "x.onnx")
    facts = read_metadata(session)
    assert (facts["model_type"], facts["reg_output_scaling"]) == ("Regressor", 1.0)
    assert facts["class_names"] == [{"0": "alive.yes"}, {"0": "label.boat"}, {"0": "label.person"}]
    assert "resolution" not in facts
    side = facts["tile_size"]
    assert session.get_inputs()[0].shape == [1, 4, side, side]
    assert [x.shape for x in session.get_outputs()] == [[1, 1, side, side]] * 3
    with pytest.raises(UsageError, match="`model_type`: expected regressor, because"):
        tltool.export(run, tmp_path / "y.onnx", format="onnx", model_type="segmentor")


@needs_onnx
def test_a_binary_network_has_two_names_and_a_threshold(tmp_path):
    run = converted_run(tmp_path / "run", ALIVE)
    tltool.export(run, tmp_path / "x.onnx", format="onnx")
    facts = read_metadata(session_of(tmp_path / "x.onnx"))
    assert facts["class_names"] == {"0": "no", "1": "yes"}
    assert facts["seg_thresh"] == 0.5
    tltool.export(run, tmp_path / "x.onnx", format="onnx", model_type="regressor", overwrite=True)
    facts = read_metadata(session_of(tmp_path / "x.onnx"))
    assert (facts["model_type"], facts["class_names"]) == ("Regressor", [{"0": "yes"}])


@needs_onnx
def test_constants_of_a_normalisation_are_inside(tmp_path):
    run = tmp_path / "run"
    small_run(run, ZOO)
    inputs = keras.Input((16, 16, 3))
    x = layers.Normalization(mean=[100.0, 120.0, 140.0], variance=[900.0, 1600.0, 2500.0])(inputs)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 4, strides=4, activation="relu")(x))
    keras.Model(inputs, layers.Dense(3, activation="softmax")(x)).save(run / "model.keras")
    write_bands(run / "a.tif", 3)
    tltool.convert(run, check_image=run / "a.tif", windows=4)
    done = tltool.export(run, tmp_path / "x.onnx", format="onnx", tile=64)
    assert done.difference <= 1e-5
    assert [x.name for x in session_of(tmp_path / "x.onnx").get_inputs()] == ["image"]


def test_wrong_calls_are_refused(run, tmp_path, monkeypatch):
    def refused(kind, message, source=run, out=tmp_path / "out", **more):
        with pytest.raises(kind, match=message):
            tltool.export(source, out, **more)
        assert not (tmp_path / "out").exists()

    onnx, form = tmp_path / "x.onnx", {"format": "openvino"}
    refused(
        UsageError, "`format`: expected one of onnx, openvino, saved_model; received", format="x"
    )
    refused(UsageError, "expected `format='onnx'` beside", format="saved_model", tile=64)
    refused(
        UsageError,
        "expected a folder's name for `format=saved_model`",
        out=onnx,
        format="saved_model",
    )
    refused(
        ModelError,
        "nowhere does not exist: expected an FCN",
        tmp_path / "nowhere",
        format="saved_model",
    )
    refused(
        ModelError, "fcn.keras does not exist.*`tltool.convert`", tmp_path, format="saved_model"
    )
    classifier = run / "model.keras"
    refused(ModelError, "received that of a classifier", classifier, format="saved_model")
    (tmp_path / "alone.keras").write_bytes((run / "fcn.keras").read_bytes())
    refused(ModelError, "alone.json is missing", tmp_path / "alone.keras", format="saved_model")
    (tmp_path / "photos").mkdir()
    with pytest.raises(OutputError, match="photos is no earlier export"):
        tltool.export(run, tmp_path / "photos", format="saved_model", overwrite=True)
    monkeypatch.setattr(export_module, "find_spec", lambda name: None)
    refused(UsageError, r"onnx`: tf2onnx, onnx, onnxruntime is not.*'tltool\[onnx\]'", out=onnx)
    refused(UsageError, r"openvino`: openvino is not installed.*'tltool\[openvino\]'", **form)


@needs_onnx
def test_wrong_options_of_onnx_are_refused(run, tmp_path):
    def refused(message, out="x.onnx", **more):
        with pytest.raises(UsageError, match=message):
            tltool.export(run, tmp_path / out, format="onnx", **more)
        assert list(tmp_path.iterdir()) == []

    refused("`out`: expected a name that ends in .onnx", out="x")
    refused("`tile`: expected [0-9]+ px or more.* received 17", tile=17)
    refused("`model_type`: expected one of segmentor, regressor; received x", model_type="x")


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNet", "EfficientNetB0", "VGG16", "ResNet50"])
@pytest.mark.parametrize("form", ["onnx", "openvino", "saved_model"])
def test_networks_of_every_kind_are_exported(tmp_path, name, form):
    from tltool.fcn.geometry import trace
    from tltool.fcn.surgery import to_fcn
    from tltool.run.sidecar import Sidecar

    classifier = random_classifier(name, 96, alpha=0.25 if name == "MobileNet" else None)
    # Not saturated, so that a difference shows.
    kernel, bias = classifier.layers[-1].get_weights()
    classifier.layers[-1].set_weights([kernel / 20, bias / 20])
    geometry = trace(classifier)
    sidecar = Sidecar(
        classes=["a", "b", "c", "d"],
        patch=96,
        input_side=96,
        stride=geometry.stride,
        offset=0,
        reach=(geometry.first, geometry.last),
    )
    to_fcn(classifier).save(tmp_path / "fcn.keras")
    sidecar.save(tmp_path / "fcn.keras")
    done = tltool.export(tmp_path / "fcn.keras", out_of(tmp_path / "out", form), format=form)
    assert done.difference <= 1e-4
