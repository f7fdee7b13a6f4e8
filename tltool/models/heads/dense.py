"""The Dense stack that ends every head."""

from typing import Any

from keras import layers

from tltool.recipe import HeadRecipe


def dense_stack(vector: Any, classes: int, recipe: HeadRecipe) -> Any:
    """Hidden Dense layers with ReLU, dropout before each, and the softmax at the end.

    Parameters
    ----------
    vector : (b, c) KerasTensor
    """
    for number, units in enumerate(recipe.units, 1):
        if recipe.dropout:
            vector = layers.Dropout(recipe.dropout, name=f"head_dropout_{number}")(vector)
        vector = layers.Dense(units, activation="relu", name=f"head_dense_{number}")(vector)
    if recipe.dropout:
        vector = layers.Dropout(recipe.dropout, name="head_dropout")(vector)
    return layers.Dense(classes, activation="softmax", name="probabilities")(vector)
