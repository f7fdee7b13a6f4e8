import numpy as np

from tltool.runtime import quiet_import

keras = quiet_import("keras")

from tltool.models.graph import flatten, give_weights  # noqa: E402

IMAGES = np.random.default_rng(0).uniform(0, 255, (3, 6, 6, 3)).astype("float32")


def fitted():
    """A network that begins with what it found of images, as EfficientNet does."""
    front = keras.layers.Normalization()
    front.adapt(IMAGES)
    inputs = keras.Input((6, 6, 3))
    return keras.Model(inputs, keras.layers.Conv2D(2, 3)(front(inputs)))


def test_a_flat_copy_normalises_as_its_original():
    model = fitted()
    np.testing.assert_allclose(flatten(model)(IMAGES), model(IMAGES), atol=1e-5)


def test_given_weights_are_normalised_by():
    model, other = fitted(), keras.layers.Normalization()
    other.build((None, 6, 6, 3))
    give_weights(other, model.layers[1].get_weights())
    np.testing.assert_allclose(other(IMAGES), model.layers[1](IMAGES), atol=1e-5)
