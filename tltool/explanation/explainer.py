"""A network opened to be explained: the task, its class, and the layer that is looked at."""

import difflib
from dataclasses import dataclass

import numpy as np

from tltool.errors import UsageError
from tltool.explanation.cell_layout import cell_sizes
from tltool.explanation.flat import lay_flat
from tltool.explanation.subject import Subject, open_at
from tltool.inference.network import LoadedNetwork, Openable, open_network
from tltool.inference.predict_batches import Batch
from tltool.tasks.task import Task


def choose_class(task: Task, name: str | None) -> int | None:
    """The place of a class among the task's; None: none is named.

    Raises
    ------
    UsageError
        The task has no such class.
    """
    if name is None or name in task.classes:
        return None if name is None else task.classes.index(name)
    near = difflib.get_close_matches(name, task.classes, 1)
    hint = f". Did you mean {near[0]}?" if near else ""
    raise UsageError(f"`label`: expected one of {', '.join(task.classes)}; received {name}{hint}")


@dataclass(frozen=True)
class Explainer:
    """A network opened to explain a task.

    Attributes
    ----------
    network : LoadedNetwork
    task : Task
    subject : Subject
    first : int
        Place of the task's first output in the subject's.
    """

    network: LoadedNetwork
    task: Task
    subject: Subject
    first: int

    def targets(self, classes: np.ndarray) -> np.ndarray:
        """Targets of the subject for classes of the task."""
        found = self.task.output_of(classes)
        return np.where(found < 0, found - self.first, found + self.first)

    def scores(self, prepared: np.ndarray) -> np.ndarray:
        """Probability of every class of the task: (n, classes)."""
        return self.task.class_scores(self.network(prepared)[self.task.name])

    def checked_scores(self, read: Batch) -> np.ndarray:
        """Scores of images from files; a `ModelError` names those where it is no number."""
        found = read.probabilities[0][self.task.name]
        self.network.check_finite(read.names, {self.task.name: found})
        return self.task.class_scores(found)


def open_explainer(network: LoadedNetwork, task: str | None, layer: str | None = None) -> Explainer:
    """Open a network at a layer, to explain a task.

    Raises
    ------
    UsageError
        No such task or layer; see `tltool.explanation.flat.Flat.find`.
    """
    names = [each.name for each in network.tasks]
    if task not in (None, *names) or (task is None and len(names) > 1):
        raise UsageError(
            f"`task`: expected one of {', '.join(names)}, which this run predicts; received"
            f" {task or 'none'}"
        )
    index = 0 if task is None else names.index(task)
    chosen = network.tasks[index]
    side, bands = network.sidecar.input_side, network.sidecar.bands
    flat = lay_flat(network.keras, (side, side, bands))
    if len(flat.outputs) == 1:
        first = sum(each.outputs for each in network.tasks[:index])
        return Explainer(network, chosen, open_at(flat, layer, None), first)
    output = chosen.name if chosen.name in flat.outputs else index
    return Explainer(network, chosen, open_at(flat, layer, output), 0)


@dataclass(frozen=True)
class MapLayer:
    """A layer with a map.

    Attributes
    ----------
    path : str
        Name of the layer, for ``layer=``.
    kind : str
        Its class.
    shape : (rows, columns, channels)
    cell_size : float
        Pixels of the image between cells.
    default : bool
        Whether it is looked at where no layer is given.
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    cell_size: float
    default: bool


def list_layers(network: Openable, task: str | None = None) -> list[MapLayer]:
    """The layers of a run that have maps and that a task depends on, from the image upward.

    Parameters
    ----------
    network : str, Path, Network or keras.Model
        A run folder, a model file, or what `tltool.open` takes or gave.
    task : str, optional
        Name of the task, where there are several.

    Raises
    ------
    ModelError, UsageError
    """
    explainer = open_explainer(open_network(network), task)
    subject, zoom = explainer.subject, explainer.network.sidecar.zoom
    found = cell_sizes(subject.flat, 0)
    calls = [c for c in subject.flat.leading_to(subject.output) if c.spatial]
    return [
        MapLayer(
            call.path,
            type(call.layer).__name__,
            call.shape,
            (found[id(call.output)] or subject.shape[0] / call.shape[0]) / zoom,
            call is subject.call,
        )
        for call in calls
    ]
