import numpy as np
import pytest

from tltool.runtime import quiet_import

quiet_import("keras")

from tltool.models.network import build_classifier  # noqa: E402
from tltool.recipe import BackboneRecipe, StageRecipe  # noqa: E402
from tltool.training.schedule import apply_stage, cosine_rate  # noqa: E402


@pytest.fixture(scope="module")
def classifier():
    recipe = BackboneRecipe(name="MobileNet", alpha=0.25, weights="none")
    return build_classifier(3, 32, backbone=recipe)


def training_layers(classifier, **stage):
    apply_stage(classifier, StageRecipe(epochs=1, rate=1e-3, **stage), steps_per_epoch=20)
    return {layer.name for layer in classifier.model.layers if layer.trainable_weights}


def test_the_head_alone_trains(classifier):
    assert training_layers(classifier, train="head") == {"probabilities"}


def test_top_blocks_train_without_their_normalisation(classifier):
    expected = {"probabilities", "conv_dw_13", "conv_pw_13", "conv_dw_12", "conv_pw_12"}
    assert training_layers(classifier, train={"top": 2}) == expected


def test_everything_trains_but_the_preprocessing(classifier):
    names = training_layers(classifier, train="all", batch_norm="train")
    weighted = {layer.name for layer in classifier.model.layers if layer.weights}
    assert weighted - names == {"preprocessing"}


def test_normalisation_keeps_its_statistics_unless_the_stage_says_otherwise(classifier):
    norm = classifier.model.get_layer("conv1_bn")
    images = np.random.default_rng(1).uniform(0, 255, (4, 32, 32, 3)).astype("float32")
    for mode, moves in (("inference", False), ("train", True)):
        training_layers(classifier, train="all", batch_norm=mode)
        before = np.asarray(norm.moving_mean).copy()
        classifier.model(images, training=True)
        assert np.array_equal(before, norm.moving_mean) is not moves
    # On twenty steps an epoch the average spans twenty steps.
    assert norm.momentum == pytest.approx(0.95)


def test_the_rate_falls_along_a_cosine():
    rate = cosine_rate(StageRecipe(epochs=4, rate=0.1), steps_per_epoch=25)
    values = [float(rate(step)) for step in (0, 50, 100, 150)]
    assert values == pytest.approx([0.1, 0.0505, 0.001, 0.001])
