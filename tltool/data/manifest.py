"""CSV manifests: a row an image, with its labels, its split and its group."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path

import numpy as np

from tltool.annotations.table import Table, read_table
from tltool.data.dataset import (
    Dataset,
    Sample,
    by_split,
    check_background,
    check_known,
    find_background,
    read_facts,
)
from tltool.data.splits import (
    SPLIT_NAMES,
    SPLITS,
    Fractions,
    split_grouped,
    stratified_split,
    without_test,
)
from tltool.errors import DataError, UsageError
from tltool.recipe import TaskRecipe
from tltool.tasks.kinds import guess_kind, kind_of
from tltool.tasks.task import Names, Task

PATH_COLUMNS = ("path", "image", "file", "filename")
LABEL_COLUMNS = ("label", "class")
SPLIT_COLUMN = "split"
GROUP_COLUMN = "group"

# What else `tltool patches` writes: where a patch was cut.
_PLACE_COLUMNS = ("x", "y", "size", "context", "reflected", "source", "score")
_NO_TASKS = {*PATH_COLUMNS, SPLIT_COLUMN, GROUP_COLUMN, *_PLACE_COLUMNS}


@dataclass(frozen=True)
class _Column:
    """A task's column: what its rows say, and what they are to be spread over the splits by."""

    name: str
    kind: str
    cells: list[Names]
    strata: list[Names]


def _paths(table: Table) -> list[Path]:
    column = table.find(PATH_COLUMNS)
    if column is None:
        raise DataError(
            f"{table.path}: expected a column {' or '.join(PATH_COLUMNS)} with the image files;"
            f" the file has {', '.join(table.columns)}"
        )
    found: list[Path] = []
    lines: dict[str, int] = {}
    for row in table.rows:
        path = table.path.parent / row.cells[column]
        name = os.path.normpath(path)
        if not row.cells[column]:
            raise table.error(row, column, "expected an image file, received nothing")
        if name in lines:
            raise table.error(
                row,
                column,
                f"{row.cells[column]} is in line {lines[name]} already. Keep one row an image;"
                " several labels go into one cell, such as boat|person",
            )
        lines[name] = row.line
        found.append(path)
    missing = [r for r, path in zip(table.rows, found, strict=True) if not path.is_file()]
    if missing:
        shown = ", ".join(f"{row.cells[column]} (line {row.line})" for row in missing[:3])
        raise DataError(
            f"{table.path}, column {column}: {len(missing)} of {len(found)} files do not exist:"
            f" {shown}{', ...' if len(missing) > 3 else ''}. Expected paths relative to"
            f" {table.path.parent}, or absolute ones"
        )
    return found


def _task_names(
    table: Table, tasks: Mapping[str, TaskRecipe], kind: str | None, group: str | None
) -> list[str]:
    """The columns to learn: those of the recipe, the label column, or all that can be labels."""
    if tasks:
        table.require(list(tasks))
        return list(tasks)
    label = table.find(LABEL_COLUMNS)
    if label is not None:
        return [label]
    names = [c for c in table.columns if c.lower() not in _NO_TASKS and c != group]
    if not names:
        raise DataError(
            f"{table.path}: expected a column {' or '.join(LABEL_COLUMNS)}, or one for each task;"
            f" the file has {', '.join(table.columns)}"
        )
    if kind is not None and len(names) > 1:
        raise UsageError(
            f"{table.path}: task: {kind} is for one column of labels, the file has"
            f" {', '.join(names)}. Name those to learn under tasks in the recipe, with their kinds"
        )
    numbers = kind is not None and not kind_of(kind).probabilistic
    for name in names:
        values = [row.cells[name] for row in table.rows if row.cells[name]]
        different = len(set(values))
        if not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise DataError(
                f"{table.path}, column {name}: expected letters, digits and _ in a task's name."
                " Rename the column, or name the columns to learn under tasks in the recipe"
            )
        # A name or a measurement and not a label.
        if different > max(20, len(values) / 2) and not numbers:
            raise DataError(
                f"{table.path}, column {name}: expected labels, received {different} different"
                f" values in {len(values)} rows. Name the columns to learn under tasks in the"
                " recipe"
            )
    return names


def _column(table: Table, name: str, kind: str | None) -> _Column:
    texts = [row.cells[name] for row in table.rows]
    kind = kind or guess_kind(name, texts)
    cells: list[Names] = []
    for row, text in zip(table.rows, texts, strict=True):
        try:
            cells.append(kind_of(kind, f"{table.path}, column {name}").read_cell(text))
        except ValueError as error:
            raise table.error(row, name, str(error)) from None
    return _Column(name, kind, cells, kind_of(kind).strata(cells))


