import re
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from tltool.errors import ConversionError, UsageError
from tltool.runtime import quiet_import

quiet_import("keras")

import keras  # noqa: E402
from keras import layers  # noqa: E402
from networks import random_classifier, varied_images  # noqa: E402
from small_classifiers import noise, shuffle_weights  # noqa: E402

from tltool.fcn.atrous import (  # noqa: E402
    choose_stride,
    possible_strides,
    shift_and_stitch,
    to_dense,
)
from tltool.fcn.geometry import trace  # noqa: E402
from tltool.fcn.surgery import check_equal, to_fcn  # noqa: E402


def classifier(body, side, bands=3):
    inputs = keras.Input((side, side, bands))
    x = body(layers.Rescaling(1 / 128, -1)(inputs))
    return shuffle_weights(keras.Model(inputs, x))


def mean_head(x):
    return layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x))


def padded_body(x):
    """Every sliding layer with 'same' padding, and context enough that none is seen."""
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    x = layers.SeparableConv2D(5, 3, strides=2, padding="same", activation="tanh")(x)
    x = layers.Add()([x, layers.DepthwiseConv2D(3, padding="same")(x)])
    x = layers.AveragePooling2D(3, strides=1, padding="same")(x)
    return mean_head(layers.Cropping2D(4)(x))


