"""What a report says of a run beside how it was evaluated: data, history, versions, commands."""

import csv
import hashlib
import importlib.metadata
import math
import os
import platform
import shlex
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tltool import __version__
from tltool.conversion.agreement import describe_fidelity
from tltool.data.splits import SPLITS
from tltool.errors import TltoolError
from tltool.pictures.pages import data_uri
from tltool.report.material import Material
from tltool.report.pictures import strip
from tltool.run.folder import FCN_NAME, RECIPE_NAME
from tltool.run.sidecar import load_sidecar

# Images of a class that are shown, and classes at most.
_STRIP, _STRIPS = 6, 40
_PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn", "albumentations", "pillow")


@dataclass(frozen=True)
class ClassSample:
    """A class of the data.

    Attributes
    ----------
    name : str
    counts : list of int
        Images of each of `SPLITS`.
    uri, alt : str
        A strip of its images, empty where there are none or too many classes;
        its text alternative.
    size : (int, int)
        Of the strip, px.
    """

    name: str
    counts: list[int]
    uri: str = ""
    alt: str = ""
    size: tuple[int, int] = (0, 0)


def class_samples(material: Material, place: int) -> list[ClassSample]:
    """The classes of the task at `place` with how many images there are, and some of them."""
    dataset, task = material.dataset, material.tasks[place]
    counts = [dataset.counts(split, place) for split in SPLITS]
    rng, found = np.random.default_rng(material.seed), []
    samples = [sample for split in SPLITS for sample in dataset.samples[split]]
    for index, name in enumerate(task.classes):
        sample = ClassSample(name, [numbers[name] for numbers in counts])
        own = [s for s in samples if (label := s.labels[place]) and index in task.members(label)]
        chosen = [own[k] for k in np.sort(rng.permutation(len(own))[:_STRIP])]
        images = list(material.load(chosen).images) if chosen and index < _STRIPS else []
        if images:
            picture, alt = strip(images), f"{len(images)} image{'s' * (len(images) != 1)} of {name}"
            uri = data_uri(picture, "WEBP", quality=75)
            sample = replace(sample, uri=uri, alt=alt, size=picture.size)
        found.append(sample)
    return found


def read_history(path: Path) -> list[dict[str, float]]:
    """Rows of ``history.csv``; none where there is no such file. What is no number is NaN."""

    def number(text: str | None) -> float:
        try:
            return float(text or "nan")
        except ValueError:
            return math.nan

    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{key: number(value) for key, value in row.items()} for row in csv.DictReader(file)]


def environment(material: Material) -> list[tuple[str, str]]:
    """Names and values: files, data, machine and versions."""
    run, facts = material.path, material.sidecar.data or {}
    digest = hashlib.sha256(run.read_bytes()).hexdigest()[:16]
    trained = facts.get("folder", "unknown")
    versions = []
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions.append((name, importlib.metadata.version(name)))
    return [
        ("Made on", time.strftime("%Y-%m-%d %H:%M %Z")),
        ("Model", f"{run}, SHA-256 {digest}…"),
        ("Parameters", f"{material.model.count_params():,}".replace(",", "\N{NO-BREAK SPACE}")),
        ("Evaluated data", str(material.evaluation.metrics["data"])),
        ("Trained on", f"{trained}, fingerprint {facts.get('fingerprint', 'unknown')}"),
        ("tltool", __version__),
        ("Python", platform.python_version()),
        ("Machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"),
        *versions,
    ]


def commands(material: Material) -> list[str]:
    """Commands that give the same again."""
    metrics, folder = material.evaluation.metrics, material.path.parent
    again = ["tltool", "evaluate", str(folder), str(metrics["data"])]
    again += ["--split", metrics["split"]]
    tta = metrics.get("tta")
    if tta:
        again += ["--tta", "d4" if tta["kind"] == "d4" else str(tta["views"])]
    if metrics["beta"] != 2.0:
        again += ["--beta", f"{metrics['beta']:g}"]
    trained_on = (material.sidecar.data or {}).get("folder")
    if material.recipe is None or not trained_on:
        return [shlex.join(again)]
    recipe = str(folder / RECIPE_NAME)
    train = ["tltool", "finetune", str(trained_on), "--recipe", recipe, "-o", "RUN"]
    return [shlex.join(train), shlex.join(again)]


def fidelity(folder: Path) -> str | None:
    """Fidelity of the run's FCN to its classifier; None where there is none."""
    path = folder / FCN_NAME
    if not path.exists():
        return None
    try:
        return describe_fidelity(load_sidecar(path))
    except TltoolError as error:
        return f"unknown: {error}"
