"""Small classifiers of the layers that trained ones are made of, with weights away from zero."""

import keras
import numpy as np
from hypothesis import strategies as st
from keras import layers


def shuffle_weights(model, seed=0):
    """Weights of every kind, biases and statistics included, away from their initial zeros."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        values = rng.normal(0.1, 0.3, weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def noise(*shape, seed=0):
    """Pixels, 0..255."""
    return np.random.default_rng(seed).uniform(0, 255, shape).astype("float32")


def _pooled_both(x):
    pools = [layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)]
    return layers.Dense(3)(layers.Concatenate()(pools))


def _dense_stack(x):
    x = layers.BatchNormalization()(layers.Dense(5, activation="relu")(layers.Flatten()(x)))
    return layers.Dense(3, activation="softmax")(layers.Dropout(0.5)(x))


def _normalised(x):
    x = layers.PReLU()(layers.Dense(4)(layers.GlobalAveragePooling2D(keepdims=True)(x)))
    return layers.Dense(3, activation="sigmoid")(layers.LayerNormalization()(layers.Flatten()(x)))


def _fully_pooled(x):
    x = layers.Conv2D(3, 1)(x)
    x = layers.AveragePooling2D(tuple(x.shape[1:3]))(x)
    return layers.Activation("softmax")(layers.Flatten()(x))


def _reshaped(x):
    x = layers.Reshape((1, 1, x.shape[-1]))(layers.GlobalAveragePooling2D()(x))
    return layers.Reshape((3,))(layers.Softmax()(layers.Conv2D(3, 1)(x)))


HEADS = [_pooled_both, _dense_stack, _normalised, _fully_pooled, _reshaped]


@st.composite
def classifiers(draw, paddings=("same", "valid")):
    """Random small classifiers; their strides are powers of two."""
    padding = st.sampled_from(paddings)

    def convolution(x):
        size, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        dilation = 1 if stride > 1 else draw(st.integers(1, 2))
        kind = draw(st.sampled_from([layers.Conv2D, layers.SeparableConv2D]))
        x = kind(3, size, strides=stride, padding=draw(padding), dilation_rate=dilation)(x)
        return layers.PReLU(shared_axes=[1, 2])(layers.SpatialDropout2D(0.2)(x))

    def depthwise(x):
        x = layers.DepthwiseConv2D(3, strides=draw(st.integers(1, 2)), padding=draw(padding))(x)
        return layers.ReLU()(layers.BatchNormalization()(x))

    def pool(x):
        kind = draw(st.sampled_from([layers.MaxPooling2D, layers.AveragePooling2D]))
        return kind(draw(st.integers(2, 3)), strides=2, padding=draw(padding))(x)

    def residual(x):
        y = layers.GaussianDropout(0.1)(layers.Conv2D(x.shape[-1], 3, padding="same")(x))
        return layers.Add()([x, layers.Activation("tanh")(y)])

    inputs = keras.Input((draw(st.integers(24, 31)),) * 2 + (draw(st.sampled_from([1, 3, 12])),))
    bodies = [convolution, depthwise, pool] + [residual] * ("same" in paddings)
    x = layers.Rescaling(1 / 128, -1.0)(inputs)
    for body in draw(st.lists(st.sampled_from(bodies), min_size=1, max_size=4)):
        # Smaller maps than the widest window end here.
        x = body(x) if x.shape[1] >= 5 else x
    outputs = draw(st.sampled_from(HEADS))(x)
    return shuffle_weights(keras.Model(inputs, outputs), draw(st.integers(0, 99)))
