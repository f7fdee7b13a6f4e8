import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tltool.errors import ConversionError
from tltool.runtime import quiet_import

quiet_import("keras")

import keras  # noqa: E402
from keras import layers, ops  # noqa: E402
from small_classifiers import noise, shuffle_weights  # noqa: E402

from tltool.fcn.geometry import trace  # noqa: E402
from tltool.fcn.surgery import check_equal, to_fcn  # noqa: E402
from tltool.models.graph import flatten  # noqa: E402

SIDE = 12


def functional(body, side=SIDE, bands=3):
    inputs = keras.Input((side, side, bands))
    return shuffle_weights(keras.Model(inputs, body(inputs)))


def stem(x):
    x = layers.Conv2D(5, 3, padding="same", activation="relu")(x)
    return layers.MaxPooling2D(2)(x)


def softmax(x):
    return layers.Dense(3, activation="softmax")(x)


def nested(x):
    inner = keras.Input((SIDE, SIDE, 3))
    backbone = keras.Model(inner, stem(inner))
    return softmax(layers.GlobalAveragePooling2D()(backbone(x, training=False)))


def squeeze(x):
    x = stem(x)
    gate = layers.GlobalAveragePooling2D()(x)
    gate = layers.Reshape((1, 1, 5))(gate)
    gate = layers.Conv2D(5, 1, activation="sigmoid")(gate)
    return softmax(layers.GlobalAveragePooling2D()(layers.Multiply()([x, gate])))


