import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tltool.errors import RecipeError, UsageError
from tltool.recipe import LossRecipe
from tltool.runtime import quiet_import
from tltool.tasks.kinds import make_task

quiet_import("keras")

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import ops  # noqa: E402

from tltool.tasks.losses import class_weights, labelled_accuracy, make_loss  # noqa: E402

EPSILON = 1e-7
NAMES = ("ant", "bee", "cat", "dog")
KINDS = ("multi-class", "binary", "multi-label")


def task_of(kind, number=3):
    return make_task("t", NAMES[: 2 if kind == "binary" else number], kind)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def weight_of(counts, recipe):
    """Class weights, one class after the other."""
    raw = []
    for n in counts:
        if n == 0:
            raw.append(0.0)
        elif recipe.class_weights == "inverse":
            raw.append(1 / n)
        else:
            raw.append((1 - recipe.beta) / (1 - recipe.beta**n))
    total = sum(n * w for n, w in zip(counts, raw, strict=True))
    return [w * sum(counts) / total if total else 0.0 for w in raw]


def several_reference(recipe, y, p, training):
    classes = len(y)
    smoothing = recipe.label_smoothing
    if smoothing is None:
        smoothing = 0.1 if recipe.name == "cross-entropy" else 0.0
    alpha = recipe.alpha if isinstance(recipe.alpha, list) else [recipe.alpha or 1.0] * classes
    cost = 0.0
    for c in range(classes):
        clipped = min(max(p[c], EPSILON), 1 - EPSILON)
        term = -((1 - smoothing) * y[c] + smoothing / classes) * math.log(clipped)
        if recipe.name == "focal":
            term *= alpha[c] * (1 - clipped) ** recipe.gamma
        cost += term
    if recipe.class_weights != "none":
        counts = [sum(row[c] for row in training if row[c] >= 0) for c in range(classes)]
        weights = weight_of(counts, recipe)
        cost *= sum(w * t for w, t in zip(weights, y, strict=True))
    return cost


def binary_reference(recipe, y, p, training):
    costs = []
    for o in range(len(y)):
        clipped = min(max(p[o], EPSILON), 1 - EPSILON)
        soft = (1 - (recipe.label_smoothing or 0)) * y[o] + (recipe.label_smoothing or 0) / 2
        positive, negative = -soft * math.log(clipped), -(1 - soft) * math.log(1 - clipped)
        if recipe.name == "focal":
            alpha = recipe.alpha[o] if isinstance(recipe.alpha, list) else recipe.alpha
            positive *= (1 - clipped) ** recipe.gamma * (1 if alpha is None else alpha)
            negative *= clipped**recipe.gamma * (1 if alpha is None else 1 - alpha)
        cost = positive + negative
        if recipe.class_weights != "none":
            column = [row[o] for row in training if row[o] >= 0]
            without, with_it = weight_of([len(column) - sum(column), sum(column)], recipe)
            cost *= y[o] * with_it + (1 - y[o]) * without
        costs.append(cost)
    return sum(costs) / len(costs)


def reference(recipe, task, targets, probabilities, training):
    one = several_reference if task.kind == "multi-class" else binary_reference
    rows = [
        one(recipe, y, p, training)
        for y, p in zip(targets.tolist(), probabilities.tolist(), strict=True)
        if y[0] >= 0
    ]
    return sum(rows) / max(1, len(rows))


def value(loss, targets, probabilities):
    """The loss in double precision."""
    double = [ops.array(x, dtype="float64") for x in (targets, probabilities)]
    return float(np.mean(loss.call(*double)))


floats = st.floats(-25, 25)


@st.composite
def cases(draw, span=floats):
    task = task_of(draw(st.sampled_from(KINDS)), draw(st.integers(2, 4)))
    rows = draw(st.integers(1, 5))
    shape = (rows, task.outputs)
    logits = draw(hnp.arrays(float, shape, elements=span))
    soft = draw(hnp.arrays(float, shape, elements=st.floats(0, 1)))
    if task.kind == "multi-class":
        soft = (soft + 1e-3) / (soft + 1e-3).sum(axis=1, keepdims=True)
        hard = np.eye(task.outputs)[soft.argmax(axis=1)]
    else:
        hard = np.round(soft)
    targets = np.where(draw(hnp.arrays(bool, (rows, 1))), hard, soft)
    targets[draw(hnp.arrays(bool, rows))] = -1
    labels = draw(st.lists(st.none() | st.integers(0, len(task.classes) - 1), max_size=8))
    training = task.encode([None if label is None else (label,) for label in labels])
    lists = {"multi-class": st.floats(0.1, 5), "multi-label": st.floats(0.1, 0.9)}
    alpha = st.none() | st.floats(0.1, 0.9)
    if task.kind in lists:
        alpha |= st.lists(lists[task.kind], min_size=task.outputs, max_size=task.outputs)
    recipe = LossRecipe(
        name=draw(st.sampled_from(["cross-entropy", "focal"])),
        label_smoothing=draw(st.none() | st.floats(0, 0.5)),
        class_weights=draw(st.sampled_from(["none", "inverse", "effective"])),
        beta=draw(st.sampled_from([0.0, 0.5, 0.999])),
        gamma=draw(st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0])),
        alpha=draw(alpha),
    )
    return recipe, task, targets, logits, training


