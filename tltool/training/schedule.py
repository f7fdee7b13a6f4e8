"""Stages: which layers train, and how the rate falls."""

import keras

from tltool.models.network import Classifier
from tltool.recipe import StageRecipe

_NORMS = keras.layers.BatchNormalization


def _training_names(classifier: Classifier, stage: StageRecipe) -> set[str]:
    of_backbone = {layer.name for layer in classifier.backbone_layers}
    head = {layer.name for layer in classifier.model.layers} - of_backbone
    if stage.train == "head":
        return head
    if stage.train == "all":
        return head | of_backbone
    top = classifier.blocks[-stage.train["top"] :]
    return head | {name for block in top for name in block}


def apply_stage(classifier: Classifier, stage: StageRecipe, steps_per_epoch: int) -> None:
    """Freeze and unfreeze layers.

    A BatchNormalization layer of the backbone that does not train uses its
    stored statistics in training too (Keras ties inference mode to
    ``trainable = False``), so it stays frozen unless the stage says
    ``batch_norm: train``. Then its moving averages span about an epoch: on few
    images Keras's own hundred steps would leave them behind the weights.
    """
    training = _training_names(classifier, stage)
    fixed = {"preprocessing"}
    norms = [x for x in classifier.backbone_layers if isinstance(x, _NORMS)]
    if stage.batch_norm == "inference":
        fixed |= {layer.name for layer in norms}
    for layer in classifier.model.layers:
        layer.trainable = layer.name in training and layer.name not in fixed
    for layer in norms:
        if layer.trainable:
            layer.momentum = min(0.99, 1 - 1 / max(10, steps_per_epoch))


def cosine_rate(stage: StageRecipe, steps_per_epoch: int) -> keras.optimizers.schedules.CosineDecay:
    """The stage's rate, falling to a hundredth along a cosine (Loshchilov and Hutter 2017)."""
    steps = max(1, stage.epochs * steps_per_epoch)
    return keras.optimizers.schedules.CosineDecay(stage.rate, steps, alpha=0.01)
