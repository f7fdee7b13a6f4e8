"""Global max pooling and a Dense stack."""

from collections.abc import Sequence
from typing import Any

from keras import layers

from tltool.models.heads.dense import dense_branches
from tltool.recipe import HeadRecipe
from tltool.tasks.task import Task


def gmp_head(features: Any, tasks: Sequence[Task], recipe: HeadRecipe) -> list[Any]:
    """(b, h, w, c) features to (b, outputs) probabilities of each task."""
    return dense_branches(layers.GlobalMaxPooling2D(name="head_pool")(features), tasks, recipe)