def _given_splits(table: Table, train: bool) -> list[str] | None:
    """Split of each row as the split column says; None where it says nothing.

    `train`: whether there must be rows to train on.
    """
    column = table.find([SPLIT_COLUMN])
    if column is None or not any(row.cells[column] for row in table.rows):
        return None
    known = {alias: split for split, aliases in SPLIT_NAMES.items() for alias in aliases}
    for row in table.rows:
        if row.cells[column].lower() not in known:
            received = row.cells[column] or "nothing"
            raise table.error(
                row,
                column,
                f"expected {', '.join(SPLITS)} in every row or in none; received {received}",
            )
    splits = [known[row.cells[column].lower()] for row in table.rows]
    if train and "train" not in splits:
        raise DataError(f"{table.path}, column {column}: expected rows of train, found none")
    return splits


def _draw(
    columns: Sequence[_Column], groups: Sequence[str] | None, fractions: Fractions, seed: int
) -> list[str]:
    counts = Counter((c.name, label) for c in columns for row in c.strata for label in row or ())
    names = sorted(counts)
    index = {name: column for column, name in enumerate(names)}
    # (rows, labels of all tasks).
    hot = np.zeros((len(columns[0].cells), len(names)), bool)
    for column in columns:
        for row, labels in enumerate(column.strata):
            hot[row, [index[column.name, label] for label in labels or ()]] = True
    if groups is not None:
        drawn = split_grouped(groups, hot, fractions, seed)
    else:
        # Rows are alike by the rarest label of the first task that has one.
        strata = []
        for row, _ in enumerate(columns[0].cells):
            first = next(column for column in columns if column.strata[row] is not None)
            keys = [(first.name, label) for label in first.strata[row] or ("",)]
            rarest = min(keys, key=lambda key: (counts[key], key))
            strata.append(":".join(rarest))
        drawn = stratified_split(strata, fractions, seed)
        # Alike rows differ in their other labels, so that train may lack one.
        for absent in np.flatnonzero(~hot[drawn == 0].any(axis=0)):
            drawn[np.argmax(hot[:, absent])] = 0
    return [SPLITS[split] for split in drawn]


def _splits(
    table: Table,
    columns: Sequence[_Column],
    group: str | None,
    fractions: Fractions,
    seed: int,
    train: bool,
) -> tuple[list[str], list[str] | None, bool]:
    """Split and group of each row, and whether the splits were drawn.

    `train`: whether there must be rows to train on.
    """
    if group is not None:
        table.require([group])
    groups, grouping = None, group or table.find([GROUP_COLUMN])
    if grouping is not None:
        groups = [row.cells[grouping] for row in table.rows]
        for row, name in zip(table.rows, groups, strict=True):
            if not name:
                raise table.error(row, grouping, "expected the name of a group, received nothing")
    splits, first = _given_splits(table, train), dict[str, str]()
    if splits is None:
        return _draw(columns, groups, fractions, seed), groups, True
    if group is not None and groups is not None:
        for row, name, split in zip(table.rows, groups, splits, strict=True):
            if first.setdefault(name, split) != split:
                raise table.error(
                    row,
                    group,
                    f"group {name} is in {split} here and in {first[name]} above. Correct the split"
                    " column or leave it out, and groups stay in one split",
                )
    if "valid" not in splits and "train" in splits:
        rows = [row for row, split in enumerate(splits) if split == "train"]
        own = None if groups is None else [groups[row] for row in rows]
        those = [
            _Column(c.name, c.kind, [c.cells[r] for r in rows], [c.strata[r] for r in rows])
            for c in columns
        ]
        drawn = _draw(those, own, without_test(fractions), seed)
        for index, split in zip(rows, drawn, strict=True):
            splits[index] = split
    return splits, groups, False


def _task(table: Table, column: _Column, splits: Sequence[str], background: str | None) -> Task:
    # From the training split alone.
    learnt = [cell for cell, split in zip(column.cells, splits, strict=True) if split == "train"]
    kind, known = kind_of(column.kind), {label for names in learnt for label in names or ()}
    for row, names, split in zip(table.rows, column.cells, splits, strict=True):
        if unknown := kind.unknown(names or (), known):
            shown = ", ".join(sorted(known)) or "none"
            raise table.error(
                row,
                column.name,
                f"class {unknown[0]} is in {split}, and no row of train has it (known: {shown})."
                " Put rows of it into train by the split column, or where groups are dealt, into"
                " more groups",
            )
    try:
        return kind.learn(column.name, learnt, background)
    except DataError as error:
        raise DataError(f"{table.path}, column {column.name}: {error}") from None


