"""What the branches of all heads are made of."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from keras import layers

from tltool.errors import UsageError
from tltool.recipe import HeadRecipe
from tltool.tasks.task import Task

# Keras's 0.99 spans a hundred steps: more than many a small data set has in all its epochs.
_MOMENTUM = 0.9


def prefixes(tasks: Sequence[Task]) -> list[str]:
    """Prefixes of the names of each task's layers: ``<task>_``, or none for a single task.

    Raises
    ------
    UsageError
        No task, or two of the same name.
    """
    if len(tasks) == 1:
        return [""]
    found = [re.sub(r"\W", "_", task.name) + "_" for task in tasks]
    if not found or len(set(found)) < len(found):
        names = ", ".join(task.name for task in tasks) or "none"
        raise UsageError(f"tasks: expected one or more, of different names; received {names}")
    return found


def output_name(task: Task, prefix: str) -> str:
    """Name of the layer that gives the network's output of a task."""
    return prefix + ("probabilities" if task.probabilistic else "values")


def hidden_layers(
    layer: Callable[..., layers.Layer], kind: str, tensor: Any, recipe: HeadRecipe, prefix: str
) -> Any:
    """Build what comes before the output layer, with dropout in front of each layer and of that.

    For each of the recipe's `units` a layer with weights, BatchNormalization where the
    recipe has it, and ReLU.

    Parameters
    ----------
    layer : callable
        Makes a layer, given its units, name, and `activation` or `use_bias`.
    kind : str
        Part of its name.
    """

    def dropped(tensor: Any, ending: str) -> Any:
        name = f"{prefix}head_dropout{ending}"
        return layers.Dropout(recipe.dropout, name=name)(tensor) if recipe.dropout else tensor

    for number, units in enumerate(recipe.units, 1):
        tensor, name = dropped(tensor, f"_{number}"), f"{prefix}head_{kind}_{number}"
        if not recipe.batch_norm:
            tensor = layer(units, name=name, activation="relu")(tensor)
            continue
        # A bias would do nothing: the normalisation subtracts it and has its own.
        tensor = layer(units, name=name, use_bias=False)(tensor)
        norm = layers.BatchNormalization(momentum=_MOMENTUM, name=f"{prefix}head_norm_{number}")
        tensor = layers.ReLU(name=f"{prefix}head_relu_{number}")(norm(tensor))
    return dropped(tensor, "")
