import csv
import itertools
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tltool.data.dataset import PatchFacts
from tltool.data.folders import read_folders
from tltool.data.manifest import read_manifest
from tltool.errors import DataError, UsageError
from tltool.recipe import TaskRecipe
from tltool.tasks.kinds import make_task

SPLITS = ("train", "valid", "test")


@pytest.fixture
def manifest(tmp_path):
    """Writes a manifest and the files its first cells name."""

    def write(text, name="manifest.csv", encoding="utf-8"):
        for line in text.splitlines()[1:]:
            image = re.split(r"[,;\t]", line)[0].strip()
            if image.endswith(".png"):
                (tmp_path / image).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / image).touch()
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write


def rows(cells, header="path,label"):
    """A manifest with an image for each of the cells."""
    return header + "\n" + "".join(f"{i}.png,{cell}\n" for i, cell in enumerate(cells))


def told(dataset):
    """File name -> its labels by name, for each task."""
    return {
        sample.path.name: tuple(
            None if labels is None else tuple(task.classes[index] for index in labels)
            for task, labels in zip(dataset.tasks, sample.labels, strict=True)
        )
        for split in SPLITS
        for sample in dataset.samples[split]
    }


def split_of(dataset):
    return {s.path.name: split for split in SPLITS for s in dataset.samples[split]}


def refusal(path, error=DataError, **options):
    with pytest.raises(error) as caught:
        read_manifest(path, **options)
    assert str(path) in str(caught.value)
    return str(caught.value).removeprefix(str(path))


def test_one_class_a_row(manifest):
    dataset = read_manifest(manifest(rows("abab" * 5)))
    (task,) = dataset.tasks
    assert (task.name, task.kind, task.classes) == ("label", "multi-class", ("a", "b"))
    assert told(dataset) == {f"{i}.png": (("ab"[i % 2],),) for i in range(20)}
    assert dataset.counts("train") == {"a": 6, "b": 6}
    assert dataset.counts("test") == {"a": 2, "b": 2}


