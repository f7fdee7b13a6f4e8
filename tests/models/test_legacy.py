import json

import h5py
import numpy as np
import pytest

from tltool.errors import ModelError
from tltool.runtime import quiet_import

quiet_import("keras")

import keras  # noqa: E402
from keras import layers  # noqa: E402
from legacy_files import shaken, write_hdf5, write_weights, write_zip  # noqa: E402

from tltool.models.loading import open_model, upgrade  # noqa: E402

SIDE = 12


def images(model, seed=1):
    shapes = [(2, *x.shape[1:]) for x in model.inputs]
    rng = np.random.default_rng(seed)
    return [rng.uniform(0, 1, shape).astype("float32") for shape in shapes]


def answers(model, given):
    return np.asarray(model(given if len(given) > 1 else given[0], training=False))


def same(model, opened, tolerance=1e-6):
    given = images(model)
    wanted = answers(model, given)
    assert np.ptp(wanted) > 1e-3
    np.testing.assert_allclose(answers(opened.model, given), wanted, rtol=0, atol=tolerance)


def plain():
    return shaken(
        keras.Sequential(
            [
                keras.Input((SIDE, SIDE, 1)),
                layers.Conv2D(4, 3, activation="relu"),
                layers.BatchNormalization(),
                layers.DepthwiseConv2D(3),
                layers.MaxPooling2D(2),
                layers.Dropout(0.3),
                layers.Flatten(),
                layers.Dense(5, activation="relu", name="dense"),
                layers.Dense(3, activation="softmax", name="classes"),
            ]
        )
    )


def branches():
    """Two convolutions of one shape side by side, a layer called twice, merges."""
    inputs = keras.Input((SIDE, SIDE, 3))
    twice = layers.Conv2D(3, 3, padding="same")
    x = twice(twice(inputs))
    left, right = (layers.Conv2D(4, 3, strides=s)(x) for s in (2, 2))
    x = layers.Add()([layers.ReLU(6.0)(right), left])
    x = layers.LayerNormalization(axis=[1, 2, 3])(x)
    pools = layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)
    return shaken(keras.Model(inputs, layers.Dense(2)(layers.Concatenate()(pools))))


def nested():
    """As Teachable Machine: Sequential of (backbone, pool) and (Dense, Dense)."""
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(4, 3, name="Conv1")(inputs)
    x = layers.BatchNormalization(name="bn_Conv1")(x)
    x = layers.DepthwiseConv2D(3, name="dw", use_bias=False)(layers.ReLU(6.0)(x))
    backbone = keras.Model(inputs, layers.Conv2D(4, 1, name="last")(x))
    backbone.get_layer("Conv1").trainable = False
    first = keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), backbone, layers.GlobalAveragePooling2D()]
    )
    second = keras.Sequential([keras.Input((4,)), layers.Dense(5), layers.Dense(3)])
    return shaken(keras.Sequential([keras.Input((SIDE, SIDE, 3)), first, second]))


def nested_in_a_graph():
    """A nested Sequential model that is called twice, and one that is not the input's."""
    inputs = keras.Input((SIDE, SIDE, 3))
    block = keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), layers.Conv2D(3, 3, padding="same", activation="tanh")]
    )
    x = layers.Subtract()([block(block(inputs)), inputs])
    head = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    return shaken(keras.Model(inputs, head(layers.GlobalAveragePooling2D()(x))))


BODIES = {f.__name__: f for f in (plain, branches, nested, nested_in_a_graph)}


@pytest.mark.parametrize("style", ["2.1", "2.2", "2.4"])
@pytest.mark.parametrize("body", BODIES)
def test_hdf5_of_keras_2_computes_what_it_did(tmp_path, body, style):
    model = BODIES[body]()
    same(model, open_model(write_hdf5(tmp_path / "old.h5", model, style)))


@pytest.mark.parametrize("version", ["2.13.1", "2.15.0"])
@pytest.mark.parametrize("body", BODIES)
def test_archives_of_keras_2_compute_what_they_did(tmp_path, body, version):
    model = BODIES[body]()
    same(model, open_model(write_zip(tmp_path / "old.keras", model, version)))


