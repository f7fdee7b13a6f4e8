"""1x1 convolutions down to a map for each class, whose mean is the score (network in network)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from keras import layers

from tltool.models.heads.parts import hidden_layers, output_name, prefixes
from tltool.recipe import HeadRecipe
from tltool.tasks.task import Task


def nin_head(features: Any, tasks: Sequence[Task], recipe: HeadRecipe) -> list[Any]:
    """(b, h, w, c) features to (b, outputs) probabilities of each task.

    A small network sees every cell, global average pooling takes the place
    of fully connected layers (Lin, Chen and Yan, "Network in Network", ICLR
    2014, section 3.2).
    """
    return [
        _branch(features, task, recipe, prefix)
        for task, prefix in zip(tasks, prefixes(tasks), strict=True)
    ]


def _branch(features: Any, task: Task, recipe: HeadRecipe, prefix: str) -> Any:
    convolution = partial(layers.Conv2D, kernel_size=1)
    features = hidden_layers(convolution, "conv", features, recipe, prefix)
    # From here in float32 under mixed precision too.
    scores = layers.Conv2D(task.outputs, 1, dtype="float32", name=f"{prefix}head_scores")(features)
    score = layers.GlobalAveragePooling2D(dtype="float32", name=f"{prefix}head_pool")(scores)
    name = output_name(task, prefix)
    if task.probabilistic:
        score = layers.Activation(task.activation, dtype="float32", name=name)(score)
    return task.finish(score, name)
