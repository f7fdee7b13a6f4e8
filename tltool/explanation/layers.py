"""The layers of a run whose maps can be looked at."""

from dataclasses import dataclass

from tltool.explanation.chosen import ask
from tltool.explanation.placement import pitches
from tltool.inference.network import Openable, open_network


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
        Whether it is looked at where no layer is told.
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
        Where the run tells several.

    Raises
    ------
    ModelError, UsageError
    """
    asked = ask(open_network(network), task)
    subject, zoom = asked.subject, asked.network.sidecar.zoom
    found = pitches(subject.flat, 0)
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