REFUSED_BY_KERAS = {
    "Sequential is a list": ("2.1", plain, "pop expected at most 1 argument, got 2"),
    "Sequential without input layer": ("2.2", plain, "Kernel shape must have the same length"),
    "groups": ("2.4", plain, r"'groups': 1"),
    "nested": ("2.2", nested, "groups|received 2 input tensors"),
}


@pytest.mark.parametrize("case", REFUSED_BY_KERAS)
def test_what_keras_3_refuses_opens_and_is_upgraded(tmp_path, case):
    style, body, refusal = REFUSED_BY_KERAS[case]
    model = body()
    old = write_hdf5(tmp_path / "old.h5", model, style)
    with pytest.raises((ValueError, TypeError), match=refusal):
        keras.saving.load_model(old, compile=False)
    opened = upgrade(old, tmp_path / "new.keras")
    assert opened.mended
    same(model, opened)
    given = images(model)
    new = keras.saving.load_model(tmp_path / "new.keras")
    np.testing.assert_array_equal(answers(new, given), answers(opened.model, given))


def test_what_was_mended_is_told(tmp_path):
    opened = open_model(write_hdf5(tmp_path / "old.h5", plain(), "2.1"))
    lines = "\n".join(opened.mended)
    assert "Sequential model given as a list of layers" in lines
    assert "input layer of a Sequential model added" in lines
    assert "groups dropped from DepthwiseConv2D, where it does nothing: depthwise_conv2d" in lines
    model = plain()
    opened = open_model(write_zip(tmp_path / "old.keras", model, "2.13.1", windows=True))
    same(model, opened)
    lines = "\n".join(opened.mended)
    assert "axis of BatchNormalization as a number" in lines
    assert "batch_input_shape of an input became batch_shape" in lines
    assert "_layer_checkpoint_dependencies" in lines
    assert "backslashes" in lines


def test_a_file_that_keras_3_reads_itself_is_not_mended(tmp_path):
    model = shaken(keras.Sequential([keras.Input((SIDE, SIDE, 3)), layers.Conv2D(2, 3)]))
    assert open_model(write_hdf5(tmp_path / "old.h5", model)).mended == []
    model.save(tmp_path / "new.keras")
    opened = open_model(tmp_path / "new.keras")
    assert opened.mended == []
    same(model, opened)


def one_layer(layer, side=SIDE, bands=3):
    return shaken(keras.Sequential([keras.Input((side, side, bands)), layer]))


def opened_with(tmp_path, model, edit, write=write_hdf5):
    return open_model(write(tmp_path / "old.h5", model, edit=edit))


def setting(kind, **keys):
    def edit(layer):
        if layer["class_name"] == kind:
            layer["config"].update(keys)

    return edit


