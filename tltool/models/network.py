"""Backbone and head as one flat classifier."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import keras
from keras import layers

from tltool.errors import UsageError, WeightsError
from tltool.models.backbones import STRIDE, block_layers, build_backbone, is_run_model
from tltool.models.graph import give_weights
from tltool.models.heads import apply_head
from tltool.models.loading import load_network
from tltool.raster import as_zoom
from tltool.recipe import BackboneRecipe, HeadRecipe
from tltool.tasks.kinds import make_task
from tltool.tasks.task import Task


@dataclass(frozen=True)
class Classifier:
    """A network and what training must know of it.

    Attributes
    ----------
    model : keras.Model
        Flat; (b, side, side, bands), RGB in 0..255 unless it was built with a
        normalisation of its own, to (b, outputs) probabilities; to a dict of
        them by the task's name where there are several tasks.
    blocks : list of list of str
        Layer names of each block of the backbone, from the image upward.
    tasks : tuple of Task
        What it tells, in the order it was asked for.
    """

    model: keras.Model
    blocks: list[list[str]]
    tasks: tuple[Task, ...]

    @property
    def backbone_layers(self) -> list[keras.Layer]:
        """Layers of the backbone."""
        names = {name for block in self.blocks for name in block}
        return [layer for layer in self.model.layers if layer.name in names]


def input_side(patch: int, context: int, zoom: Fraction) -> int:
    """Side of the network's input, px of the enlarged image.

    Raises
    ------
    UsageError
        Where it is no whole number.
    """
    side = (patch + 2 * context) * zoom
    if side.denominator != 1:
        raise UsageError(
            f"zoom: patch and context are {patch + 2 * context} px together, which {float(zoom):g}"
            " does not enlarge to whole pixels. Take a patch divisible by"
            f" {zoom.denominator}"
        )
    return int(side)


def _continue_from(classifier: Classifier, path: Path) -> None:
    """Take over the weights of an earlier run's classifier, its head where that fits."""
    earlier = {layer.name: layer.get_weights() for layer in load_network(path).layers}
    backbone = {layer.name for layer in classifier.backbone_layers}
    for layer in classifier.model.layers:
        weights = earlier.get(layer.name, [])
        if [w.shape for w in weights] == [tuple(w.shape) for w in layer.weights]:
            give_weights(layer, weights)
        elif layer.name in backbone:
            raise WeightsError(
                f"{path} does not fit: layer {layer.name} expects weights that it does not have."
                " Take the backbone, alpha and number of bands that its run had"
            )


def build_classifier(
    tasks: int | Task | Sequence[Task],
    patch: int,
    context: int = 0,
    zoom: float = 1,
    backbone: BackboneRecipe | None = None,
    head: HeadRecipe | None = None,
    bands: int = 3,
    normalisation: Callable[[Any], Any] | None = None,
) -> Classifier:
    """Build a patch classifier on a backbone of keras.applications.

    Parameters
    ----------
    tasks : int, Task or sequence of Task
        What to tell of a patch; a number stands for one task of as many
        classes that exclude each other.
    patch : int
        Side of the judged square, px of the image.
    context : int
        Margin of real image around it that the network also sees, px. Only
        the cells over the patch feed the head.
    zoom : float
        Enlargement before the network sees the image; the model takes the
        enlarged pixels.
    backbone : BackboneRecipe
    head : HeadRecipe
    bands : int
        Bands of the image; other than 3, the first convolution is widened as
        `build_backbone` says.
    normalisation : callable, optional
        From the input tensor to one of the same shape; takes the place of the
        backbone's own preprocessing.

    Returns
    -------
    Classifier

    Raises
    ------
    DataError
        A number of classes below 2.
    UsageError
        Sizes, bands or tasks that cannot be meant.
    WeightsError, DownloadError
        As `build_backbone`.

    Examples
    --------
    >>> import tltool
    >>> from tltool.recipe import BackboneRecipe
    >>> backbone = BackboneRecipe(alpha=0.25, weights="none", layer="conv_pw_1_relu")
    >>> classifier = tltool.build_classifier(3, patch=32, backbone=backbone)
    >>> classifier.model.input_shape, classifier.model.output_shape
    ((None, 32, 32, 3), (None, 3))
    """
    ratio = as_zoom(zoom)
    recipe = backbone or BackboneRecipe()
    base = build_backbone(recipe, input_side(patch, context, ratio), bands, normalisation)
    features = base.outputs[0]
    if context:
        cells = features.shape[1]
        # Without padded borders there are fewer cells than one for each stride.
        scale = base.input_shape[1] / cells
        stride = STRIDE if recipe.layer is None else 2 ** round(math.log2(scale))
        # As many cells as the patch has; the surroundings shaped them and are not pooled.
        crop = max(0, cells - max(1, round(patch * ratio / stride))) // 2
        features = layers.Cropping2D(crop, name="context_crop")(features) if crop else features
    if isinstance(tasks, int):
        tasks = make_task("label", tuple(map(str, range(tasks))))
    told = (tasks,) if isinstance(tasks, Task) else tuple(tasks)
    outputs = apply_head(features, told, head or HeadRecipe())
    model = keras.Model(base.inputs[0], outputs, name=f"{base.name}_classifier".replace(".", "_"))
    classifier = Classifier(model, block_layers(base, recipe.name), told)
    if is_run_model(recipe):
        _continue_from(classifier, Path(recipe.weights).expanduser())
    return classifier
