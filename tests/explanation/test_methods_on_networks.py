"""Methods on networks as people have them, against formulas written anew with plain gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from networks import random_classifier, varied_images

from tltool.errors import ModelError, UsageError
from tltool.explanation.methods import as_heat, maps_of, maps_of_subject, subject_for
from tltool.explanation.subject import open_subject
from tltool.models.graph import flatten
from tltool.models.heads import apply_head
from tltool.recipe import HeadRecipe
from tltool.tasks.kinds import make_task

IMAGES = varied_images(3, 96, seed=5)
TARGETS = np.array([2, 0, 3])
LAYER = "conv_pw_13_relu"


def heat_of(model, images, targets, method):
    subject = subject_for(open_subject(model, images.shape[1:]), method)
    return as_heat(subject, maps_of_subject(subject, images, targets, method, 8))


@pytest.fixture(scope="module")
def mobilenet():
    return random_classifier("MobileNet", 96, alpha=0.25)


@pytest.fixture(scope="module")
def opened(mobilenet):
    return open_subject(mobilenet, (96, 96, 3), LAYER)


def plain_gradients(model, layer):
    """A and dy/dA of each image, y the input of the last layer's softmax."""
    dense = model.layers[-1]
    network = keras.Model(model.inputs[0], [model.get_layer(layer).output, dense.input])
    with tf.GradientTape() as tape:
        images = tf.constant(IMAGES)
        tape.watch(images)
        features, vector = network(images, training=False)
        scores = tf.matmul(vector, dense.kernel) + dense.bias
        wanted = sum(scores[n, k] for n, k in enumerate(TARGETS))
    return features.numpy(), tape.gradient(wanted, features).numpy()


def written_out(features, gradients, method):
    """The papers' sums, channel by channel and cell by cell."""
    rows, columns, channels = features.shape
    total = np.zeros((rows, columns))
    for k in range(channels):
        a, g = features[..., k].astype(float), gradients[..., k].astype(float)
        if method == "gradcam":
            total += g.sum() / (rows * columns) * a
        elif method == "layercam":
            total += np.maximum(g, 0) * a
        else:
            weight = 0.0
            for i in range(rows):
                for j in range(columns):
                    below = 2 * g[i, j] ** 2 + a.sum() * g[i, j] ** 3
                    if below != 0:
                        weight += g[i, j] ** 2 / below * max(g[i, j], 0)
            total += weight * a
    return np.maximum(total, 0)


def test_methods_equal_the_papers_formulas(mobilenet, opened):
    features, gradients = plain_gradients(mobilenet, LAYER)
    for method in ("gradcam", "gradcam++", "layercam"):
        expected = [written_out(f, g, method) for f, g in zip(features, gradients, strict=True)]
        found = maps_of_subject(opened, IMAGES, TARGETS, method, 2)
        assert found.max() > 0
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5 * np.max(expected))


def test_cam_equals_gradcam_up_to_the_number_of_cells(mobilenet, opened):
    cam, gradcam = (maps_of_subject(opened, IMAGES, TARGETS, m, 2) for m in ("cam", "gradcam"))
    assert cam.shape == (3, 3, 3)
    np.testing.assert_allclose(np.maximum(cam, 0) / 9, gradcam, rtol=1e-4, atol=1e-6)
    # And its mean is the score without the bias.
    dense = mobilenet.layers[-1]
    vector = keras.Model(mobilenet.inputs[0], dense.input).predict(IMAGES, verbose=0)
    scores = (vector @ dense.get_weights()[0])[np.arange(3), TARGETS]
    np.testing.assert_allclose(cam.mean(axis=(1, 2)), scores, rtol=1e-4, atol=1e-5)


def small_net(side=32, name="backbone"):
    inputs = keras.Input((side, side, 3))
    x = layers.Conv2D(6, 3, 2, "same", activation="relu", name="early")(inputs)
    x = layers.Conv2D(8, 3, 2, "same", activation="relu", name="late")(x)
    return keras.Model(inputs, x, name=name)


def headed(features, name="head"):
    pooled = layers.GlobalAveragePooling2D()(features)
    return layers.Dense(3, activation="softmax", name=name)(pooled)