OLD_KEYS = {
    "initializers with a dtype": (
        layers.Conv2D(2, 3),
        {
            "kernel_initializer": {"class_name": "GlorotUniform", "config": {"dtype": "float32"}},
            "bias_initializer": {"class_name": "ZerosV2", "config": {"dtype": "float32"}},
        },
    ),
    "an initializer that is gone": (
        layers.Conv2D(2, 3),
        {"kernel_initializer": {"class_name": "Gone", "config": {}}},
    ),
    "a regularizer": (
        layers.Conv2D(2, 3),
        {"kernel_regularizer": {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.01}}},
    ),
    "a constraint": (
        layers.Conv2D(2, 3),
        {"kernel_constraint": {"class_name": "MaxNorm", "config": {"max_value": 2, "axis": 0}}},
    ),
    "left over from Conv2D": (
        layers.SeparableConv2D(2, 3),
        {"groups": 1, "kernel_initializer": {"class_name": "GlorotUniform", "config": {}}},
    ),
    "groups of a transposed convolution": (layers.Conv2DTranspose(2, 3), {"groups": 1}),
    "renormalisation that is off": (
        layers.BatchNormalization(),
        {"renorm": False, "virtual_batch_size": None, "fused": None, "adjustment": None},
    ),
    "noise shape": (layers.SpatialDropout2D(0.2), {"noise_shape": None, "trainable": True}),
    "policy as a dict": (
        layers.Conv2D(2, 3),
        {"dtype": {"class_name": "Policy", "config": {"name": "float32"}}},
    ),
    "policy of TensorFlow 1": (layers.Conv2D(2, 3), {"dtype": "infer_float32"}),
    "a number as an array": (
        layers.ReLU(6.0),
        {"max_value": {"class_name": "__numpy__", "config": {"value": 6.0, "dtype": "float32"}}},
    ),
    "slope of zero as None": (layers.ReLU(), {"negative_slope": None, "threshold": None}),
    "softmax_v2": (layers.Conv2D(2, 3, activation="softmax"), {"activation": "softmax_v2"}),
    "swish": (layers.Conv2D(2, 3, activation="silu"), {"activation": "swish"}),
    "leaky slope as alpha": (layers.LeakyReLU(0.2), {"alpha": 0.2}),
    "tuples and shapes": (
        layers.Conv2D(2, 3),
        {"strides": {"class_name": "__tuple__", "items": [1, 1]}},
    ),
    "how it is drawn": (layers.RandomFlip(), {"rng_type": "stateful"}),
}


@pytest.mark.parametrize("case", OLD_KEYS)
def test_keys_of_old_versions(tmp_path, case):
    layer, keys = OLD_KEYS[case]
    model = one_layer(type(layer).from_config(layer.get_config()))
    same(model, opened_with(tmp_path, model, setting(type(layer).__name__, **keys)))


def test_masking_and_time_major_of_recurrent_layers(tmp_path):
    model = shaken(keras.Sequential([keras.Input((5, 3)), layers.LSTM(4)]))
    edit = setting("LSTM", time_major=False, implementation=2)
    same(model, opened_with(tmp_path, model, edit))


@pytest.mark.parametrize("key", ["activation", "recurrent_activation"])
def test_hard_sigmoid_inside_of_a_recurrent_layer_is_refused(tmp_path, key):
    model = shaken(keras.Sequential([keras.Input((5, 3)), layers.LSTM(4, name="memory")]))
    with pytest.raises(ModelError, match=rf"layer memory \(LSTM\): its {key} hard_sigmoid is"):
        opened_with(tmp_path, model, setting("LSTM", **{key: "hard_sigmoid"}))


