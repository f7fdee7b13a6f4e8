import json
import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from tltool.data.dataset import FACTS_NAME, PatchFacts
from tltool.data.folders import read_dataset, read_folders
from tltool.errors import DataError, UsageError
from tltool.recipe import Recipe
from tltool.tasks.kinds import make_task

SPLITS = ("train", "valid", "test")


def fill(folder, number, start=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + number):
        Image.fromarray(np.full((4, 4, 3), i % 256, np.uint8)).save(folder / f"{i}.png")
    return folder


def names(dataset, split):
    return sorted(
        f"{dataset.tasks[0].classes[label(s)]}/{s.path.name}" for s in dataset.samples[split]
    )


def label(sample):
    ((index,),) = sample.labels
    return index


@pytest.fixture
def flat(tmp_path):
    fill(tmp_path / "flat" / "pup", 10)
    fill(tmp_path / "flat" / "adult", 20)
    return tmp_path / "flat"


def test_given_splits_are_taken_as_they_are(tmp_path):
    for split, number in zip(SPLITS, (3, 2, 1), strict=True):
        for name in ("b", "a"):
            fill(tmp_path / split / name, number)
    dataset = read_folders(tmp_path)
    assert list(dataset.tasks[0].classes) == ["a", "b"]
    for split, number in zip(SPLITS, (3, 2, 1), strict=True):
        assert dataset.counts(split) == {"a": number, "b": number}
        assert all(
            s.path.parent == tmp_path / split / "ab"[label(s)] for s in dataset.samples[split]
        )


@pytest.mark.parametrize("train", ["train", "training"])
@pytest.mark.parametrize("valid", ["valid", "val", "validation"])
@pytest.mark.parametrize("test", ["test", "testing"])
def test_split_folders_have_aliases(tmp_path, train, valid, test):
    for number, split in enumerate((train, valid, test), 1):
        for name in "ab":
            fill(tmp_path / split / name, number)
    dataset = read_folders(tmp_path)
    assert [sum(dataset.counts(split).values()) for split in SPLITS] == [2, 4, 6]


@pytest.mark.parametrize("empty", [False, True])
def test_validation_is_split_off_training_where_it_is_not_given(tmp_path, empty):
    for name in "ab":
        fill(tmp_path / "train" / name, 20)
        fill(tmp_path / "test" / name, 3)
    if empty:
        (tmp_path / "valid" / "a").mkdir(parents=True)
    dataset = read_folders(tmp_path, (0.6, 0.2, 0.2))
    assert dataset.counts("train") == {"a": 15, "b": 15}
    assert dataset.counts("valid") == {"a": 5, "b": 5}
    assert dataset.counts("test") == {"a": 3, "b": 3}
    assert not set(names(dataset, "train")) & set(names(dataset, "valid"))


def test_own_split_is_stratified_whole_and_without_overlap(flat):
    dataset = read_folders(flat, (0.6, 0.2, 0.2))
    assert dataset.counts("train") == {"adult": 12, "pup": 6}
    assert dataset.counts("valid") == dataset.counts("test") == {"adult": 4, "pup": 2}
    everything = [name for split in SPLITS for name in names(dataset, split)]
    assert len(set(everything)) == len(everything) == 30


def test_own_split_is_that_of_the_seed(flat, tmp_path):
    moved = shutil.copytree(flat, tmp_path / "elsewhere")
    first, again, other = (
        read_folders(flat, seed=3),
        read_folders(moved, seed=3),
        read_folders(flat),
    )
    assert [names(first, s) for s in SPLITS] == [names(again, s) for s in SPLITS]
    assert names(first, "train") != names(other, "train")


def test_fingerprint_is_of_the_content_not_of_the_place(flat, tmp_path):
    moved = shutil.copytree(flat, tmp_path / "elsewhere")
    before = read_folders(flat).summary()
    assert read_folders(moved).summary() == before
    fill(moved / "pup", 1, start=99)
    assert read_folders(moved).summary()["fingerprint"] != before["fingerprint"]
    assert before["counts"]["train"] == {"adult": 12, "pup": 6}
    json.dumps(before)


def test_other_files_and_hidden_folders_are_nothing(flat):
    fill(flat / ".thumbnails", 3)
    (flat / "pup" / "notes.txt").write_text("x")
    (flat / "README").write_text("x")
    dataset = read_folders(flat)
    assert list(dataset.tasks[0].classes) == ["adult", "pup"]
    assert sum(len(dataset.samples[split]) for split in SPLITS) == 30


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere: expected a folder of class folders"):
        read_folders(tmp_path / "nowhere")


