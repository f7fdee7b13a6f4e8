"""The engines tell alike, and say what they are."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from tltool.errors import ModelError, UsageError
from tltool.runtime import quiet_import

quiet_import("keras")

import keras  # noqa: E402
from keras import layers  # noqa: E402
from networks import random_classifier, varied_images  # noqa: E402
from small_runs import ALIVE, SEEN, ZOO, small_model  # noqa: E402

from tltool.fcn.atrous import to_dense  # noqa: E402
from tltool.fcn.single import as_single  # noqa: E402
from tltool.fcn.surgery import to_fcn  # noqa: E402
from tltool.models.backbones import BACKBONES  # noqa: E402
from tltool.run import map_options  # noqa: E402
from tltool.run.map_options import PRECISIONS  # noqa: E402
from tltool.tiling.engines import (  # noqa: E402
    ShiftAndStitchEngine,
    TensorFlowEngine,
    make_engine,
    resolve_engine,
)

has_openvino = importlib.util.find_spec("openvino") is not None
needs_openvino = pytest.mark.skipif(not has_openvino, reason="openvino is not installed")
NAMES = ["tensorflow", pytest.param("openvino", marks=needs_openvino)]
INSTALLED = ["tensorflow", *(["openvino"] if has_openvino else [])]


@pytest.fixture(scope="module")
def fcn():
    tasks = [ZOO, ALIVE, SEEN]
    return to_fcn(as_single(small_model(tasks), [task.name for task in tasks]))


def pixels_of(height, width, seed=0, dtype="uint8"):
    side = max(height, width)
    return varied_images(1, side, seed)[0, :height, :width].astype(dtype)


def told_by(model, pixels):
    return np.asarray(model(pixels[None].astype("float32"), training=False))[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_an_engine_tells_what_the_network_tells_for_tiles_of_any_size(fcn, name, dtype):
    engine = make_engine(name, fcn, dtype)
    assert (engine.name, engine.precision) == (name, "f32")
    kept = []
    for height, width in ((40, 64), (16, 16), (64, 40), (40, 64)):
        pixels = pixels_of(height, width, height, dtype)
        received, expected = engine(pixels), told_by(fcn, pixels)
        kept.append((received, expected))
        assert received.dtype == np.float32
        assert received.shape == expected.shape
        assert np.ptp(expected) > 0.01
    # The next tile leaves an earlier one's answer alone.
    for received, expected in kept:
        np.testing.assert_allclose(received, expected, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_windows_of_an_image_are_taken_as_they_lie(fcn, name):
    image = pixels_of(48, 48)
    engine = make_engine(name, fcn)
    window = image[8:32, 4:44]
    assert not window.flags.c_contiguous
    np.testing.assert_allclose(engine(window), engine(window.copy()), atol=1e-6)
    np.testing.assert_allclose(engine(window), told_by(fcn, window), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_lower_precision_differs_little_and_is_named(fcn, caplog, name, precision):
    engine = make_engine(name, fcn, precision=precision)
    pixels = pixels_of(64, 64)
    received, expected = engine(pixels), told_by(fcn, pixels)
    assert received.dtype == np.float32
    # A short type has 8 or 11 bits.
    assert np.abs(received - expected).max() < 0.05
    assert engine.precision in PRECISIONS
    if engine.precision != "f32":
        assert np.abs(received - expected).max() > 1e-5
    told = f"`precision={precision!r}`: this processor's" in caplog.text
    assert told == (engine.precision != precision)


def test_mixed_precision_computes_in_the_short_type_and_tells_in_float32(fcn):
    from tltool.tiling.engines import in_precision

    mixed = in_precision(fcn, "bf16")
    computed = {layer.compute_dtype for layer in mixed.layers if layer.weights}
    assert "bfloat16" in computed
    assert mixed.outputs[0].dtype == "float32"
    assert in_precision(fcn, "f32") is fcn
    for own, copy in zip(fcn.weights, mixed.weights, strict=True):
        np.testing.assert_array_equal(own, copy)


def squeezing_network():
    """A classifier with squeeze-and-excitation, whose pool becomes a window kept at the borders."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 128, -1)(inputs)
    x = layers.Conv2D(6, 3, strides=4, padding="same", activation="relu")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(6, 1, activation="sigmoid")(gate)
    x = layers.GlobalAveragePooling2D()(layers.Multiply()([x, gate]))
    return keras.Model(inputs, layers.Dense(3)(x))