@pytest.mark.parametrize("path", ["path", "image", "file", "filename", "Path", "FileName"])
@pytest.mark.parametrize("label", ["label", "class", "species", "Label"])
def test_columns_have_other_names(manifest, path, label):
    dataset = read_manifest(manifest(rows("ab" * 4, f"{path},{label}")))
    assert dataset.tasks[0].name == label
    assert list(dataset.tasks[0].classes) == ["a", "b"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_forms_of_the_same_table(manifest, delimiter, encoding):
    text = "path , label, split \na.png,Seelöwe , train\nb.png, pup,train\n\n,,\nc.png,pup,valid,\n"
    path = manifest(text.replace(",", delimiter), encoding=encoding)
    dataset = read_manifest(path)
    assert list(dataset.tasks[0].classes) == ["Seelöwe", "pup"]
    assert split_of(dataset) == {"a.png": "train", "b.png": "train", "c.png": "valid"}


def test_quoted_cells_hold_delimiters(manifest, tmp_path):
    (tmp_path / "a,b.png").touch()
    text = 'path,label\n"a,b.png","x, y"\nc.png,"z"\n'
    assert told(read_manifest(manifest(text)))["a,b.png"] == (("x, y",),)


def test_paths_are_relative_to_the_manifest_or_absolute(manifest, tmp_path, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "b.png"
    outside.touch()
    path = manifest(f"path,label\nsub/a.png,x\n{outside},y\n")
    dataset = read_manifest(path)
    assert {s.path for split in SPLITS for s in dataset.samples[split]} == {
        tmp_path / "sub" / "a.png",
        outside,
    }
    json.dumps(dataset.summary())


TWO = ("boat", "person")


@pytest.mark.parametrize(
    ("cells", "kind", "classes", "expected"),
    [
        (["boat|person", "boat", "none"], None, TWO, [TWO, ("boat",), ()]),
        (["person | boat|person", "|boat", ""], None, TWO, [TWO, ("boat",), None]),
        (["boat", "none", ""], "multi-label", ("boat",), [("boat",), (), None]),
        (["boat", "none", ""], None, ("boat", "none"), [("boat",), ("none",), None]),
    ],
)
def test_labels_of_a_column(manifest, cells, kind, classes, expected):
    path = manifest(rows([f"{cell},{i % 2}" for i, cell in enumerate(cells)], "path,what,other"))
    tasks = {"what": TaskRecipe(kind=kind), "other": TaskRecipe()}
    dataset = read_manifest(path, tasks, fractions=(1, 0, 0))
    what, other = dataset.tasks
    assert what.classes == classes
    assert what.kind == ("multi-class" if "none" in classes else "multi-label")
    assert (other.kind, other.classes) == ("multi-class", ("0", "1"))
    assert [labels[0] for _, labels in sorted(told(dataset).items())] == expected


def test_every_column_of_labels_is_a_task(manifest):
    header = "path,x,y,size,context,reflected,group,site,age,sex,split"
    lines = [f"1,2,3,4,0,g,s{i},{'young' if i % 3 else 'old'},{'mf'[i % 2]}," for i in range(30)]
    dataset = read_manifest(manifest(rows(lines, header)), group="site")
    assert [(t.name, t.classes) for t in dataset.tasks] == [
        ("age", ("old", "young")),
        ("sex", ("f", "m")),
    ]
    counts = dataset.summary()["counts"]
    assert sum(counts[split]["age"]["old"] for split in SPLITS) == 10
    assert dataset.counts("train", 1) == counts["train"]["sex"]


def test_label_column_is_taken_alone(manifest):
    dataset = read_manifest(manifest(rows(["a,1", "b,2"] * 3, "path,label,age")))
    assert [task.name for task in dataset.tasks] == ["label"]


def test_image_without_a_label_for_one_task_is_kept(manifest):
    path = manifest(rows(["a,m", "b,", ",f", "a,f", "b,m", "a,f"], "path,kind,sex"))
    dataset = read_manifest(path)
    assert told(dataset)["1.png"] == (("b",), None)
    assert told(dataset)["2.png"] == (None, ("f",))


def test_manifest_that_patches_wrote_says_what_its_folders_say(patch_folder):
    by_table = read_manifest(patch_folder / "manifest.csv")
    by_folder = read_folders(patch_folder)
    assert by_table.summary() == by_folder.summary()
    assert by_table.tasks == by_folder.tasks
    assert by_table.facts == by_folder.facts is not None
    assert by_table.background == "backgrounds"


@pytest.mark.parametrize("name", ["valid", "val", "Validation"])
def test_given_splits_are_taken(manifest, name):
    splits = ["train", "training", name, "test", "Testing", "TRAIN"]
    lines = [f"{'ab'[i % 2]},{split}" for i, split in enumerate(splits)]
    dataset = read_manifest(manifest(rows(lines, "path,label,split")))
    expected = ["train", "train", "valid", "test", "test", "train"]
    assert split_of(dataset) == {f"{i}.png": split for i, split in enumerate(expected)}


def test_validation_is_split_off_training_where_it_is_not_given(manifest):
    lines = [f"{'ab'[i % 2]},{'test' if i < 10 else 'train'}" for i in range(50)]
    dataset = read_manifest(manifest(rows(lines, "path,label,split")))
    assert dataset.counts("train") == {"a": 15, "b": 15}
    assert dataset.counts("valid") == dataset.counts("test") == {"a": 5, "b": 5}


def groups_of(dataset):
    groups = [{s.group for s in dataset.samples[split]} for split in SPLITS]
    assert all(groups)
    assert not any(a & b for a, b in itertools.combinations(groups, 2))
    return groups


def test_validation_split_off_keeps_groups_whole(manifest):
    lines = [f"{'ab'[i % 2]},{'test' if i < 10 else 'train'},{i // 5}" for i in range(50)]
    dataset = read_manifest(manifest(rows(lines, "path,label,split,nest")), group="nest")
    assert groups_of(dataset)[2] == {"0", "1"}


@pytest.mark.parametrize("group", [None, "group"])
def test_column_called_group_is_the_group(manifest, group):
    lines = [f"{'ab'[i % 2]},{i // 4}" for i in range(40)]
    dataset = read_manifest(manifest(rows(lines, "path,label,group")), group=group)
    assert sum(map(len, groups_of(dataset))) == 10


def test_multi_label_split_is_by_the_rarest_label(manifest):
    cells = ["sea|boat" if i % 10 == 0 else "sea" for i in range(100)]
    dataset = read_manifest(manifest(rows(cells)))
    assert [dataset.counts(split)["boat"] for split in SPLITS] == [6, 2, 2]
    assert [dataset.counts(split)["sea"] for split in SPLITS] == [60, 20, 20]


@pytest.mark.parametrize("seed", range(8))
def test_train_has_every_label(manifest, seed):
    # x stands beside rarer labels only, of which few are drawn into train.
    cells = [cell for label in "abcde" for cell in (f"{label}|x", label, label, label)]
    dataset = read_manifest(manifest(rows(cells)), fractions=(0.2, 0.4, 0.4), seed=seed)
    assert all(dataset.counts("train").values())


def test_same_seed_same_split(manifest):
    path = manifest(rows("abcb" * 10))
    first, again, other = (read_manifest(path, seed=seed) for seed in (3, 3, 4))
    assert first.summary() == again.summary() != other.summary()


def test_fingerprint_is_of_the_labels_too(manifest):
    first = read_manifest(manifest(rows(["a,train", "b,train", "a,valid"], "path,label,split")))
    before = first.summary()
    other = read_manifest(manifest(rows(["a,train", "b,train", "b,valid"], "path,label,split")))
    assert before["fingerprint"] != other.summary()["fingerprint"]


def test_negative_of_a_binary_task_is_the_background(manifest, tmp_path):
    path = manifest(rows("abab" * 5))
    assert read_manifest(path, kind="binary").tasks[0].classes == ("a", "b")
    dataset = read_manifest(path, kind="binary", background="b")
    assert (dataset.tasks[0].classes, dataset.background) == (("b", "a"), "b")
    PatchFacts(32, 16, "b", 0.5).save(tmp_path)
    dataset = read_manifest(path, {"label": TaskRecipe(kind="binary")})
    assert (dataset.tasks[0].classes, dataset.facts.gsd) == (("b", "a"), 0.5)


several = st.one_of(st.none(), st.sets(st.sampled_from(["a", "b", "c d", "é,"]), max_size=3))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(several, st.sampled_from("xy")), max_size=12))
def test_what_is_written_is_read(tmp_path, drawn):
    lines = [({"a", "b", "c d", "é,"}, "x"), (set(), "y"), *drawn]
    with (tmp_path / "m.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "what", "which"))
        for i, (what, which) in enumerate(lines):
            (tmp_path / f"{i}.png").touch()
            cell = "" if what is None else "|".join(what) or "none"
            writer.writerow((f"{i}.png", cell, which))
    tasks = {"what": TaskRecipe(kind="multi-label"), "which": TaskRecipe()}
    dataset = read_manifest(tmp_path / "m.csv", tasks)
    assert told(dataset) == {
        f"{i}.png": (None if what is None else tuple(sorted(what)), (which,))
        for i, (what, which) in enumerate(lines)
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,label\n", ": expected rows below the header, found none"),
        ("", ": expected a header with the names of the columns, found none"),
        ("path,,label\na.png,,a\n", ", line 1: expected a name for every column, received none"),
        ("path,label,label\na.png,a,b\n", ", line 1: expected every column once, received label"),
        ("path,label\na.png,a,b\n", ", line 2: expected 2 cells as in the header, received 3"),
        ("photo,label\na.png,a\n", ": expected a column path or image or file or filename"),
        ("path,split\na.png,train\n", ": expected a column label or class, or one for each task"),
        ("path,label\n,a\n", ", line 2, column path: expected an image file, received nothing"),
        (
            "path,label\na.png,a\nb.png,b\n./a.png,b\n",
            ", line 4, column path: ./a.png is in line 2 already. Keep one row an image",
        ),
        (
            "path,label\na.png,a\nb.png,\nc.png,b\nd.png,\n",
            ", line 3: expected a label in column label, found none, nor in 1 more rows",
        ),
        (
            "path,label,split\na.png,a,train\nb.png,b,\n",
            ", line 3, column split: expected train, valid, test in every row or in none; received"
            " nothing",
        ),
        (
            "path,label,split\na.png,a,train\nb.png,b,dev\n",
            ", line 3, column split: expected train, valid, test in every row or in none; received"
            " dev",
        ),
        (
            "path,label,split\na.png,a,test\nb.png,b,valid\n",
            ", column split: expected rows of train, found none",
        ),
        (
            "path,label,split\na.png,a,train\nb.png,b,train\nc.png,c,test\nd.png,a,valid\n",
            ", line 4, column label: class c is in test, and no row of train has it (known: a, b)",
        ),
        (
            "path,label\na.png,a\nb.png,a\n",
            ", column label: task label: expected two classes or more for a multi-class task",
        ),
        (
            "path,label\na.png,a|b\nb.png,a|none\n",
            ", line 3, column label: expected classes such as boat|person, or none alone; received"
            " a|none",
        ),
        ("path,label\na.png,a|b\nb.png,|\n", ", line 3, column label: expected classes such as"),
        (
            "path,land cover,age\na.png,sand,1\nb.png,sea,2\n",
            ", column land cover: expected letters, digits and _ in a task's name. Rename",
        ),
        (
            "path,label,group\na.png,a,1\nb.png,b,\n",
            ", line 3, column group: expected the name of a group, received nothing",
        ),
    ],
)
def test_what_is_no_manifest_is_refused(manifest, text, words):
    message = refusal(manifest(text))
    assert message[: len(words)] == words


