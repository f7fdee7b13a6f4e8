import keras
import numpy as np
import pytest
from keras import layers

from tltool.explanation.flat import lay_flat
from tltool.explanation.scores import scores_of


def plain(x, **options):
    return layers.Dense(3, name="end", **options)(x)


def joined(x):
    ends = [layers.Dense(2, activation="softmax")(x), layers.Dense(1, activation="sigmoid")(x)]
    return layers.Concatenate()(ends)


# End -> the number of its probabilities that exclude each other; 0: each for itself.
ENDS = {
    "softmax in the layer": (lambda x: plain(x, activation="softmax"), 3),
    "sigmoid in the layer": (lambda x: plain(x, activation="sigmoid"), 0),
    "a layer of its own": (lambda x: layers.Activation("softmax")(plain(x)), 3),
    "Softmax": (lambda x: layers.Softmax()(plain(x)), 3),
    "an operation": (lambda x: keras.ops.softmax(plain(x)), 3),
    "moved about": (
        lambda x: layers.Reshape((3,))(layers.Reshape((1, 3))(plain(x, activation="softmax"))),
        3,
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_scores_are_what_the_activation_takes(name):
    end, exclusive = ENDS[name]
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, end(layers.Flatten()(inputs)))
    flat = lay_flat(model, (4, 4, 1))
    network = keras.Model(flat.inputs, scores_of(flat, flat.output(None)))
    images = np.random.default_rng(0).normal(size=(5, 4, 4, 1))
    kernel, bias = model.get_layer("end").get_weights()
    expected = images.reshape(5, -1) @ kernel + bias
    np.testing.assert_allclose(network.predict(images, verbose=0), expected, atol=1e-5)
    apply = keras.ops.softmax if exclusive else keras.ops.sigmoid
    probabilities = model.predict(images, verbose=0).reshape(5, -1)
    np.testing.assert_allclose(apply(expected), probabilities, atol=1e-5)


def test_joined_outputs_are_taken_apart():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, joined(inputs))
    flat = lay_flat(model, (4,))
    values = np.random.default_rng(0).normal(size=(5, 4))
    scores = keras.Model(flat.inputs, scores_of(flat, flat.output(None))).predict(values, verbose=0)
    told = model.predict(values, verbose=0)
    np.testing.assert_allclose(keras.ops.softmax(scores[:, :2]), told[:, :2], atol=1e-6)
    np.testing.assert_allclose(keras.ops.sigmoid(scores[:, 2:]), told[:, 2:], atol=1e-6)


def test_outputs_that_are_scores_stay():
    inputs = keras.Input((4,))
    flat = lay_flat(keras.Model(inputs, plain(inputs)), (4,))
    assert scores_of(flat, flat.output(None)) is flat.output(None)
