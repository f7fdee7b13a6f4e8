import copy

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.errors import RecipeError
from tltool.recipe import (
    BACKBONE_NAMES,
    Recipe,
    load_recipe,
    make_recipe,
    recipe_names,
    recipe_text,
    stage_assignments,
)

shares = st.floats(0, 1)
texts = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]))
stages = st.fixed_dictionaries(
    {
        "train": st.sampled_from(["head", "all"]) | st.builds(lambda n: {"top": n}, st.integers(1)),
        "epochs": st.integers(0, 500),
        "learning_rate": st.floats(1e-9, 10),
        "patience": st.integers(1, 100),
        "batch_norm": st.sampled_from(["inference", "train"]),
    }
)
contents = st.fixed_dictionaries(
    {},
    optional={
        "backbone": st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from(BACKBONE_NAMES),
                "weights": texts,
                "alpha": st.floats(0.01, 4),
            },
        ),
        "head": st.fixed_dictionaries(
            {}, optional={"units": st.lists(st.integers(1, 999)), "dropout": st.floats(0, 0.99)}
        ),
        "patch": st.none() | st.integers(1, 4096),
        "context": st.none() | st.integers(0, 4096),
        "zoom": st.floats(1, 8),
        "split": st.builds(lambda a, b: [1 - b, a * b, (1 - a) * b], shares, st.floats(0, 0.9)),
        "background": st.none() | texts,
        "augment": st.lists(
            texts | st.dictionaries(texts, st.none() | st.floats(0, 1), max_size=2)
        ),
        "training": st.fixed_dictionaries(
            {},
            optional={
                "batch_size": st.integers(1, 512),
                "seed": st.integers(0),
                "stages": st.lists(stages, max_size=3),
            },
        ),
    },
)


def refusal(content):
    with pytest.raises(RecipeError) as caught:
        make_recipe(content)
    return str(caught.value)


def stage(**changes):
    return {"training": {"stages": [{"epochs": 1, "learning_rate": 0.1} | changes]}}