def check_alike(fcn, side):
    pixels = pixels_of(side + 32, side + 64)
    expected = told_by(fcn, pixels)
    received = make_engine("openvino", fcn)(pixels)
    assert received.shape == expected.shape
    assert expected.std() > 0.01
    # Deep random networks blow rounding up.
    assert np.abs(received - expected).max() < 1e-3 * expected.std()


@needs_openvino
def test_openvino_runs_pools_that_are_kept_inside_the_map():
    check_alike(to_fcn(squeezing_network()), 32)


# The smallest of each family.
FAMILIES = (
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetLite0",
    "EfficientNetV2B0",
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "Xception",
)


@needs_openvino
@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_openvino_runs_the_fcn_of_every_family(name):
    side = max(96, BACKBONES[name].minimum)
    classifier = random_classifier(name, side)
    # Scores, so that no softmax hides a difference by saturation.
    classifier.layers[-1].activation = keras.activations.linear
    check_alike(to_fcn(classifier), side)


@needs_openvino
def test_openvino_runs_a_dense_network_and_shifts(fcn):
    pixels = pixels_of(47, 63)
    dense = make_engine("openvino", to_dense(fcn, 16, 2))(pixels)
    expected = TensorFlowEngine(to_dense(fcn, 16, 2))(pixels)
    np.testing.assert_allclose(dense, expected, atol=1e-6)
    shifting = ShiftAndStitchEngine(make_engine("openvino", fcn), 16, 4, 2)
    assert (shifting.name, shifting.precision) == ("openvino", "f32")
    np.testing.assert_allclose(shifting(pixels), expected, atol=1e-6)


@needs_openvino
def test_what_openvino_cannot_convert_is_said_and_auto_takes_tensorflow(caplog):
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(2, 4, strides=4)(inputs)
    model = keras.Model(inputs, keras.ops.erfinv(keras.ops.tanh(x)), name="odd")
    with pytest.raises(
        ModelError, match=r"cannot convert the network odd: .*`engine='tensorflow'`"
    ):
        make_engine("openvino", model)
    engine = make_engine("auto", model)
    assert engine.name == "tensorflow"
    # Which it could not be, had OpenVINO's changes to the root logger stayed.
    assert "OpenVINO cannot convert the network odd" in caplog.text


def test_auto_takes_openvino_on_a_cpu_where_it_is_installed(monkeypatch):
    assert resolve_engine("auto") == INSTALLED[-1]
    monkeypatch.setattr(map_options, "has_openvino", lambda: False)
    assert resolve_engine("auto") == "tensorflow"


def test_wrong_choices_are_refused(fcn, monkeypatch):
    with pytest.raises(
        UsageError, match="`engine`: expected one of auto, tensorflow, openvino; received torch"
    ):
        make_engine("torch", fcn)
    with pytest.raises(UsageError, match="`precision`: expected one of f32, bf16, f16; received 8"):
        make_engine("auto", fcn, precision="8")
    monkeypatch.setattr(map_options, "has_openvino", lambda: False)
    with pytest.raises(UsageError, match=r"pip install 'tltool\[openvino\]'"):
        resolve_engine("openvino")


def in_process(code):
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_the_choice_of_an_engine_is_checked_without_importing_anything_heavy():
    heavy = ("keras", "tensorflow", "openvino", "numpy")
    code = (
        "import sys; from tltool.run.map_options import ENGINE_CHOICES, PRECISIONS, check_engine\n"
        f"check_engine('tensorflow'); print([m for m in {heavy!r} if m in sys.modules])"
    )
    assert in_process(code) == "[]"


@needs_openvino
def test_openvino_reports_to_nobody():
    from tltool.tiling.engines import import_openvino

    import_openvino()
    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__.endswith("telemetry_stub")