def test_a_nested_backbone_gives_what_the_flat_network_gives():
    keras.utils.set_random_seed(2)
    inputs = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    nested = keras.Model(inputs, headed(layers.Dropout(0.3)(small_net()(x))))
    images, targets = varied_images(4, 32), np.array([0, 1, 2, 1])
    flat = flatten(nested)
    for inner, outer in (("backbone/late", "late"), ("backbone/early", "early")):
        subjects = [
            open_subject(nested, (32, 32, 3), inner),
            open_subject(flat, (32, 32, 3), outer),
        ]
        assert [each.layer for each in subjects] == [inner, outer]
        for method in ("gradcam", "gradcam++", "layercam", "scorecam"):
            found, expected = (maps_of_subject(s, images, targets, method, 4) for s in subjects)
            np.testing.assert_allclose(found, expected, rtol=1e-5)
    cams = [maps_of(each, images, targets, "cam") for each in (nested, flat)]
    np.testing.assert_allclose(*cams, rtol=1e-5)


def test_models_in_sequence_with_the_same_names_inside():
    keras.utils.set_random_seed(2)
    first = small_net(32, "one")
    second = keras.Sequential(
        [keras.Input((8, 8, 8)), layers.Conv2D(4, 3, name="late")], name="two"
    )
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, headed(second(first(inputs))))
    images = varied_images(2, 32)
    with pytest.raises(UsageError, match=r"late may be .*one/late or .*two/late"):
        maps_of(model, images, [0, 1], layer="late")


def test_several_outputs_by_name_and_against_the_positive():
    tasks = [
        make_task("zoo", ("bird", "none", "seal")),
        make_task("alive", ("no", "yes"), "binary"),
    ]
    keras.utils.set_random_seed(2)
    inputs = keras.Input((32, 32, 3))
    features = small_net()(inputs)
    pooled = layers.GlobalAveragePooling2D()(features)
    outputs = {
        task.name: layers.Dense(n, activation=act)(pooled)
        for task, n, act in zip(tasks, (3, 1), ("softmax", "sigmoid"), strict=True)
    }
    model, images = keras.Model(inputs, outputs), varied_images(2, 32)
    cam = maps_of(model, images, [0, 0], "cam", task="alive")
    speaks = maps_of(model, images, [0, 0], task="alive", layer="late")
    against = maps_of(model, images, [~0, ~0], task="alive", layer="late")
    np.testing.assert_allclose(speaks - against, cam / 64, rtol=1e-3, atol=1e-5)
    alone = keras.Model(inputs, outputs["zoo"])
    zoo = maps_of(model, images, [1, 2], task="zoo")
    np.testing.assert_allclose(zoo, maps_of(alone, images, [1, 2]), rtol=1e-5)
    with pytest.raises(UsageError, match="expected one of zoo, alive; received None"):
        maps_of(model, images, [0, 0])


@pytest.mark.parametrize("head", ["gap", "gmp", "fc", "nin"])
def test_every_head_and_context(head):
    keras.utils.set_random_seed(4)
    inputs = keras.Input((48, 48, 3))
    x = layers.Conv2D(6, 5, 4, "same", activation="relu")(layers.Rescaling(1 / 255)(inputs))
    recipe = HeadRecipe(name=head, units=[] if head == "gap" else [5])
    outputs = apply_head(layers.Cropping2D(4)(x), [make_task("label", ("a", "b", "c"))], recipe)
    model, images = keras.Model(inputs, outputs), varied_images(2, 48)
    for method in ("gradcam", "layercam"):
        heat = heat_of(model, images, np.array([0, 2]), method)
        assert heat.shape == (2, 48, 48)
        assert np.isfinite(heat).all()
    if head in ("gap", "nin"):
        # Of the context, which the head does not pool, nothing is told.
        cam = heat_of(model, images, np.array([0, ~0]), "cam")
        assert not cam[:, :16].any()
        assert cam[:, 16:32, 16:32].any()
    else:
        with pytest.raises(UsageError, match=r"global average pooling.*received \w+ \("):
            maps_of(model, images, [0, 2], "cam")


def test_nan_names_the_image():
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 3), layers.Flatten()])
    model.add(layers.Dense(2))
    images = np.ones((3, 8, 8, 3))
    images[1] = np.nan
    with pytest.raises(ModelError, match="received NaN or infinity for image 1"):
        maps_of(model, images, [0, 1, 0])


def test_an_unknown_method_lists_all():
    with pytest.raises(UsageError, match=r"expected one of cam, gradcam, .*; received smoothgrad"):
        maps_of(small_net(), IMAGES, TARGETS, "smoothgrad")
