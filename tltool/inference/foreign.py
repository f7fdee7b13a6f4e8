"""A classifier that tltool did not train: its input, its classes and what its outputs mean.

What the network tells is read from its layers; the rest the user says, or it
takes a default that is told.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import keras
from keras import layers, tree

from tltool.errors import ConversionError, UsageError
from tltool.fcn.geometry import check_channels_last, shape_of
from tltool.models.backbones import preprocess
from tltool.models.graph import Copier, Step, UniqueNames, flat_steps, replay
from tltool.raster import as_zoom
from tltool.run.sidecar import Sidecar, TaskFacts


def _rescale(scale: float, offset: float, image: Any) -> Any:
    return layers.Rescaling(scale, offset, name="preprocessing")(image)


# What a model wants of its pixels -> how they become that from 0..255.
PIXELS: dict[str, Callable[[Any], Any]] = {
    "0..255": lambda image: image,
    "0..1": partial(_rescale, 1 / 255, 0.0),
    "-1..1": partial(_rescale, 1 / 127.5, -1.0),
    "caffe": partial(preprocess, mode="caffe"),
    "torch": partial(preprocess, mode="torch"),
}
ACTIVATIONS = ("softmax", "sigmoid")

# Layers that leave numbers as they are at the end of a classifier.
_TRANSPARENT = (layers.Reshape, layers.Flatten, layers.Identity, layers.Dropout, layers.Cropping2D)
_SCALING = {
    "Rescaling",
    "Normalization",
    "BatchNormalization",
    "Multiply",
    "Divide",
    "TrueDivide",
    "Subtract",
}


@dataclass(frozen=True)
class ModelHints:
    """What a file does not tell of its classifier.

    Attributes
    ----------
    classes : sequence of str, optional
        Names in the order of the outputs; of a single output the negative and
        the positive. Default: ``class_0``, ``class_1``, ...
    background : str, optional
        The class that means "nothing here".
    input_size : int, optional
        Side of the input, px, where the model takes any.
    zoom : float
        How much images were enlarged to fill the input.
    pixels : str, optional
        One of `PIXELS`: what the model wants of its pixels. Default: 0..255.
    activation : 'softmax' or 'sigmoid', optional
        Put behind outputs that are scores.
    """

    classes: Sequence[str] | None = None
    background: str | None = None
    input_size: int | None = None
    zoom: float = 1
    pixels: str | None = None
    activation: str | None = None


def read_names(text: str) -> list[str]:
    """Class names with commas between, or a file with one a line, numbered from 0 or not.

    Raises
    ------
    UsageError
        A name that is empty or stands twice.
    """
    path = Path(text)
    # Many names are longer than a path may be, at which Path.is_file raises.
    is_file = os.path.isfile(path)
    if path.suffix in (".txt", ".csv", ".names") or is_file:
        if not is_file:
            raise UsageError(f"--classes: {path} does not exist")
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise UsageError(f"--classes: {path}: expected text in UTF-8: {error}") from error
        names = [line.strip() for line in lines if line.strip()]
        if all(name.partition(" ")[0] == str(number) for number, name in enumerate(names)):
            names = [name.partition(" ")[2].strip() or name for name in names]
    else:
        names = [name.strip() for name in text.split(",")]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or not all(names):
        told = f"{twice} twice" if twice else "an empty one"
        raise UsageError(f"--classes: expected different names, received {told}")
    return names


def describe(
    model: keras.Model, path: Path, told: ModelHints
) -> tuple[keras.Model, Sidecar, list[str]]:
    """The classifier with all that was told inside, its sidecar, and what the user should know.

    Parameters
    ----------
    model : keras.Model
        With one image input.
    path : Path
        Of its file, for errors.
    told : ModelHints

    Returns
    -------
    keras.Model
        From (b, side, side, bands) in 0..255.
    Sidecar
    list of str

    Raises
    ------
    ConversionError
        Several inputs, or one that is no image.
    UsageError
        What was told does not fit the model.
    """
    side, bands = _input_of(model, path, told)
    pixels = _check_pixels(path, told.pixels, bands)
    fronted = _with_front(model, side, bands, pixels)
    names = _output_names(fronted, path)
    whole = fronted if told.activation is None else _with_end(fronted, told.activation)
    outputs = _outputs(whole, names)
    kinds = {name: _kind(whole, tensor) for name, tensor in outputs.items()}
    tasks = _tasks(outputs, kinds, path, told.classes)
    several = len(tasks) > 1
    classes = [
        f"{task.name}.{name}" if several else name
        for task in tasks
        for name in (task.classes[1:] if task.kind == "binary" else task.classes)
    ]
    _check_background(path, told.background, tasks)
    sidecar = Sidecar(
        classes=classes,
        tasks=tasks,
        background=told.background,
        scores="scores" in kinds.values(),
        patch=_patch(path, side, told.zoom),
        zoom=told.zoom,
        input_side=side,
        bands=bands,
    )
    return whole, sidecar, _notes(model, told, sidecar)


def _input_of(model: keras.Model, path: Path, told: ModelHints) -> tuple[int, int]:
    """Side and bands of the input, in px of what the network sees."""
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    if len(shapes) != 1:
        raise ConversionError(
            f"{path}: expected one image input, received {len(shapes)}:"
            f" {', '.join(tensor.name for tensor in model.inputs)}. A map is made of one image;"
            " give what the others say as constants in a model of one input"
        )
    if len(shapes[0]) != 3 or shapes[0][-1] is None:
        raise ConversionError(
            f"{path}: expected an image input (height, width, bands), received {shapes[0]}"
        )
    for step in flat_steps(model):
        check_channels_last(step)
    height, width, bands = shapes[0]
    fixed = height or width
    if fixed is None and told.input_size is None:
        raise UsageError(
            f"{path} takes images of any size: say with --input-size how large those were that it"
            " was trained on, in pixels"
        )
    if fixed is not None and told.input_size not in (None, fixed):
        raise UsageError(
            f"--input-size: {path} takes images of {height} x {width} px, received"
            f" {told.input_size}; leave it out"
        )
    if height != width:
        raise ConversionError(
            f"{path}: expected a square input, received {height} x {width}. Slide it with a script,"
            " or train it on squares"
        )
    return int(fixed or told.input_size or 0), int(bands)


def _check_pixels(path: Path, pixels: str | None, bands: int) -> str:
    chosen = pixels or "0..255"
    if chosen not in PIXELS:
        raise UsageError(f"--pixels: expected one of {', '.join(PIXELS)}; received {chosen}")
    if chosen in ("caffe", "torch") and bands != 3:
        raise UsageError(f"--pixels {chosen} is for RGB; {path} takes {bands} bands")
    return chosen


def _with_front(model: keras.Model, side: int, bands: int, pixels: str) -> keras.Model:
    inputs, copy = keras.Input((side, side, bands), name="image"), Copier()
    front = keras.Model(inputs, PIXELS[pixels](inputs))
    outputs = replay(model, replay(front, inputs, copy), copy)
    return keras.Model(inputs, outputs, name=model.name)


def _with_end(model: keras.Model, activation: str) -> keras.Model:
    if activation not in ACTIVATIONS:
        raise UsageError(
            f"--activation: expected {' or '.join(ACTIVATIONS)}; received {activation}"
        )
    inputs, copy = keras.Input(model.input_shape[1:], name="image"), Copier()
    end = layers.Activation(activation)
    outputs = tree.map_structure(lambda scores: copy(end, scores), replay(model, inputs, copy))
    return keras.Model(inputs, outputs, name=model.name)


def _output_names(model: keras.Model, path: Path) -> list[str]:
    """Of the tasks: a dict's keys, else the names of the layers that give the outputs."""
    structure = model._outputs_struct
    if isinstance(structure, dict):
        nested = next((n for n, t in structure.items() if not keras.utils.is_keras_tensor(t)), None)
        if nested is not None:
            raise ConversionError(
                f"{path}: expected one tensor for each output, received several for {nested}"
            )
        return list(structure)
    tensors = tree.flatten(structure)
    if len(tensors) == 1:
        return ["label"]
    unique = UniqueNames()
    makers = [_maker(model, tensor) for tensor in tensors]
    return [unique("image" if maker is None else maker.layer.name) for maker in makers]