@pytest.mark.parametrize("folders", [[], ["a", "b"], ["train"], ["train/a", "train/b"]])
def test_no_images_says_how_to_lay_them_out(tmp_path, folders):
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(DataError, match=r"found no image\. Lay them out as DATA/<class>/\*\.png"):
        read_folders(tmp_path)


def test_one_class_is_refused(tmp_path):
    fill(tmp_path / "only", 3)
    with pytest.raises(DataError, match="expected two classes or more, found only only"):
        read_folders(tmp_path)


@pytest.mark.parametrize("where", ["", "train/"])
def test_empty_class_is_named(tmp_path, where):
    fill(tmp_path / f"{where}a", 3)
    fill(tmp_path / f"{where}b", 3)
    (tmp_path / f"{where}c").mkdir()
    with pytest.raises(DataError, match="no image in c"):
        read_folders(tmp_path)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_class_that_training_lacks_is_named(tmp_path, split):
    for name in "ab":
        fill(tmp_path / "train" / name, 3)
    fill(tmp_path / split / "c", 1)
    with pytest.raises(
        DataError, match=rf"{split}: class c has no folder in .*train\. Known: a, b"
    ):
        read_folders(tmp_path)


def test_class_that_validation_lacks_is_fine(tmp_path):
    for name in "ab":
        fill(tmp_path / "train" / name, 3)
    fill(tmp_path / "valid" / "b", 2)
    assert read_folders(tmp_path).counts("valid") == {"a": 0, "b": 2}


@pytest.mark.parametrize(
    ("name", "background"),
    [("backgrounds", True), ("background", True), ("Background", True), ("ground", False)],
)
def test_background_is_known_by_its_name(tmp_path, name, background):
    fill(tmp_path / "adult", 2)
    fill(tmp_path / name, 2)
    assert read_folders(tmp_path).background == (name if background else None)


def test_background_is_told_by_the_patches(flat):
    facts = PatchFacts(32, 16, "pup", 0.25)
    facts.save(flat)
    dataset = read_folders(flat)
    assert dataset.facts == facts
    assert dataset.background == "pup"


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"patch": 3}', '{"side": 3}'])
def test_broken_facts_are_named(flat, text):
    (flat / FACTS_NAME).write_text(text)
    with pytest.raises(DataError, match=r"patches\.json: expected patch, context, background"):
        read_folders(flat)


def test_kind_is_one_class_of_several_where_nothing_is_told(flat):
    (task,) = read_folders(flat).tasks
    assert (task.name, task.kind, task.classes) == ("label", "multi-class", ("adult", "pup"))


@pytest.mark.parametrize(
    ("folders", "facts", "told", "expected"),
    [
        ("ab", None, None, ("a", "b")),
        ("ab", None, "b", ("b", "a")),
        ("ab", "b", None, ("b", "a")),
        ("ab", "b", "a", ("a", "b")),
        ("ab", "nothing", None, ("a", "b")),
        (("animal", "backgrounds"), None, None, ("backgrounds", "animal")),
    ],
)
def test_negative_of_a_binary_task_is_the_background(tmp_path, folders, facts, told, expected):
    for name in folders:
        fill(tmp_path / name, 5)
    if facts:
        PatchFacts(32, 16, facts).save(tmp_path)
    dataset = read_folders(tmp_path, kind="binary", background=told)
    assert dataset.tasks[0].classes == expected
    assert dataset.tasks[0].outputs == 1
    positive = {s.path.parent.name for s in dataset.samples["train"] if label(s) == 1}
    assert positive == {expected[1]}


def test_split_does_not_depend_on_the_kind(flat):
    plain, binary = read_folders(flat), read_folders(flat, kind="binary", background="pup")
    for split in SPLITS:
        assert names(plain, split) == names(binary, split)


def test_binary_task_of_three_classes_is_refused(tmp_path):
    for name in "abc":
        fill(tmp_path / name, 2)
    with pytest.raises(DataError, match="two class folders for task: binary, found 3: a, b, c"):
        read_folders(tmp_path, kind="binary")


def test_multi_label_task_needs_a_manifest(flat):
    with pytest.raises(DataError, match=r"one class, but the recipe says.*CSV manifest"):
        read_folders(flat, kind="multi-label")


def test_background_that_is_no_class_is_refused(flat):
    with pytest.raises(UsageError, match="background: expected one of adult, pup; received sea"):
        read_folders(flat, background="sea")


def listed(folder, place):
    """A manifest of images that are in no class folders."""
    fill(folder / place, 10)
    rows = "".join(f"{place}/{i}.png,{'ab'[i % 2]}\n" for i in range(10))
    (folder / "manifest.csv").write_text("path,label\n" + rows)
    return folder