def _known_columns(table: Table, known: Sequence[Task]) -> list[_Column]:
    """The columns of a network's tasks; one of several may be missing."""
    alone = table.find(LABEL_COLUMNS) if len(known) == 1 else None
    columns = []
    for task in known:
        name = task.name if task.name in table.columns else alone
        if name is not None:
            column = _column(table, name, task.kind)
            found = {label for names in column.cells for label in names or ()}
            check_known(f"{table.path}, column {name}", task, found)
        else:
            nothing: list[Names] = [None] * len(table.rows)
            column = _Column(task.name, task.kind, nothing, nothing)
        columns.append(column)
    if all(names is None for column in columns for names in column.cells):
        raise DataError(
            f"{table.path}: expected labels in a column {' or '.join(t.name for t in known)}; the"
            f" file has {', '.join(table.columns)}"
        )
    return columns


def read_manifest(
    path: str | Path,
    tasks: Mapping[str, TaskRecipe] | None = None,
    kind: str | None = None,
    fractions: Fractions = (0.6, 0.2, 0.2),
    seed: int = 1,
    group: str | None = None,
    background: str | None = None,
    known: Sequence[Task] = (),
) -> Dataset:
    """Read labelled images from a table.

    Parameters
    ----------
    path : str or Path
        Text in UTF-8 with a header; commas, semicolons or tabs between cells.
        ``path`` (or image, file, filename) is an image file, relative to the
        manifest's folder or absolute. A column of labels holds a class;
        several as ``boat|person``, and ``none`` where the image has none of
        them; or a number; nothing where it is not labelled. ``split`` holds train, valid
        or test in every row, or in none.
    tasks : mapping of str to TaskRecipe, optional
        Columns to learn and what they are. Empty: ``label`` (or class), else
        every column that is not a path, split, group or position.
    kind : str or None
        One of `tltool.tasks.kinds.KINDS`, of a single task. None: multi-label
        where any cell has ``|``, regression where there are many different
        numbers that are not whole, else multi-class.
    fractions : three floats
        Shares of train, valid and test, where there is no split column.
    seed : int
        Seeds the split.
    group : str or None
        Column whose equal values stay in one split. None: ``group``, where
        there is such a column.
    background : str or None
        The class that means "nothing"; the negative of a binary task.
    known : sequence of Task
        Tasks of a network that the images are for: columns and classes are its
        own. A class without rows is no error then, nor a missing column beside
        others, nor rows of any splits; a class that it does not know is. A
        single task is the label column too.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        A column is missing, a cell or a file is not as above, an image is
        there twice, a row has no label, a group is in two given splits, or
        train lacks a class; named by file, line and column.
    UsageError
        A kind for several tasks, or a background that is no class.
    """
    table = read_table(Path(path))
    paths, facts = _paths(table), read_facts(table.path.parent)
    if known:
        columns = _known_columns(table, known)
        group = group if group in table.columns else None
    else:
        asked = tasks or {}
        names = _task_names(table, asked, kind, group)
        columns = [
            _column(table, name, asked[name].kind if name in asked else kind) for name in names
        ]
    rows = zip(table.rows, *(column.cells for column in columns), strict=True)
    blank = [row for row, *cells in rows if all(cell is None for cell in cells)]
    if blank:
        more = f", nor in {len(blank) - 1} more rows" if len(blank) > 1 else ""
        raise DataError(
            f"{table.path}, line {blank[0].line}: expected a label in column"
            f" {' or '.join(column.name for column in columns)}, found none{more}. Fill in one, or"
            " remove the row"
        )
    splits, groups, drawn = _splits(table, columns, group, fractions, seed, not known)
    learnt = list(known)
    if not known:
        classes = [label for column in columns for names in column.cells for label in names or ()]
        negative = find_background(classes, background, facts)
        learnt = [_task(table, column, splits, negative) for column in columns]
        check_background(background, learnt)
    every = [
        [None if names is None else task.label(names) for names in column.cells]
        for task, column in zip(learnt, columns, strict=True)
    ]
    own = zip(paths, zip(*every, strict=True), groups or [""] * len(paths), strict=True)
    samples = by_split(list(starmap(Sample, own)), map(SPLITS.index, splits))
    return Dataset(table.path.parent, learnt, samples, facts, table.path, background, drawn)
