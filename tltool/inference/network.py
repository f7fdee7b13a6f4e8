"""A classifier in hand: opened from a run folder, a file or memory; images to probabilities."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, Unpack

import numpy as np
from keras import Model

from tltool.errors import ModelError, UsageError
from tltool.fcn.geometry import Geometry, trace
from tltool.fcn.single import as_single
from tltool.fcn.surgery import to_fcn
from tltool.inference.foreign import describe, read_names
from tltool.inference.views import FlipsAndRotations, RandomDraws, Views, parse_tta
from tltool.models.loading import load_network, open_model
from tltool.raster import as_zoom, enlarge
from tltool.recipe import Recipe, load_recipe
from tltool.run.folder import FCN_NAME, MODEL_NAME, RECIPE_NAME
from tltool.run.sidecar import Sidecar, load_sidecar, sidecar_path
from tltool.runtime import keep_freed_memory
from tltool.tasks.kinds import tasks_of
from tltool.tasks.task import Task

# Task name -> (b, outputs) float32.
Probabilities = dict[str, np.ndarray]


def fcn_sidecar(classifier: Sidecar, geometry: Geometry) -> Sidecar:
    """Derive the sidecar of the FCN that a classifier becomes."""
    zoom = as_zoom(classifier.zoom)
    return classifier.model_copy(
        update={
            "stride": float(geometry.stride / zoom),
            "offset": float(classifier.context),
            "receptive_field": math.ceil(geometry.receptive_field / zoom),
            "reach": (geometry.first, geometry.last),
        }
    )


@dataclass(eq=False)
class LoadedNetwork:
    """A classifier with all that must be known of it; called with images it gives probabilities.

    Attributes
    ----------
    path : Path or None
        File of the classifier; None: it is in memory alone.
    sidecar : Sidecar
        Sizes, classes and facts of the classifier.
    tasks : tuple of Task
    keras : keras.Model
        The classifier as it was saved, with several outputs where there are
        several tasks: from (b, side, side, bands) float32 in 0..255.
    recipe : Recipe or None
        Recipe of the run; None: there is no ``recipe.yaml`` beside the file.
    foreign : bool
        Whether there is no sidecar of tltool beside the file.
    mended : list of str
        See `tltool.models.loading.Opened`.
    notes : list of str
        What the user should know of how the file was understood.
    """

    path: Path | None
    sidecar: Sidecar
    tasks: tuple[Task, ...]
    keras: Model = field(repr=False)
    recipe: Recipe | None = field(default=None, repr=False)
    foreign: bool = False
    mended: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _rows: int = field(default=0, init=False, repr=False)

    @property
    def name(self) -> str:
        """Path of the file, or name of the model in memory, for messages."""
        return f"model {self.keras.name}" if self.path is None else str(self.path)

    @property
    def zoom(self) -> float:
        """Enlargement of an image before the network sees it."""
        return self.sidecar.zoom

    @cached_property
    def model(self) -> Model:
        """The classifier flat, from one image to the outputs of all tasks side by side."""
        return as_single(self.keras, [task.name for task in self.sidecar.tasks])

    @property
    def _stored_fcn(self) -> Path | None:
        path = None if self.path is None or self.foreign else self.path.with_name(FCN_NAME)
        return path if path is not None and path.exists() else None

    @cached_property
    def fcn(self) -> Model:
        """The fully convolutional network: the run's ``fcn.keras``, or converted in memory.

        Raises
        ------
        ConversionError
            A classifier that cannot be converted; names the layer.
        """
        stored = self._stored_fcn
        return to_fcn(self.model) if stored is None else load_network(stored)

    @cached_property
    def fcn_sidecar(self) -> Sidecar:
        """Sidecar of `fcn`, with its stride; raises as that does."""
        stored = self._stored_fcn
        if stored is None:
            return fcn_sidecar(self.sidecar, trace(self.model))
        return load_sidecar(stored)

    def prepare(self, images: np.ndarray) -> np.ndarray:
        """Enlarge (b, side, side, bands) uint8 images to what the network takes; in any thread."""
        zoom = as_zoom(self.zoom)
        if zoom != 1:
            images = np.stack([enlarge(pixels, zoom) for pixels in images])
        return images.astype(np.float32)

    def __call__(self, prepared: np.ndarray) -> Probabilities:
        """Give the probabilities of prepared images: task name to (b, outputs) float32."""
        count = len(prepared)
        self._rows = max(self._rows, count)
        if count < self._rows:
            # Another number of images would be another graph: the last batch is filled up.
            missing = np.zeros((self._rows - count, *prepared.shape[1:]), prepared.dtype)
            prepared = np.concatenate([prepared, missing])
        outputs: Any = self.keras.predict_on_batch(prepared)
        if isinstance(outputs, dict):
            parts = [outputs[task.name] for task in self.tasks]
        elif isinstance(outputs, list | tuple):
            parts = list(outputs)
        else:
            flat = outputs.reshape(len(prepared), -1)
            parts = np.split(flat, np.cumsum([task.outputs for task in self.tasks])[:-1], axis=-1)
        found = {}
        for task, part in zip(self.tasks, parts, strict=True):
            values = part.reshape(len(prepared), -1)[:count]
            if self.sidecar.scores:
                values = task.from_scores(values)
            found[task.name] = values
        return found

    def check_finite(self, images: Sequence[Any], probabilities: Probabilities) -> None:
        """Raise a `ModelError` that names the first images whose outputs are no numbers."""
        good = np.ones(len(images), bool)
        for values in probabilities.values():
            good &= np.isfinite(values).all(axis=1)
        bad = np.flatnonzero(~good)
        if len(bad):
            names = ", ".join(str(images[index]) for index in bad[:3])
            raise ModelError(
                f"{self.name}: expected probabilities, received NaN or infinity for {len(bad)} of"
                f" {len(images)} images: {names}{', ...' if len(bad) > 3 else ''}. Its weights are"
                " spoilt: train it anew, with a smaller rate"
            )

    def views(self, tta: str | int | None, seed: int) -> Views | None:
        """Make the test-time augmentation that is asked for.

        Raises
        ------
        UsageError
            Not known, or random draws and there is no augmentation to draw.
        """
        number = parse_tta(tta)
        if not number:
            return None if number is None else FlipsAndRotations()
        if self.recipe is None:
            recipe = "it is in memory" if self.path is None else self.path.with_name(RECIPE_NAME)
            raise UsageError(
                f"`tta`: {number} random draws need the recipe of the run, and"
                f" {recipe}{'' if self.path is None else ' does not exist'}. Take d4, the flips"
                " and rotations"
            )
        return RandomDraws(self.recipe.augment, number, seed)

    def temperature(self) -> dict[str, float]:
        """Read the stored temperature of every task.

        Raises
        ------
        ModelError
            Where one has none.
        """
        stored = self.sidecar.temperature
        wanted = [task.name for task in self.tasks if task.probabilistic]
        lacking = [name for name in wanted if name not in stored]
        if lacking:
            raise ModelError(
                f"{self.name}: no temperature is stored for {', '.join(lacking)}. tltool evaluate"
                " finds it on data with a validation split"
            )
        return stored


Openable: TypeAlias = str | Path | Model | LoadedNetwork


class ModelHints(TypedDict, total=False):
    """Hints on a model without tltool's sidecar; see `tltool.open`."""

    classes: str | Sequence[str] | None
    background: str | None
    input_size: int | None
    zoom: float
    pixels: str | None
    activation: str | None
    architecture: str | Path | None


