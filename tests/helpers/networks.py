"""Random networks that behave like trained ones: statistics calibrated, answers that differ."""

import keras
import numpy as np

from tltool.models.network import build_classifier
from tltool.recipe import BackboneRecipe


def varied_images(number: int, side: int, seed: int = 0) -> np.ndarray:
    """Images of large and small blobs: (number, side, side, 3) float32 in 0..255."""
    rng = np.random.default_rng(seed)
    images = np.zeros((number, side, side, 3))
    for grid in (2, 5, 11, side):
        coarse = rng.uniform(0, 255, (number, grid, grid, 3))
        index = np.arange(side) * grid // side
        images += coarse[:, index][:, :, index] / 4
    return images.astype("float32")


def calibrate(model: keras.Model, seed: int = 0) -> keras.Model:
    """Give BatchNormalization the statistics of random images, and the last layer some contrast."""
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    images = varied_images(48, model.inputs[0].shape[1], seed)
    for layer in norms:
        layer.momentum = 0.0
    model(images, training=True)
    last = model.layers[-1]
    kernel, bias = last.get_weights()
    scores = np.asarray(keras.Model(model.inputs[0], last.input)(images)) @ kernel
    spread = scores.std(axis=0).mean()
    last.set_weights([kernel / spread, bias - scores.mean(axis=0) / spread])
    return model


def random_classifier(name, patch, classes=4, alpha=None, **more) -> keras.Model:
    """A calibrated classifier on a backbone of keras.applications."""
    keras.utils.set_random_seed(3)
    recipe = BackboneRecipe(name=name, weights="none", alpha=alpha)
    return calibrate(build_classifier(classes, patch, backbone=recipe, **more).model)
