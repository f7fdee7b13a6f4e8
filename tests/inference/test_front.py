"""What an ImageDataGenerator normalises, in front of a classifier that is converted."""

import numpy as np
import pytest

from tltool.errors import ConversionError
from tltool.runtime import quiet_import

quiet_import("keras")

import keras  # noqa: E402
from keras import layers  # noqa: E402

from tltool.fcn.geometry import trace  # noqa: E402
from tltool.fcn.surgery import check_equal, to_fcn  # noqa: E402
from tltool.models.normalisation import normalisation_layers  # noqa: E402

SIDE = 16
IMAGES = np.random.default_rng(0).integers(0, 256, (20, SIDE, SIDE, 3), dtype=np.uint8)


def classifier(settings, bands=3):
    """Without padding, so that a map's cell is the classifier on its window or is not."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((SIDE, SIDE, bands))
    x = normalisation_layers(settings, IMAGES[..., :bands])(inputs)
    x = layers.Conv2D(6, 3, strides=2, activation="relu")(layers.Rescaling(1 / 50)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


def difference_over_an_image(model):
    """Of the map's cells from the classifier on their windows; the classifier's spread."""
    rng = np.random.default_rng(1)
    # Neighbouring windows of other brightness.
    image = rng.integers(0, 256, (40, 44, 3)) * np.linspace(0.1, 1, 44)[:, None]
    image = image.astype("float32")[..., : model.inputs[0].shape[-1]]
    cells = np.asarray(to_fcn(model)(image[None]))[0]
    windows = [
        image[2 * row : 2 * row + SIDE, 2 * column : 2 * column + SIDE]
        for row, column in np.ndindex(cells.shape[:2])
    ]
    expected = np.asarray(model(np.stack(windows))).reshape(cells.shape)
    return np.abs(cells - expected).max(), np.ptp(expected, axis=(0, 1)).max()


@pytest.mark.parametrize(
    "settings",
    [
        {"rescale": 1 / 255},
        {"featurewise_center": True},
        {"featurewise_center": True, "featurewise_std_normalization": True},
        {"rescale": 1 / 255, "featurewise_center": True, "featurewise_std_normalization": True},
    ],
)
@pytest.mark.parametrize("bands", [1, 3])
def test_what_is_alike_for_all_patches_converts_exactly(settings, bands):
    model = classifier(settings, bands)
    assert check_equal(model, to_fcn(model)) <= 1e-5
    geometry = trace(model)
    assert (geometry.first, geometry.last, geometry.global_pools) == (0, 14, False)
    difference, spread = difference_over_an_image(model)
    assert difference <= 1e-5 < spread


@pytest.mark.parametrize("also", [{}, {"rescale": 1 / 255}])
def test_a_patchs_own_mean_becomes_that_of_a_window_around_each_pixel(also):
    model = classifier({"samplewise_center": True, **also})
    assert check_equal(model, to_fcn(model)) <= 1e-5
    geometry = trace(model)
    assert geometry.global_pools
    # A window of 16 px around each of the 15 px that the convolution sees.
    assert (geometry.first, geometry.last) == (-7, 22)
    difference, _ = difference_over_an_image(model)
    assert difference > 1e-5


def test_an_image_of_one_brightness_is_nothing_to_its_own_mean():
    model = classifier({"samplewise_center": True})
    cells = np.asarray(to_fcn(model)(np.full((1, 40, 40, 3), 77, "float32")))
    expected = np.asarray(model(np.full((1, SIDE, SIDE, 3), 200, "float32")))
    np.testing.assert_allclose(cells, np.broadcast_to(expected, cells.shape), atol=1e-5)


@pytest.mark.filterwarnings("ignore:.* switches on")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"samplewise_std_normalization": True},
            r"layer normalisation_image \(LayerNormalization\) cannot be converted: expected it to"
            r" work along the last axis, received \[1, 2, 3\]\. Over positions, as"
            r" samplewise_std_normalization has it, .* Train without it",
        ),
        (
            {"zca_whitening": True},
            r"layer normalisation_image_again \(Reshape\) cannot be converted: it makes a map of a"
            r" vector, as whitening \(zca_whitening\) does, .* Train without it",
        ),
    ],
)
def test_what_each_patch_has_of_its_own_is_refused_by_name(settings, message):
    with pytest.raises(ConversionError, match=message):
        to_fcn(classifier(settings))
