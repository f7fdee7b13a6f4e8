import warnings

import numpy as np
import pytest

from tltool.errors import ConversionError, ModelError
from tltool.runtime import quiet_import

quiet_import("keras")

import keras  # noqa: E402
from keras import layers  # noqa: E402

from tltool.fcn.geometry import trace  # noqa: E402
from tltool.fcn.single import as_single  # noqa: E402
from tltool.fcn.surgery import check_equal, to_fcn  # noqa: E402
from tltool.models.graph import flatten  # noqa: E402


def branches(inputs):
    """Two answers from one feature map, the first over a smaller part of it."""
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(inputs)
    small = layers.GlobalAveragePooling2D()(layers.Cropping2D(1)(x))
    zoo = layers.Dense(3, activation="softmax", name="zoo_probabilities")(small)
    alive = layers.Dense(1, activation="sigmoid", name="alive")(layers.Flatten()(x))
    return zoo, alive


def model_of(inputs_as, outputs_as):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((12, 12, 3), name="picture")
    zoo, alive = branches(inputs)
    structures = {
        "dict": {"zoo": zoo, "alive": alive},
        "list": [zoo, alive],
        "list of one": [zoo],
        "dict of one": {"zoo": zoo},
        "tensor": zoo,
    }
    wrapped = {"tensor": inputs, "list": [inputs], "dict": {"picture": inputs}}[inputs_as]
    return keras.Model(wrapped, structures[outputs_as])


@pytest.mark.parametrize("inputs_as", ["tensor", "list", "dict"])
@pytest.mark.parametrize("outputs_as", ["tensor", "list of one", "dict of one", "list", "dict"])
def test_every_structure_converts_without_a_warning(inputs_as, outputs_as):
    model = model_of(inputs_as, outputs_as)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fcn = to_fcn(model)
        assert check_equal(model, fcn) <= 1e-5
        geometry = trace(flatten(model))
        single = as_single(model)
        assert check_equal(single, fcn) <= 1e-5
    assert fcn.output_shape[-1] == (4 if outputs_as in ("list", "dict") else 3)
    # What any of the outputs looks at.
    assert (geometry.first, geometry.last) == ((0, 10) if len(model.outputs) > 1 else (2, 8))


def test_outputs_come_in_the_order_of_the_tasks():
    model = model_of("tensor", "dict")
    images = np.random.default_rng(0).uniform(0, 1, (2, 12, 12, 3)).astype("float32")
    told = model(images)
    for order in (["zoo", "alive"], ["alive", "zoo"]):
        expected = np.concatenate([told[name] for name in order], axis=1)
        np.testing.assert_allclose(as_single(model, order)(images), expected, atol=1e-6)


def test_outputs_that_are_not_the_tasks_are_refused():
    model = model_of("tensor", "dict")
    with pytest.raises(ModelError, match=r"tasks zoo, sex; received alive, zoo"):
        as_single(model, ["zoo", "sex"])
    with pytest.raises(ModelError, match=r"tasks \(none named\); received alive, zoo"):
        as_single(model, [])
    with pytest.raises(ModelError, match=r"tasks a, b, c; received 2"):
        as_single(model_of("tensor", "list"), ["a", "b", "c"])


def test_models_without_one_image_are_refused():
    one, other = keras.Input((12, 12, 3)), keras.Input((12, 12, 3))
    with pytest.raises(ConversionError, match="expected one image input, received 2"):
        as_single(keras.Model([one, other], layers.Flatten()(layers.Add()([one, other]))))
    with pytest.raises(ModelError, match="expected a built model"):
        as_single(keras.Sequential([layers.Flatten()]))
