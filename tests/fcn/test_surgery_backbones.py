import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from tltool.runtime import quiet_import

quiet_import("keras")

import keras  # noqa: E402
from keras import layers  # noqa: E402
from networks import calibrate, random_classifier, varied_images  # noqa: E402

from tltool.fcn.geometry import trace  # noqa: E402
from tltool.fcn.surgery import check_equal, to_fcn  # noqa: E402
from tltool.models.backbones import BACKBONES, STRIDE  # noqa: E402
from tltool.raster import ArrayRaster  # noqa: E402
from tltool.tiling.engines import TensorFlowEngine  # noqa: E402
from tltool.tiling.pipeline import EnginePredictor, predict_tiles  # noqa: E402
from tltool.tiling.tiles import Axis, Grid  # noqa: E402

# Those that are quick to build; the others are slow.
QUICK = {"MobileNet"}
ALL = [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in sorted(BACKBONES)]

# Every family whose layers are local; those with the widest surroundings take long.
QUICK_MAPS = ["MobileNet"]
LOCAL = ["EfficientNetLite0", "MobileNetV2", "ResNet50", "ResNet50V2", "VGG16"]
WIDE = [
    "Xception",
    "InceptionV3",
    "DenseNet121",
    "ConvNeXtTiny",
    "NASNetMobile",
    "InceptionResNetV2",
]
SQUEEZING = ["MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0"]


@pytest.fixture
def double_precision():
    """Deep random networks blow single precision's rounding up; here only real errors are left."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(policy)


def squeezing():
    """A classifier with squeeze-and-excitation as in MobileNetV3."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=4, padding="same")(layers.Rescaling(1 / 128, -1)(inputs))
    x = layers.Activation("hard_silu")(layers.BatchNormalization()(x))
    squeezed = layers.Conv2D(2, 1, activation="relu")(
        layers.GlobalAveragePooling2D(keepdims=True)(x)
    )
    x = layers.Multiply()([x, layers.Conv2D(8, 1, activation="hard_sigmoid")(squeezed)])
    x = layers.GlobalAveragePooling2D()(layers.DepthwiseConv2D(3, strides=2, padding="same")(x))
    return calibrate(keras.Model(inputs, layers.Dense(4, activation="softmax")(x)))


def built(name):
    return squeezing() if name == "squeezing" else random_classifier(name, BACKBONES[name].minimum)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("name", ["squeezing", *ALL])
def test_the_fcn_equals_the_classifier_at_its_own_size(name):
    classifier = built(name)
    assert check_equal(classifier, to_fcn(classifier)) <= 1e-5


def _map(classifier, fcn, rows, columns, tile_cells):
    geometry = trace(classifier)
    patch = geometry.side
    shared = (patch, 0, Fraction(1), patch, geometry.stride, geometry.first, geometry.last)
    pixels = varied_images(1, max(rows, columns) * STRIDE, 5)[
        0, : rows * STRIDE, : columns * STRIDE
    ]
    image = ArrayRaster(pixels.astype(np.uint8))
    axes = Axis(image.height, *shared), Axis(image.width, *shared)
    grid = Grid(*axes)
    result = np.full((4, axes[0].cells, axes[1].cells), np.nan, np.float32)
    length = axes[0].input_length(tile_cells)
    for tile, values in predict_tiles(
        image, grid.tiles(length), EnginePredictor(TensorFlowEngine(fcn), Fraction(1))
    ):
        rows_of = slice(tile.y.cell, tile.y.cell + tile.y.cells)
        result[:, rows_of, tile.x.cell : tile.x.cell + tile.x.cells] = values
    return result


@pytest.mark.parametrize(
    ("name", "columns"),
    [(name, 3) for name in QUICK_MAPS]
    + [pytest.param(name, 1, marks=pytest.mark.slow) for name in LOCAL + WIDE + SQUEEZING],
)
def test_the_tiled_map_equals_the_map_in_one_piece(name, columns):
    classifier = random_classifier(name, BACKBONES[name].minimum)
    # Scores, so that no softmax hides a difference by saturation.
    classifier.layers[-1].activation = keras.activations.linear
    fcn = to_fcn(classifier)
    whole = _map(classifier, fcn, 5, columns, 64)
    tiled = _map(classifier, fcn, 5, columns, 2)
    centre, spread = whole.mean(), whole.std(axis=(1, 2)).max()
    assert spread > 1e-2

    def probabilities(scores):
        return keras.ops.softmax((scores - centre) / spread, axis=0)

    difference = np.abs(probabilities(tiled) - probabilities(whole))
    assert difference.max() <= 1e-5


SLOW = ["MobileNetV3Small", "ConvNeXtTiny", "InceptionResNetV2"]


@pytest.mark.parametrize(
    "name", ["squeezing", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_a_saved_fcn_runs_where_tltool_is_not_installed(name, tmp_path):
    classifier = built(name)
    side = classifier.inputs[0].shape[1]
    to_fcn(classifier).save(tmp_path / "fcn.keras")
    image = np.random.default_rng(1).uniform(0, 255, (1, side, side, 3)).astype("float32")
    np.save(tmp_path / "image.npy", image)
    script = (
        "import sys; sys.modules['tltool'] = None\n"
        "import keras, numpy as np\n"
        "model = keras.saving.load_model('fcn.keras', safe_mode=True)\n"
        "np.save('out.npy', model(np.load('image.npy')))\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    received = np.load(tmp_path / "out.npy")[:, 0, 0]
    np.testing.assert_allclose(received, classifier(image), rtol=0, atol=1e-5)
