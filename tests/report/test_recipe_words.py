import pytest
import yaml

from tltool.recipe import load_recipe
from tltool.recipe.loading import recipe_names
from tltool.report.recipe_words import describe_recipe


def words(**changes):
    topics, stages = describe_recipe(load_recipe(None, changes))
    return dict(topics), stages


@pytest.mark.parametrize("name", recipe_names())
def test_every_installed_recipe_is_told_in_sentences(name):
    topics, stages = describe_recipe(load_recipe(name))
    for topic, text in [*topics, *(("Stage", text) for text in stages)]:
        # Entries of augmentation have names of their own.
        assert text[0].isupper() or text[0].isdigit() or topic == "Augmentation"
        assert text.endswith(".")
        assert "None" not in text.replace("None.", "")
        assert "{" not in text


def test_weights_are_told_by_what_they_are():
    def told(weights):
        return words(backbone={"name": "VGG16", "weights": weights})[0]["Backbone"]

    assert told("imagenet") == "VGG16, starting from weights trained on ImageNet."
    assert told("none") == "VGG16, starting from random weights."
    assert told("/some/where/net.h5") == "VGG16, starting from the weights of net.h5."


def test_the_head_and_its_layers_are_told():
    head = words(head={"name": "gmp", "units": [64, 32], "dropout": 0.5})[0]["Head"]
    assert head == (
        "The maximum of the feature map (global max pooling); hidden layers of 64, 32 units;"
        " 50 % dropout."
    )


def test_augmentation_tells_nested_entries():
    augment = yaml.safe_load("[D4, {OneOf: [defocus, {sensor_noise: {p: 1}}]}]")
    assert words(augment=augment)[0]["Augmentation"] == "D4; OneOf [defocus; sensor_noise (p 1)]."
    assert words(augment=[])[0]["Augmentation"] == "None."


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        ({}, "Cross-entropy, labels smoothed by 0.1."),
        ({"label_smoothing": 0}, "Cross-entropy."),
        ({"name": "focal", "gamma": 3}, "Focal, gamma 3."),
        (
            {"label_smoothing": 0.2, "class_weights": "inverse"},
            "Cross-entropy, labels smoothed by 0.2, samples weighted by the inverse of their"
            " class's frequency.",
        ),
    ],
)
def test_the_loss_is_told(loss, text):
    assert words(task="multi-class", training={"loss": loss})[0]["Loss"] == text


@pytest.mark.parametrize(
    ("train", "text"),
    [
        ("frozen", "The head alone, the backbone frozen"),
        ("all", "All layers"),
        ({"top": 1}, "The head and the last 1 block of the backbone"),
        ({"from": "block5"}, "The head and the backbone from block5 on"),
        ({"a.*": 0.1, "b": "frozen"}, "Layers by name: a.* at 0.1 times the rate, b frozen"),
    ],
)
def test_stages_tell_what_trains(train, text):
    stage = {"train": train, "epochs": 1, "learning_rate": 3e-4, "schedule": "plateau", "ema": 0.99}
    (told,) = words(training={"stages": [stage]})[1]
    assert told.startswith(f"{text}: up to 1 epoch; adam at a rate of 0.0003, falling where")
    assert "weights averaged over steps (momentum 0.99)" in told


def test_tasks_are_told_with_kind_and_weight():
    told = words(tasks={"zoo": {"kind": "multi-class"}, "alive": {"kind": "binary", "weight": 2}})
    assert told[0]["Tasks"] == "zoo (multi-class, weight 1); alive (binary, weight 2)."
