"""An evaluation: what a report is made of."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tltool.data.dataset import Dataset
from tltool.inference.labelled_predictions import LabelledPredictions
from tltool.run.sidecar import Sidecar


@dataclass(frozen=True)
class Evaluation:
    """A run evaluated on a split.

    Attributes
    ----------
    run : Path or None
        The run's ``model.keras``; None: a model in memory.
    folder : Path or None
        Where the files were written.
    metrics : dict
        Content of ``metrics.json``, see `evaluate`.
    predictions : LabelledPredictions
    dataset : Dataset
        All splits of the data, with the classes of the run. Where the data has
        no splits all of it is in ``test``.
    sidecar : Sidecar
        Of the run.
    files : list of Path
        What was written.
    """

    run: Path | None
    folder: Path | None
    metrics: dict[str, Any] = field(repr=False)
    predictions: LabelledPredictions
    dataset: Dataset
    sidecar: Sidecar = field(repr=False)
    files: list[Path]