HEADS = {
    "flatten, dense": lambda x: softmax(layers.Flatten()(stem(x))),
    "flatten, dense stack": lambda x: softmax(
        layers.Dropout(0.5)(layers.Dense(7, activation="relu")(layers.Flatten()(stem(x))))
    ),
    "dropout before flatten's dense": lambda x: softmax(
        layers.Dropout(0.5)(layers.Flatten()(stem(x)))
    ),
    "activation after flatten": lambda x: softmax(layers.ReLU()(layers.Flatten()(stem(x)))),
    "normalisation after flatten": lambda x: softmax(
        layers.BatchNormalization()(layers.Flatten()(stem(x)))
    ),
    "two normalisations after flatten": lambda x: softmax(
        layers.BatchNormalization(scale=False)(
            layers.BatchNormalization(center=False)(layers.Flatten()(stem(x)))
        )
    ),
    "normalisation after dense": lambda x: softmax(
        layers.BatchNormalization()(layers.Dense(7)(layers.Flatten()(stem(x))))
    ),
    "layer normalisation after dense": lambda x: softmax(
        layers.LayerNormalization()(layers.Dense(7)(layers.GlobalAveragePooling2D()(stem(x))))
    ),
    "no bias": lambda x: layers.Softmax()(
        layers.Dense(3, use_bias=False)(layers.Flatten()(stem(x)))
    ),
    "mean": lambda x: softmax(layers.GlobalAveragePooling2D()(stem(x))),
    "maximum": lambda x: softmax(layers.GlobalMaxPooling2D()(stem(x))),
    "keepdims": lambda x: softmax(
        layers.Flatten()(layers.GlobalAveragePooling2D(keepdims=True)(stem(x)))
    ),
    "whole-map pool": lambda x: softmax(layers.Flatten()(layers.AveragePooling2D(6)(stem(x)))),
    "whole-map pool that does not divide": lambda x: softmax(
        layers.Flatten()(layers.MaxPooling2D(5)(stem(x)))
    ),
    "mean and maximum": lambda x: softmax(
        layers.Concatenate()(
            [layers.GlobalAveragePooling2D()(stem(x)), layers.GlobalMaxPooling2D()(stem(x))]
        )
    ),
    "convolution, mean, softmax": lambda x: layers.Activation("softmax")(
        layers.GlobalAveragePooling2D()(layers.Conv2D(3, 1)(stem(x)))
    ),
    "reshape, 1x1, reshape, softmax": lambda x: layers.Activation("softmax")(
        layers.Reshape((3,))(
            layers.Conv2D(3, 1)(layers.Reshape((1, 1, 5))(layers.GlobalAveragePooling2D()(stem(x))))
        )
    ),
    "softmax before reshape": lambda x: layers.Reshape((3,))(
        layers.Activation("softmax")(
            layers.Conv2D(3, 1)(layers.GlobalAveragePooling2D(keepdims=True)(stem(x)))
        )
    ),
    "slopes": lambda x: softmax(
        layers.PReLU()(layers.Dense(4)(layers.GlobalAveragePooling2D()(stem(x))))
    ),
    "slopes shared over positions": lambda x: softmax(
        layers.Flatten()(layers.PReLU(shared_axes=[1, 2])(stem(x)))
    ),
    "sigmoid": lambda x: layers.Dense(3, activation="sigmoid")(layers.Flatten()(stem(x))),
    "scores": lambda x: layers.Dense(3)(layers.GlobalAveragePooling2D()(stem(x))),
    "rescaling and normalisation in front": lambda x: softmax(
        layers.Flatten()(
            stem(layers.Normalization(mean=3.0, variance=2.0)(layers.Rescaling(0.1)(x)))
        )
    ),
    "context": lambda x: softmax(layers.GlobalAveragePooling2D()(layers.Cropping2D(2)(stem(x)))),
    "nested": nested,
    "squeeze and excitation": squeeze,
    "operations": lambda x: softmax(layers.GlobalAveragePooling2D()(ops.relu(stem(x) + 3.0) / 6.0)),
    "reshape as flatten": lambda x: softmax(layers.Reshape((180,))(stem(x))),
    "dropout of every kind": lambda x: softmax(
        layers.AlphaDropout(0.1)(
            layers.GaussianDropout(0.1)(
                layers.Flatten()(layers.SpatialDropout2D(0.1)(layers.GaussianNoise(0.1)(stem(x))))
            )
        )
    ),
    "augmentation in front": lambda x: softmax(
        layers.Flatten()(
            stem(layers.RandomZoom(0.2)(layers.RandomRotation(0.1)(layers.RandomFlip()(x))))
        )
    ),
    "pooled with strides, then flattened": lambda x: softmax(
        layers.Flatten()(layers.AveragePooling2D(4, strides=2)(stem(x)))
    ),
    "pools that do not divide": lambda x: softmax(
        layers.Flatten()(layers.MaxPooling2D(2)(layers.MaxPooling2D(5, strides=3)(x)))
    ),
    "softmax over bands of a map, then its mean": lambda x: layers.GlobalAveragePooling2D()(
        layers.Activation("softmax")(layers.Conv2D(3, 1)(stem(x)))
    ),
    "mean with keepdims, normalised, dense": lambda x: layers.Flatten()(
        layers.Dense(3, activation="softmax")(
            layers.BatchNormalization()(layers.GlobalAveragePooling2D(keepdims=True)(stem(x)))
        )
    ),
    "separable and depthwise": lambda x: softmax(
        layers.GlobalAveragePooling2D()(
            layers.SeparableConv2D(4, 3)(layers.DepthwiseConv2D(3, strides=2, padding="same")(x))
        )
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_convert_exactly(name):
    model = functional(HEADS[name])
    fcn = to_fcn(model)
    assert check_equal(model, fcn) <= 1e-5
    assert fcn.output_shape == (None, None, None, 3)


@pytest.mark.parametrize("bands", [1, 3, 12])
def test_any_number_of_bands_with_a_fitted_normalisation(bands):
    front = layers.Normalization()
    model = functional(lambda x: softmax(layers.Flatten()(stem(front(x)))), bands=bands)
    front.adapt(noise(4, SIDE, SIDE, bands))
    assert check_equal(model, to_fcn(model)) <= 1e-5


def test_models_nested_three_deep_convert():
    model = functional(stem)
    for _ in range(3):
        model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), model])
    model.add(layers.GlobalMaxPooling2D())
    model.add(keras.Sequential([layers.Dense(4, activation="relu"), layers.Dense(2)]))
    assert check_equal(model, to_fcn(shuffle_weights(model))) <= 1e-5


def test_a_sequential_with_a_nested_sequential_converts():
    features = keras.Sequential([keras.Input((SIDE, SIDE, 3)), layers.Conv2D(4, 3, strides=2)])
    model = keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), features, layers.Flatten(), layers.Dense(2)]
    )
    shuffle_weights(model)
    assert check_equal(model, to_fcn(model)) <= 1e-5


