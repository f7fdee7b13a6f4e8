"""Heads that end with a Dense stack: on the pooled feature map, or on all of it."""

from collections.abc import Sequence
from typing import Any

from keras import layers

from tltool.errors import UsageError
from tltool.models.heads.parts import hidden_layers, output_name, prefixes
from tltool.recipe import HeadRecipe
from tltool.tasks.task import Task


def gap_head(features: Any, tasks: Sequence[Task], recipe: HeadRecipe) -> list[Any]:
    """Global average pooling: (b, h, w, c) features to (b, outputs) of each task."""
    return dense_branches(layers.GlobalAveragePooling2D(name="head_pool")(features), tasks, recipe)


def gmp_head(features: Any, tasks: Sequence[Task], recipe: HeadRecipe) -> list[Any]:
    """Global max pooling: (b, h, w, c) features to (b, outputs) of each task."""
    return dense_branches(layers.GlobalMaxPooling2D(name="head_pool")(features), tasks, recipe)


def fc_head(features: Any, tasks: Sequence[Task], recipe: HeadRecipe) -> list[Any]:
    """The flattened feature map: (b, h, w, c) features to (b, outputs) of each task."""
    return dense_branches(layers.Flatten(name="head_flatten")(features), tasks, recipe)


def cam_head(features: Any, tasks: Sequence[Task], recipe: HeadRecipe) -> list[Any]:
    """Global average pooling and nothing but the output layer, so that activation maps come free.

    The output layer's kernel, applied to every cell of the features instead
    of their mean, is the class activation map (Zhou et al., "Learning Deep
    Features for Discriminative Localization", CVPR 2016, eq. 2).

    Raises
    ------
    UsageError
        Hidden layers.
    """
    if recipe.units:
        raise UsageError(f"head cam: expected no hidden layers; received units {recipe.units}")
    return gap_head(features, tasks, recipe)


def dense_branches(vector: Any, tasks: Sequence[Task], recipe: HeadRecipe) -> list[Any]:
    """Hidden Dense layers with ReLU and an output layer, for each task its own.

    Parameters
    ----------
    vector : (b, c) KerasTensor
    tasks : sequence of Task
    recipe : HeadRecipe

    Returns
    -------
    list of (b, task.outputs) KerasTensor of probabilities or numbers, in float32.
    """
    outputs = []
    for task, prefix in zip(tasks, prefixes(tasks), strict=True):
        features = hidden_layers(layers.Dense, "dense", vector, recipe, prefix)
        name = output_name(task, prefix)
        own = name if task.probabilistic else f"{prefix}head_output"
        # In float32 under mixed precision too, which rounds probabilities to 3 digits.
        dense = layers.Dense(task.outputs, task.activation, dtype="float32", name=own)
        outputs.append(task.finish(dense(features), name))
    return outputs