@given(cases())
@settings(max_examples=80, deadline=None)
def test_every_loss_equals_its_formula(case):
    recipe, task, targets, logits, training = case
    probabilities = (softmax if task.kind == "multi-class" else sigmoid)(logits)
    expected = reference(recipe, task, targets, probabilities, training.tolist())
    loss = make_loss(recipe, task, training)
    assert value(loss, targets, probabilities) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    # As a network's answers come, in single precision.
    single = loss(targets.astype("float32"), probabilities.astype("float32"))
    assert single.dtype == "float32"
    assert float(single) == pytest.approx(expected, rel=0.03, abs=1e-4)


@given(cases(st.floats(-3, 3)))
@settings(max_examples=25, deadline=None)
def test_gradients_are_those_of_finite_differences(case):
    recipe, task, targets, logits, training = case
    loss = make_loss(recipe, task, training)
    activation = tf.nn.softmax if task.kind == "multi-class" else tf.math.sigmoid

    def cost(at):
        return tf.reduce_mean(loss.call(tf.constant(targets), activation(at)))

    at = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(at)
        total = cost(at)
    received = tape.gradient(total, at).numpy()
    expected, step = np.zeros_like(logits), 1e-5
    for place in np.ndindex(logits.shape):
        moved = np.zeros_like(logits)
        moved[place] = step
        expected[place] = (cost(logits + moved) - cost(logits - moved)) / (2 * step)
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-7)
    assert not received[targets[:, 0] < 0].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["cross-entropy", "focal"])
def test_through_a_networks_last_layer_unlabelled_rows_have_no_gradient(kind, name):
    # Keras computes cross-entropy from the scores before the activation.
    task = task_of(kind)
    activation = "softmax" if kind == "multi-class" else "sigmoid"
    layer = keras.layers.Dense(task.outputs, activation=activation)
    features = tf.constant([[400.0, -1.0], [1.0, 3.0], [0.0, 0.0]])
    layer.build(features.shape)
    loss = make_loss(LossRecipe(name=name), task)
    targets = task.encode([None, (1,), None])
    with tf.GradientTape() as tape:
        tape.watch(features)
        total = loss(targets, layer(features))
    gradient = tape.gradient(total, features).numpy()
    assert not gradient[[0, 2]].any()
    assert gradient[1].all()
    assert float(total) == pytest.approx(float(loss(targets[1:2], layer(features[1:2]))), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["cross-entropy", "focal"])
def test_in_a_graph_as_eagerly(kind, name):
    # Batches of unknown size, as a stream of them has.
    task = task_of(kind)
    recipe = LossRecipe(name=name, class_weights="inverse", alpha=0.3)
    loss = make_loss(recipe, task, task.encode([(0,), (1,), (1,)]))
    y = task.encode([(1,), None, (0,), (1,)])
    p = softmax(np.random.default_rng(0).normal(size=y.shape)) * 0.9
    p = p.astype("float32")
    unknown = [tf.TensorSpec((None, None)), tf.TensorSpec((None, task.outputs))]
    graph = tf.function(lambda a, b: loss(a, b), input_signature=unknown)
    assert float(graph(y, p)) == pytest.approx(float(loss(y, p)), rel=1e-6)