@pytest.mark.parametrize("kind", ["binary", "multi-class"])
def test_several_labels_of_one_class_are_refused(manifest, kind):
    words = f", line 3, column label: expected one class for a {kind} task, received a|b. Keep one"
    assert refusal(manifest(rows(["a", "a|b"])), kind=kind).startswith(words)


def test_binary_task_of_three_classes_is_refused(manifest):
    message = refusal(manifest(rows("abc" * 4)), kind="binary")
    assert "exactly two classes, (negative, positive) for a binary task; received 3" in message


def test_missing_column_is_named_with_the_nearest(manifest):
    path = manifest(rows(["a,b,1"] * 3, "path,species,age,site"))
    message = refusal(path, tasks={"specie": TaskRecipe()})
    assert message == (
        ": column specie is missing; the file has path, species, age, site. Did you mean species?"
    )
    assert refusal(path, group="nest").startswith(": column nest is missing; the file has path")


def test_missing_files_are_counted_and_the_first_named(manifest, tmp_path):
    path = manifest(rows("abababab"))
    for number in (1, 3, 4, 6):
        (tmp_path / f"{number}.png").unlink()
    message = refusal(path)
    assert message.startswith(
        ", column path: 4 of 8 files do not exist: 1.png (line 3), 3.png (line 5), 4.png (line 6),"
        f" .... Expected paths relative to {tmp_path}"
    )


