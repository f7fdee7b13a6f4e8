"""Labelled images: which there are, their labels and targets, and in which split each is."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tltool.data.images import read_image
from tltool.data.splits import SPLITS
from tltool.data.targets import Targets
from tltool.errors import DataError, UsageError
from tltool.tasks.task import Label, Task

FACTS_NAME = "patches.json"

# x0, y0, x1, y1, px; None: to the image's end and beyond.
Rectangle = list[float | None]

Labels = tuple[Label, ...]


@dataclass(frozen=True)
class Sample:
    """An image, its labels and its targets.

    Attributes
    ----------
    path : Path
        The file, or the name of an image in memory, such as ``x[3]``.
    labels : tuple of (tuple, or None)
        For each task the classes' indices, one of a multi-class or binary task,
        any number of a multi-label one; or numbers. None: not labelled.
    group : str
        Samples of one group stay in one split; empty: a group of its own.
    targets : Targets or None
        What it shows where: mask, boxes, keypoints.
    pixels : (h, w, bands) uint8 array or None
        The image itself, where it is in memory.
    """

    path: Path
    labels: Labels
    group: str = ""
    targets: Targets | None = None
    pixels: np.ndarray | None = field(default=None, repr=False, compare=False)

    def read(self, bands: Sequence[int] | None = None) -> np.ndarray:
        """Decode the image; see `tltool.data.images.read_image`."""
        if self.pixels is None:
            return read_image(self.path, bands)
        return self.pixels if bands is None else self.pixels[..., [band - 1 for band in bands]]


@dataclass(frozen=True)
class PatchFacts:
    """Facts of patches that `tltool patches` cut; px of the source image.

    Attributes
    ----------
    patch, context : int
    background : str or None
        Class of patches away from every point.
    gsd : float or None
        Metres a px, where all images have the same.
    blocks : dict of image to dict of split to rectangle, or None
        How images were divided, where they were.
    """

    patch: int
    context: int
    background: str | None
    gsd: float | None = None
    blocks: dict[str, dict[str, Rectangle]] | None = None

    def corner(self, centre: float) -> int:
        """First pixel of the window, context included, around a centre."""
        return round(centre) - self.patch // 2 - self.context

    def save(self, folder: Path) -> None:
        """Write ``patches.json`` into `folder`."""
        (folder / FACTS_NAME).write_text(json.dumps(self.__dict__, indent=2) + "\n")


def read_facts(folder: Path) -> PatchFacts | None:
    """Read what `tltool patches` wrote beside its patches, or None.

    Raises
    ------
    DataError
        Where the file is there and is not what `PatchFacts.save` writes.
    """
    path = folder / FACTS_NAME
    if not path.exists():
        return None
    try:
        return PatchFacts(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{path}: expected patch, context, background and gsd, received {error}"
        ) from error


@dataclass(frozen=True)
class Dataset:
    """Labelled images of three splits.

    Attributes
    ----------
    folder : Path
        The class folders' or the manifest's.
    tasks : list of Task
        What the labels of every image are of.
    samples : dict of split name to list of Sample
    facts : PatchFacts or None
        Where `tltool patches` wrote the folder.
    manifest : Path or None
        The CSV file that lists the images; None for class folders.
    given_background : str or None
        The background as the recipe says it.
    divided : bool
        Whether the data says nothing of splits, so that they were drawn.
    in_memory : bool
        Whether it cannot be read again; `folder` then says what it is.
    """

    folder: Path
    tasks: list[Task]
    samples: dict[str, list[Sample]] = field(repr=False)
    facts: PatchFacts | None = None
    manifest: Path | None = None
    given_background: str | None = None
    divided: bool = False
    in_memory: bool = False

    @property
    def source(self) -> Path:
        """Source that `tltool.data.folders.read_dataset` reads this dataset from."""
        return self.manifest or self.folder

    def told(self) -> dict[str, str]:
        """Facts for a run that is trained on it: the ``folder``, or the ``source`` in words."""
        if self.in_memory:
            return {"source": str(self.source)}
        return {"folder": str(self.source.resolve())}

    @property
    def background(self) -> str | None:
        """The class that means "nothing here": as the recipe or the patches say, or by its name."""
        names = [name for task in self.tasks for name in task.classes]
        return find_background(names, self.given_background, self.facts)

    def counts(self, split: str, task: int = 0) -> dict[str, int]:
        """Samples per class of a split; an image of several classes counts in each."""
        return self.tasks[task].counts([sample.labels[task] for sample in self.samples[split]])

    def summary(self) -> dict[str, object]:
        """Fingerprint of names, sizes and labels, and the counts of each split.

        Returns
        -------
        dict
            ``fingerprint``, 16 hexadecimal digits, the same wherever the
            folder lies; ``counts``: split -> class -> number, or split ->
            task -> class -> number where there are several tasks.
        """
        lines, counts = [], dict[str, object]()
        for split in SPLITS:
            of_tasks = {task.name: self.counts(split, i) for i, task in enumerate(self.tasks)}
            counts[split] = of_tasks if len(of_tasks) > 1 else next(iter(of_tasks.values()))
            for sample in self.samples[split]:
                labels = [
                    "?" if label is None else task.label_text(label)
                    for task, label in zip(self.tasks, sample.labels, strict=True)
                ]
                if sample.pixels is None:
                    size = str(sample.path.stat().st_size)
                else:
                    size = hashlib.sha256(sample.pixels.tobytes()).hexdigest()
                lines.append(f"{split}/{self.name_of(sample)}:{size}:{':'.join(labels)}\n")
        digest = hashlib.sha256("".join(sorted(lines)).encode())
        return {"fingerprint": digest.hexdigest()[:16], "counts": counts}

    def name_of(self, sample: Sample) -> str:
        """An image's path, relative to the folder where it lies inside."""
        inside = sample.path.is_relative_to(self.folder)
        return (sample.path.relative_to(self.folder) if inside else sample.path).as_posix()


def by_split(samples: Sequence[Sample], splits: Iterable[int]) -> dict[str, list[Sample]]:
    """Samples by the name of their split; `splits` are indices into `SPLITS`."""
    divided: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    for sample, split in zip(samples, splits, strict=True):
        divided[SPLITS[split]].append(sample)
    return divided


def find_background(
    names: Sequence[str], given: str | None, facts: PatchFacts | None
) -> str | None:
    """The class that means "nothing here", or None.

    Parameters
    ----------
    names : sequence of str
        Class names to look among.
    given : str or None
        Background of the recipe; taken as it is.
    facts : PatchFacts or None
        What the patches say; nothing, where it is not in `names`.
    """
    if given is not None:
        return given
    if facts is not None and facts.background in names:
        return facts.background
    return next((name for name in names if name.lower() in ("backgrounds", "background")), None)


def check_background(given: str | None, tasks: Sequence[Task]) -> None:
    """Raise a `UsageError` where the background that the recipe gives is no task's class."""
    names = [name for task in tasks for name in task.classes]
    if given is not None and given not in names:
        raise UsageError(f"background: expected one of {', '.join(names)}; received {given}")


def check_known(where: str, task: Task, found: Iterable[str]) -> None:
    """Raise a `DataError` where labels are no classes of a network's task, with both lists."""
    labels = sorted(found)
    unknown = task.unknown(labels, task.classes)
    if unknown:
        raise DataError(
            f"{where}: expected the classes that the network knows, {', '.join(task.classes)};"
            f" received {', '.join(labels)}. Rename or remove {', '.join(unknown)}"
        )
