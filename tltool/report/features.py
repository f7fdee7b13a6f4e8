"""Features of images: what a network's last layer sees, and what its backbone makes of them."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from tltool.models.graph import flat_steps, flatten, is_model
from tltool.models.network import Classifier
from tltool.tasks.task import Task


def _pooled(tensor: Any) -> Any:
    """A vector an image: the mean over the positions of a map."""
    return layers.GlobalAveragePooling2D()(tensor) if len(tensor.shape) == 4 else tensor


def penultimate(model: keras.Model, tasks: Sequence[Task]) -> dict[str, keras.Model]:
    """Build for each task a network from images to what its last layer with weights sees.

    Parameters
    ----------
    model : keras.Model
        A classifier, with an output for each task by its name, or a single one.
    tasks : sequence of Task

    Returns
    -------
    dict of task name to keras.Model
        (b, side, side, bands) to (b, features): of a feature map the mean
        over its positions.
    """
    if any(is_model(layer) for layer in model.layers):
        model = flatten(model)
    made_by = {id(made): step for step in flat_steps(model) for made in step.outputs}
    found = {}
    for task in tasks:
        named = isinstance(model.output, dict)
        # Else all outputs stand side by side in one.
        step = made_by[id(model.output[task.name] if named else model.outputs[0])]
        while not step.layer.weights:
            step = made_by[id(step.inputs[0])]
        found[task.name] = keras.Model(model.inputs[0], _pooled(step.inputs[0]))
    return found


def backbone_features(classifier: Classifier) -> keras.Model:
    """Build a network from images to the mean feature map over the patch: (b, features)."""
    inside = {layer.name for layer in classifier.backbone_layers}
    rest = [
        layer
        for layer in classifier.model.layers
        if layer.name not in inside and not isinstance(layer, layers.InputLayer)
    ]
    over_patch = isinstance(rest[0], layers.Cropping2D)
    features = rest[0].output if over_patch else rest[0].input
    return keras.Model(classifier.model.inputs[0], _pooled(features))