class AllHints(ModelHints, total=False):
    """Hints and the context, which `tltool.convert` and its like do not take."""

    context: int


def open_network(source: Openable, **hints: Unpack[AllHints]) -> LoadedNetwork:
    """Open a classifier: of a run folder, of a file of any Keras, or a model in memory.

    Parameters
    ----------
    source : str, Path, keras.Model or LoadedNetwork
        A run folder, a model file of Keras 2 or 3 with or without tltool's
        sidecar, a Sequential or Functional classifier; a network that is open
        already comes back as it is.
    **hints
        What a model without sidecar does not tell, as of `tltool.open`.

    Returns
    -------
    LoadedNetwork

    Raises
    ------
    ModelError
        No model there that Keras can read.
    ConversionError
        Several inputs, one that is no image, or outputs that are no classes.
    UsageError
        What was given does not fit the model, or is known from its sidecar.
    """
    defaults = {"zoom": 1, "context": 0}
    hinted = any(value != defaults.get(name) for name, value in hints.items())
    known: dict[str, Any] = {**hints}
    architecture = known.pop("architecture", None)
    if isinstance(known.get("classes"), str):
        known["classes"] = read_names(known["classes"])
    if isinstance(source, LoadedNetwork):
        if hinted:
            raise UsageError("`source`: expected no hints beside a network that is open already")
        return source
    keep_freed_memory()
    if isinstance(source, Model):
        if architecture is not None:
            raise UsageError("`architecture`: expected a file of weights, received a model")
        model, sidecar, notes = describe(source, f"`source` (model {source.name})", **known)
        return LoadedNetwork(None, sidecar, tasks_of(sidecar), model, foreign=True, notes=notes)
    if not isinstance(source, str | Path):
        raise UsageError(
            "`source`: expected a run folder, a model file or a keras.Model, received"
            f" {type(source).__name__}"
        )
    path = Path(source)
    if path.is_dir() and not (path / "saved_model.pb").exists():
        path = path / MODEL_NAME
        if not path.is_file():
            raise ModelError(
                f"{path} does not exist: expected a run folder with {MODEL_NAME}, as tltool"
                " finetune writes it, or a model file"
            )
    elif not _has_sidecar(path):
        opened = open_model(path, architecture=architecture)
        model, sidecar, notes = describe(opened.model, str(path), **known)
        tasks = tasks_of(sidecar)
        return LoadedNetwork(path, sidecar, tasks, model, None, True, opened.mended, notes)
    if hinted:
        raise UsageError(
            f"{path}: expected no options about the model, {sidecar_path(path).name} beside it"
            " tells all that. Leave them out, or move the model away from that file"
        )
    opened = open_model(path)
    sidecar = load_sidecar(path)
    if opened.model.inputs[0].shape[1] is None:
        raise ModelError(
            f"{path}: expected a classifier, whose input has a fixed size; received a network that"
            f" takes images of any size. Is it the FCN of the {MODEL_NAME} beside it?"
        )
    stored = path.with_name(RECIPE_NAME)
    recipe = load_recipe(stored) if stored.exists() else None
    network = LoadedNetwork(
        path, sidecar, tasks_of(sidecar), opened.model, recipe, mended=opened.mended
    )
    outputs = int(np.prod(network.model.outputs[0].shape[1:]))
    _, side, *_, bands = network.model.inputs[0].shape
    expected = (len(sidecar.classes), sidecar.input_side, sidecar.bands)
    if (outputs, side, bands) != expected:
        raise ModelError(
            f"{path} does not match its sidecar: expected {expected[0]} classes and an input of"
            f" {expected[1]} px with {expected[2]} bands, received {outputs}, {side} and {bands}"
        )
    return network


def _has_sidecar(path: Path) -> bool:
    """Whether the JSON of the same stem is tltool's; it may be an architecture as well."""
    try:
        content = json.loads(sidecar_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "classes" in content
