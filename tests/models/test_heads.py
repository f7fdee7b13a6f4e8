import itertools

import numpy as np
import pytest

from tltool.errors import UsageError
from tltool.recipe import BackboneRecipe, HeadRecipe
from tltool.runtime import quiet_import
from tltool.tasks.kinds import make_task

quiet_import("keras")

import keras  # noqa: E402
from keras import layers  # noqa: E402

from tltool.fcn.surgery import check_equal, to_fcn  # noqa: E402
from tltool.models.heads import HEADS, apply_head  # noqa: E402
from tltool.models.network import build_classifier  # noqa: E402

SIDE = 8
TASKS = {
    "multi-class": make_task("kind", ("ant", "bee", "cat")),
    "binary": make_task("ripe", ("no", "yes"), "binary"),
    "multi-label": make_task("seen", ("a", "b", "c", "d"), "multi-label"),
}


def recipe_of(name, dropout=0.3, batch_norm=False):
    units = [] if name == "cam" else [6, 5]
    return HeadRecipe(name=name, units=units, dropout=dropout, batch_norm=batch_norm)


def shuffle_weights(model, seed=0):
    """Weights of every kind, biases and statistics included, away from their initial zeros."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        values = rng.normal(0.1, 0.3, weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def small_classifier(tasks, recipe):
    """The head on a map of 4 x 4 cells, each of 2 x 2 px."""
    inputs = keras.Input((SIDE, SIDE, 3), name="image")
    features = layers.Conv2D(7, 2, strides=2, activation="relu", name="stem")(inputs)
    return keras.Model(inputs, apply_head(features, tasks, recipe))


def images(number=3):
    return np.random.default_rng(0).normal(0, 1, (number, SIDE, SIDE, 3)).astype("float32")


def names(model):
    return [layer.name for layer in model.layers[2:]]


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", HEADS)
def test_every_head_gives_probabilities_and_converts(name, kind):
    task = TASKS[kind]
    recipe = recipe_of(name, batch_norm=name != "cam")
    model = shuffle_weights(small_classifier([task], recipe))
    answers = np.asarray(model(images()))
    assert answers.shape == (3, task.outputs)
    assert ((answers > 0) & (answers < 1)).all()
    if kind == "multi-class":
        np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)
    assert np.ptp(answers, axis=0).max() > 1e-4
    assert check_equal(model, to_fcn(model)) <= 1e-6
    # Windows of a larger image get what the classifier says of each.
    large = np.random.default_rng(1).normal(0, 1, (1, SIDE + 4, SIDE + 2, 3)).astype("float32")
    cells = np.asarray(to_fcn(model)(large))
    assert cells.shape == (1, 3, 2, task.outputs)
    for row, column in np.ndindex(3, 2):
        window = large[:, 2 * row : 2 * row + SIDE, 2 * column : 2 * column + SIDE]
        np.testing.assert_allclose(cells[:, row, column], model(window), atol=1e-6)


def test_names_of_a_single_tasks_layers():
    task = [TASKS["multi-class"]]
    dense = ["head_dropout_1", "head_dense_1", "head_dropout_2", "head_dense_2", "head_dropout"]
    gap = small_classifier(task, recipe_of("gap"))
    assert names(gap) == ["head_pool", *dense, "probabilities"]
    fc = small_classifier(task, recipe_of("fc", dropout=0))
    assert names(fc) == ["head_flatten", "head_dense_1", "head_dense_2", "probabilities"]
    cam = small_classifier(task, recipe_of("cam"))
    assert names(cam) == ["head_pool", "head_dropout", "probabilities"]
    nin = small_classifier(task, recipe_of("nin", dropout=0, batch_norm=True))
    hidden = [f"head_{x}_{n}" for n in (1, 2) for x in ("conv", "norm", "relu")]
    assert names(nin) == [*hidden, "head_scores", "head_pool", "probabilities"]
    assert [nin.get_layer(f"head_conv_{n}").filters for n in (1, 2)] == [6, 5]


def test_the_mean_of_the_maps_is_the_score():
    model = shuffle_weights(small_classifier([TASKS["multi-class"]], recipe_of("nin")))
    maps = keras.Model(model.input, model.get_layer("head_scores").output)
    mean = np.asarray(maps(images())).mean(axis=(1, 2))
    expected = np.exp(mean) / np.exp(mean).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model(images()), expected, atol=1e-6)
    assert not any(isinstance(layer, layers.Dense) for layer in model.layers)


def test_the_class_activation_maps_mean_is_the_score():
    model = shuffle_weights(small_classifier([TASKS["multi-label"]], recipe_of("cam")))
    features = keras.Model(model.input, model.get_layer("stem").output)(images())
    kernel, bias = model.get_layer("probabilities").get_weights()
    score = (np.asarray(features) @ kernel).mean(axis=(1, 2)) + bias
    np.testing.assert_allclose(model(images()), 1 / (1 + np.exp(-score)), atol=1e-6)


@pytest.mark.parametrize("name", [name for name in HEADS if name != "cam"])
def test_hidden_layers_are_normalised_before_they_are_rectified(name):
    model = small_classifier([TASKS["multi-class"]], recipe_of(name, batch_norm=True))
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert [norm.name for norm in norms] == ["head_norm_1", "head_norm_2"]
    raw = model.get_layer("head_conv_1" if name == "nin" else "head_dense_1")
    assert raw.activation is keras.activations.linear
    assert norms[0].input is raw.output
    assert model.get_layer("head_relu_1").input is norms[0].output


@pytest.mark.parametrize("name", HEADS)
def test_several_tasks_have_branches_of_their_own(name):
    tasks = [TASKS[kind] for kind in ("multi-label", "binary", "multi-class")]
    model = shuffle_weights(small_classifier(tasks, recipe_of(name)))
    answers = model(images())
    assert list(answers) == ["seen", "ripe", "kind"]
    assert [answers[task.name].shape for task in tasks] == [(3, t.outputs) for t in tasks]
    for task in tasks:
        assert model.get_layer(f"{task.name}_probabilities").output is model.output[task.name]
    # The pooling is shared, but where maps are pooled last.
    pools = [n for n in names(model) if n.endswith(("head_pool", "head_flatten"))]
    assert len(pools) == (3 if name == "nin" else 1)
    # What one task's branch has does nothing to the others.
    for weight in model.weights:
        if weight.path.startswith("kind_"):
            weight.assign(weight * 2)
    after = model(images())
    changed = {key for key in answers if not np.array_equal(after[key], answers[key])}
    assert changed == {"kind"}


def test_one_task_among_several_is_as_it_is_alone():
    # The same branch, under other names.
    one = small_classifier([TASKS["binary"]], recipe_of("gap", batch_norm=True))
    two = small_classifier(
        [TASKS["binary"], TASKS["multi-class"]], recipe_of("gap", batch_norm=True)
    )
    shuffle_weights(one)
    for layer in one.layers[1:]:
        shared = layer.name in ("stem", "head_pool")
        two.get_layer(layer.name if shared else f"ripe_{layer.name}").set_weights(
            layer.get_weights()
        )
    np.testing.assert_array_equal(one(images()), two(images())["ripe"])


def test_a_network_for_several_tasks_is_plain_keras(tmp_path):
    model = shuffle_weights(small_classifier(list(TASKS.values()), recipe_of("nin")))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")(images())
    assert list(again) == ["kind", "ripe", "seen"]
    for key, value in model(images()).items():
        np.testing.assert_array_equal(value, again[key])


def test_names_with_other_characters_are_legal():
    tasks = [make_task("growth form", ("a", "b")), make_task("a/b", ("a", "b"))]
    model = small_classifier(tasks, recipe_of("gap"))
    assert list(model(images())) == ["growth form", "a/b"]
    assert model.get_layer("growth_form_probabilities").units == 2


@pytest.mark.parametrize(
    ("tasks", "received"), [([], "none"), ([TASKS["binary"]] * 2, "ripe, ripe")]
)
def test_tasks_have_different_names(tasks, received):
    with pytest.raises(UsageError, match=rf"tasks: expected one or more.*received {received}"):
        small_classifier(tasks, recipe_of("gap"))


@pytest.mark.parametrize("name", HEADS)
def test_probabilities_are_single_precision_under_mixed_precision(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small_classifier([TASKS["multi-class"]], recipe_of(name, batch_norm=name != "cam"))
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("stem").compute_dtype == "bfloat16"
    assert model.get_layer("probabilities").compute_dtype == "float32"
    answers = model(images())
    assert answers.dtype == "float32"
    np.testing.assert_allclose(np.asarray(answers).sum(axis=1), 1, atol=1e-6)


def test_wrong_heads_are_refused():
    with pytest.raises(UsageError, match=r"head: expected one of gap, gmp, fc, nin, cam; received"):
        small_classifier([TASKS["binary"]], HeadRecipe.model_construct(name="mlp"))
    hidden = HeadRecipe.model_construct(name="cam", units=[3])
    with pytest.raises(UsageError, match=r"head cam: expected no hidden layers; received units"):
        small_classifier([TASKS["binary"]], hidden)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), list(itertools.product(HEADS, TASKS)))
def test_every_head_on_a_backbone_converts(name, kind):
    backbone = BackboneRecipe(name="MobileNet", alpha=0.25, weights="none")
    model = build_classifier(
        TASKS[kind], 64, 32, backbone=backbone, head=recipe_of(name, batch_norm=name != "cam")
    ).model
    assert check_equal(model, to_fcn(model)) <= 1e-6
