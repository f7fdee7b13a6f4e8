import numpy as np
import pytest

from tltool.runtime import quiet_import

keras = quiet_import("keras")

from tltool.augment.pipeline import Augmenter  # noqa: E402
from tltool.data.dataset import Sample  # noqa: E402
from tltool.data.stream import Batches, Patches  # noqa: E402
from tltool.models.network import build_classifier  # noqa: E402
from tltool.recipe import BackboneRecipe, HeadRecipe, StageRecipe  # noqa: E402
from tltool.tasks.kinds import make_task  # noqa: E402
from tltool.training import features  # noqa: E402
from tltool.training.features import CachedBatches, compute_draws, halve  # noqa: E402
from tltool.training.stages import apply_stage  # noqa: E402

VGG = BackboneRecipe(name="VGG16", weights="none")
TASK = make_task("label", ("a", "b", "c"))


@pytest.fixture(scope="module")
def patches():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    samples = [Sample(f"{i}.png", ((i % 3,),)) for i in range(10)]
    return Patches(images, samples, [])


def training(train, **build):
    """A classifier in a stage that trains this of it."""
    classifier = build_classifier(TASK, 32, **build)
    apply_stage(classifier, StageRecipe(train=train, epochs=1, learning_rate=1e-3), 1)
    return classifier


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(1)
    return training("head", backbone=VGG, head=HeadRecipe(units=[4]))


@pytest.fixture(scope="module")
def halves(classifier):
    return halve(classifier)


@pytest.mark.parametrize(
    ("name", "train", "shape"),
    [
        ("MobileNet", {"top": 7}, (4, 4, 512)),
        ("MobileNet", {"conv_pw_13": 1}, (2, 2, 1024)),
        pytest.param("ResNet50", {"from": "conv5"}, (4, 4, 1024), marks=pytest.mark.slow),
        pytest.param("EfficientNetB0", {"top": 1}, (2, 2, 192), marks=pytest.mark.slow),
    ],
)
def test_what_lies_below_all_that_trains_is_cut_off(name, train, shape, patches):
    build = {"backbone": BackboneRecipe(name=name, weights="none"), "context": 16}
    classifier = training(train, **build)
    halves = halve(classifier)
    assert halves.frozen.outputs[0].shape[1:] == shape
    assert not halves.frozen.trainable_weights
    told = {weight.path for weight in halves.head.trainable_weights}
    assert told == {weight.path for weight in classifier.model.trainable_weights}
    images = np.pad(patches.images, ((0, 0), (16, 16), (16, 16), (0, 0))).astype("float32")
    expected = np.asarray(classifier.model(images))
    np.testing.assert_allclose(halves.head(halves.frozen(images)), expected, atol=1e-5)


def test_where_all_trains_nothing_is_cut_off():
    backbone = BackboneRecipe(name="MobileNet", weights="none")
    assert halve(training("all", backbone=backbone)) is None


def batches_of(patches, **more):
    return Batches(patches, [TASK], 4, **more)


def test_the_halves_together_are_the_classifier(classifier, halves, patches):
    images = patches.images.astype("float32")
    expected = np.asarray(classifier.model(images))
    np.testing.assert_allclose(halves.head(halves.frozen(images)), expected, atol=1e-6)
    assert halves.head.weights[0] is classifier.model.get_layer("head_dense_1").kernel


def test_pooling_is_computed_once_too(halves):
    assert halves.frozen.outputs[0].shape == (None, 512)


@pytest.mark.parametrize(("head", "shape"), [("fc", (None, 512)), ("nin", (None, 1, 1, 512))])
def test_each_head_is_cut_where_its_layers_begin(head, shape):
    classifier = training("head", backbone=VGG, head=HeadRecipe(name=head))
    assert halve(classifier).frozen.outputs[0].shape == shape


def test_context_is_cropped_before_the_cut():
    classifier = training("head", context=32, backbone=VGG, head=HeadRecipe(name="fc"))
    assert halve(classifier).frozen.outputs[0].shape == (None, 512)


def test_features_are_those_of_the_epochs_images(halves, patches):
    batches = batches_of(patches, augmenter=Augmenter(["D4"]), seed=3, workers=2)
    draws = compute_draws(halves.frozen, batches, [2, 5], "features")
    for epoch, draw in zip((2, 5), draws, strict=True):
        batches.start(epoch)
        images, targets = zip(*(batches[i] for i in range(len(batches))), strict=True)
        expected = halves.frozen.predict_on_batch(np.concatenate(images))
        np.testing.assert_allclose(draw.features, expected, atol=1e-5)
        np.testing.assert_array_equal(draw.targets["label"], np.concatenate(targets))
    assert not np.array_equal(draws[0].features, draws[1].features)


def test_many_features_live_in_a_file(halves, patches, monkeypatch):
    (expected,) = compute_draws(halves.frozen, batches_of(patches), [0], "features")
    monkeypatch.setattr(features, "_MEMORY_LIMIT", 100)
    (draw,) = compute_draws(halves.frozen, batches_of(patches), [0], "features")
    assert isinstance(draw.features, np.memmap)
    np.testing.assert_array_equal(draw.features, expected.features)


def test_memory_is_shared_by_all_draws(halves, patches, monkeypatch):
    # 10 x 512 numbers of 4 bytes each: one draw has room, two have not.
    monkeypatch.setattr(features, "_MEMORY_LIMIT", 30_000)
    batches = batches_of(patches)
    for epochs in ([0], [0, 1]):
        draws = compute_draws(halves.frozen, batches, epochs, "features")
        assert [isinstance(d.features, np.memmap) for d in draws] == [len(epochs) > 1] * len(epochs)


def test_half_precision_stays_that_of_both_halves():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        classifier = training("head", backbone=VGG, head=HeadRecipe(units=[4]))
    finally:
        keras.config.set_dtype_policy(before)
    head = halve(classifier).head
    head.compile("sgd")
    # Without it small gradients of the hidden layer are rounded to nothing.
    assert isinstance(head.optimizer, keras.optimizers.LossScaleOptimizer)


def cached(number=2, **more):
    draws = [
        features.Draw(
            np.arange(7, dtype=np.float32)[:, None] + 10 * n,
            {"label": np.eye(7, dtype=np.float32)},
        )
        for n in range(number)
    ]
    return CachedBatches(draws, 3, **more)


def rows_of(batches):
    parts = [batches[i] for i in range(len(batches))]
    return (np.concatenate([part[i] for part in parts]) for i in (0, 1))


def test_each_epoch_takes_the_next_draw_in_a_new_order():
    batches = cached(seed=1)
    orders = []
    for epoch in range(4):
        values, targets = rows_of(batches)
        places = values[:, 0].astype(int) - 10 * (epoch % 2)
        assert sorted(places) == list(range(7))
        np.testing.assert_array_equal(targets.argmax(1), places)
        orders.append(tuple(places))
        batches.on_epoch_end()
    assert len(set(orders)) == 4


def test_an_epoch_is_the_same_wherever_it_begins():
    batches = cached(seed=1)
    for _ in range(3):
        batches.on_epoch_end()
    for one, other in zip(rows_of(batches), rows_of(cached(seed=1, epoch=3)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_seed_the_order_stays():
    values, _ = rows_of(cached(1))
    np.testing.assert_array_equal(values[:, 0], np.arange(7))
