"""Stages: which layers train, and how fast each."""

import re
from collections.abc import Mapping, Sequence

import keras

from tltool.data.arrays import StreamBatches
from tltool.data.stream import Batches
from tltool.errors import RecipeError
from tltool.models.network import Classifier
from tltool.recipe import StageRecipe
from tltool.training.steps import STEPS

# Frozen whatever a stage says: they are no weights but facts.
# Layers that say what the image is to the network, and never train.
FIXED = re.compile(r"preprocessing|normalisation_(rescale|image|mean|bands|whitening).*")


def _from_patterns(
    classifier: Classifier, patterns: Mapping[str, float | str], where: str
) -> dict[str, float]:
    names = [layer.name for layer in classifier.backbone_layers]
    for pattern in patterns:
        if pattern != "head" and not any(re.fullmatch(pattern, name) for name in names):
            raise RecipeError(
                f"{where}: {pattern} matches no layer of the backbone. Its layers are"
                f" {_some(names)}; a pattern matches a whole name, and head is the head"
            )
    told = {
        name: next((v for p, v in patterns.items() if re.fullmatch(p, name)), "frozen")
        for name in names
    } | dict.fromkeys(_head(classifier), patterns.get("head", 1.0))
    return {name: 0.0 if value == "frozen" else float(value) for name, value in told.items()}


def _head(classifier: Classifier) -> list[str]:
    inside = {layer.name for layer in classifier.backbone_layers}
    return [layer.name for layer in classifier.model.layers if layer.name not in inside]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names if len(names) <= 16 else [*names[:8], "...", *names[-8:]])


def layer_rates(classifier: Classifier, stage: StageRecipe, where: str = "") -> dict[str, float]:
    """Factors of the learning rate of each layer; 0 where it is frozen.

    Parameters
    ----------
    classifier : Classifier
    stage : StageRecipe
    where : str
        Path of the stage in the recipe, for errors.

    Raises
    ------
    RecipeError
        A pattern or name that matches no layer.
    """
    train, where = stage.train, f"{where}.train"
    if isinstance(train, dict) and not {"top", "from"} & set(train):
        rates = _from_patterns(classifier, train, where)
    else:
        inside = [layer.name for layer in classifier.backbone_layers]
        chosen = inside if train == "all" else []
        if isinstance(train, dict) and "from" in train:
            names, start = [n for block in classifier.blocks for n in block], str(train["from"])
            found = (n == start or n.startswith(f"{start}_") for n in names)
            place = next((place for place, is_it in enumerate(found) if is_it), None)
            if place is None:
                raise RecipeError(
                    f"{where}: no block or layer of the backbone is called {start}. Its layers are"
                    f" {_some(names)}"
                )
            chosen = names[place:]
        elif isinstance(train, dict):
            chosen = [n for block in classifier.blocks[-int(train["top"]) :] for n in block]
        rates = {name: float(name in chosen) for name in inside}
        rates |= dict.fromkeys(_head(classifier), 1.0)
    for height, block in enumerate(reversed(classifier.blocks), 1):
        for name in block:
            rates[name] *= stage.layer_decay**height
    return {name: 0.0 if FIXED.fullmatch(name) else rate for name, rate in rates.items()}


def apply_stage(
    classifier: Classifier, stage: StageRecipe, per_epoch: int, where: str = "stages.0"
) -> dict[str, float]:
    """Freeze and unfreeze layers.

    A BatchNormalization layer of the backbone that does not train uses its
    stored statistics in training too (Keras ties inference mode to
    ``trainable = False``), so it stays frozen unless the stage says
    ``batch_norm: train``. Then its moving averages span about an epoch: on few
    images Keras's own hundred steps would leave them behind the weights.

    Returns
    -------
    dict of str to float
        Path of each trainable variable to what its rate is multiplied by.

    Raises
    ------
    RecipeError
        As `layer_rates`, and where nothing would train.
    """
    rates = layer_rates(classifier, stage, where)
    kind = keras.layers.BatchNormalization
    norms = [x for x in classifier.backbone_layers if isinstance(x, kind)]
    if stage.batch_norm == "inference":
        rates |= {layer.name: 0.0 for layer in norms}
    for layer in classifier.model.layers:
        layer.trainable = rates.get(layer.name, 0.0) > 0
    for layer in norms:
        if layer.trainable:
            layer.momentum = min(0.99, 1 - 1 / max(10, per_epoch))
    factors = {
        weight.path: rates[layer.name]
        for layer in classifier.model.layers
        for weight in layer.trainable_weights
    }
    if not factors:
        raise RecipeError(
            f"{where}.train: {stage.train} trains nothing. Let the head or a layer with weights"
            " train, or leave the stage out"
        )
    return factors


def check_stages(classifier: Classifier, stages: Sequence[StageRecipe]) -> None:
    """Raise `RecipeError` for the first stage that the network cannot follow."""
    for number, stage in enumerate(stages):
        if stage.method not in STEPS:
            raise RecipeError(
                f"training.stages.{number}.method: expected one of {', '.join(STEPS)}; received"
                f" {stage.method}"
            )
        apply_stage(classifier, stage, 1, f"training.stages.{number}")


def steps_per_epoch(train: Batches | StreamBatches, stage: StageRecipe) -> int:
    """Batches in an epoch of a stage."""
    return len(train) if isinstance(train, Batches) else train.length(stage.steps)


def check_steps(stages: Sequence[StageRecipe], train: Batches | StreamBatches) -> None:
    """Raise `RecipeError` for the first stage that gathers gradients and never applies them."""
    for number, stage in enumerate(stages):
        steps = stage.length(steps_per_epoch(train, stage))[1]
        gathered = stage.gradient_accumulation_steps
        if 0 < steps < gathered:
            raise RecipeError(
                f"training.stages.{number}.gradient_accumulation_steps: expected at most the"
                f" {steps} steps of the stage, received {gathered}: its weights would never move."
                " Take fewer, a smaller batch_size, or more epochs"
            )


def backbone_is_frozen(classifier: Classifier) -> bool:
    """Whether no layer of the backbone has weights that train or statistics that move."""
    return not any(layer.trainable_weights for layer in classifier.backbone_layers)
