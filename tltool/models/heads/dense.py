"""The Dense stack that most heads end with."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from keras import layers

from tltool.models.heads.parts import dropped, hidden, output_activation, prefixes
from tltool.recipe import HeadRecipe
from tltool.tasks.task import Task


def dense_branches(vector: Any, tasks: Sequence[Task], recipe: HeadRecipe) -> list[Any]:
    """Hidden Dense layers with ReLU and an output layer, for each task its own.

    Parameters
    ----------
    vector : (b, c) KerasTensor
    tasks : sequence of Task
    recipe : HeadRecipe

    Returns
    -------
    list of (b, task.outputs) KerasTensor of probabilities, in float32.
    """
    return [
        _branch(vector, task, recipe, prefix)
        for task, prefix in zip(tasks, prefixes(tasks), strict=True)
    ]


def _branch(vector: Any, task: Task, recipe: HeadRecipe, prefix: str) -> Any:
    for number, units in enumerate(recipe.units, 1):
        layer = partial(layers.Dense, units, name=f"{prefix}head_dense_{number}")
        vector = hidden(layer, vector, recipe, prefix, number)
    vector = dropped(vector, recipe, f"{prefix}head_dropout")
    # In float32 under mixed precision too, which rounds probabilities to 3 digits.
    return layers.Dense(
        task.outputs,
        activation=output_activation(task),
        dtype="float32",
        name=f"{prefix}probabilities",
    )(vector)
