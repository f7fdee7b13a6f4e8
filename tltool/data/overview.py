"""What the data is like before it is trained on: counts, and what will spoil a score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tltool.data.dataset import Dataset
from tltool.data.duplicates import Pair, near_duplicates
from tltool.data.splits import SPLITS
from tltool.text import some_of

if TYPE_CHECKING:
    from tltool.data.stream import Patches

# Fewest images of a class without a warning.
_FEWEST = 5

_NAMED = 5


@dataclass(frozen=True)
class ClassRow:
    """A class of a task.

    Attributes
    ----------
    task, name : str
    images : dict of split to int
        Readable images that have this class.
    share : float
        Share of all images labelled for the task, 0..1; those of a multi-label task
        may add up to more than 1.
    """

    task: str
    name: str
    images: dict[str, int]
    share: float


@dataclass(frozen=True)
class DataReport:
    """Counts of a dataset, and warnings.

    Attributes
    ----------
    rows : list of ClassRow
        Task by task, in the order of the classes.
    images : dict of split to int
        Readable images.
    megapixels : dict of split to float
        Pixels as loaded, 10^6.
    nothing, unlabelled : dict of task to dict of split to int
        Images that have none of a multi-label task's classes, and images
        without a label for the task; only tasks that have such.
    unreadable : dict of split to list of str
        Files that were left out.
    warnings : list of str
        Each a sentence or two: what is there, and what to do.
    """

    rows: list[ClassRow]
    images: dict[str, int]
    megapixels: dict[str, float]
    nothing: dict[str, dict[str, int]] = field(default_factory=dict)
    unlabelled: dict[str, dict[str, int]] = field(default_factory=dict)
    unreadable: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def data_report(dataset: Dataset, loaded: Mapping[str, "Patches"]) -> DataReport:
    """Count what was loaded, and look for what will spoil training or its score.

    Warnings are of unreadable files, images of one split that look like
    images of another, a commonest class of more than ten times the rarest,
    classes of fewer than five training images, classes that valid or test
    lack, and images that are all but black.

    Parameters
    ----------
    dataset : Dataset
    loaded : mapping of split to Patches
        Its images, decoded.
    """
    unreadable, rows = {}, []
    for split, part in loaded.items():
        if part.unreadable:
            good = {sample.path for sample in part.samples}
            left_out = [s for s in dataset.samples[split] if s.path not in good]
            unreadable[split] = [dataset.name_of(sample) for sample in left_out]
    for index, task in enumerate(dataset.tasks):
        labels = {split: [s.labels[index] for s in part.samples] for split, part in loaded.items()}
        of_split = {split: task.counts(own) for split, own in labels.items()}
        labelled = sum(label is not None for own in labels.values() for label in own)
        for name in task.classes:
            images = {split: counts[name] for split, counts in of_split.items()}
            share = sum(images.values()) / max(1, labelled)
            rows.append(ClassRow(task.name, name, images, share))
    warnings = [
        f"{_images(len(names))} of {split} cannot be read and"
        f" {'is' if len(names) == 1 else 'are'} left out: {some_of(names, 3)}"
        for split, names in unreadable.items()
    ]
    looked_at = [part.images[:1000] for part in loaded.values() if len(part.samples)]
    brightest = max((int(images.max()) for images in looked_at), default=255)
    # Of images whose sixteen bits hold thirteen or fewer.
    if brightest <= 31:
        warnings.append(
            f"no pixel is brighter than {brightest} of 255: of 16-bit images the high byte is used."
            " Scale them first, for example with gdal_translate -ot Byte -scale"
        )
    warnings += _warn_copies(dataset, loaded) + _warn_classes(dataset, rows, loaded)
    return DataReport(
        rows,
        {split: len(part.samples) for split, part in loaded.items()},
        {split: float(np.prod(part.images.shape[:3])) / 1e6 for split, part in loaded.items()},
        _images_labelled(dataset, loaded, ()),
        _images_labelled(dataset, loaded, None),
        unreadable,
        warnings,
    )


def _images_labelled(
    dataset: Dataset, loaded: Mapping[str, "Patches"], label: tuple[int, ...] | None
) -> dict[str, dict[str, int]]:
    """Images that are labelled just so, of each task that has such."""
    counts = {
        task.name: {
            split: sum(sample.labels[index] == label for sample in part.samples)
            for split, part in loaded.items()
        }
        for index, task in enumerate(dataset.tasks)
    }
    return {task: of_split for task, of_split in counts.items() if any(of_split.values())}


def _images(number: int) -> str:
    return f"{number} image{'' if number == 1 else 's'}"


def _warn_copies(dataset: Dataset, loaded: Mapping[str, "Patches"]) -> list[str]:
    copies: dict[tuple[str, str], list[Pair]] = {}
    for pair in near_duplicates({split: part.images for split, part in loaded.items()}):
        copies.setdefault((pair.split_b, pair.split_a), []).append(pair)
    warnings = []
    for (split, other), pairs in copies.items():
        number, first = len(pairs), min(pairs, key=lambda pair: pair.distance)
        own = dataset.name_of(loaded[split].samples[first.index_b])
        known = dataset.name_of(loaded[other].samples[first.index_a])
        warnings.append(
            f"{_images(number)} of {split} look{'s' if number == 1 else ''} like images of {other},"
            f" such as {own} and {known}: a score on copies is too good. Remove them, or keep alike"
            " images in one split by a group column"
        )
    return warnings


def _warn_classes(
    dataset: Dataset, rows: Sequence[ClassRow], loaded: Mapping[str, "Patches"]
) -> list[str]:
    """Warn of classes far rarer than others, of few images, or that valid or test do not have."""
    uneven, few, absent = [], [], []
    for task in dataset.tasks:
        own = [row for row in rows if row.task == task.name]
        prefix = f"{task.name}: " if len(dataset.tasks) > 1 else ""
        present = sorted((r for r in own if r.images["train"]), key=lambda row: row.images["train"])
        if present:
            # Of equally common ones the first.
            least, most = present[0], max(present, key=lambda row: row.images["train"])
            ratio = most.images["train"] / least.images["train"]
            if ratio > 10:
                uneven.append(
                    f"{prefix}train has {_images(most.images['train'])} of {most.name} and"
                    f" {least.images['train']} of {least.name}, {ratio:.0f} to 1. Rare classes are"
                    " told better with training.sampling: over, or training.loss.class_weights:"
                    " effective"
                )
        names = [f"{r.name} ({r.images['train']})" for r in own if 0 < r.images["train"] < _FEWEST]
        if names:
            few.append(
                f"{prefix}train has fewer than {_FEWEST} images of {some_of(names, _NAMED)}: they"
                " will hardly be learnt. Add images, or merge or leave out these classes"
            )
    for split in ("valid", "test"):
        if split not in loaded or not loaded[split].samples:
            continue
        for task in dataset.tasks:
            prefix = f"{task.name}: " if len(dataset.tasks) > 1 else ""
            names = [r.name for r in rows if r.task == task.name and not r.images[split]]
            if names:
                absent.append(
                    f"{prefix}{split} has no image of {some_of(names, _NAMED)}, so that it cannot"
                    " tell how often they are found"
                )
    return [*uneven, *few, *absent]


def report_table(report: DataReport) -> tuple[list[str], list[list[str]], list[int]]:
    """A report as a table.

    Returns
    -------
    header : list of str
        The first is "task" where there are several.
    rows : list of list of str
        A row a class, then the images, megapixels and unreadable files of
        each split.
    numbers : list of int
        Columns to align right.
    """
    splits = [split for split in SPLITS if split in report.images]
    tasks = list(dict.fromkeys(row.task for row in report.rows))
    others = {"(none of them)": report.nothing, "(not labelled)": report.unlabelled}
    lines: list[list[str]] = []
    for task in tasks:
        first = len(lines)
        for row in report.rows:
            if row.task == task:
                numbers = [str(row.images[split]) for split in splits]
                lines.append(["", row.name, *numbers, f"{100 * row.share:.1f} %"])
        lines[first][0] = task
        for name, counts in others.items():
            if task in counts:
                lines.append(["", name, *(str(counts[task][split]) for split in splits), ""])
    # An empty line between the classes and the sums.
    lines.append([""] * (len(splits) + 3))
    lines.append(["", "images", *(str(report.images[split]) for split in splits), ""])
    lines.append(["", "megapixels", *(f"{report.megapixels[s]:.2f}" for s in splits), ""])
    if any(unreadable := [len(report.unreadable.get(split, ())) for split in splits]):
        lines.append(["", "unreadable", *map(str, unreadable), ""])
    header = ["task", "class", *splits, "share"]
    if len(tasks) == 1:
        header, lines = header[1:], [line[1:] for line in lines]
    return header, lines, list(range(len(header) - len(splits) - 1, len(header)))
