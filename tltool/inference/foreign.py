"""A classifier that tltool did not train: its input, its classes and what its outputs mean.

What the network tells is read from its layers; the rest the user says, or it
takes a default that is noted.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import keras
from keras import layers, tree

from tltool.errors import ConversionError, ModelError, UsageError
from tltool.fcn.geometry import check_channels_last, shape_of
from tltool.models.backbones import preprocess
from tltool.models.graph import Copier, Step, UniqueNames, flat_steps, replay, steps
from tltool.raster import as_zoom
from tltool.run.sidecar import Sidecar, TaskFacts
from tltool.tasks.kinds import kind_of_outputs, make_task

# What a model wants of its pixels -> how they become that from 0..255.
PIXELS: dict[str, Callable[[Any], Any]] = {
    "0..255": lambda image: image,
    "0..1": lambda image: layers.Rescaling(1 / 255, 0.0, name="preprocessing")(image),
    "-1..1": lambda image: layers.Rescaling(1 / 127.5, -1.0, name="preprocessing")(image),
    "caffe": partial(preprocess, mode="caffe"),
    "torch": partial(preprocess, mode="torch"),
}
ACTIVATIONS = ("softmax", "sigmoid")

# Layers that leave numbers as they are at the end of a classifier.
_TRANSPARENT = (layers.Reshape, layers.Flatten, layers.Identity, layers.Dropout, layers.Cropping2D)
_SCALING = "Rescaling Normalization BatchNormalization Multiply Divide TrueDivide Subtract"


def read_names(text: str) -> list[str]:
    """Read class names with commas between, or a file with one a line, numbered from 0 or not.

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
            raise UsageError(f"`classes`: {path} does not exist")
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise UsageError(f"`classes`: {path}: expected text in UTF-8: {error}") from error
        names = [line.strip() for line in lines if line.strip()]
        if all(name.partition(" ")[0] == str(number) for number, name in enumerate(names)):
            names = [name.partition(" ")[2].strip() or name for name in names]
    else:
        names = [name.strip() for name in text.split(",")]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or not all(names):
        received = f"{twice} twice" if twice else "an empty one"
        raise UsageError(f"`classes`: expected different names, received {received}")
    return names


def describe(
    model: keras.Model,
    name: str,
    *,
    classes: Sequence[str] | None = None,
    background: str | None = None,
    input_size: int | None = None,
    context: int = 0,
    zoom: float = 1,
    pixels: str | None = None,
    activation: str | None = None,
) -> tuple[keras.Model, Sidecar, list[str]]:
    """Complete a classifier by what is known of it.

    Parameters
    ----------
    model : keras.Model
        With one image input.
    name : str
        For errors.
    classes, background, input_size, context, zoom, pixels, activation
        As of `tltool.open`.

    Returns
    -------
    keras.Model
        From (b, side, side, bands) in 0..255, with all that was given inside.
    Sidecar
    list of str
        What the user should know.

    Raises
    ------
    ModelError
        A model whose graph cannot be read.
    ConversionError
        Several inputs, one that is no image, or outputs that are no classes.
    UsageError
        What was given does not fit the model.
    """
    try:
        next(steps(model), None)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error
    side, bands = _input_of(model, name, input_size)
    wanted = pixels or "0..255"
    if wanted not in PIXELS:
        raise UsageError(f"`pixels`: expected one of {', '.join(PIXELS)}; received {wanted}")
    if wanted in ("caffe", "torch") and bands != 3:
        raise UsageError(f"`pixels={wanted!r}` is for RGB; {name} takes {bands} bands")
    inputs, copy = keras.Input((side, side, bands), name="image"), Copier()
    scaling = keras.Model(inputs, PIXELS[wanted](inputs))
    outputs = replay(model, replay(scaling, inputs, copy), copy)
    whole = keras.Model(inputs, outputs, name=model.name)
    names = _output_names(whole, name)
    if activation is not None:
        if activation not in ACTIVATIONS:
            raise UsageError(
                f"`activation`: expected {' or '.join(ACTIVATIONS)}; received {activation}"
            )
        inputs, copy = keras.Input((side, side, bands), name="image"), Copier()
        end = layers.Activation(activation)
        scores = replay(whole, inputs, copy)
        outputs = tree.map_structure(lambda each: copy(end, each), scores)
        whole = keras.Model(inputs, outputs, name=model.name)
    structure = whole._outputs_struct
    if isinstance(structure, dict):
        by_name = {each: structure[each] for each in names}
    else:
        by_name = dict(zip(names, tree.flatten(structure), strict=True))
    kinds = {task: _kind(whole, tensor) for task, tensor in by_name.items()}
    tasks = _tasks(by_name, kinds, name, classes)
    every = [each for task in tasks for each in task.classes]
    if background is not None and background not in every:
        raise UsageError(
            f"`background`: expected one of the classes {', '.join(every)}; received {background}"
        )
    window = side / as_zoom(zoom)
    if window.denominator != 1:
        raise UsageError(
            f"`zoom`: {name} takes {side} px, which {zoom:g} does not divide into whole pixels"
        )
    if context < 0 or 2 * context >= window:
        raise UsageError(
            f"`context`: expected a margin that leaves some of the {window} px of {name}, received"
            f" {context}"
        )
    sidecar = Sidecar(
        classes=[
            f"{task.name}.{each}" if len(tasks) > 1 else each
            for task in tasks
            for each in make_task(task.name, task.classes, task.kind).output_names
        ],
        tasks=tasks,
        background=background,
        scores="scores" in kinds.values(),
        patch=int(window) - 2 * context,
        context=context,
        zoom=zoom,
        input_side=side,
        bands=bands,
    )
    notes = []
    slides = (layers.Conv2D, layers.SeparableConv2D, layers.Dense)
    front = takewhile(lambda step: not isinstance(step.layer, slides), flat_steps(model))
    scaled = any(type(step.layer).__name__ in _SCALING.split() for step in front)
    if pixels is None and not scaled:
        notes.append(
            "nothing in front of the network scales its pixels, and it gets them as they are,"
            " 0..255. If it was trained on others, say so: `pixels='0..1'`, -1..1, caffe or torch"
        )
    if sidecar.scores:
        notes.append(
            "the outputs are scores, not probabilities: `activation='softmax'` (or sigmoid) adds"
            " what is missing"
        )
    if classes is None:
        notes.append(f"the classes are called {', '.join(sidecar.classes)}; `classes` names them")
    return whole, sidecar, notes


