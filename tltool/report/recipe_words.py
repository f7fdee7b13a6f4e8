"""A recipe in words, for people who were not there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tltool.recipe import Recipe, StageRecipe
from tltool.recipe.parts import LossRecipe
from tltool.tasks.classification import Classification
from tltool.tasks.kinds import KINDS

_SAMPLING = {
    "as-is": "Every image is seen once an epoch.",
    "over": "Rare classes are repeated until each is seen as often as the commonest.",
    "under": "Of common classes as many images are drawn anew each epoch as the rarest has.",
    "square-root": "Images are drawn so that classes have shares by the square root of their"
    " numbers.",
}
_HEADS = {
    "gap": "the mean of the feature map (global average pooling)",
    "gmp": "the maximum of the feature map (global max pooling)",
    "fc": "the whole feature map, flattened",
    "nin": "1x1 convolutions, whose maps are averaged last (network in network)",
    "cam": "the mean of the feature map and a single linear layer (CAM)",
}
_SCHEDULES = {
    "constant": "kept",
    "cosine": "falling as half a cosine",
    "one-cycle": "rising and falling once",
    "step": "falling in steps",
    "plateau": "falling where validation stalls",
}


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _backbone(recipe: Recipe) -> str:
    backbone = recipe.backbone
    width = "" if backbone.alpha is None else f" of width {backbone.alpha:g}"
    part = "" if backbone.layer is None else f" up to its layer {backbone.layer}"
    known = {"imagenet": "weights trained on ImageNet", "none": "random weights"}
    weights = known.get(backbone.weights, f"the weights of {Path(backbone.weights).name}")
    return f"{backbone.name}{width}{part}, starting from {weights}."


def _head(recipe: Recipe) -> str:
    head = recipe.head
    parts = [
        _HEADS[head.name],
        "hidden layers of " + ", ".join(map(str, head.units)) + " units" if head.units else "",
        f"{100 * head.dropout:g} % dropout" if head.dropout else "",
        "batch normalisation" if head.batch_norm else "",
    ]
    return _sentence("; ".join(filter(None, parts)))


def _images(recipe: Recipe) -> str:
    parts = [
        f"squares of {recipe.patch} px" if recipe.patch else "",
        f"seen with {recipe.context} px of surrounding image" if recipe.context else "",
        f"enlarged {recipe.zoom:g} times" if recipe.zoom != 1 else "",
        "bands " + ", ".join(map(str, recipe.bands)) if recipe.bands else "",
    ]
    return _sentence(", ".join(filter(None, parts)) or "as they are")


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " to ".join(map(_value, value)) if len(value) == 2 else ", ".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _entry(entry: Any) -> str:
    """An entry of ``augment``, containers with what they hold in brackets."""
    if not isinstance(entry, dict):
        return str(entry)
    name, settings = next(iter(entry.items()))
    if isinstance(settings, list):
        return f"{name} [{'; '.join(map(_entry, settings))}]"
    if not isinstance(settings, dict) or not settings:
        return str(name)
    texts = ", ".join(f"{str(k).replace('_', ' ')} {_value(v)}" for k, v in settings.items())
    return f"{name} ({texts})"


def _loss(loss: LossRecipe, task: str | None) -> str:
    parts = (KINDS[task] if task is not None else Classification).loss_words(loss)
    if task is None and loss.label_smoothing is None and loss.name != "focal":
        parts.append("labels smoothed by 0.1 where one class is told of several")
    if loss.label_smoothing:
        parts.append(f"labels smoothed by {loss.label_smoothing:g}")
    if loss.class_weights == "inverse":
        parts.append("samples weighted by the inverse of their class's frequency")
    if loss.class_weights == "effective":
        parts.append(
            f"samples weighted by their class's effective number of samples (beta {loss.beta:g})"
        )
    return ", ".join(parts) + "."


def _trained(stage: StageRecipe) -> str:
    train = stage.train
    if train in ("head", "frozen"):
        return "the head alone, the backbone frozen"
    if train == "all":
        return "all layers"
    assert isinstance(train, dict)
    if list(train) == ["top"]:
        return f"the head and the last {_count(int(train['top']), 'block')} of the backbone"
    if list(train) == ["from"]:
        return f"the head and the backbone from {train['from']} on"
    rates = [
        f"{k} {'frozen' if v == 'frozen' else f'at {v:g} times the rate'}" for k, v in train.items()
    ]
    return "layers by name: " + ", ".join(rates)


def _stage(stage: StageRecipe) -> str:
    length = _count(stage.epochs or 0, "epoch") if not stage.steps else f"{stage.steps} steps"
    decay, steps = stage.layer_decay, stage.gradient_accumulation_steps
    parts = [
        f"up to {length}",
        f"{stage.optimizer} at a rate of {stage.learning_rate:.2g},"
        f" {_SCHEDULES[stage.schedule.name]}",
        f"each deeper block at {decay:g} times the rate of the one above" if decay != 1 else "",
        f"weight decay {stage.weight_decay:.2g}" if stage.weight_decay else "",
        f"gradients of {steps} steps averaged" if steps > 1 else "",
        f"weights averaged over steps (momentum {stage.ema:g})" if stage.ema else "",
        "batch normalisation learns its statistics anew" if stage.batch_norm == "train" else "",
        f"stopped after {_count(stage.patience, 'epoch')} without a better validation loss",
    ]
    return _sentence(f"{_trained(stage)}: {'; '.join(filter(None, parts))}")


def _tasks(recipe: Recipe) -> list[tuple[str, str]]:
    texts = []
    for name, task in recipe.tasks.items():
        parts = [str(task.kind), f"weight {task.weight:g}"]
        kind = KINDS.get(task.kind or "")
        if kind is not None and not kind.probabilistic:
            # What is said of the loss below is of classes.
            parts += kind.loss_words(task.loss or recipe.training.loss)
        texts.append(f"{name} ({', '.join(parts)})")
    return [("Tasks", "; ".join(texts) + ".")] if texts else []


def describe_recipe(recipe: Recipe) -> tuple[Sequence[tuple[str, str]], list[str]]:
    """Say what a recipe does.

    Parameters
    ----------
    recipe : Recipe
        Resolved.

    Returns
    -------
    topics : sequence of (str, str)
        What it is about, and a sentence.
    stages : list of str
        A sentence a stage, in their order.
    """
    training = recipe.training
    exact = ", repeatable bit for bit" * training.deterministic
    topics = [
        ("Backbone", _backbone(recipe)),
        ("Head", _head(recipe)),
        *_tasks(recipe),
        ("Images", _images(recipe)),
        ("Augmentation", ("; ".join(map(_entry, recipe.augment)) or "None") + "."),
        ("Loss", _loss(training.loss, recipe.task)),
        ("Sampling", _SAMPLING[training.sampling]),
        (
            "Training",
            f"Batches of {training.batch_size}, seed {training.seed}, in {training.precision}"
            f"{exact}.",
        ),
    ]
    return topics, [_stage(stage) for stage in training.stages]
