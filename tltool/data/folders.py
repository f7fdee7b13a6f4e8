"""Class folders: which images there are, of which class, in which split."""

import logging
from collections.abc import Sequence
from pathlib import Path

from tltool.data.dataset import (
    FACTS_NAME,
    Dataset,
    Sample,
    by_split,
    check_background,
    check_known,
    find_background,
    read_facts,
)
from tltool.data.manifest import read_manifest
from tltool.data.splits import SPLIT_NAMES, SPLITS, Fractions, stratified_split, without_test
from tltool.errors import DataError, UsageError
from tltool.files import list_images
from tltool.recipe import Recipe
from tltool.tasks.kinds import KINDS, kind_of
from tltool.tasks.task import Task

logger = logging.getLogger(__name__)

# The single task of class folders.
TASK_NAME = "label"

# Where a folder is no class folders, and what `tltool patches` writes beside them.
_MANIFEST_NAME = "manifest.csv"


def _class_folders(folder: Path) -> dict[str, list[Path]]:
    folders = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    return {p.name: list_images(p) for p in folders}


def _given_splits(folder: Path, known: Task | None = None) -> dict[str, Path]:
    found = {
        split: folder / next(name for name in names if (folder / name).is_dir())
        for split, names in SPLIT_NAMES.items()
        if any((folder / name).is_dir() for name in names)
    }
    if known is not None:
        # No split to train on is needed then; but a class may be called like a split.
        return {} if any(path.name in known.classes for path in found.values()) else found
    return found if "train" in found else {}


def _check_new(
    folder: Path, given: dict[str, Path], found: dict[str, dict[str, list[Path]]]
) -> None:
    """Raise a `DataError` where the classes that are to be learnt cannot be."""
    folder, by_class = given.get("train", folder), found["train"]
    if not any(by_class.values()):
        raise DataError(
            f"{folder}: expected a folder for each class with images in it, found no image."
            " Lay them out as DATA/<class>/*.png or DATA/train/<class>/*.png, or list them in"
            f" DATA/{_MANIFEST_NAME} with columns path and label"
        )
    if empty := [name for name, images in by_class.items() if not images]:
        raise DataError(
            f"{folder}: no image in {', '.join(empty)}. Add some or remove the empty folder"
        )
    if len(by_class) < 2:
        raise DataError(
            f"{folder}: expected two classes or more, found only {next(iter(by_class))}."
            " Add a folder for a second class, for example backgrounds"
        )
    for split, others in found.items():
        if unknown := sorted(name for name in set(others) - set(by_class) if others[name]):
            raise DataError(
                f"{given[split]}: class {', '.join(unknown)} has no folder in {given['train']}."
                f" Known: {', '.join(sorted(by_class))}"
            )


def _divide(samples: list[Sample], fractions: Fractions, seed: int) -> dict[str, list[Sample]]:
    names = [sample.path.parent.name for sample in samples]
    return by_split(samples, stratified_split(names, fractions, seed))