def _input_of(model: keras.Model, name: str, input_size: int | None) -> tuple[int, int]:
    """Side and bands of the input, in px of what the network sees."""
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    if len(shapes) != 1:
        raise ConversionError(
            f"{name}: expected one image input, received {len(shapes)}:"
            f" {', '.join(tensor.name for tensor in model.inputs)}. A map is made of one image;"
            " give what the others say as constants in a model of one input"
        )
    if len(shapes[0]) != 3 or shapes[0][-1] is None:
        raise ConversionError(
            f"{name}: expected an image input (height, width, bands), received {shapes[0]}"
        )
    for step in flat_steps(model):
        check_channels_last(step)
    height, width, bands = shapes[0]
    fixed = height or width
    if fixed is None and input_size is None:
        raise UsageError(
            f"{name} takes images of any size: say with `input_size` how large those were that it"
            " was trained on, in pixels"
        )
    if fixed is not None and input_size not in (None, fixed):
        raise UsageError(
            f"`input_size`: {name} takes images of {height} x {width} px, received"
            f" {input_size}; leave it out"
        )
    if height != width:
        raise ConversionError(
            f"{name}: expected a square input, received {height} x {width}. Slide it with a script,"
            " or train it on squares"
        )
    return int(fixed or input_size or 0), int(bands)


def _output_names(model: keras.Model, name: str) -> list[str]:
    """Names of the tasks: a dict's keys, else the names of the layers that give the outputs."""
    structure = model._outputs_struct
    if isinstance(structure, dict):
        nested = next((n for n, t in structure.items() if not keras.utils.is_keras_tensor(t)), None)
        if nested is not None:
            raise ConversionError(
                f"{name}: expected one tensor for each output, received several for {nested}"
            )
        return list(structure)
    tensors = tree.flatten(structure)
    if len(tensors) == 1:
        return ["label"]
    unique = UniqueNames()
    makers = [_maker(model, tensor) for tensor in tensors]
    return [unique("image" if maker is None else maker.layer.name) for maker in makers]


def _maker(model: keras.Model, tensor: Any) -> Step | None:
    return next((s for s in flat_steps(model) if any(t is tensor for t in s.outputs)), None)


def _kind(model: keras.Model, tensor: Any) -> str:
    """softmax, sigmoid, or scores: what the numbers of an output went through last."""
    step = _maker(model, tensor)
    if step is None:
        return "scores"
    passes_on = isinstance(step.layer, (*_TRANSPARENT, layers.Concatenate))
    kinds = {_kind(model, each) for each in step.inputs} if passes_on else set()
    if isinstance(step.layer, _TRANSPARENT) or kinds == {"sigmoid"}:
        return kinds.pop()
    function = getattr(step.layer, "activation", None) or step.layer
    name = getattr(function, "__name__", type(function).__name__.lower())
    return name if name in ACTIVATIONS else "scores"


def _tasks(
    outputs: dict[str, Any], kinds: dict[str, str], model: str, classes: Sequence[str] | None
) -> list[TaskFacts]:
    numbers = {name: _width(model, tensor) for name, tensor in outputs.items()}
    wanted = sum(max(2, number) for number in numbers.values())
    if classes is not None and len(classes) != wanted:
        negative = " (of a single output the negative, then the positive)" * (1 in numbers.values())
        raise UsageError(
            f"`classes`: {model} has {sum(numbers.values())} outputs and wants {wanted}"
            f" names{negative}, received {len(classes)}: {', '.join(classes)}"
        )
    found, start = [], 0
    for name, number in numbers.items():
        stop = start + max(2, number)
        names = classes[start:stop] if classes else [f"class_{i}" for i in range(stop - start)]
        kind = kind_of_outputs(number, kinds[name])
        found.append(TaskFacts(name=name, kind=kind, classes=list(names)))
        start = stop
    return found


def _width(model: str, tensor: Any) -> int:
    shape = shape_of(tensor)
    number = int(shape[-1]) if shape else 0
    if not shape or any(length != 1 for length in shape[:-1]):
        raise ConversionError(
            f"{model}: expected one vector of class scores as output, received shape {shape}. Is it"
            " fully convolutional already?"
        )
    return number
