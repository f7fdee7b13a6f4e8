"""A run opened to judge images: its network, what it tells, and how it takes image files."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import keras

from tltool.data.dataset import FACTS_NAME
from tltool.errors import ModelError, UsageError
from tltool.inference.network import Network
from tltool.inference.source import read_source
from tltool.inference.views import FlipsAndRotations, RandomDraws, Views, parse_tta
from tltool.raster import as_zoom
from tltool.recipe import Recipe, load_recipe
from tltool.run.folder import MODEL_NAME, RECIPE_NAME, file_of
from tltool.run.sidecar import Sidecar, load_sidecar
from tltool.runtime import keep_freed_memory
from tltool.tasks.task import Task


@dataclass(frozen=True)
class OpenedRun:
    """A run's classifier.

    Attributes
    ----------
    path : Path
        Of ``model.keras``.
    sidecar : Sidecar
    tasks : tuple of Task
    network : Network
    model : keras.Model
        As it was saved, with the outputs of several tasks apart.
    recipe : Recipe or None
        None: there is no ``recipe.yaml`` beside it.
    """

    path: Path
    sidecar: Sidecar
    tasks: tuple[Task, ...]
    network: Network
    model: keras.Model
    recipe: Recipe | None

    def views(self, tta: str | int | None, seed: int) -> Views | None:
        """The test-time augmentation that is asked for.

        Raises
        ------
        UsageError
            Not known, or random draws and there is no augmentation to draw.
        """
        number = parse_tta(tta)
        if not number:
            return None if number is None else FlipsAndRotations()
        if self.recipe is None:
            raise UsageError(
                f"tta: {number} random draws need the recipe of the run, and"
                f" {self.path.with_name(RECIPE_NAME)} does not exist. Take d4, the flips and"
                " rotations"
            )
        return RandomDraws(self.recipe.augment, number, seed)

    def temperature(self) -> dict[str, float]:
        """The stored temperature of every task.

        Raises
        ------
        ModelError
            Where one has none.
        """
        told = self.sidecar.temperature
        lacking = [task.name for task in self.tasks if task.name not in told]
        if lacking:
            raise ModelError(
                f"{self.path}: no temperature is stored for {', '.join(lacking)}. tltool evaluate"
                " finds it on data with a validation split"
            )
        return told


def tasks_of(sidecar: Sidecar) -> tuple[Task, ...]:
    """What a classifier tells."""
    facts = sidecar.tasks
    if not facts:
        return (Task("label", tuple(sidecar.classes)),)
    return tuple(Task(each.name, tuple(each.classes), each.kind) for each in facts)


def open_run(run: str | Path) -> OpenedRun:
    """Open a run's classifier.

    Parameters
    ----------
    run : str or Path
        A run folder, or a ``model.keras`` with its ``model.json``.

    Raises
    ------
    ModelError
        Where it is neither.
    """
    keep_freed_memory()
    path = file_of(Path(run), MODEL_NAME)
    if not path.is_file():
        raise ModelError(
            f"{run}: expected a run folder with {MODEL_NAME}, as tltool finetune writes it, or a"
            " model file with its JSON file; found none"
        )
    load_sidecar(path)
    source = read_source(path)
    sidecar, tasks = source.sidecar, tasks_of(source.sidecar)
    network = Network(source.model, tasks, as_zoom(sidecar.zoom), sidecar.scores)
    stored = path.with_name(RECIPE_NAME)
    recipe = load_recipe(stored) if stored.exists() else None
    return OpenedRun(path, sidecar, tasks, network, source.whole, recipe)


def is_cut() -> Callable[[Path], bool]:
    """A function that tells whether `tltool.patches` cut an image, by the file it left."""

    @cache
    def cut(folder: Path) -> bool:
        # DATA/<split>/<class>/image.png
        return any((above / FACTS_NAME).exists() for above in (folder, *folder.parents[:2]))

    return lambda path: cut(path.absolute().parent)
