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


def dropped(tensor: Any, recipe: HeadRecipe, name: str) -> Any:
    """Dropout, where the recipe has any."""
    return layers.Dropout(recipe.dropout, name=name)(tensor) if recipe.dropout else tensor


def hidden(
    layer: Callable[..., layers.Layer], tensor: Any, recipe: HeadRecipe, prefix: str, number: int
) -> Any:
    """Dropout, a layer with weights, BatchNormalization where the recipe has it, and ReLU.

    Parameters
    ----------
    layer : callable
        Makes the layer, given its `activation` or `use_bias`.
    """
    tensor = dropped(tensor, recipe, f"{prefix}head_dropout_{number}")
    if not recipe.batch_norm:
        return layer(activation="relu")(tensor)
    # A bias would do nothing: the normalisation subtracts it and has its own.
    tensor = layer(use_bias=False)(tensor)
    norm = layers.BatchNormalization(momentum=_MOMENTUM, name=f"{prefix}head_norm_{number}")
    return layers.ReLU(name=f"{prefix}head_relu_{number}")(norm(tensor))
