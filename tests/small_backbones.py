"""A small network in the place of VGG16, for what does not depend on the backbone.

It is preprocessed, cut and trained as VGG16 is, and has its blocks, but a convolution in each and
a few thousand weights: built, traced and saved in a moment.
"""

import contextlib
import dataclasses

import keras
import pytest
from keras import layers

from tltool.models.backbones import BACKBONES


def _few_layers(include_top, weights, input_shape):
    x = inputs = keras.Input(input_shape)
    # Its pixels are not scaled: answers of about 1 keep a head from saturating.
    start = keras.initializers.RandomNormal(stddev=0.003)
    for block, width in enumerate((8, 16, 16, 32, 64), 1):
        convolution = layers.Conv2D(
            width,
            3,
            padding="same",
            activation="relu",
            kernel_initializer=start if block == 1 else "he_normal",
            name=f"block{block}_conv1",
        )
        x = convolution(x)
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
    return keras.Model(inputs, x)


@contextlib.contextmanager
def small_vgg16():
    """Let recipes of VGG16 build the small network."""
    row = dataclasses.replace(BACKBONES["VGG16"], constructor=_few_layers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "VGG16", row)
        yield