def test_channels_first_stays(tmp_path):
    inputs = keras.Input((3, SIDE, SIDE))
    x = layers.Conv2D(4, 3, data_format="channels_first", name="convolution")(inputs)
    x = layers.BatchNormalization(axis=1)(x)
    x = layers.GlobalAveragePooling2D(data_format="channels_first")(x)
    model = shaken(keras.Model(inputs, x))
    opened = opened_with(tmp_path, model, setting("BatchNormalization", axis=[1])).model
    assert opened.get_layer("convolution").data_format == "channels_first"
    for found, wanted in zip(opened.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_several_inputs_and_outputs(tmp_path):
    one, two = keras.Input((4,), name="one"), keras.Input((3,), name="two")
    both = layers.Concatenate()([one, two])
    model = shaken(keras.Model([one, two], [layers.Dense(2)(both), layers.Dense(3)(both)]))
    opened = open_model(write_hdf5(tmp_path / "old.h5", model)).model
    given = images(model)
    for found, wanted in zip(opened(given), model(given), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_key_that_may_matter_is_refused_by_name(tmp_path):
    model = one_layer(layers.Conv2D(2, 3, name="edge"))
    with pytest.raises(ModelError, match=r"layer edge \(Conv2D\): .* does not know \{'sharpness'"):
        opened_with(tmp_path, model, setting("Conv2D", sharpness=3))
    model = one_layer(layers.BatchNormalization(name="norm"))
    with pytest.raises(
        ModelError, match=r"layer norm \(BatchNormalization\): .*'virtual_batch_size': 4"
    ):
        opened_with(tmp_path, model, setting("BatchNormalization", virtual_batch_size=4))


def test_a_key_that_may_matter_is_refused_in_an_archive(tmp_path):
    model = one_layer(layers.DepthwiseConv2D(3, name="deep"))
    with pytest.raises(ModelError, match=r"layer deep .*'groups': 3"):
        opened_with(tmp_path, model, setting("DepthwiseConv2D", groups=3), write_zip)


def old_hard_sigmoid(x):
    return np.clip(0.2 * x + 0.5, 0, 1)


@pytest.mark.parametrize("body", ["sequential", "graph"])
def test_hard_sigmoid_is_the_one_of_keras_2(tmp_path, body):
    inputs = keras.Input((SIDE, SIDE, 3))
    convolution = layers.Conv2D(2, 3, name="convolution")
    linear = shaken(keras.Model(inputs, convolution(inputs)))
    model = keras.Sequential([inputs, convolution]) if body == "sequential" else linear
    opened = opened_with(tmp_path, model, setting("Conv2D", activation="hard_sigmoid"))
    given = images(linear)
    wanted = old_hard_sigmoid(3 * answers(linear, given) / 3)
    assert 0.05 < wanted.mean() < 0.95
    np.testing.assert_allclose(answers(opened.model, given), wanted, atol=1e-6)


def test_a_layer_as_activation_becomes_a_layer(tmp_path):
    model = one_layer(layers.Conv2D(2, 3))
    leaky = {"class_name": "LeakyReLU", "config": {"alpha": 0.3, "name": "l", "dtype": "float32"}}
    opened = opened_with(tmp_path, model, setting("Conv2D", activation=leaky))
    given = images(model)
    scores = answers(model, given)
    wanted = np.where(scores > 0, scores, 0.3 * scores)
    np.testing.assert_allclose(answers(opened.model, given), wanted, atol=1e-6)


def renamed(old, new, **keys):
    def edit(layer):
        if layer["class_name"] == old:
            layer["class_name"] = new
            layer["config"] = {"name": layer["config"]["name"], "trainable": True, **keys}

    return edit


def test_layers_that_are_gone(tmp_path):
    model = one_layer(layers.ReLU(threshold=0.4))
    same(model, opened_with(tmp_path, model, renamed("ReLU", "ThresholdedReLU", theta=0.4)))
    model = one_layer(layers.Identity())
    same(model, opened_with(tmp_path, model, renamed("Identity", "RandomHeight", factor=0.2)))


def test_names_with_slashes_find_their_weights(tmp_path):
    model = shaken(
        keras.Sequential(
            [
                keras.Input((SIDE, SIDE, 3)),
                layers.Conv2D(3, 3, name="Conv"),
                layers.BatchNormalization(name="Conv_BatchNorm"),
            ]
        )
    )
    path = write_hdf5(tmp_path / "old.h5", model)
    with h5py.File(path, "a") as file:
        text = file.attrs["model_config"].replace("Conv_BatchNorm", "Conv/BatchNorm")
        file.attrs["model_config"] = text
        group = file["model_weights"]
        group.attrs["layer_names"] = [b"Conv", b"Conv/BatchNorm"]
        group.move("Conv_BatchNorm", "Conv/BatchNorm")
        names = group["Conv/BatchNorm"].attrs["weight_names"]
        group["Conv/BatchNorm"].attrs["weight_names"] = [
            n.replace(b"Conv_BatchNorm", b"Conv/BatchNorm") for n in names
        ]
        group["Conv/BatchNorm"].move("Conv_BatchNorm", "Conv/BatchNorm")
    opened = open_model(path)
    same(model, opened)
    assert "/ in the layer's name became _: Conv/BatchNorm" in opened.mended


def test_reloaded_and_repeated_names_of_nested_weights(tmp_path):
    """TensorFlow 1 put _1 behind names that it had seen."""
    model = nested()
    path = write_hdf5(tmp_path / "old.h5", model, "2.2")
    with h5py.File(path, "a") as file:
        group = file["model_weights"][model.layers[0].name]
        names = [name.decode() for name in group.attrs["weight_names"]]
        for folder in {name.split("/")[0] for name in names}:
            group.move(folder, f"{folder}_1")
        group.attrs["weight_names"] = [n.replace("/", "_1/").encode() for n in names]
    same(model, open_model(path))


def block(name="same"):
    return keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), layers.Conv2D(3, 3, padding="same", name=name)]
    )


