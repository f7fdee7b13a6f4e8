"""Global average pooling and a Dense stack."""

from typing import Any

from keras import layers

from tltool.models.heads.dense import dense_stack
from tltool.recipe import HeadRecipe


def gap_head(features: Any, classes: int, recipe: HeadRecipe) -> Any:
    """(b, h, w, c) features to (b, classes) probabilities."""
    return dense_stack(layers.GlobalAveragePooling2D(name="head_pool")(features), classes, recipe)