@settings(deadline=None, max_examples=60)
@given(contents)
def test_saved_and_loaded_it_is_the_same(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "round.yaml"
    recipe = make_recipe(content)
    recipe.save(path)
    assert load_recipe(path) == recipe
    assert set(yaml.safe_load(path.read_text(encoding="utf-8"))) == set(Recipe.model_fields)


def test_saved_recipe_still_has_its_stages_where_defaults_would_differ(tmp_path):
    load_recipe("demo-scratch").save(tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml") == load_recipe("demo-scratch")


@pytest.mark.parametrize("name", recipe_names())
def test_installed_recipe_loads_and_opens_with_its_command(name):
    assert load_recipe(name).training.stages
    head = [line for line in recipe_text(name).splitlines()[:4] if line.startswith("#")]
    assert any("tltool finetune" in line and f"--recipe {name}" in line for line in head)


def test_folder_called_like_a_recipe_does_not_hide_it(tmp_path, monkeypatch):
    expected = load_recipe("demo")
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_recipe("demo") == expected


def test_file_needs_no_suffix(tmp_path):
    (tmp_path / "mine").write_text("zoom: 2")
    assert load_recipe(tmp_path / "mine").zoom == 2


@pytest.mark.parametrize("text", ["", "# nothing but this", "{}"])
def test_empty_file_is_the_defaults(tmp_path, text):
    (tmp_path / "empty.yaml").write_text(text)
    assert load_recipe(tmp_path / "empty.yaml") == load_recipe()


def test_anchored_it_runs_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    swap = {"swap_background": {"cutouts": "c", "backgrounds": "/b", "p": 0.5}}
    augment = ["D4", {"OneOf": {"transforms": [swap]}}]
    recipe = make_recipe({"backbone": {"weights": "w.h5"}, "augment": augment}).anchored()
    assert recipe.backbone.weights == str(tmp_path / "w.h5")
    swapped = {"cutouts": str(tmp_path / "c"), "backgrounds": "/b", "p": 0.5}
    assert recipe.augment[1] == {"OneOf": {"transforms": [{"swap_background": swapped}]}}
    assert load_recipe().anchored() == load_recipe()


def test_unknown_name_has_its_nearest():
    with pytest.raises(RecipeError, match=r"received few-image\. Did you mean few-images\?"):
        load_recipe("few-image")


def test_unknown_name_lists_the_installed_recipes():
    with pytest.raises(RecipeError) as caught:
        load_recipe("nothing")
    assert "received nothing" in str(caught.value)
    assert all(name in str(caught.value) for name in recipe_names())


@pytest.mark.parametrize("name", ["none.yaml", "none.yml"])
def test_missing_file_is_named(name):
    with pytest.raises(RecipeError, match=rf"{name}: no such file"):
        load_recipe(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backbone: [", "not valid YAML"),
        ("- 1\n- 2", "expected keys and values, received list"),
        ("MobileNet", "expected keys and values, received str"),
    ],
)
def test_file_that_is_no_recipe(tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "bad.yaml")
    assert message in str(caught.value)
    assert "bad.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_that_is_no_text(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"PK\x03\x04\xff\xfe\x80")
    with pytest.raises(RecipeError, match=r"model\.keras"):
        load_recipe(tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("content", "path", "allowed", "near"),
    [
        ({"backbon": {}}, "backbon", ["backbone", "head", "training"], "backbone"),
        ({"backbone": {"wieghts": "none"}}, "backbone.wieghts", ["name", "weights"], "weights"),
        (
            {"training": {"bacth": 8}},
            "training.bacth",
            ["batch_size", "seed", "stages"],
            "batch_size",
        ),
        (stage(patients=3), "training.stages.0.patients", ["epochs", "patience"], "patience"),
    ],
)
def test_unknown_key_names_path_allowed_keys_and_nearest(content, path, allowed, near):
    message = refusal(content)
    assert message.startswith(f"recipe: {path}: no such key. Allowed: ")
    assert all(key in message for key in allowed)
    assert message.endswith(f"Did you mean {near}?")


def test_unknown_key_like_nothing_gets_no_guess():
    assert "Did you mean" not in refusal({"qqqq": 1})


def test_misspelt_key_that_is_required_is_still_called_unknown():
    message = refusal({"training": {"stages": [{"epoch": 3, "learning_rate": 0.1}]}})
    assert "training.stages.0.epoch: no such key" in message
    assert "Did you mean epochs?" in message


@pytest.mark.parametrize(
    ("content", "path", "received"),
    [
        ({"training": {"batch_size": "many"}}, "training.batch_size", "'many'"),
        ({"training": {"batch_size": 0}}, "training.batch_size", "0"),
        ({"training": {"seed": -1}}, "training.seed", "-1"),
        ({"training": {"loss": {"label_smoothing": 1}}}, "training.loss.label_smoothing", "1"),
        ({"training": 3}, "training", "3"),
        ({"backbone": {"weights": None}}, "backbone.weights", "None"),
        ({"backbone": {"alpha": 0}}, "backbone.alpha", "0"),
        ({"head": {"units": ["wide"]}}, "head.units.0", "'wide'"),
        ({"head": {"dropout": 1.0}}, "head.dropout", "1.0"),
        ({"patch": 32.5}, "patch", "32.5"),
        ({"context": -1}, "context", "-1"),
        ({"zoom": 0.5}, "zoom", "0.5"),
        ({"zoom": 9}, "zoom", "9"),
        ({"split": [0.5, 0.5]}, "split.2", "[0.5, 0.5]"),
        (stage(learning_rate=0), "training.stages.0.learning_rate", "0"),
        (stage(learning_rate=11), "training.stages.0.learning_rate", "11"),
        (stage(epochs=-1), "training.stages.0.epochs", "-1"),
        (stage(batch_norm="off"), "training.stages.0.batch_norm", "'off'"),
    ],
)
def test_wrong_value_names_path_and_received(content, path, received):
    message = refusal(content)
    assert message.startswith(f"recipe: {path}: ")
    assert message.endswith(f"received {received}")


@pytest.mark.parametrize("split", [[0.5, 0.5, 0.5], [0, 0.5, 0.5], [1.2, -0.2, 0]])
def test_shares_must_add_up_with_some_training(split):
    assert "split: expected three shares that add up to 1" in refusal({"split": split})


@pytest.mark.parametrize("train", ["tail", {"top": 0}, {"top": "six"}, {"bottom": 0}, {}, 3])
def test_layers_to_train_are_checked_under_their_own_path(train):
    assert refusal(stage(train=train)).startswith("recipe: training.stages.0.train: ")


@pytest.mark.parametrize("train", ["head", "all", {"top": 3}])
def test_layers_to_train_can_be(train):
    assert make_recipe(stage(train=train)).training.stages[0].train == train


def test_pretrained_backbone_trains_the_head_first():
    for recipe in (load_recipe(), make_recipe({"backbone": {"weights": "my.h5"}})):
        assert recipe.training.stages[0].train == "head"
        assert all(s.batch_norm == "inference" for s in recipe.training.stages)


def scratch_from_file(tmp_path):
    (tmp_path / "r.yaml").write_text("backbone: {weights: none}")
    return load_recipe(tmp_path / "r.yaml")


@pytest.mark.parametrize(
    "load",
    [
        scratch_from_file,
        lambda _: load_recipe(changes={"backbone": {"weights": "none"}}),
        lambda _: load_recipe(assignments=("backbone.weights=none",)),
    ],
    ids=["file", "changes", "set"],
)
def test_random_weights_train_everything_from_the_start(tmp_path, load):
    stages = load(tmp_path).training.stages
    assert all(s.train == "all" and s.batch_norm == "train" for s in stages)


def test_given_stages_stay_whatever_the_weights():
    given = stage(train="head")
    recipe = make_recipe(given | {"backbone": {"weights": "none"}})
    assert len(recipe.training.stages) == 1
    assert recipe.training.stages[0].train == "head"


def test_changes_are_laid_over_the_file_and_left_alone():
    changes = {"backbone": {"weights": "none"}, "training": {"batch_size": 5}}
    before = copy.deepcopy(changes)
    recipe = load_recipe("demo", changes, ("training.batch_size=6",))
    assert changes == before
    assert (recipe.backbone.weights, recipe.backbone.alpha) == ("none", 0.25)
    assert recipe.training.batch_size == 6
    assert len(recipe.training.stages) == len(load_recipe("demo").training.stages)


def test_set_enters_a_list():
    before, after = load_recipe(), load_recipe(assignments=("training.stages.1.epochs=5",))
    assert after.training.stages[1].epochs == 5
    assert after.training.stages[0] == before.training.stages[0]
    assert after.training.stages[1].learning_rate == before.training.stages[1].learning_rate


@pytest.mark.parametrize(
    ("assignment", "key", "value"),
    [
        ("zoom=2.5", "zoom", 2.5),
        ("context=16", "context", 16),
        ("patch=null", "patch", None),
        ("split=[0.8, 0.2, 0]", "split", (0.8, 0.2, 0)),
        ("augment=[]", "augment", []),
        ("augment.0={HorizontalFlip: {p: 0.5}}", "augment", None),
        ("background=sea=floor", "background", "sea=floor"),
    ],
)
def test_set_takes_yaml(assignment, key, value):
    recipe = load_recipe(assignments=(assignment,))
    if key == "augment" and value is None:
        assert recipe.augment == [{"HorizontalFlip": {"p": 0.5}}, load_recipe().augment[1]]
    else:
        assert getattr(recipe, key) == value


def test_later_set_wins():
    assert load_recipe(assignments=("zoom=2", "zoom=3")).zoom == 3


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (
            "training.batch_size",
            "expected KEY=VALUE such as training.batch_size=16, received training.batch_size",
        ),
        ("training.stages.2.epochs=1", "expected a number from 0 to 1, received 2"),
        ("training.stages.last.epochs=1", "expected a number from 0 to 1, received last"),
        ("training.stages.-1.epochs=1", "expected a number from 0 to 1, received -1"),
        ("augment.5=D4", "expected a number from 0 to 1, received 5"),
        ("zoom.x=1", "zoom is a plain value and has no keys"),
        ("training.bacth=1", "training.bacth: no such key"),
        ("nothing.at.all=1", "nothing: no such key"),
        ("training.batch_size=x", "training.batch_size: "),
        ("augment.0.x.p=1", "augment.0 is a plain value and has no keys, 'D4'"),
        ("augment.0.p=1", "augment.0 is a plain value and has no keys, 'D4'. Set it as a whole"),
        ("=3", "expected KEY=VALUE"),
    ],
)
def test_set_that_fits_nowhere(assignment, message):
    with pytest.raises(RecipeError) as caught:
        load_recipe(changes={"augment": ["D4", "D4"]}, assignments=(assignment,))
    assert message in str(caught.value)