def _outputs(model: keras.Model, names: Sequence[str]) -> dict[str, Any]:
    """Task name to tensor."""
    structure = model._outputs_struct
    if isinstance(structure, dict):
        return {name: structure[name] for name in names}
    return dict(zip(names, tree.flatten(structure), strict=True))


def _maker(model: keras.Model, tensor: Any) -> Step | None:
    return next((s for s in flat_steps(model) if any(t is tensor for t in s.outputs)), None)


def _kind(model: keras.Model, tensor: Any) -> str:
    """softmax, sigmoid, or scores: what the numbers of an output went through last."""
    step = _maker(model, tensor)
    if step is None:
        return "scores"
    kinds = {_kind(model, each) for each in step.inputs} if _passes_on(step.layer) else set()
    if isinstance(step.layer, _TRANSPARENT) or kinds == {"sigmoid"}:
        return kinds.pop()
    function = getattr(step.layer, "activation", None) or step.layer
    name = getattr(function, "__name__", type(function).__name__.lower())
    return name if name in ACTIVATIONS else "scores"


def _passes_on(layer: Any) -> bool:
    return isinstance(layer, (*_TRANSPARENT, layers.Concatenate))


def _tasks(
    outputs: dict[str, Any], kinds: dict[str, str], path: Path, classes: Sequence[str] | None
) -> list[TaskFacts]:
    numbers = {name: _width(path, tensor) for name, tensor in outputs.items()}
    wanted = sum(max(2, number) for number in numbers.values())
    if classes is not None and len(classes) != wanted:
        negative = " (of a single output the negative, then the positive)" * (1 in numbers.values())
        raise UsageError(
            f"--classes: {path} has {sum(numbers.values())} outputs and wants {wanted}"
            f" names{negative}, received {len(classes)}: {', '.join(classes)}"
        )
    found, start = [], 0
    for name, number in numbers.items():
        stop = start + max(2, number)
        names = classes[start:stop] if classes else [f"class_{i}" for i in range(stop - start)]
        kind = "binary" if number == 1 else "multi-class"
        if number > 1 and kinds[name] == "sigmoid":
            kind = "multi-label"
        found.append(TaskFacts(name=name, kind=kind, classes=list(names)))
        start = stop
    return found


