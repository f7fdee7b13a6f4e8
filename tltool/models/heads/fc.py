"""The flattened feature map and a Dense stack."""

from typing import Any

from keras import layers

from tltool.models.heads.dense import dense_stack
from tltool.recipe import HeadRecipe


def fc_head(features: Any, classes: int, recipe: HeadRecipe) -> Any:
    """(b, h, w, c) features to (b, classes) probabilities."""
    return dense_stack(layers.Flatten(name="head_flatten")(features), classes, recipe)
