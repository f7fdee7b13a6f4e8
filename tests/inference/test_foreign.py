from pathlib import Path

import numpy as np
import pytest

from tltool.errors import ConversionError, UsageError
from tltool.runtime import quiet_import

quiet_import("keras")

import keras  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from keras import layers  # noqa: E402
from keras.applications import imagenet_utils  # noqa: E402
from small_classifiers import noise, shuffle_weights  # noqa: E402

from tltool.fcn.single import as_single  # noqa: E402
from tltool.fcn.surgery import check_equal, to_fcn  # noqa: E402
from tltool.inference.foreign import PIXELS, describe, read_names  # noqa: E402

PATH = Path("net.h5")
RAW = noise(4, 16, 16, 3)
ABC = ["ant", "bee", "cat"]


def features(inputs):
    x = layers.Conv2D(4, 4, strides=4, activation="relu")(inputs)
    return layers.GlobalAveragePooling2D()(x)


def dense(units=3, activation=None, **more):
    return layers.Dense(units, activation=activation, **more)


def net(end=None, size=16, bands=3, front=None):
    """A classifier of image -> front -> convolution -> mean -> end, with weights of its own."""
    inputs = keras.Input((size, size, bands))
    x = features(inputs if front is None else front(inputs))
    outputs = (end or dense(activation="softmax"))(x)
    # Small enough that no softmax is saturated at 255.
    model = keras.Model(inputs, outputs)
    for weight in shuffle_weights(model).weights:
        weight.assign(weight / 20)
    return model


def told_of(model, **told):
    return describe(model, str(PATH), **told)


@pytest.mark.parametrize(
    ("end", "kind", "classes", "scores"),
    [
        (dense(3, "softmax"), "multi-class", ["class_0", "class_1", "class_2"], False),
        (dense(2, "sigmoid"), "multi-label", ["class_0", "class_1"], False),
        (dense(1, "sigmoid"), "binary", ["class_1"], False),
        (dense(3), "multi-class", ["class_0", "class_1", "class_2"], True),
        (dense(1), "binary", ["class_1"], True),
        (dense(3, "relu"), "multi-class", ["class_0", "class_1", "class_2"], True),
        (lambda x: layers.Softmax()(dense()(x)), "multi-class", None, False),
        (lambda x: layers.Activation("sigmoid")(dense()(x)), "multi-label", None, False),
        (lambda x: keras.ops.sigmoid(dense()(x)), "multi-label", None, False),
        (lambda x: keras.ops.softmax(dense()(x)), "multi-class", None, False),
        (lambda x: layers.Reshape((3,))(dense(3, "softmax")(x)), "multi-class", None, False),
        (dense(3, layers.Softmax()), "multi-class", None, False),
        (
            lambda x: layers.Concatenate()([dense(1, "sigmoid")(x), dense(2, "sigmoid")(x)]),
            "multi-label",
            None,
            False,
        ),
        (
            lambda x: layers.Concatenate()([dense(1, "softmax")(x), dense(2, "softmax")(x)]),
            "multi-class",
            None,
            True,
        ),
    ],
)
def test_the_outputs_tell_what_they_are(end, kind, classes, scores):
    _, sidecar, notes = told_of(net(end))
    assert [(task.name, task.kind) for task in sidecar.tasks] == [("label", kind)]
    assert sidecar.classes == (classes or sidecar.classes)
    assert sidecar.scores == scores
    assert any("`activation='softmax'` (or sigmoid) adds" in note for note in notes) == scores


def test_outputs_of_one_cell_are_a_vector():
    def end(x):
        return dense(3, "softmax")(layers.Reshape((1, 1, 4))(x))

    assert told_of(net(end))[1].classes == ["class_0", "class_1", "class_2"]


def test_sizes_are_told_in_pixels_of_the_image():
    _, sidecar, _ = told_of(net(), zoom=2, classes=ABC, background="bee")
    assert (sidecar.patch, sidecar.context, sidecar.zoom, sidecar.input_side) == (8, 0, 2, 16)
    assert (sidecar.bands, sidecar.classes, sidecar.background) == (3, ABC, "bee")


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_an_activation_is_put_behind_scores(activation):
    model = net(dense())
    whole, sidecar, notes = told_of(model, activation=activation)
    expected = getattr(keras.ops, activation)(model(RAW))
    np.testing.assert_allclose(whole(RAW), expected, atol=1e-6)
    assert sidecar.tasks[0].kind == {"softmax": "multi-class", "sigmoid": "multi-label"}[activation]
    assert not sidecar.scores
    assert not any("scores" in note for note in notes)