def excited_body(x):
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(4, 3, activation="relu")(x)
    gate = layers.Dense(4, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return mean_head(layers.Conv2D(4, 2)(layers.Multiply()([x, gate])))


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_each_fine_cell_is_the_classifier_on_its_window_where_context_covers_the_field(stride):
    model = classifier(padded_body, 80)
    geometry = trace(model)
    assert (geometry.stride, geometry.missing_context) == (8, 0)
    dense = to_dense(to_fcn(model), 80, stride)
    assert check_equal(model, dense) <= 1e-5
    pixels = noise(80 + 11 * stride, 80 + 9 * stride, 3)
    cells = np.asarray(dense(pixels[None]))[0]
    assert cells.shape == (12, 10, 3)
    windows = [
        pixels[stride * row : stride * row + 80, stride * column : stride * column + 80]
        for row, column in np.ndindex(12, 10)
    ]
    expected = np.asarray(model(np.stack(windows))).reshape(cells.shape)
    assert np.ptp(expected, axis=(0, 1)).max() > 1e-3
    np.testing.assert_allclose(cells, expected, atol=1e-5)


def test_a_window_mean_is_dilated_too():
    model = classifier(excited_body, 36)
    fcn, geometry = to_fcn(model), trace(model)
    assert geometry.global_pools
    before = -(-max(0, -geometry.first) // 4) * 4
    after = -(-max(0, geometry.last - 35) // 4) * 4 + 3
    pixels = noise(36 + before + after + 5, 36 + before + after + 7, 3)
    expected = shift_and_stitch(lambda x: np.asarray(fcn(x[None]))[0], pixels, 36, 4, 1)
    dense = to_dense(fcn, 36, 1)
    assert check_equal(model, dense) <= 1e-5
    received = np.asarray(dense(pixels[None]))[0]
    kept = slice(before, -after)
    np.testing.assert_allclose(received[kept, kept], expected[kept, kept], atol=1e-5)


def test_strides_become_one_and_what_is_behind_is_dilated():
    def body(x):
        for _ in range(3):
            x = layers.Conv2D(2, 3, strides=2, activation="relu")(x)
        return mean_head(layers.MaxPooling2D(2)(layers.Conv2D(2, 3)(x)))

    dense = to_dense(to_fcn(classifier(body, 63)), 63, 4)
    convolutions = [x for x in dense.layers if isinstance(x, layers.Conv2D)]
    assert [x.strides[0] for x in convolutions] == [2, 2, 1, 1, 1]
    assert [x.dilation_rate[0] for x in convolutions] == [1, 1, 1, 2, 1]
    # A dilated pool is the maximum of the map and itself moved; plain layers all.
    assert not [x for x in dense.layers if isinstance(x, layers.MaxPooling2D)]
    modules = {type(x).__module__.split(".")[0] for x in dense.layers}
    assert modules == {"keras"}


def test_strides_that_a_network_can_have_are_listed():
    fcn = to_fcn(classifier(padded_body, 80))
    assert possible_strides(fcn, 80) == [8, 4, 2, 1]
    assert to_dense(fcn, 80, 8) is fcn
    with pytest.raises(UsageError, match=r"`stride`: expected one of 8, 4, 2, 1 px, .* received 3"):
        to_dense(fcn, 80, 3)

    def odd(x):
        return mean_head(layers.Conv2D(2, 3, strides=3)(layers.Conv2D(2, 2, strides=2)(x)))

    assert possible_strides(to_fcn(classifier(odd, 24)), 24) == [6, 2, 1]


def test_a_stride_is_given_in_pixels_of_the_image():
    assert choose_stride(2.67, Fraction(3), [32, 16, 8]) == 8
    assert choose_stride(16, Fraction(2), [32, 16, 8]) == 32
    message = re.escape("expected one of 10.67, 5.33, 2.67 px") + ".*received 8.*`mode='patches'`"
    with pytest.raises(UsageError, match=message):
        choose_stride(8, Fraction(3), [32, 16, 8])


def test_what_cannot_be_dilated_is_refused_by_name():
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(2, 2, strides=2)(inputs)
    up = keras.Model(inputs, layers.Conv2D(2, 2, strides=2)(layers.Conv2DTranspose(2, 3)(x)))
    with pytest.raises(ConversionError, match=r"layer conv2d_transpose\w* \(Conv2DTranspose\)"):
        to_dense(up, 32, 2)


@pytest.fixture
def double_precision():
    """Deep random networks blow single precision's rounding up; here only real errors are left."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(policy)


def stitched_and_dense(name, stride):
    """Both on pixels so many that some cells see no padding; those cells."""
    model = random_classifier(name, 96, alpha=0.25 if name == "MobileNet" else None)
    fcn, geometry = to_fcn(model), trace(model)
    own, last = geometry.stride, geometry.last - 95
    before = -(-max(0, -geometry.first) // own) * own // stride
    after = -(-max(0, last) // own) * own // stride + own // stride - 1
    side = 96 + (before + after + 2) * stride
    pixels = varied_images(1, side, 5)[0]
    expected = shift_and_stitch(lambda x: np.asarray(fcn(x[None]))[0], pixels, 96, own, stride)
    dense = to_dense(fcn, 96, stride)
    assert check_equal(model, dense) <= 1e-5
    received = np.asarray(dense(pixels[None]))[0]
    kept = slice(before, -after)
    return received[kept, kept], expected[kept, kept]


@pytest.mark.slow
@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(
    "name",
    [
        "MobileNet",
        "MobileNetV2",
        "VGG16",
        "ResNet50",
        "DenseNet121",
        "EfficientNetB0",
        "EfficientNetLite0",
        "MobileNetV3Small",
        "Xception",
        "ConvNeXtTiny",
    ],
)
def test_backbones_become_denser(name):
    received, expected = stitched_and_dense(name, 16)
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(received, expected, atol=1e-5)


@pytest.mark.slow
def test_a_saved_dense_network_runs_where_tltool_is_not_installed(tmp_path):
    dense = to_dense(to_fcn(classifier(padded_body, 80)), 80, 2)
    dense.save(tmp_path / "dense.keras")
    pixels = noise(1, 90, 84, 3)
    np.save(tmp_path / "image.npy", pixels)
    script = (
        "import sys; sys.modules['tltool'] = None\n"
        "import keras, numpy as np\n"
        "model = keras.saving.load_model('dense.keras', safe_mode=True)\n"
        "np.save('out.npy', model(np.load('image.npy')))\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), dense(pixels), atol=1e-6)