def test_a_layer_used_twice_is_copied_once():
    twice = layers.Conv2D(3, 3, padding="same")
    model = functional(lambda x: softmax(layers.GlobalAveragePooling2D()(twice(twice(x)))))
    fcn = to_fcn(model)
    assert check_equal(model, fcn) <= 1e-5
    assert len(fcn.weights) == len(model.weights)


def test_what_cannot_convert_is_refused_by_the_layers_name():
    cases = [
        (
            lambda x: softmax(layers.Flatten()(layers.Permute((2, 1, 3), name="turn")(stem(x)))),
            r"layer turn \(Permute\) cannot be converted: it is not known to treat every position",
        ),
        (
            lambda x: softmax(layers.Flatten()(layers.Reshape((9, 20), name="mix")(stem(x)))),
            r"layer mix \(Reshape\) cannot be converted: it rearranges positions, from \(6, 6, 5\)",
        ),
        (
            lambda x: softmax(layers.LayerNormalization(name="norm")(layers.Flatten()(stem(x)))),
            r"layer norm .* stands between Flatten and the Dense layer",
        ),
        (
            lambda x: softmax(layers.Flatten()(layers.PReLU(name="each")(stem(x)))),
            r"layer each \(PReLU\) cannot be converted: it has a slope for each position",
        ),
        (lambda x: layers.Conv2D(3, 1)(stem(x)), r"expected one vector of class scores at the end"),
        (
            lambda x: layers.Flatten(name="all")(stem(x)),
            r"layer all \(Flatten\) cannot be converted: no Dense layer follows",
        ),
        (
            lambda x: softmax(layers.LSTM(4)(layers.Reshape((36, 5), name="in_turn")(stem(x)))),
            r"layer in_turn \(Reshape\) cannot be converted: it rearranges positions",
        ),
        (
            lambda x: softmax(
                layers.GlobalAveragePooling2D()(
                    layers.MultiHeadAttention(1, 4, attention_axes=(1, 2), name="look")(
                        *[stem(x)] * 2
                    )
                )
            ),
            r"layer look \(MultiHeadAttention\) cannot be converted: it is not known",
        ),
        (
            lambda x: softmax(layers.Flatten()(layers.Conv2DTranspose(2, 3, name="up")(stem(x)))),
            r"layer up \(Conv2DTranspose\) cannot be converted: it is not known",
        ),
        (
            lambda x: softmax(layers.Dense(5, name="all_at_once")(layers.Flatten()(x))),
            r"layer all_at_once \(Dense\) cannot be converted: it looks at the whole image at once",
        ),
        (
            lambda x: softmax(
                layers.Flatten()(stem(layers.Normalization(axis=(1, 2, 3), name="front")(x)))
            ),
            r"layer front \(Normalization\) cannot be converted: it has a mean for each position",
        ),
        (
            lambda x: softmax(layers.Flatten()(ops.add(stem(x), np.ones((6, 6, 1), "float32")))),
            r"layer add\w* \(Add\) cannot be converted: it has a number for each position",
        ),
        (
            lambda x: softmax(
                layers.Flatten()(layers.Conv2D(2, 3, data_format="channels_first", name="first")(x))
            ),
            r"layer first \(Conv2D\) cannot be converted: expected bands on the last axis",
        ),
    ]
    for body, message in cases:
        with pytest.raises(ConversionError, match=message) as raised:
            to_fcn(functional(body))
        if "layer" in message[:5]:
            assert "`tltool.heatmap(mode='patches')`: slower" in str(raised.value)


def test_a_free_input_size_is_refused():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, softmax(layers.GlobalAveragePooling2D()(inputs)))
    with pytest.raises(ConversionError, match="expected one image input of fixed size"):
        to_fcn(model)


def test_a_wrong_network_does_not_pass_the_check():
    model = functional(HEADS["scores"])
    fcn = to_fcn(model)
    fcn.weights[0].assign(fcn.weights[0] + 0.01)
    with pytest.raises(ConversionError, match=r"differs from the classifier by .* at most 1e-05"):
        check_equal(model, fcn)