def test_layers_called_as_the_added_ones_do_no_harm():
    def front(x):
        x = layers.Activation("relu", name="activation")(layers.Identity(name="image")(x))
        return layers.Rescaling(2.0, name="preprocessing")(layers.Identity(name="imagenet")(x))

    model = net(lambda x: layers.Identity(name="all_tasks")(dense()(x)), front=front)
    # As in a session that only opened a file.
    keras.backend.clear_session()
    whole, _, _ = told_of(model, pixels="0..1", activation="softmax")
    assert check_equal(whole, to_fcn(whole)) <= 1e-5
    np.testing.assert_allclose(whole(RAW), keras.ops.softmax(model(RAW / 255)), atol=1e-5)


@pytest.mark.parametrize("pixels", PIXELS)
def test_a_model_of_other_pixels_says_on_raw_ones_what_it_said_on_its_own(pixels):
    own = {
        "0..255": lambda raw: raw,
        "0..1": lambda raw: raw / 255,
        "-1..1": lambda raw: imagenet_utils.preprocess_input(raw.copy(), mode="tf"),
        "caffe": lambda raw: imagenet_utils.preprocess_input(raw.copy(), mode="caffe"),
        "torch": lambda raw: imagenet_utils.preprocess_input(raw.copy(), mode="torch"),
    }[pixels]
    model = net(dense(3, "softmax"))
    whole, _, notes = told_of(model, pixels=pixels, classes=ABC)
    np.testing.assert_allclose(whole(RAW), model(own(RAW)), atol=2e-6)
    assert notes == []


def test_pixels_that_cannot_be_are_refused():
    with pytest.raises(UsageError, match=r"`pixels`: expected one of 0\.\.255, .*; received 0\.\."):
        told_of(net(), pixels="0..2")
    with pytest.raises(UsageError, match=r"`pixels='caffe'` is for RGB; net.h5 takes 5 bands"):
        told_of(net(bands=5), pixels="caffe")
    assert told_of(net(bands=5), pixels="0..1")[1].bands == 5
    with pytest.raises(UsageError, match=r"`activation`: expected softmax or sigmoid; .*relu"):
        told_of(net(), activation="relu")


def test_a_model_of_any_size_is_given_one():
    model = net(size=None)
    with pytest.raises(UsageError, match=r"net.h5 takes images of any size: say with `input_size`"):
        told_of(model)
    whole, sidecar, _ = told_of(model, input_size=16)
    assert whole.input_shape == (None, 16, 16, 3)
    assert sidecar.input_side == 16
    np.testing.assert_allclose(whole(RAW), model(RAW), atol=1e-6)


def test_a_size_that_the_model_tells_itself_is_left_out():
    assert told_of(net(), input_size=16)[1].input_side == 16
    with pytest.raises(UsageError, match=r"images of 16 x 16 px, received 32; leave it out"):
        told_of(net(), input_size=32)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(16, 16, 3), (16, 16, 3)], r"expected one image input, received 2: .*, .*constants"),
        ([(10,)], r"expected an image input \(height, width, bands\), received \(10,\)"),
        ([(16, 16, None)], r"expected an image input"),
        ([(16, 24, 3)], r"expected a square input, received 16 x 24"),
        ([(None, 24, 3)], r"expected a square input, received None x 24"),
    ],
)
def test_inputs_that_are_no_square_image_are_refused(shapes, message):
    inputs = [keras.Input(shape) for shape in shapes]
    x = layers.Add()(inputs) if len(inputs) > 1 else layers.Identity()(inputs[0])
    with pytest.raises(ConversionError, match=f"^net.h5: {message}"):
        told_of(keras.Model(inputs, x))


@pytest.mark.parametrize("nested", [False, True])
def test_channels_first_is_refused_by_the_layer(nested):
    inputs = keras.Input((3, 3, 3))
    convolution = layers.ZeroPadding2D(data_format="channels_first", name="pad")
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(convolution(inputs))))
    if nested:
        outer = keras.Input((3, 3, 3))
        model = keras.Model(outer, model(outer))
    with pytest.raises(ConversionError, match=r"layer pad \(ZeroPadding2D\).*channels_first"):
        told_of(model)


def several(structure):
    inputs = keras.Input((16, 16, 3))
    x = features(inputs)
    ends = {
        "zoo": dense(3, "softmax", name="kind")(x),
        "alive": dense(1, "sigmoid", name="living")(x),
        "boats": dense(2, "sigmoid", name="vessels")(x),
    }
    outputs = {"dict": ends, "list": list(ends.values()), "tuple": tuple(ends.values())}[structure]
    model = shuffle_weights(keras.Model(inputs, outputs))
    for weight in model.weights:
        weight.assign(weight / 20)
    return model


