"""The JSON files that travel beside a saved model and beside a map.

``model.keras`` has ``model.json``, ``fcn.keras`` has ``fcn.json``. Patch,
context, stride and offset are in pixels of the image, never of the enlarged
one.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tltool.errors import DataError, ModelError
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
        Classes of a binary task (negative, positive); its one output is the positive's.
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
        Side of the classified square and margin of real image around it, px.
    zoom : float
        Enlargement before the network sees the image.
    input_side : int
        Side of the classifier's input, px of the enlarged image; an FCN takes
        this plus any multiple of ``stride * zoom``.
    stride, offset : float or None
        Cell (r, c) of the FCN's output is for the patch whose top-left pixel
        is ``(r * stride + offset, c * stride + offset)`` of its input.
    receptive_field : int or None
        Side of the square that can influence one cell, px.
    reach : (int, int) or None
        First and last pixel that influence cell 0, px of the enlarged image,
        counted from the start of its window; negative where padding stands.
    bands : int
        Bands of the input.
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


class MapFacts(BaseModel):
    """Facts of a map, written beside it as JSON in this order.

    Attributes
    ----------
    image : str
        Path of the image, or how it was called where it was in memory.
    model : str or None
        The network's file and the start of its digest.
    width, height : int
        Size of the image as the network saw it (with `resample` another than
        that of the file), px.
    rows, columns : int
        Size of the map in cells.
    classes : list of str
        Outputs of the network.
    tasks : list of TaskFacts
    background : str or None
        The class that means "nothing here".
    patch, context, zoom, receptive_field
        As in `Sidecar`.
    stride, offset : float, int
        Cell (r, c) stands for the patch whose top-left pixel is
        ``(r * stride + offset, c * stride + offset)``, px of the image.
    fidelity : dict or None
        How far the map says what its classifier says.
    method : str
        ``fcn``, ``dense``, ``shift-and-stitch`` or ``patches``.
    engine, precision : str
        What ran the network, and what it computed in.
    difference_from_tensorflow : float or None
        Largest difference of any probability from TensorFlow's in float32, on
        one tile.
    gsd : float or None
        Ground sample distance, metres per px.
    tile : int
        Longest side of a tile, px of the enlarged image.
    output : dict
        How the map was written, as `Output`.
    this_run : dict
        Seconds, megapixels and tiles of the call that finished the map.
    tta, scales, combine, scale, bands_read, resample
        As in `MapOptions`; `combine` is None without scales.
    aoi : str or None
        Start of the digest of the file of areas.
    limits : list of (float, float) or None
        Numbers that became 0 and 255, for each band.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: Literal[1] = 1
    image: str = ""
    model: str | None = None
    width: int
    height: int
    rows: int = 0
    columns: int = 0
    classes: list[str] = Field(default_factory=list)
    tasks: list[TaskFacts] = Field(default_factory=list)
    background: str | None = None
    patch: int
    context: int = 0
    zoom: float = 1
    stride: float
    offset: int
    receptive_field: int | None = None
    fidelity: dict[str, Any] | None = None
    method: str = "fcn"
    engine: str = "tensorflow"
    difference_from_tensorflow: float | None = None
    gsd: float | None = None
    tile: int = 0
    output: dict[str, Any] = Field(default_factory=dict)
    this_run: dict[str, Any] = Field(default_factory=dict)
    precision: str = "f32"
    tta: str = "none"
    scales: list[float] = Field(default_factory=list)
    combine: str | None = None
    scale: tuple[float, float] | Literal["percentiles"] | None = None
    bands_read: list[int] | None = None
    resample: bool = False
    aoi: str | None = None
    limits: list[tuple[float, float]] | None = None

    @property
    def view(self) -> dict[str, Any]:
        """Options that decide where peaks lie: maps that differ in them have other peaks."""
        return {
            "stride": self.stride,
            "tta": self.tta,
            "scales": self.scales,
            "combine": self.combine,
            "resample": self.resample,
        }


def read_facts(path: Path) -> MapFacts:
    """Read and check the JSON beside a map.

    Raises
    ------
    DataError
        It cannot be read, or lacks what says where the map's cells lie.
    """
    try:
        return MapFacts.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise DataError(
            f"{path}: expected what tltool heatmap writes beside a map: {reason}. Make the map"
            " again"
        ) from error