def test_layers_of_one_name_in_two_nested_models(tmp_path):
    pair = keras.Sequential([keras.Input((SIDE, SIDE, 3)), block(), block("same_1")])
    model = shaken(keras.Sequential([keras.Input((SIDE, SIDE, 3)), pair]))

    def edit(layer):
        if layer["config"].get("name") == "same_1":
            layer["config"]["name"] = "same"

    same(model, opened_with(tmp_path, model, edit))


def test_weights_that_do_not_fit_are_refused(tmp_path):
    model = plain()
    path = write_hdf5(tmp_path / "old.h5", model)
    with h5py.File(path, "a") as file:
        del file["model_weights/dense/dense/kernel:0"]
    with pytest.raises(
        ModelError, match=r"old.h5 .*weights dense/kernel:0 of layer dense are miss"
    ):
        open_model(path)
    with h5py.File(path, "a") as file:
        file["model_weights/dense/dense/kernel:0"] = np.zeros((3, 5))
    with pytest.raises(ModelError, match=r"layer dense \(Dense\): expected weights .* 64x5, 5, .*"):
        open_model(path)
    with h5py.File(path, "a") as file:
        file["model_weights"].attrs["layer_names"] = [b"conv2d"]
    with pytest.raises(ModelError, match=r"its weights are missing in the file"):
        open_model(path)


def test_weights_in_another_file_are_not_followed(tmp_path):
    model = one_layer(layers.Conv2D(2, 3, name="c"))
    path = write_hdf5(tmp_path / "old.h5", model)
    with h5py.File(path, "a") as file:
        del file["model_weights/c/c/kernel:0"]
        file["model_weights/c/c/kernel:0"] = h5py.ExternalLink("other.h5", "/kernel")
    with pytest.raises(ModelError, match=r"weights c/kernel:0 of layer c are missing"):
        open_model(path)


def operation(name, function, **more):
    """Turn the layer `name` into the operation that stands for it in a graph of tf.keras."""

    def edit(layer):
        if layer.get("name") == name:
            (call,) = layer["inbound_nodes"]
            layer["class_name"] = (
                "SlicingOpLambda" if function.endswith("getitem") else "TFOpLambda"
            )
            layer["config"] = {"name": name, "trainable": True, "function": function}
            layer["inbound_nodes"] = [[*call[0][:3], {**more, "name": None}]]

    return edit


def graph(*given):
    inputs = keras.Input((SIDE, SIDE, 3))
    x = inputs
    for layer in given:
        x = layer(x)
    x = layers.Conv2D(2, 3, name="convolution")(x)
    return shaken(keras.Model(inputs, layers.GlobalAveragePooling2D()(x)))


def swap():
    def reverse(shape, dtype=None):
        return np.eye(3)[::-1][None, None]

    return layers.Conv2D(3, 1, use_bias=False, kernel_initializer=reverse, name="op")


MEAN = [-0.485, -0.456, -0.406]
OPERATIONS = {
    "x / 127.5": (layers.Rescaling(1 / 127.5, name="op"), "math.truediv", {"y": 127.5}),
    "x - 1": (layers.Rescaling(1.0, -1.0, name="op"), "math.subtract", {"y": 1.0}),
    "x + 3": (layers.Rescaling(1.0, 3.0, name="op"), "__operators__.add", {"y": 3.0}),
    "2 * x": (layers.Rescaling(2.0, name="op"), "math.multiply", {"y": 2.0}),
    "x - mean": (
        layers.Rescaling(1.0, MEAN, name="op"),
        "nn.bias_add",
        {"bias": MEAN, "data_format": "NHWC"},
    ),
    "x / deviation": (
        layers.Rescaling([1 / 0.2, 1 / 0.3, 1 / 0.4], name="op"),
        "math.truediv",
        {"y": [0.2, 0.3, 0.4]},
    ),
    "relu6": (layers.Activation("relu6", name="op"), "nn.relu6", {}),
    "softmax": (layers.Activation("softmax", name="op"), "nn.softmax", {"axis": -1}),
    "cast": (layers.Identity(name="op"), "cast", {"dtype": "float32"}),
}