@pytest.mark.parametrize(
    ("structure", "saved", "activation"),
    [
        ("dict", False, None),
        ("dict", True, "sigmoid"),
        ("list", False, "sigmoid"),
        ("list", True, None),
        ("tuple", True, None),
    ],
)
def test_several_outputs_are_tasks_in_the_order_of_their_numbers(
    tmp_path, structure, saved, activation
):
    model = several(structure)
    if saved:
        model.save(tmp_path / "a.keras")
        model = keras.saving.load_model(tmp_path / "a.keras")
    whole, sidecar, _ = told_of(model, activation=activation)
    found = [task.name for task in sidecar.tasks]
    assert found == (["zoo", "alive", "boats"] if structure == "dict" else TASKS)
    assert sidecar.tasks[1].kind == "binary"
    assert sidecar.classes[-3:] == [f"{found[1]}.class_1", *(f"{found[2]}.class_{i}" for i in "01")]
    answers = model(RAW)
    answers = [answers[n] for n in found] if structure == "dict" else answers
    expected = np.concatenate(answers, axis=1)
    expected = keras.ops.sigmoid(expected) if activation else expected
    single = as_single(whole, found)
    np.testing.assert_allclose(single(RAW), expected, atol=1e-5)
    assert check_equal(single, to_fcn(single)) <= 1e-5


TASKS = ["kind", "living", "vessels"]


def test_class_names_are_dealt_to_the_tasks():
    names = [*ABC, "dead", "living", "canoe", "raft"]
    _, sidecar, _ = told_of(several("list"), classes=names)
    assert [task.classes for task in sidecar.tasks] == [ABC, ["dead", "living"], ["canoe", "raft"]]
    assert sidecar.classes[2:4] == ["kind.cat", "living.living"]
    with pytest.raises(
        UsageError,
        match=r"net.h5 has 6 outputs and wants 7 names \(of a single output the negative, then the"
        r" positive\), received 3: ant, bee, cat",
    ):
        told_of(several("list"), classes=ABC)


def test_outputs_deeper_than_a_dict_are_refused():
    inputs = keras.Input((16, 16, 3))
    x = features(inputs)
    model = keras.Model(inputs, {"a": [dense()(x), dense()(x)], "b": dense()(x)})
    with pytest.raises(ConversionError, match=r"net.h5: expected one tensor for each output.* a$"):
        told_of(model)


def test_a_last_layer_used_twice_gives_two_tasks():
    def end(x):
        last, norm = dense(3, "softmax", name="end"), layers.BatchNormalization()
        return [last(norm(x)), last(norm(layers.ReLU()(x)))]

    model = net(end)
    whole, sidecar, _ = told_of(model)
    assert [task.name for task in sidecar.tasks] == ["end", "end_1"]
    single = as_single(whole, ["end", "end_1"])
    np.testing.assert_allclose(single(RAW), np.concatenate(model(RAW), axis=1), atol=1e-5)
    assert check_equal(single, to_fcn(single)) <= 1e-5


def test_pools_and_slopes_used_twice_convert():
    def end(x):
        return dense(3, "softmax")(layers.Add()(x))

    inputs = keras.Input((16, 16, 3))
    pool, slope = layers.GlobalAveragePooling2D(), layers.PReLU(shared_axes=[1, 2])
    branches = [pool(slope(layers.Conv2D(4, 4, strides=4)(inputs))) for _ in range(2)]
    whole, _, _ = told_of(shuffle_weights(keras.Model(inputs, end(branches))))
    assert check_equal(whole, to_fcn(whole)) <= 1e-5


@pytest.mark.parametrize("kind", ["nested", "sequential", "sequential around functional"])
def test_models_in_models_are_read(kind):
    inner = net(dense(4, "relu"))
    if kind == "nested":
        inputs = keras.Input((16, 16, 3))
        model = keras.Model(inputs, dense(3, "softmax")(inner(inputs)))
    elif kind == "sequential":
        model = keras.Sequential(
            [
                keras.Input((16, 16, 3)),
                layers.Conv2D(4, 4, strides=4),
                layers.Flatten(),
                dense(3, "softmax"),
            ]
        )
    else:
        model = keras.Sequential([inner, dense(3, "softmax")])
        model.build((None, 16, 16, 3))
    whole, sidecar, _ = told_of(model, classes=ABC)
    assert (sidecar.classes, sidecar.scores, sidecar.input_side) == (ABC, False, 16)
    np.testing.assert_allclose(whole(RAW), model(RAW), atol=1e-5)
    assert not any(isinstance(layer, keras.Model) for layer in whole.layers)


