"""What is converted: the classifier of a run, or any Keras classifier in a file."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from tltool.errors import ModelError, UsageError
from tltool.fcn.single import as_single
from tltool.inference.foreign import ModelHints, describe
from tltool.models.loading import open_model
from tltool.run.folder import MODEL_NAME
from tltool.run.sidecar import Sidecar, load_sidecar, sidecar_path


@dataclass(frozen=True)
class Source:
    """A classifier to be converted.

    Attributes
    ----------
    path : Path
        Its file.
    model : keras.Model
        Flat, from one image to the outputs of all tasks side by side.
    sidecar : Sidecar
        Of the classifier.
    home : Path
        Folder where results go unless told otherwise.
    whole : keras.Model
        The same with the outputs that the sidecar tells.
    foreign : bool
        Whether the file has no sidecar of tltool.
    mended : list of str
        See `tltool.models.loading.Opened`.
    notes : list of str
        What the user should know of how the file was understood.
    """

    path: Path
    model: keras.Model
    sidecar: Sidecar
    home: Path
    whole: keras.Model
    foreign: bool = False
    mended: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lies_at(self, path: Path) -> bool:
        """Whether `path` is this classifier, with its sidecar beside it."""
        return not self.foreign and path.exists() and path.samefile(self.path)


def read_source(
    path: str | Path, told: ModelHints | None = None, architecture: str | Path | None = None
) -> Source:
    """Open a run's classifier, or a Keras classifier of any origin.

    Parameters
    ----------
    path : str or Path
        A run folder, or a model file of Keras 2 or 3 with or without tltool's
        sidecar.
    told : ModelHints, optional
        What cannot be read from a file; only for one without sidecar.
    architecture : str or Path, optional
        As `open_model`.

    Returns
    -------
    Source

    Raises
    ------
    ModelError, ConversionError, UsageError
    """
    path = Path(path)
    if path.is_dir() and not (path / "saved_model.pb").exists():
        path = path / MODEL_NAME
    elif not _has_sidecar(path):
        return _read_foreign(path, told or ModelHints(), architecture)
    if architecture is not None or (told is not None and told != ModelHints()):
        raise UsageError(
            f"{path}: expected no options about the model, {sidecar_path(path).name} beside it"
            " tells all that. Leave them out, or move the model away from that file"
        )
    return _read_own(path)


def _has_sidecar(path: Path) -> bool:
    """Whether the JSON of the same stem is tltool's; it may be an architecture as well."""
    try:
        content = json.loads(sidecar_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "classes" in content


def _read_own(path: Path) -> Source:
    opened, sidecar = open_model(path), load_sidecar(path)
    if opened.model.inputs[0].shape[1] is None:
        raise ModelError(
            f"{path}: expected a classifier, whose input has a fixed size; received a network that"
            f" takes images of any size. Is it the FCN of the {MODEL_NAME} beside it?"
        )
    model = as_single(opened.model, [task.name for task in sidecar.tasks])
    outputs = int(np.prod(model.outputs[0].shape[1:]))
    _, side, *_, bands = model.inputs[0].shape
    expected = (len(sidecar.classes), sidecar.input_side, sidecar.bands)
    if (outputs, side, bands) != expected:
        raise ModelError(
            f"{path} does not match its sidecar: expected {expected[0]} classes and an input of"
            f" {expected[1]} px with {expected[2]} bands, received {outputs}, {side} and {bands}"
        )
    return Source(path, model, sidecar, path.parent, opened.model, mended=opened.mended)


def _read_foreign(path: Path, told: ModelHints, architecture: str | Path | None) -> Source:
    opened = open_model(path, architecture=architecture)
    whole, sidecar, notes = describe(opened.model, path, told)
    model = as_single(whole, [task.name for task in sidecar.tasks])
    home = Path(f"{path.stem}-fcn")
    return Source(path, model, sidecar, home, whole, True, opened.mended, notes)