def test_set_into_an_empty_list_names_no_impossible_range():
    with pytest.raises(RecipeError, match=r"head\.units") as caught:
        load_recipe(assignments=("head.units.0=64",))
    assert "-1" not in str(caught.value)


def test_set_to_broken_yaml_is_a_recipe_error():
    with pytest.raises(RecipeError, match=r"head\.units"):
        load_recipe(assignments=("head.units=[64",))


OLD_KEYS = {
    "batch": "batch_size",
    "stages.0.rate": "learning_rate",
    "stages.0.clip": "clipnorm",
    "stages.0.accumulate": "gradient_accumulation_steps",
    "stages.0.curve": "schedule",
}


@pytest.mark.parametrize(("old", "new"), OLD_KEYS.items())
def test_an_old_key_is_refused_by_the_name_of_the_new(old, new, tmp_path):
    told = f"training.{old}: no such key: it is called {new} now"
    with pytest.raises(RecipeError, match=f"^recipe: {told}$"):
        load_recipe(assignments=(f"training.{old}=1",))
    content = {"epochs": 1, "learning_rate": 0.1, old.split(".")[-1]: 1}
    training = {"batch": 1} if old == "batch" else {"stages": [content]}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"training": training}))
    with pytest.raises(RecipeError, match=f"{told}$"):
        load_recipe(tmp_path / "recipe.yaml")


def test_an_old_parameter_of_a_schedule_is_refused_too():
    message = refusal(stage(schedule={"name": "plateau", "wait": 2}))
    assert message.endswith("stages.0.schedule.wait: no such key: it is called patience now")


def test_stage_assignments_set_a_key_of_each_stage():
    texts = stage_assignments(2, epochs=(3, 4), learning_rate=None)
    recipe = load_recipe(assignments=tuple(texts))
    assert [s.epochs for s in recipe.training.stages] == [3, 4]
    assert [s.learning_rate for s in recipe.training.stages] == [
        s.learning_rate for s in load_recipe().training.stages
    ]


def test_stage_assignments_need_a_number_for_each_stage():
    with pytest.raises(RecipeError, match=r"`epochs`: expected 2 numbers.*received 3"):
        stage_assignments(2, epochs=(1, 2, 3))
    with pytest.raises(RecipeError, match=r"expected 4 numbers.*gradual: n counts as n"):
        stage_assignments(4, learning_rate=(1.0,))