@pytest.mark.parametrize("place", ["images", "train"])
def test_folder_with_a_manifest_alone_is_read_by_it(tmp_path, place):
    folder = listed(tmp_path / "data", place)
    dataset = read_dataset(folder, Recipe())
    assert list(dataset.tasks[0].classes) == ["a", "b"]
    assert dataset.source == folder / "manifest.csv"
    assert read_dataset(dataset.source, Recipe()).summary() == dataset.summary()


@pytest.mark.parametrize(
    "told", [{"tasks": {"label": {}}}, {"group": "nest"}, {"task": "multi-label"}]
)
def test_recipe_can_ask_for_what_only_a_manifest_tells(flat, told):
    images = flat.glob("*/*.png")
    rows = "".join(f"{p.relative_to(flat)},{p.parent.name[0]},{p.stem}\n" for p in images)
    (flat / "manifest.csv").write_text("path,label,nest\n" + rows)
    assert list(read_dataset(flat, Recipe.model_validate(told)).tasks[0].classes) == ["a", "p"]


def test_class_folders_come_before_a_manifest(flat, caplog):
    logging.getLogger("tltool").propagate = True
    (flat / "manifest.csv").write_text("path,label\nnone.png,a\n")
    with caplog.at_level(logging.WARNING, "tltool"):
        assert list(read_dataset(flat, Recipe()).tasks[0].classes) == ["adult", "pup"]
    assert "the folders are read. To read the manifest, name it" in caplog.text


def test_dataset_is_read_as_the_recipe_says(flat):
    recipe = Recipe.model_validate(
        {"task": "binary", "background": "pup", "split": (0.5, 0.5, 0), "training": {"seed": 7}}
    )
    dataset = read_dataset(flat, recipe)
    assert dataset.tasks[0].classes == ("pup", "adult")
    assert dataset.background == "pup"
    assert dataset.counts("valid") == {"pup": 5, "adult": 10}
    assert names(dataset, "train") == names(read_folders(flat, (0.5, 0.5, 0), 7), "train")


@pytest.mark.parametrize(
    ("told", "words"),
    [({"group": "site"}, "group: site"), ({"tasks": {"age": {}, "sex": {}}}, "tasks: age, sex")],
)
def test_columns_of_class_folders_are_refused(flat, told, words):
    with pytest.raises(UsageError, match=rf"{words} names columns of a manifest.*columns path"):
        read_dataset(flat, Recipe.model_validate(told))


def test_other_file_is_no_dataset(flat):
    with pytest.raises(DataError, match=r"0\.png: expected a folder or a manifest called \*\.csv"):
        read_dataset(flat / "pup" / "0.png", Recipe())


@pytest.mark.parametrize("name", ["nowhere", "nowhere.csv"])
def test_missing_data_is_named(tmp_path, name):
    with pytest.raises(DataError, match=f"{name}: expected a .*, found none"):
        read_dataset(tmp_path / name, Recipe())


def test_data_that_are_not_there_are_told(tmp_path):
    from tltool.data.folders import read_dataset
    from tltool.recipe import load_recipe

    with pytest.raises(DataError, match=r"gone: expected a folder .* CSV manifest, found none"):
        read_dataset(tmp_path / "gone", load_recipe())


def test_the_classes_of_a_network_are_taken_as_they_are(tmp_path):
    known = make_task("zoo", ("wolf", "bird", "fox"))
    fill(tmp_path / "plain" / "fox", 3)
    (tmp_path / "plain" / "bird").mkdir()
    plain = read_dataset(tmp_path / "plain", Recipe(), [known])
    assert (plain.tasks, plain.divided) == ([known], True)
    assert sum(plain.counts(split)["fox"] for split in SPLITS) == 3
    fill(tmp_path / "split" / "val" / "wolf", 2)
    split = read_dataset(tmp_path / "split", Recipe(), [known])
    assert split.counts("valid") == {"wolf": 2, "bird": 0, "fox": 0}
    assert not split.divided
    fill(tmp_path / "plain" / "cat", 1)
    with pytest.raises(DataError, match="knows, wolf, bird, fox; received cat, fox"):
        read_dataset(tmp_path / "plain", Recipe(), [known])


def test_a_class_of_a_network_may_be_called_like_a_split(tmp_path):
    for name in ("test", "train"):
        fill(tmp_path / name, 2)
    known = make_task("track", ("test", "train"))
    dataset = read_dataset(tmp_path, Recipe(), [known])
    assert dataset.divided
    assert sum(sum(dataset.counts(split).values()) for split in SPLITS) == 4


def test_images_are_divided_for_a_network_as_they_were_for_training(flat):
    trained = read_dataset(flat, Recipe())
    again = read_dataset(flat, Recipe(), [make_task("label", ("adult", "pup"))])
    assert again.summary() == trained.summary()