def read_folders(
    folder: str | Path,
    fractions: Fractions = (0.6, 0.2, 0.2),
    seed: int = 1,
    kind: str | None = None,
    background: str | None = None,
    known: Task | None = None,
) -> Dataset:
    """Find the images of each class and split.

    Parameters
    ----------
    folder : str or Path
        ``folder/{train,valid,test}/<class>/*`` or ``folder/<class>/*``; the
        latter is split here, each class in the same shares.
    fractions : three floats
        Shares of train, valid and test.
    seed : int
        Seeds the split.
    kind : str or None
        One of `tltool.tasks.kinds.KINDS` that class folders can have:
        ``multi-class`` (also None) or ``binary``.
    background : str or None
        The class that means "nothing"; of a binary task the negative. None:
        as the patches say, or a class called background(s).
    known : Task, optional
        Task of a network that the images are for: the classes are its own, in
        its order. One without images is no error then, one that it does not
        know is, and the images may be of any splits.

    Returns
    -------
    Dataset
        Images of one task, called ``label`` where it is not known.

    Raises
    ------
    DataError
        No folder, no images, an empty class, one class only, a class in valid
        or test that train lacks, more than two classes of a binary task, or a
        multi-label one.
    UsageError
        A background that is no class.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of class folders, found none")
    given, facts = _given_splits(folder, known), read_facts(folder)
    found = {name: _class_folders(path) for name, path in (given or {"train": folder}).items()}
    if known is None:
        _check_new(folder, given, found)
    names = known.classes if known else list(found["train"])
    kind = known.kind if known else kind or next(iter(KINDS))
    if problem := kind_of(kind).folder_problem(names):
        raise DataError(f"{folder}: {problem}")
    if known is not None:
        task = known
        filled = {name for parts in found.values() for name, images in parts.items() if images}
        if not filled:
            raise DataError(
                f"{folder}: expected images in folders called {', '.join(known.classes)}, found"
                " none. Lay them out as DATA/<class>/*.png or DATA/test/<class>/*.png"
            )
        check_known(f"{folder}", known, filled)
    else:
        negative = find_background(names, background, facts)
        task = kind_of(kind).learn(TASK_NAME, [(name,) for name in names], negative)
        check_background(background, [task])
    # By name, so that the split does not depend on which class is the negative.
    samples = {
        split: [
            Sample(path, ((task.classes.index(name),),))
            for name, paths in sorted(found.get(split, {}).items())
            for path in paths
        ]
        for split in SPLITS
    }
    if not given:
        samples = _divide(samples["train"], fractions, seed)
    elif not samples["valid"]:
        drawn = _divide(samples["train"], without_test(fractions), seed)
        samples |= {split: drawn[split] for split in ("train", "valid")}
    return Dataset(folder, [task], samples, facts, given_background=background, divided=not given)


def _manifest(data: Path, recipe: Recipe) -> Path | None:
    """The manifest to read, or None for class folders."""
    if data.suffix.lower() in (".csv", ".tsv") and not data.is_dir():
        return data
    if data.is_file():
        raise DataError(
            f"{data}: expected a folder or a manifest called *.csv or *.tsv, received another file"
        )
    listed = data / _MANIFEST_NAME
    if not listed.is_file():
        return None
    parent = _given_splits(data).get("train", data)
    if (
        recipe.tasks
        or recipe.group
        or (recipe.task is not None and not kind_of(recipe.task).from_folders)
        or sum(bool(images) for images in _class_folders(parent).values()) < 2
    ):
        return listed
    if not (data / FACTS_NAME).exists():
        logger.warning(
            "%s holds class folders and %s: the folders are read. To read the manifest, name it",
            data,
            _MANIFEST_NAME,
        )
    return None


def read_dataset(data: str | Path, recipe: Recipe, known: Sequence[Task] = ()) -> Dataset:
    """Find the labelled images of class folders or of a manifest.

    Parameters
    ----------
    data : str or Path
        A CSV file, see `tltool.data.manifest.read_manifest`, or a folder: of
        class folders, see `read_folders`, or with a ``manifest.csv``. The
        latter is used where there are not two class folders, or where the
        recipe asks for what only a manifest says: tasks, group, multi-label,
        numbers.
    recipe : Recipe
        Read are its task, tasks, split, group, background and training.seed.
    known : sequence of Task
        Tasks of a network that the images are for; see `read_folders` and
        `tltool.data.manifest.read_manifest`.

    Raises
    ------
    DataError
        Errors of `read_folders` and `tltool.data.manifest.read_manifest`.
    UsageError
        Groups or tasks, and there is no manifest.
    """
    data = Path(data)
    if not data.exists():
        raise DataError(f"{data}: expected a folder of class folders or a CSV manifest, found none")
    drawn = (recipe.split, recipe.training.seed)
    manifest = _manifest(data, recipe)
    if manifest is not None:
        return read_manifest(
            manifest, recipe.tasks, recipe.task, *drawn, recipe.group, recipe.background, known
        )
    asked = {"group": [recipe.group] if recipe.group else [], "tasks": list(recipe.tasks)}
    for key, columns in asked.items():
        if columns and not known:
            raise UsageError(
                f"{data}: {key}: {', '.join(columns)} names columns of a manifest, and class"
                f" folders have none. List the images in {data / _MANIFEST_NAME} with columns path,"
                f" label and {', '.join(columns)}"
            )
    if len(known) > 1:
        raise DataError(
            f"{data}: expected a manifest with a column for each of"
            f" {', '.join(task.name for task in known)}; a class folder is for one only"
        )
    return read_folders(data, *drawn, recipe.task, recipe.background, known[0] if known else None)