@pytest.mark.parametrize("case", OPERATIONS)
def test_operations_of_tensorflow_become_layers(tmp_path, case):
    layer, function, more = OPERATIONS[case]
    model = graph(type(layer).from_config(layer.get_config()))
    opened = opened_with(tmp_path, model, operation("op", function, **more))
    same(model, opened)
    assert "TensorFlow operations became layers: op" in opened.mended


def test_swapped_bands_become_a_convolution(tmp_path):
    model = graph(layers.Rescaling(1.0, name="op"))
    spec = [{"class_name": "__ellipsis__"}, {"start": None, "stop": None, "step": -1}]
    edit = operation("op", "__operators__.getitem", slice_spec=spec)
    opened = opened_with(tmp_path, model, edit)
    given = images(model)
    wanted = answers(model, [given[0][..., ::-1]])
    np.testing.assert_allclose(answers(opened.model, given), wanted, atol=1e-6)
    path = tmp_path / "new.keras"
    upgrade(tmp_path / "old.h5", path)
    np.testing.assert_allclose(answers(keras.saving.load_model(path), given), wanted, atol=1e-6)


def test_operations_on_two_tensors(tmp_path):
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(3, 1, name="convolution")(inputs)
    model = shaken(keras.Model(inputs, layers.Add(name="op")([inputs, x])))

    def edit(layer):
        if layer.get("name") == "op":
            (first, second) = layer["inbound_nodes"][0]
            operation("op", "__operators__.add", y=second[:3])(layer)
            layer["inbound_nodes"][0][:3] = first[:3]

    same(model, opened_with(tmp_path, model, edit))


def test_a_constant_before_the_tensor(tmp_path):
    model = graph(layers.Rescaling(-1.0, 1.0, name="op"))

    def edit(layer):
        operation("op", "math.subtract")(layer)
        if layer.get("name") == "op":
            call = layer["inbound_nodes"][0]
            layer["inbound_nodes"] = [["_CONSTANT_VALUE", -1, 1.0, {"y": call[:3], "name": None}]]

    same(model, opened_with(tmp_path, model, edit))


def test_other_operations_are_refused_by_name(tmp_path):
    model = graph(layers.Identity(name="op"))
    with pytest.raises(ModelError, match=r"layer op is the TensorFlow operation tf.image.resize"):
        opened_with(tmp_path, model, operation("op", "image.resize", size=[3, 3]))
    with pytest.raises(ModelError, match=r"operation tf.nn.relu, called in a way"):
        opened_with(tmp_path, model, operation("op", "nn.relu", limit=3))


@pytest.mark.parametrize("kind", ["keras 2", "keras 3"])
@pytest.mark.parametrize("layout", ["by name", "by place"])
def test_weights_only_with_an_architecture(tmp_path, kind, layout):
    model = plain()
    if kind == "keras 3":
        text = model.to_json()
    else:
        write_hdf5(tmp_path / "whole.h5", model, "2.2")
        with h5py.File(tmp_path / "whole.h5") as file:
            config = json.loads(file.attrs["model_config"])
        text = json.dumps({**config, "keras_version": "2.2.4", "backend": "tensorflow"})
    (tmp_path / "config.json").write_text(text)
    path = tmp_path / "only.weights.h5"
    if layout == "by place":
        model.save_weights(path)
    else:
        with h5py.File(path, "w") as file:
            write_weights(file, model)
    with pytest.raises(ModelError, match=r"only.weights.h5 .* weights only .*`architecture`"):
        open_model(path)
    same(model, open_model(path, architecture=tmp_path / "config.json"))
