"""Class folders: which images there are, of which class, in which split."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tltool.data.splits import SPLITS, Fractions, stratified_split
from tltool.errors import DataError
from tltool.raster import list_images

_SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation"),
    "test": ("test", "testing"),
}
_BACKGROUND_NAMES = ("backgrounds", "background")
FACTS_NAME = "patches.json"


@dataclass(frozen=True)
class Sample:
    """An image file and its class, as an index into `Dataset.classes`."""

    path: Path
    label: int


@dataclass(frozen=True)
class PatchFacts:
    """What `tltool patches` knows of the patches it cut; px of the source image."""

    patch: int
    context: int
    background: str | None
    gsd: float | None = None

    def save(self, folder: Path) -> None:
        """Write ``patches.json`` into `folder`."""
        (folder / FACTS_NAME).write_text(json.dumps(self.__dict__, indent=2) + "\n")


@dataclass(frozen=True)
class Dataset:
    """Class folders as found on disk.

    Attributes
    ----------
    folder : Path
    classes : list of str
        Sorted names.
    samples : dict of split name to list of Sample
    facts : PatchFacts or None
        Where `tltool patches` wrote the folder.
    """

    folder: Path
    classes: list[str]
    samples: dict[str, list[Sample]] = field(repr=False)
    facts: PatchFacts | None = None

    @property
    def background(self) -> str | None:
        """The class that means "nothing here", told by the patches or by its name."""
        told = self.facts.background if self.facts else None
        return told or next((c for c in self.classes if c.lower() in _BACKGROUND_NAMES), None)

    def summary(self) -> dict[str, object]:
        """Fingerprint of names and sizes, and counts per split and class."""
        digest = hashlib.sha256()
        for split in SPLITS:
            for sample in self.samples[split]:
                name = sample.path.relative_to(self.folder).as_posix()
                digest.update(f"{split}/{name}:{sample.path.stat().st_size}\n".encode())
        return {
            "fingerprint": digest.hexdigest()[:16],
            "counts": {split: self.counts(split) for split in SPLITS},
        }

    def counts(self, split: str) -> dict[str, int]:
        """Samples per class of a split."""
        labels = np.array([s.label for s in self.samples[split]], int)
        numbers = np.bincount(labels, minlength=len(self.classes))
        return {name: int(n) for name, n in zip(self.classes, numbers, strict=True)}


def _class_folders(folder: Path) -> dict[str, list[Path]]:
    folders = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    return {p.name: list_images(p) for p in folders}


def _given_splits(folder: Path) -> dict[str, Path]:
    found = {}
    for split, names in _SPLIT_FOLDERS.items():
        present = [folder / name for name in names if (folder / name).is_dir()]
        if present:
            found[split] = present[0]
    return found if "train" in found else {}


def _check_classes(folder: Path, by_class: dict[str, list[Path]]) -> None:
    if not any(by_class.values()):
        raise DataError(
            f"{folder}: expected a folder for each class with images in it, found no image."
            " Lay them out as DATA/<class>/*.png or DATA/train/<class>/*.png"
        )
    empty = [name for name, images in by_class.items() if not images]
    if empty:
        raise DataError(
            f"{folder}: no image in {', '.join(empty)}. Add some or remove the empty folder"
        )
    if len(by_class) < 2:
        raise DataError(
            f"{folder}: expected two classes or more, found only {next(iter(by_class))}."
            " Add a folder for a second class, for example backgrounds"
        )


def _samples(by_class: dict[str, list[Path]], classes: Sequence[str]) -> list[Sample]:
    return [Sample(path, classes.index(name)) for name, paths in by_class.items() for path in paths]


def _divide(samples: list[Sample], fractions: Fractions, seed: int) -> list[list[Sample]]:
    splits = stratified_split([s.label for s in samples], fractions, seed)
    return [[s for s, split in zip(samples, splits, strict=True) if split == i] for i in range(3)]


def _read_given(
    folder: Path, given: dict[str, Path], fractions: Fractions, seed: int
) -> tuple[list[str], dict[str, list[Sample]]]:
    by_split = {split: _class_folders(path) for split, path in given.items()}
    _check_classes(given["train"], by_split["train"])
    classes = sorted(by_split["train"])
    for split, by_class in by_split.items():
        unknown = sorted(name for name in set(by_class) - set(classes) if by_class[name])
        if unknown:
            raise DataError(
                f"{given[split]}: class {', '.join(unknown)} has no folder in {given['train']}."
                f" Known: {', '.join(classes)}"
            )
    samples = {split: _samples(by_split.get(split, {}), classes) for split in SPLITS}
    if not samples["valid"]:
        share = fractions[1] / (fractions[0] + fractions[1]) or 0.2
        parts = _divide(samples["train"], (1 - share, share, 0.0), seed)
        samples["train"], samples["valid"] = parts[0], parts[1]
    return classes, samples


def read_facts(folder: Path) -> PatchFacts | None:
    """Read what `tltool patches` wrote beside its patches, or None."""
    path = folder / FACTS_NAME
    if not path.exists():
        return None
    try:
        return PatchFacts(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{path}: expected patch, context, background and gsd, received {error}"
        ) from error


def read_folders(
    folder: str | Path, fractions: Fractions = (0.6, 0.2, 0.2), seed: int = 1
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
        Of the split.

    Raises
    ------
    DataError
        No folder, no images, an empty class, one class only, or a class in
        valid or test that train lacks.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of class folders, found none")
    given = _given_splits(folder)
    if given:
        classes, samples = _read_given(folder, given, fractions, seed)
    else:
        by_class = _class_folders(folder)
        _check_classes(folder, by_class)
        classes = sorted(by_class)
        parts = _divide(_samples(by_class, classes), fractions, seed)
        samples = dict(zip(SPLITS, parts, strict=True))
    return Dataset(folder, classes, samples, read_facts(folder))
