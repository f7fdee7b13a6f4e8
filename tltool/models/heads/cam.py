"""Global average pooling and nothing but the output layer: class activation maps come for free."""

from collections.abc import Sequence
from typing import Any

from tltool.errors import UsageError
from tltool.models.heads.gap import gap_head
from tltool.recipe import HeadRecipe
from tltool.tasks.task import Task


def cam_head(features: Any, tasks: Sequence[Task], recipe: HeadRecipe) -> list[Any]:
    """(b, h, w, c) features to (b, outputs) probabilities of each task.

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