def test_cross_entropy_is_that_of_keras():
    rng = np.random.default_rng(0)
    p, y = softmax(rng.normal(size=(6, 3))), np.eye(3)[rng.integers(0, 3, 6)]
    ours = make_loss(LossRecipe(), task_of("multi-class"))
    theirs = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    assert float(ours(y, p)) == float(theirs(y, p))
    p, y = sigmoid(rng.normal(size=(6, 3))), rng.integers(0, 2, (6, 3)).astype(float)
    ours = make_loss(LossRecipe(label_smoothing=0.2), task_of("multi-label"))
    theirs = keras.losses.BinaryCrossentropy(label_smoothing=0.2)
    assert float(ours(y, p)) == pytest.approx(float(theirs(y, p)), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_focal_loss_is_a_hundredth_of_cross_entropy_where_nine_tenths_sure(kind):
    # Lin et al. 2017, section 3.2: p = 0.9, gamma = 2.
    task = task_of(kind, 2)
    y, p = {
        "multi-class": ([[0, 1]], [[0.1, 0.9]]),
        "binary": ([[1]], [[0.9]]),
        "multi-label": ([[1, 0]], [[0.9, 0.1]]),
    }[kind]
    sure = value(make_loss(LossRecipe(name="focal", gamma=2), task), np.array(y) * 1.0, p)
    assert sure == pytest.approx(-math.log(0.9) / 100)
    plain = LossRecipe(name="focal", gamma=0)
    same = value(make_loss(plain, task), np.array(y) * 1.0, p)
    assert same == pytest.approx(-math.log(0.9))


def test_alpha_weighs_positives_against_negatives():
    loss = make_loss(LossRecipe(name="focal", gamma=0, alpha=0.25), task_of("binary"))
    assert value(loss, [[1.0]], [[0.5]]) == pytest.approx(0.25 * math.log(2))
    assert value(loss, [[0.0]], [[0.5]]) == pytest.approx(0.75 * math.log(2))
    loss = make_loss(LossRecipe(name="focal", gamma=0, alpha=[0.3, 2.0]), task_of("binary"))
    assert value(loss, [[0.0]], [[0.5]]) == pytest.approx(0.3 * math.log(2))
    assert value(loss, [[1.0]], [[0.5]]) == pytest.approx(2.0 * math.log(2))


@pytest.mark.parametrize(
    ("kind", "alpha", "message"),
    [
        ("multi-class", [1.0, 2.0], r"loss of task t: alpha: expected one weight or 3; received"),
        ("multi-label", [0.1, 0.2], r"expected one weight or 3;.*classes are ant, bee, cat"),
        ("multi-label", [0.1, 0.2, 1.0], r"expected weights of the positives, below 1"),
        ("binary", [0.1, 0.2, 0.3], r"expected one weight or 2"),
    ],
)
def test_an_alpha_that_does_not_fit_is_refused(kind, alpha, message):
    with pytest.raises(RecipeError, match=message):
        make_loss(LossRecipe(name="focal", alpha=alpha), task_of(kind))


@pytest.mark.parametrize("targets", [None, np.zeros((4, 2)), np.zeros(3)])
def test_class_weights_need_targets_to_count(targets):
    with pytest.raises(UsageError, match=r"task t: expected the training split's \(n, 3\) targets"):
        make_loss(LossRecipe(class_weights="inverse"), task_of("multi-class"), targets)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["cross-entropy", "focal"])
def test_unlabelled_rows_change_nothing(kind, name):
    task = task_of(kind)
    rng = np.random.default_rng(1)
    p = softmax(rng.normal(size=(5, task.outputs)) * 3)
    p = sigmoid(rng.normal(size=p.shape)) if kind != "multi-class" else p
    y = task.encode([(0,), None, (1,), None, None]).astype(float)
    recipe = LossRecipe(name=name, class_weights="effective")
    loss = make_loss(recipe, task, task.encode([(0,), (0,), (1,), None]))
    assert value(loss, y, p) == pytest.approx(value(loss, y[[0, 2]], p[[0, 2]]), rel=1e-12)
    assert value(loss, y[[1, 3]], p[[1, 3]]) == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["cross-entropy", "focal"])
def test_probabilities_of_nothing_and_one_stay_finite(kind, name):
    task = task_of(kind, 2)
    p = {"binary": [[0.0], [1.0]]}.get(kind, [[0.0, 1.0], [1.0, 0.0]])
    p = tf.constant(p, tf.float32)
    for gamma in (0.0, 0.5, 2.0):
        loss = make_loss(LossRecipe(name=name, gamma=gamma), task)
        for label in (0, 1):
            with tf.GradientTape() as tape:
                tape.watch(p)
                total = loss(task.encode([(label,), (label,)]), p)
            assert np.isfinite(float(total))
            assert np.isfinite(tape.gradient(total, p)).all()


def test_weights_by_hand():
    # Twice as rare, twice the weight: 1/4 and 1/8 over 12 samples, times 6 for a mean of 1.
    np.testing.assert_allclose(class_weights(np.array([4, 8, 0])), [1.5, 0.75, 0])
    # Effective numbers of 1 and 3 samples at beta 0.5: 1 and 1.75.
    np.testing.assert_allclose(class_weights(np.array([1, 3]), 0.5), [1.4736842, 0.8421053])
    np.testing.assert_array_equal(class_weights(np.zeros(3)), [0, 0, 0])


