from fractions import Fraction

import numpy as np
import pytest

from tltool.augment import ImageDataGenerator
from tltool.errors import RecipeError
from tltool.runtime import quiet_import

keras = quiet_import("keras")

from tltool.models.normalisation import normalisation_layers  # noqa: E402

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 6, 6, 3), dtype=np.uint8)


def network(settings, images=IMAGES, zoom=Fraction(1)):
    side = int(images.shape[1] * zoom)
    inputs = keras.Input((side, side, images.shape[3]))
    return keras.Model(inputs, normalisation_layers(settings, images, zoom)(inputs))


@pytest.mark.filterwarnings("ignore:.*switches on")
@pytest.mark.parametrize(
    "settings",
    [
        {"rescale": 1 / 255},
        {"samplewise_center": True},
        {"samplewise_std_normalization": True},
        {"featurewise_center": True},
        {"featurewise_std_normalization": True, "rescale": 0.1},
        {"featurewise_std_normalization": True, "samplewise_center": True, "rescale": 2.0},
        {"zca_whitening": True, "zca_epsilon": 1e-2, "rescale": 1 / 255},
    ],
)
@pytest.mark.parametrize("bands", [1, 3])
def test_layers_do_what_the_generator_does(settings, bands):
    images = IMAGES[..., :bands]
    generator = ImageDataGenerator(**settings)
    if set(settings) - {"rescale", "samplewise_center", "samplewise_std_normalization"}:
        generator.fit(images)
    expected = np.stack([generator.standardize(image.astype("float32")) for image in images[:5]])
    found = network(settings, images)(images[:5].astype("float32"))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=2e-4 * scale)


def test_whitened_images_have_the_networks_size():
    model = network({"zca_whitening": True}, zoom=Fraction(2))
    assert model.output.shape == (None, 12, 12, 3)


def test_whitening_of_large_images_is_refused():
    images = np.zeros((2, 48, 48, 3), np.uint8)
    with pytest.raises(RecipeError, match=r"matrix of 6912 x 6912 .* expected 36 px or fewer"):
        network({"zca_whitening": True}, images)


def test_nothing_of_it_trains():
    settings = {"featurewise_std_normalization": True, "zca_whitening": False, "rescale": 0.1}
    assert network(settings).trainable_weights == []