def test_a_map_cell_is_the_classifier_on_its_window_where_nothing_is_padded():
    def body(x):
        x = layers.Conv2D(4, 3, strides=2, activation="relu")(x)
        return softmax(layers.Flatten()(layers.AveragePooling2D(2)(x)))

    model = functional(body)
    image = np.random.default_rng(1).uniform(0, 1, (1, 40, 44, 3)).astype("float32")
    cells = np.asarray(to_fcn(model)(image))[0]
    stride = trace(flatten(model)).stride
    assert stride == 4
    for row, column in np.ndindex(cells.shape[:2]):
        top, left = row * stride, column * stride
        window = image[:, top : top + SIDE, left : left + SIDE]
        np.testing.assert_allclose(cells[row, column], model(window)[0], atol=1e-6)


@st.composite
def networks(draw):
    """Small classifiers with the sliding layers of real ones, all weights positive."""
    padding = st.sampled_from(["same", "valid"])

    def convolution(x):
        dilation = draw(st.sampled_from([1, 1, 2]))
        stride = 1 if dilation > 1 else draw(st.integers(1, 2))
        size = draw(st.integers(1, 3))
        return layers.Conv2D(
            2, size, strides=stride, padding=draw(padding), dilation_rate=dilation
        )(x)

    def depthwise(x):
        return layers.DepthwiseConv2D(3, strides=draw(st.integers(1, 2)), padding=draw(padding))(x)

    def pool(x):
        kind = draw(st.sampled_from([layers.MaxPooling2D, layers.AveragePooling2D]))
        return kind(draw(st.integers(2, 3)), strides=2, padding="valid")(x)

    def pad(x):
        return layers.ZeroPadding2D(((draw(st.integers(0, 1)), 1), (1, 0)))(x)

    def residual(x):
        return layers.Add()([x, layers.Conv2D(x.shape[-1], 3, padding="same")(x)])

    inputs = keras.Input((draw(st.integers(20, 29)),) * 2 + (1,))
    x = inputs
    for body in draw(
        st.lists(st.sampled_from([convolution, depthwise, pool, pad, residual]), max_size=4)
    ):
        x = body(x)
    # Flattening the image itself is refused.
    sliding = x is not inputs and hasattr(x._keras_history.operation, "strides")
    heads = [layers.GlobalAveragePooling2D] + [layers.Flatten] * sliding
    head = draw(st.sampled_from(heads))
    model = keras.Model(inputs, layers.Dense(2)(head()(x)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    for weight in model.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(networks())
def test_geometry_is_what_changed_pixels_show(model):
    fcn, geometry = to_fcn(model), trace(flatten(model))
    room = -(-max(0, -geometry.first, geometry.last - geometry.side + 1) // geometry.stride) + 1
    side = geometry.side + 2 * room * geometry.stride
    start = room * geometry.stride
    ends = [_influential(fcn, side, room, axis) for axis in (1, 2)]
    assert min(e.min() for e in ends) == start + geometry.first
    assert max(e.max() for e in ends) == start + geometry.last


def _influential(fcn, side, cell, axis):
    """Rows or columns of the input that change a cell when they are made brighter."""
    images = np.ones((side + 1, side, side, 1), "float32")
    for line in range(side):
        images[(line, *(slice(None),) * (axis - 1), line)] += 1000
    scores = np.asarray(fcn(images))[:, cell, cell].sum(axis=-1)
    return np.flatnonzero(scores[:-1] > scores[-1] * (1 + 1e-4))


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(networks())
def test_any_network_equals_its_classifier_at_its_own_size(model):
    fcn = to_fcn(model)
    image = (
        np.random.default_rng(0).uniform(0, 1, (1, *model.inputs[0].shape[1:])).astype("float32")
    )
    expected, received = np.asarray(model(image)), np.asarray(fcn(image))
    assert received.shape[:3] == (1, 1, 1)
    np.testing.assert_allclose(received[0, 0, 0], expected[0], rtol=1e-5)


def test_a_stride_of_its_own_along_each_axis_is_refused():
    inputs = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, strides=(2, 1))(inputs))
    model = keras.Model(inputs, layers.Dense(2)(x), name="oblong")
    with pytest.raises(ConversionError, match=r"oblong: .*received 2 down and 1 across"):
        trace(model)