def _width(path: Path, tensor: Any) -> int:
    shape = shape_of(tensor)
    number = int(shape[-1]) if shape else 0
    if not shape or any(length != 1 for length in shape[:-1]):
        raise ConversionError(
            f"{path}: expected one vector of class scores as output, received shape {shape}. Is it"
            " fully convolutional already?"
        )
    return number


def _check_background(path: Path, background: str | None, tasks: Sequence[TaskFacts]) -> None:
    known = [name for task in tasks for name in task.classes]
    if background is not None and background not in known:
        raise UsageError(
            f"--background: expected one of the classes {', '.join(known)}; received {background}"
        )


def _patch(path: Path, side: int, zoom: float) -> int:
    patch = side / as_zoom(zoom)
    if patch.denominator != 1:
        raise UsageError(
            f"--zoom: {path} takes {side} px, which {zoom:g} does not divide into whole pixels"
        )
    return int(patch)


def _notes(model: keras.Model, told: ModelHints, sidecar: Sidecar) -> list[str]:
    notes = []
    if told.pixels is None and not _scales_its_image(model):
        notes.append(
            "nothing in front of the network scales its pixels, and it gets them as they are,"
            " 0..255. If it was trained on others, say so: --pixels 0..1, -1..1, caffe or torch"
        )
    if sidecar.scores:
        notes.append(
            "the outputs are scores, not probabilities: --activation softmax (or sigmoid) adds"
            " what is missing"
        )
    if told.classes is None:
        notes.append(f"the classes are called {', '.join(sidecar.classes)}; --classes names them")
    return notes


def _scales_its_image(model: keras.Model) -> bool:
    slides = (layers.Conv2D, layers.SeparableConv2D, layers.Dense)
    before = takewhile(lambda step: not isinstance(step.layer, slides), flat_steps(model))
    return any(type(step.layer).__name__ in _SCALING for step in before)
