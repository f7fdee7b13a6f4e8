import json
from pathlib import Path

import pytest
from quick_recipes import HEAD_RECIPE

import tltool
from tltool.errors import DataError, RecipeError
from tltool.runtime import quiet_import

quiet_import("keras")

from tltool.run.folder import clear_folder, write_json  # noqa: E402
from tltool.training.run_start import RunStart, check_same_recipe  # noqa: E402


@pytest.fixture
def recipe():
    return tltool.load_recipe("few-images")


def difference(begun, received):
    with pytest.raises(RecipeError) as caught:
        check_same_recipe(begun, received, Path("run"))
    return str(caught.value)


def test_the_same_recipe_is_the_same(recipe):
    check_same_recipe(recipe.model_dump(mode="json"), recipe, Path("run"))


def test_what_the_data_resolved_may_be_left_out(recipe):
    resolved = recipe.model_copy(update={"patch": 32, "task": "binary"})
    check_same_recipe(resolved.model_dump(mode="json"), recipe, Path("run"))
    resolved = tltool.load_recipe(None, {"tasks": {"a": {"kind": "binary"}}})
    check_same_recipe(resolved.model_dump(mode="json"), tltool.load_recipe(), Path("run"))


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("training.batch_size=3", "training.batch_size was 16, is now 3"),
        ("training.stages=[{epochs: 1, learning_rate: 1.0}]", "training.stages was [{"),
        ("augment=[]", "augment was ['D4', {"),
        ("augment.3.mixup={}", "augment.3.mixup.alpha was 0.2, is now not there"),
        ("head.units=[8]", "head.units was [], is now [8]"),
    ],
)
def test_another_recipe_is_told_by_its_first_difference(recipe, assignment, words):
    other = tltool.load_recipe("few-images", assignments=(assignment,))
    assert words in difference(recipe.model_dump(mode="json"), other)


def test_a_key_that_came_with_a_newer_version_is_told(recipe):
    begun = recipe.model_dump(mode="json")
    del begun["tta"]
    assert "tta was not there, is now d4" in difference(begun, recipe)


def test_weights_are_the_same_however_their_path_is_written(tmp_path, monkeypatch):
    (tmp_path / "w.h5").touch()
    monkeypatch.chdir(tmp_path)
    told = tltool.load_recipe(None, {"backbone": {"weights": "w.h5"}})
    check_same_recipe(told.anchored().model_dump(mode="json"), told, Path("run"))


def test_numbers_that_json_does_not_know_are_null(tmp_path):
    write_json(tmp_path / "a.json", {"a": [float("nan"), 1.5], "b": {"c": float("inf")}})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [None, 1.5], "b": {"c": None}}


def test_of_an_earlier_run_nothing_stays_and_of_others_everything(tmp_path):
    (tmp_path / "checkpoints" / "mine").mkdir(parents=True)
    (tmp_path / "evaluation").mkdir()
    ours = [".partial-7-model.keras", "model.keras", "checkpoints/state.h5"]
    ours += ["checkpoints/.partial-7-state.h5", "evaluation/metrics.json"]
    for name in [*ours, "notes.txt"]:
        (tmp_path / name).touch()
    clear_folder(tmp_path)
    assert not any((tmp_path / name).exists() for name in ours)
    assert (tmp_path / "notes.txt").exists()


def test_data_that_are_gone_are_asked_for(tmp_path):
    recipe = tltool.load_recipe(None, HEAD_RECIPE)
    recipe.save(tmp_path / "recipe.yaml")
    RunStart(tmp_path / "gone", "1", False, recipe.model_dump(mode="json")).save(tmp_path)
    with pytest.raises(
        DataError, match=r"no longer at .*gone. Say in `data` where.*`tltool.resume"
    ):
        tltool.resume(tmp_path)