counts = hnp.arrays(int, st.integers(1, 6), elements=st.integers(0, 10**6))


@given(counts, st.none() | st.floats(0, 1, exclude_max=True))
def test_weights_are_1_on_average_over_the_samples(numbers, beta):
    with np.errstate(all="raise", under="ignore"):
        weights = class_weights(numbers, beta)
    assert (weights * numbers).sum() == pytest.approx(numbers.sum())
    assert ((weights == 0) == (numbers == 0)).all()


@given(counts)
def test_effective_numbers_go_from_equal_weights_to_inverse_frequencies(numbers):
    np.testing.assert_allclose(class_weights(numbers, 0), (numbers > 0) * 1.0)
    nearly = class_weights(numbers, 1 - 2**-50)
    np.testing.assert_allclose(nearly, class_weights(numbers), rtol=1e-6)


def test_weights_of_each_output_are_its_own():
    task = make_task("t", ("a", "b"), "multi-label")
    training = task.encode([(0,), (), (), (), None])
    loss = make_loss(LossRecipe(class_weights="inverse"), task, training)
    half, log2 = [[0.5, 0.5]], math.log(2)
    # a: one positive (weight 2) and three negatives (2/3); b: four negatives (1), no positive (0).
    assert value(loss, [[1.0, 0.0]], half) == pytest.approx(log2 * (2 + 1) / 2)
    assert value(loss, [[0.0, 0.0]], half) == pytest.approx(log2 * (2 / 3 + 1) / 2)
    assert value(loss, [[0.0, 1.0]], half) == pytest.approx(log2 * (2 / 3 + 0) / 2)


@pytest.mark.parametrize(
    ("kind", "targets", "answers", "expected"),
    [
        # Right, wrong, not labelled, right by the larger half of a soft target.
        (
            "multi-class",
            [[1, 0, 0], [0, 1, 0], [-1, -1, -1], [0.3, 0, 0.7]],
            [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [1, 0, 0], [0, 0.4, 0.6]],
            2 / 3,
        ),
        ("binary", [[1], [0], [-1], [0.6]], [[0.5], [0.5], [0.1], [0.9]], 2 / 3),
        # Two of three outputs, all three, not labelled.
        (
            "multi-label",
            [[1, 0, 1], [0, 0, 0], [-1, -1, -1]],
            [[0.9, 0.6, 0.5], [0.1, 0.2, 0.4], [0.9, 0.1, 0.1]],
            5 / 6,
        ),
        ("binary", [[-1], [-1]], [[0.5], [0.5]], 0),
    ],
)
def test_accuracy_counts_labelled_rows(kind, targets, answers, expected):
    metric = labelled_accuracy(task_of(kind))
    assert metric.name == "accuracy"
    metric.update_state(np.array(targets, "float32"), np.array(answers, "float32"))
    assert float(metric.result()) == pytest.approx(expected)
    # Over several batches too, the rows counting alike.
    metric.reset_state()
    for row, answer in zip(targets, answers, strict=True):
        metric.update_state(np.array([row], "float32"), np.array([answer], "float32"))
    assert float(metric.result()) == pytest.approx(expected)


def test_accuracy_takes_whole_numbers():
    metric = labelled_accuracy(task_of("binary"))
    metric.update_state(np.array([[1], [0], [-1]]), np.array([[0.9], [0.9], [0.9]]))
    assert float(metric.result()) == 0.5


def test_a_network_trains_on_several_tasks_at_once():
    tasks = [task_of("multi-class"), make_task("u", ("no", "yes"), "binary")]
    inputs = keras.Input((2,))
    outputs = {
        "t": keras.layers.Dense(3, activation="softmax", name="a")(inputs),
        "u": keras.layers.Dense(1, activation="sigmoid", name="b")(inputs),
    }
    model = keras.Model(inputs, outputs)
    model.compile(
        optimizer=keras.optimizers.SGD(0.5),
        loss={task.name: make_loss(LossRecipe(name="focal"), task) for task in tasks},
        metrics={task.name: labelled_accuracy(task) for task in tasks},
    )
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    y = {
        "t": tasks[0].encode([(int(v > 0),) for v in x[:, 0]]),
        "u": tasks[1].encode([(int(v > 0),) if v < 1 else None for v in x[:, 1]]),
    }
    history = model.fit(x, y, batch_size=16, epochs=20, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert history["t_accuracy"][-1] > 0.9
    assert history["u_accuracy"][-1] > 0.9
