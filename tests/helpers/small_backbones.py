"""Small networks in the place of backbones, for what does not depend on them.

They are preprocessed, cut and trained as these are, with a few layers and a few thousand weights:
built, traced and saved in a moment.
"""

import contextlib
import dataclasses

import keras
import pytest
from keras import layers

from tltool.models.backbones import BACKBONES


def _vgg16(include_top, weights, input_shape):
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


def _mobilenet(include_top, weights, input_shape, alpha):
    inputs = keras.Input(input_shape)
    width = round(24 * alpha)
    x = layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False, name="conv1")(inputs)
    x = layers.ReLU(name="conv1_relu")(layers.BatchNormalization(name="conv1_bn")(x))
    return keras.Model(inputs, layers.Conv2D(4, 1, strides=16, name="conv_pw_1")(x))


@contextlib.contextmanager
def _in_the_place_of(name, constructor):
    row = dataclasses.replace(BACKBONES[name], constructor=constructor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, name, row)
        yield


def small_vgg16():
    """Let recipes of VGG16 build a convolution for each block."""
    return _in_the_place_of("VGG16", _vgg16)


def small_mobilenet():
    """Let recipes of MobileNet, its alpha given, build two convolutions."""
    return _in_the_place_of("MobileNet", _mobilenet)
