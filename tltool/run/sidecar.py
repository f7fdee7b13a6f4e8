"""The JSON file that travels beside a saved model: class names, geometry, fidelity.

``model.keras`` has ``model.json``, ``fcn.keras`` has ``fcn.json``. Patch,
context, stride and offset are in pixels of the image, never of the enlarged
one.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tltool.errors import ModelError
from tltool.files import write_text
from tltool.run.detection_parameters import DetectionParameters


class TaskFacts(BaseModel):
    """One thing that the classifier tells of an image.

    Attributes
    ----------
    name : str
        ``label``, or the column of the manifest.
    kind : str
        One of `tltool.tasks.kinds.KINDS`.
    classes : list of str
        Of a binary task (negative, positive); its one output is the positive's.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = "label"
    kind: str = "multi-class"
    classes: list[str] = Field(min_length=1)


class Sidecar(BaseModel):
    """Facts of a classifier or FCN beyond the network itself.

    Attributes
    ----------
    classes : list of str
        In the order of the outputs; ``task.class`` where there are several
        tasks.
    tasks : list of TaskFacts
        What the outputs belong to, in their order; empty: one multi-class
        task.
    background : str or None
        The class that means "nothing here".
    scores : bool
        Whether the outputs are scores (logits) and no probabilities: nothing
        such as softmax is at the network's end.
    patch, context : int
        Side of the judged square and margin of real image around it, px.
    zoom : float
        Enlargement before the network sees the image.
    input_side : int
        Side of the classifier's input, px of the enlarged image; an FCN takes
        this plus any multiple of ``stride * zoom``.
    stride, offset : float or None
        Cell (r, c) of the FCN's output judges the patch whose top-left pixel
        is ``(r * stride + offset, c * stride + offset)`` of its input.
    receptive_field : int or None
        Side of the square that can influence one cell, px.
    reach : (int, int) or None
        First and last pixel that influence cell 0, px of the enlarged image,
        counted from the start of its window; negative where padding stands.
    bands : int
        Of the input.
    band_numbers : list of int or None
        Which of an image's bands these are, from 1; None: what a person sees,
        or all.
    gsd : float or None
        Ground sample distance of the training images, metres per px.
    fidelity : dict or None
        Agreement of the map with the classifier (`tltool.conversion.agreement`).
    data : dict or None
        Fingerprint and counts of the training data.
    temperature : dict of str to float
        By task the number that the scores before softmax or sigmoid are to be
        divided by, so that probabilities are as often right as they say
        (`tltool.metrics.calibration`); empty: not known. The outputs are
        the network's own, without it.
    detections : DetectionParameters or None
        How points are found in the run's maps; None: not tuned.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    classes: list[str] = Field(min_length=1)
    tasks: list[TaskFacts] = Field(default_factory=list)
    background: str | None = None
    scores: bool = False
    patch: int = Field(gt=0)
    context: int = Field(0, ge=0)
    zoom: float = Field(1, ge=1)
    input_side: int = Field(gt=0)
    stride: float | None = None
    offset: float | None = None
    receptive_field: int | None = None
    reach: tuple[int, int] | None = None
    bands: int = Field(3, ge=1)
    band_numbers: list[int] | None = None
    gsd: float | None = None
    fidelity: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    temperature: dict[str, float] = Field(default_factory=dict)
    detections: DetectionParameters | None = None

    @model_validator(mode="after")
    def _known_background(self) -> "Sidecar":
        known = {*self.classes, *(name for task in self.tasks for name in task.classes)}
        if self.background is not None and self.background not in known:
            raise ValueError(f"background {self.background!r} is none of the classes")
        return self

    @property
    def window(self) -> int:
        """Side of what the classifier sees, patch and context, px."""
        return self.patch + 2 * self.context

    def save(self, model_path: Path) -> None:
        """Write beside `model_path`, under the same stem."""
        text = self.model_dump_json(indent=2)
        write_text(sidecar_path(model_path), text + "\n")


def sidecar_path(model_path: Path) -> Path:
    """Path of the sidecar of a model."""
    return model_path.with_suffix(".json")


def load_sidecar(model_path: Path) -> Sidecar:
    """Read and check the sidecar of `model_path`.

    Raises
    ------
    ModelError
        Where it is missing or says something impossible.
    """
    path = sidecar_path(model_path)
    if not path.exists():
        raise ModelError(
            f"{path} is missing: expected the class names and geometry of {model_path.name} there."
            " It is written by tltool finetune and tltool convert; keep the two files together"
        )
    try:
        return Sidecar.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ModelError(f"{path}: {where}: {first['msg']}") from error
