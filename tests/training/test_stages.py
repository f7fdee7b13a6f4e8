import numpy as np
import pytest

from tltool.runtime import quiet_import

quiet_import("keras")

from tltool.errors import RecipeError  # noqa: E402
from tltool.models.network import build_classifier  # noqa: E402
from tltool.recipe import BackboneRecipe, StageRecipe  # noqa: E402
from tltool.training.stages import apply_stage, check_stages, layer_rates  # noqa: E402


@pytest.fixture(scope="module")
def classifier():
    recipe = BackboneRecipe(name="MobileNet", alpha=0.25, weights="none")
    return build_classifier(3, 32, backbone=recipe)


def make_stage(**stage):
    return StageRecipe(**{"epochs": 1, "learning_rate": 1e-3, **stage})


def training_layers(classifier, **stage):
    apply_stage(classifier, make_stage(**stage), per_epoch=20)
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


@pytest.mark.parametrize("train", ["frozen", {".*": "frozen"}])
def test_frozen_is_another_word_for_the_head(classifier, train):
    assert training_layers(classifier, train=train) == {"probabilities"}


def test_from_a_layer_on(classifier):
    expected = {"probabilities", "conv_pw_12", "conv_dw_13", "conv_pw_13"}
    assert training_layers(classifier, train={"from": "conv_pw_12"}) == expected


def test_from_a_block_named_by_its_beginning():
    vgg = build_classifier(3, 32, backbone=BackboneRecipe(name="VGG16", weights="none"))
    found = training_layers(vgg, train={"from": "block5"})
    assert found == {"probabilities", "block5_conv1", "block5_conv2", "block5_conv3"}


def test_first_matching_pattern_gives_the_rate(classifier):
    patterns = {"conv_pw_13": 0.5, "conv_.*_1[23]": 0.1, ".*": "frozen"}
    stage = make_stage(train=patterns)
    factors = apply_stage(classifier, stage, per_epoch=20)
    expected = {
        "conv_dw_12/kernel": 0.1,
        "conv_pw_12/kernel": 0.1,
        "conv_dw_13/kernel": 0.1,
        "conv_pw_13/kernel": 0.5,
        "probabilities/kernel": 1.0,
        "probabilities/bias": 1.0,
    }
    assert factors == expected


def test_patterns_match_whole_names_and_what_they_leave_out_is_frozen(classifier):
    assert training_layers(classifier, train={"conv_pw_1": 1}) == {"probabilities", "conv_pw_1"}


def test_head_has_its_own_key(classifier):
    rates = layer_rates(classifier, make_stage(train={"head": 0.2, "conv_pw_13": 1}))
    assert (rates["probabilities"], rates["conv_pw_13"], rates["conv_pw_1"]) == (0.2, 1, 0)
    names = training_layers(classifier, train={"head": "frozen", "conv_pw_13": 1})
    assert names == {"conv_pw_13"}


def test_rates_decay_from_block_to_block(classifier):
    rates = layer_rates(classifier, make_stage(train="all", layer_decay=0.5))
    assert rates["probabilities"] == 1
    assert (rates["conv_pw_13"], rates["conv_dw_13"], rates["conv_pw_12"]) == (0.5, 0.5, 0.25)
    lowest = min(rate for rate in rates.values() if rate)
    assert lowest == pytest.approx(0.5 ** len(classifier.blocks))


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"conv9.*": 0.1}, ["conv9.* matches no layer of the backbone", "conv1, conv1_bn"]),
        ({"from": "block5"}, ["no block or layer of the backbone is called block5", "conv_pw_13"]),
        ({"head": "frozen", ".*": "frozen"}, ["trains nothing"]),
        ({"head": "frozen", ".*_bn": 1.0}, ["trains nothing"]),
    ],
)
def test_stages_that_cannot_be_are_told_with_their_place(classifier, train, words):
    with pytest.raises(RecipeError) as caught:
        check_stages(classifier, [make_stage(), make_stage(train=train)])
    assert str(caught.value).startswith("training.stages.1.train: ")
    assert all(word in str(caught.value) for word in words)
