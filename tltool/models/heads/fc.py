"""The flattened feature map and a Dense stack."""

from collections.abc import Sequence
from typing import Any

from keras import layers

from tltool.models.heads.dense import dense_branches
from tltool.recipe import HeadRecipe
from tltool.tasks.task import Task


def fc_head(features: Any, tasks: Sequence[Task], recipe: HeadRecipe) -> list[Any]:
    """(b, h, w, c) features to (b, outputs) probabilities of each task."""
    return dense_branches(layers.Flatten(name="head_flatten")(features), tasks, recipe)
