"""A network of two filters, small enough to be solved on paper."""

import keras
import numpy as np
from keras import layers

IMAGE = np.array([[1, 2], [3, 4]], "float32")[None, ..., None]
# A^1 = ReLU(x - 1) = [[0, 1], [2, 3]], A^2 = ReLU(3 - x) = [[2, 1], [0, 0]]
FILTERS = [np.array([[[[1, -1]]]], "float32"), np.array([-1, 3], "float32")]
# dy/dA of output 0: g^1 = [[1, 0], [2, -1]], g^2 = [[0, 2], [-5, 1]]
GRADIENT = np.array([[[1, 0], [0, 2]], [[2, -5], [-1, 1]]], "float32")


def two_filters():
    """(2, 2, 1) images -> two probabilities; the score of the first is sum(g A) + 7."""
    inputs = keras.Input((2, 2, 1))
    x = layers.Conv2D(2, 1, activation="relu", name="filters")(inputs)
    outputs = layers.Dense(2, activation="softmax", name="scores")(layers.Flatten()(x))
    model = keras.Model(inputs, outputs)
    model.get_layer("filters").set_weights(FILTERS)
    kernel = np.stack([GRADIENT.reshape(-1), np.linspace(-1, 1, 8)], axis=1)
    model.get_layer("scores").set_weights([kernel, np.array([7, 0])])
    return model
