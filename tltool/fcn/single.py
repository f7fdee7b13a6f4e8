"""A classifier with any structure of inputs and outputs as one image in, one vector out."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, tree

from tltool.errors import ConversionError, ModelError
from tltool.models.graph import Copier, replay, steps


def as_single(model: keras.Model, tasks: Sequence[str] | None = None) -> keras.Model:
    """Copy a classifier flat, from one tensor to one tensor.

    Parameters
    ----------
    model : keras.Model
        With one input; its outputs a tensor, or a list or dict of them.
    tasks : sequence of str, optional
        What the outputs belong to, in the order that is wanted. None: any, in
        the model's order (a dict's sorted by name).

    Returns
    -------
    keras.Model
        The outputs of several tasks side by side.

    Raises
    ------
    ConversionError
        More than one input.
    ModelError
        Outputs that are not those of `tasks`, or a model whose graph cannot
        be read.
    """
    # Complains of what has no graph before anything else does.
    next(steps(model), None)
    if len(model.inputs) > 1:
        raise ConversionError(
            f"model {model.name}: expected one image input, received {len(model.inputs)}"
        )
    inputs, copy = keras.Input(tuple(model.inputs[0].shape[1:]), name="image"), Copier()
    outputs = in_order(model.name, replay(model, inputs, copy), tasks)
    join = layers.Concatenate(name=copy.unique("all_tasks"))
    joined = join(outputs) if len(outputs) > 1 else outputs[0]
    return keras.Model(inputs, joined, name=model.name)


def in_order(name: str, outputs: Any, tasks: Sequence[str] | None) -> list[Any]:
    """The output tensors of a model in the order of its tasks.

    Parameters
    ----------
    name : str
        Name of the model, for the error.
    outputs : tensor, or list or dict of tensors
    tasks : sequence of str, optional
        As `as_single`.

    Raises
    ------
    ModelError
        Outputs that are not those of `tasks`.
    """
    found = tree.flatten(outputs)
    if tasks is None or (len(found) == 1 and len(tasks) <= 1):
        return found
    known = sorted(outputs) if isinstance(outputs, dict) else None
    if len(found) != len(tasks) or (known is not None and known != sorted(tasks)):
        raise ModelError(
            f"model {name} does not match its sidecar: expected an output for each of the tasks"
            f" {', '.join(tasks) or '(none named)'}; received"
            f" {', '.join(known) if known else len(found)}"
        )
    return found if known is None else [outputs[task] for task in tasks]
