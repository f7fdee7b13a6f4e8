import pytest

from tltool.errors import RecipeError
from tltool.recipe import load_recipe, make_recipe


def stage(**changes):
    return {"training": {"stages": [{"epochs": 2, "learning_rate": 0.1} | changes]}}


def stages_of(**changes):
    return make_recipe(stage(**changes)).training.stages


def refusal(content):
    with pytest.raises(RecipeError) as caught:
        make_recipe(content)
    return str(caught.value)


def test_gradual_thawing_is_one_stage_a_block():
    stages = stages_of(train={"gradual": 3}, layer_decay=0.5)
    assert [s.train for s in stages] == [{"top": 1}, {"top": 2}, {"top": 3}]
    assert {(s.epochs, s.learning_rate, s.layer_decay) for s in stages} == {(2, 0.1, 0.5)}


def test_a_curve_is_a_name_or_a_name_with_parameters():
    assert stages_of(schedule="step")[0].schedule.every == 10
    assert stages_of(schedule={"name": "step", "every": 3})[0].schedule.every == 3
    assert stages_of()[0].schedule.name == "cosine"


def test_patterns_stay_in_their_order():
    patterns = {"b.*": 0.5, "a.*": "frozen", ".*": 1}
    assert list(stages_of(train=patterns)[0].train) == list(patterns)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            stage(schedule="cosin"),
            ["stages.0.schedule: expected one of constant, cosine", "cosine?"],
        ),
        (
            stage(schedule={"name": "step", "warmupp": 1}),
            ["stages.0.schedule.warmupp: no such key"],
        ),
        (
            stage(schedule={"name": "step", "factor": 2}),
            ["stages.0.schedule.factor: ", "received 2"],
        ),
        (stage(schedule={"name": "cosine", "every": 2}), ["schedule.every", "name, warmup, end"]),
        (stage(schedule=3), ["stages.0.schedule: "]),
        (stage(schedule={"warmup": 1}), ["stages.0.schedule: expected a name beside", "cosine"]),
        (stage(train={"(": 1}), ["stages.0.train: ( is not a regular expression"]),
        (stage(train={"a": 0}), ["stages.0.train: a: expected frozen or a multiple"]),
        (stage(train={"a": "1,5"}), ["stages.0.train: a: expected frozen or a multiple"]),
        (stage(train={"top": 2, "head": 0.1}), ["stages.0.train: expected {top: ...} alone"]),
        (stage(train={"head": 1, "gradual": 2}), ["expected {gradual: ...} alone"]),
        (stage(train={"gradual": 0}), ["stages.0.train: expected {gradual: n}"]),
        (stage(train={"from": 3}), ["stages.0.train: expected {from: name}"]),
        (stage(optimizer="adm"), ["stages.0.optimizer: expected one of adam", "adam?"]),
        ({"head": {"name": "cam", "units": [3]}}, ["head: head cam has no hidden layers"]),
        ({"head": {"batch_norm": True}}, ["head: batch_norm normalises hidden layers"]),
        ({"tasks": {"a b": {}}}, ["tasks: expected letters, digits and _"]),
        ({"tasks": {"a": {"loss": {"gama": 1}}}}, ["tasks.a.loss.gama: no such key", "gamma?"]),
        ({"task": "binary", "tasks": {"a": {}}}, ["recipe: task is for one task"]),
        ({"training": {"loss": {"alpha": 2}}}, ["training.loss.alpha: expected a weight"]),
        ({"training": {"loss": "focal"}}, ["training.loss: expected a mapping", "'focal'"]),
        ({"training": {"loss": {"alpha": "x"}}}, ["training.loss.alpha: ", "received 'x'"]),
        ({"tasks": {"a": {"weight": float("inf")}}}, ["tasks.a.weight: ", "finite"]),
        ({"split": [0.5, 0.25, float("nan")]}, ["split.2: ", "finite"]),
        ({"bands": [0]}, ["bands: expected numbers of bands, from 1"]),
        ({"backbone": {"name": "MobilNet"}}, ["backbone.name: ", "did you mean MobileNet"]),
    ],
)
def test_what_cannot_be_is_told_with_its_path(content, words):
    message = refusal(content)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_a_multiple_without_a_dot_is_a_number_too():
    assert stages_of(train={"a.*": "1e-2"})[0].train == {"a.*": 0.01}


def test_another_curve_begins_with_its_own_parameters():
    recipe = load_recipe(assignments=("training.stages.0.schedule.name=plateau",))
    assert recipe.training.stages[0].schedule.patience == 3


def test_assignments_enter_new_parts():
    recipe = load_recipe(
        "multi-task",
        assignments=(
            "training.stages.1.schedule.warmup=2",
            "tasks.sex.weight=0.5",
            "head.units=[64, 32]",
            "augment=[D4, {mixup: {alpha: 0.3}}]",
        ),
    )
    assert recipe.training.stages[1].schedule.warmup == 2
    assert recipe.tasks["sex"].weight == 0.5
    assert recipe.head.units == [64, 32]
    assert recipe.augment[1] == {"mixup": {"alpha": 0.3}}