def test_names_from_a_list():
    assert read_names("ant, bee ,cat") == ABC
    many = [f"a class of number {number}" for number in range(300)]
    assert read_names(",".join(many)) == many


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("labels.txt", "0 ant\n1 bee\n2 polar bear\n", ["ant", "bee", "polar bear"]),
        ("labels.txt", "ant\n\n bee\ncat\n", ABC),
        ("labels.txt", "1 ant\n2 bee\n", ["1 ant", "2 bee"]),
        ("labels.txt", "0\n1\n2\n", ["0", "1", "2"]),
        ("labels.txt", "0 ant\r\n1 bee\r\n", ["ant", "bee"]),
        ("coco.names", "ant\nBär\n", ["ant", "Bär"]),
        ("odd", "ant\nbee\n", ["ant", "bee"]),
    ],
)
def test_names_from_a_file(tmp_path, name, text, names):
    (tmp_path / name).write_bytes(text.encode())
    assert read_names(str(tmp_path / name)) == names


@given(st.lists(st.text("abc 12", min_size=1).map(str.strip).filter(bool), unique=True, min_size=1))
def test_numbered_names_lose_their_numbers_only(tmp_path_factory, names):
    path = tmp_path_factory.getbasetemp() / "numbered.txt"
    path.write_text("".join(f"{number} {name}\n" for number, name in enumerate(names)))
    assert read_names(str(path)) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ant,bee,ant", "`classes`: expected different names, received ant twice"),
        ("ant,,bee", "received an empty one"),
        (",", "received an empty one"),
        ("", "received an empty one"),
        ("none.txt", "`classes`: none.txt does not exist"),
    ],
)
def test_names_that_do_not_name_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        read_names(text)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfea\0")
    with pytest.raises(UsageError, match=r"labels.txt: expected text in UTF-8"):
        read_names(str(tmp_path / "labels.txt"))


def test_what_does_not_fit_the_model_is_refused():
    with pytest.raises(UsageError, match=r"has 3 outputs and wants 3 names, received 2: ant, bee$"):
        told_of(net(), classes=["ant", "bee"])
    with pytest.raises(UsageError, match=r"wants 2 names \(of a single output the negative"):
        told_of(net(dense(1, "sigmoid")), classes=["ant"])
    with pytest.raises(UsageError, match=r"`background`: expected one of .* ant, .*received dog"):
        told_of(net(), classes=ABC, background="dog")
    with pytest.raises(UsageError, match=r"`zoom`: net.h5 takes 16 px, which 3 does not divide"):
        told_of(net(), zoom=3)
    with pytest.raises(UsageError, match=r"`zoom`: expected a number from 1 to 8.*received 0.5"):
        told_of(net(), zoom=0.5)


def test_the_negative_of_a_single_output_may_be_the_background():
    _, sidecar, _ = told_of(net(dense(1, "sigmoid")), classes=["none", "seal"], background="none")
    assert (sidecar.classes, sidecar.background) == (["seal"], "none")


def test_a_map_is_no_vector_of_scores():
    inputs = keras.Input((16, 16, 3))
    with pytest.raises(ConversionError, match=r"received shape \(16, 16, 2\). Is it fully conv"):
        told_of(keras.Model(inputs, layers.Conv2D(2, 1)(inputs)))


def nested_front(x):
    inner = keras.Sequential([keras.Input((16, 16, 3)), layers.Rescaling(1 / 255)])
    return inner(x)


def fitted(x):
    norm = layers.Normalization()
    norm.adapt(RAW)
    return norm(x)


@pytest.mark.parametrize(
    ("front", "scaled"),
    [
        (None, False),
        (layers.Dropout(0.1), False),
        (layers.Rescaling(1 / 255), True),
        (layers.BatchNormalization(), True),
        (fitted, True),
        (lambda x: x / 255, True),
        (lambda x: x * 0.01, True),
        (lambda x: x - 127.5, True),
        (nested_front, True),
    ],
)
def test_a_note_asks_where_nothing_scales_the_pixels(front, scaled):
    notes = told_of(net(front=front), classes=ABC)[2]
    assert any("nothing in front of the network scales" in note for note in notes) != scaled


def test_who_tells_the_pixels_is_not_asked():
    assert told_of(net(), classes=ABC, pixels="0..255")[2] == []


def test_a_scaling_behind_the_first_convolution_does_not_count():
    model = net(lambda x: dense()(layers.BatchNormalization()(x)))
    assert "`pixels='0..1'`, -1..1, caffe or torch" in told_of(model, classes=ABC)[2][0]


def test_a_note_tells_the_default_names():
    assert (
        "the classes are called class_0, class_1, class_2; `classes` names them"
        in (told_of(net())[2])
    )
    assert not any("--classes" in note for note in told_of(net(), classes=ABC)[2])