def test_column_of_names_or_measurements_is_no_task(manifest):
    path = manifest(rows([f"{'ab'[i % 2]},{i / 7:.3f}" for i in range(40)], "path,kind,height"))
    assert ", column height: expected labels, received 40 different values" in refusal(path)
    assert list(read_manifest(path, {"kind": TaskRecipe()}).tasks[0].classes) == ["a", "b"]


def test_kind_of_several_tasks_is_refused(manifest):
    path = manifest(rows(["a,m", "b,f"], "path,kind,sex"))
    message = refusal(path, UsageError, kind="binary")
    assert message.startswith(": task: binary is for one column of labels, the file has kind, sex")


def test_background_that_is_no_class_is_refused(manifest):
    with pytest.raises(UsageError, match="background: expected one of a, b; received sea"):
        read_manifest(manifest(rows("ab")), background="sea")


def test_group_in_two_given_splits_is_refused(manifest):
    path = manifest(rows(["a,train,1", "b,train,2", "a,test,1"], "path,label,split,nest"))
    assert refusal(path, group="nest").startswith(
        ", line 4, column nest: group 1 is in test here and in train above"
    )


def test_class_in_one_group_only_says_so(manifest):
    path = manifest(rows(["a,1", "b,2", "c,3"], "path,label,nest"))
    assert "into more groups" in refusal(path, group="nest")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"path,label\na.png,Seel\xf6we\n", ": expected text in UTF-8"),
        (b"path,label\na.png," + b"x" * 200_000, ", line 2: expected a CSV row: field larger"),
    ],
)
def test_broken_text_is_named(tmp_path, content, words):
    (tmp_path / "m.csv").write_bytes(content)
    assert refusal(tmp_path / "m.csv").startswith(words)


def test_columns_and_classes_of_a_network_are_taken_as_they_are(manifest):
    species, alive = (
        make_task("species", ("wolf", "fox")),
        make_task("alive", ("no", "yes"), "binary"),
    )
    path = manifest(rows(["fox,test", "fox,valid"], "path,species,split"))
    dataset = read_manifest(path, known=[species, alive])
    assert dataset.tasks == [species, alive]
    assert told(dataset) == {"0.png": (("fox",), None), "1.png": (("fox",), None)}
    assert split_of(dataset) == {"0.png": "test", "1.png": "valid"}
    # Of a single task the label column is what it is about, whatever its name.
    path = manifest(rows(["fox", "wolf"]), "other.csv")
    assert told(read_manifest(path, known=[species]))["1.png"] == (("wolf",),)
    # A group column that the run's recipe names may be missing.
    assert read_manifest(path, known=[species], group="survey").divided


def test_a_class_that_a_network_does_not_know_is_named_with_both_lists(manifest):
    path = manifest(rows(["fox", "cat"]))
    with pytest.raises(DataError) as caught:
        read_manifest(path, known=[make_task("species", ("wolf", "fox"))])
    assert str(caught.value) == (
        f"{path}, column label: expected the classes that the network knows, wolf, fox; received"
        " cat, fox. Rename or remove cat"
    )
