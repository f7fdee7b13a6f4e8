"""Classification heads, one file each: features in, class probabilities out."""

from collections.abc import Callable
from typing import Any

from tltool.errors import UsageError
from tltool.models.heads.fc import fc_head
from tltool.models.heads.gap import gap_head
from tltool.models.heads.gmp import gmp_head
from tltool.recipe import HeadRecipe

# One table for dispatch, the error's list of choices and the command line.
HEADS: dict[str, Callable[[Any, int, HeadRecipe], Any]] = {
    "gap": gap_head,
    "gmp": gmp_head,
    "fc": fc_head,
}


def apply_head(features: Any, classes: int, recipe: HeadRecipe) -> Any:
    """Put the recipe's head on a feature map.

    Parameters
    ----------
    features : (b, h, w, c) KerasTensor
    classes : int
    recipe : HeadRecipe

    Returns
    -------
    (b, classes) KerasTensor of probabilities.
    """
    if recipe.name not in HEADS:
        raise UsageError(f"head: expected one of {', '.join(HEADS)}; received {recipe.name}")
    return HEADS[recipe.name](features, classes, recipe)
