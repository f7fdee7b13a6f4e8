"""The recipe's ``augment`` list, checked before Keras or TensorFlow is loaded.

An entry is ``name`` or ``name: {settings}``: a transform of Albumentations, a container of
entries (`CONTAINERS`), one of tltool's own for an image (`IMAGE_ENTRIES`) or, at the end of the
list, for a batch (`BATCH_ENTRIES`).
"""

import difflib
import inspect
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from tltool.errors import RecipeError
from tltool.runtime import prepare_environment


def _is_number(value: Any) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and math.isfinite(value)


def _number(value: Any) -> Any:
    if _is_number(value):
        return value
    # YAML 1.1 reads 1e-6 as a text; and 1/255 is one in every YAML.
    hint = ". YAML knows no fractions and wants a dot: write 0.0039 or 1.0e-6"
    raise ValueError(f"expected a number{hint if isinstance(value, str) else ''}")


def _pair_of(value: Any, low: float, high: float, kind: type) -> tuple[Any, Any] | None:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    numbers = all(_is_number(v) and (kind is float or isinstance(v, int)) for v in value)
    return tuple(value) if numbers and low <= value[0] <= value[1] <= high else None


def _range(low: float = -math.inf, high: float = math.inf, kind: type = float) -> BeforeValidator:
    """Check (lowest, highest); one number stands for both."""
    limits = f" between {low:g} and {high:g}" if math.isfinite(high) else f" from {low:g}"
    wanted = "whole numbers" if kind is int else "numbers"

    def check(value: Any) -> Any:
        pair = _pair_of([value, value] if _is_number(value) else value, low, high, kind)
        if pair is None:
            raise ValueError(f"expected [lowest, highest], {wanted}{limits}")
        return pair

    return BeforeValidator(check)


def _brightness(value: Any) -> Any:
    if value is None or _pair_of(value, 0, math.inf, float):
        return value
    raise ValueError("expected [lowest, highest] factor, from 0")


def _shift(value: Any) -> Any:
    choices = value if isinstance(value, list | tuple) else [value]
    if not choices or not all(_is_number(v) for v in choices):
        raise ValueError("expected a share of the side, px, or a list of either to choose from")
    if choices is not value and value < 0:
        raise ValueError("expected 0 or more: the shift goes either way")
    return value


def _zoom(value: Any) -> Any:
    if _is_number(value) and 0 <= value < 1:
        return value
    if _pair_of(value, 0, math.inf, float) and value[0] > 0:
        return value
    raise ValueError("expected z from 0 to below 1 for [1 - z, 1 + z], or [lowest, highest]")


Number = Annotated[float, BeforeValidator(_number)]
NotNegative = Annotated[Number, Field(ge=0)]
Probability = Annotated[Number, Field(ge=0, le=1)]
Range = tuple[float, float]


class Entry(BaseModel):
    """Settings of an entry of tltool's own; `p` is the probability that it is applied."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    p: Probability = 0.5


NORMALISING = (
    "rescale",
    "featurewise_center",
    "featurewise_std_normalization",
    "samplewise_center",
    "samplewise_std_normalization",
    "zca_whitening",
    "zca_epsilon",
)
_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*[.:][^\W\d]\w*")
_KERAS_PREPROCESSING = re.compile(r"(.*\.)?keras\..*preprocess_input")


class ImageDataGeneratorEntry(Entry):
    """Settings of `tltool.augment.ImageDataGenerator`, which explains them.

    Attributes
    ----------
    preprocessing_function : str or None
        ``package.module.function`` or ``package.module:function`` that takes
        and gives one (h, w, c) float array in 0..255. Of the training images
        only; what every image needs belongs to the network.
    rescale, featurewise_*, samplewise_*, zca_*
        Normalisation of every image the network sees, see `normalising`.
    """

    p: Probability = 1.0
    rotation_range: NotNegative = 0
    width_shift_range: Annotated[Any, BeforeValidator(_shift)] = 0.0
    height_shift_range: Annotated[Any, BeforeValidator(_shift)] = 0.0
    brightness_range: Annotated[Any, BeforeValidator(_brightness)] = None
    shear_range: NotNegative = 0.0
    zoom_range: Annotated[Any, BeforeValidator(_zoom)] = 0.0
    channel_shift_range: NotNegative = 0.0
    fill_mode: str = "nearest"
    cval: Number = 0.0
    horizontal_flip: bool = Field(False, strict=True)
    vertical_flip: bool = Field(False, strict=True)
    interpolation_order: Annotated[int, Field(ge=0, le=5, strict=True)] = 1
    preprocessing_function: str | None = None
    rescale: Number | None = None
    featurewise_center: bool = Field(False, strict=True)
    featurewise_std_normalization: bool = Field(False, strict=True)
    samplewise_center: bool = Field(False, strict=True)
    samplewise_std_normalization: bool = Field(False, strict=True)
    zca_whitening: bool = Field(False, strict=True)
    zca_epsilon: Annotated[Number, Field(gt=0)] = 1e-6

    @field_validator("fill_mode")
    @classmethod
    def _known_mode(cls, value: str) -> str:
        from tltool.augment.keras2.affine import FILL_MODES, SPLINE_FILL_MODES

        modes = (*FILL_MODES, *SPLINE_FILL_MODES)
        if value not in modes:
            raise ValueError(f"expected one of {', '.join(modes)}")
        return value

    @field_validator("preprocessing_function")
    @classmethod
    def _importable_name(cls, value: str | None) -> str | None:
        if value is not None and not _FUNCTION.fullmatch(value):
            raise ValueError("expected package.module.function or package.module:function")
        if value is not None and _KERAS_PREPROCESSING.fullmatch(value.replace(":", ".")):
            raise ValueError(
                "the backbone's own preprocessing is built into the network, which takes raw RGB"
                " in 0..255. Leave preprocessing_function out"
            )
        return value

    def normalising(self) -> dict[str, Any]:
        """Values of those of `NORMALISING` that are not at their default."""
        values = {name: getattr(self, name) for name in NORMALISING}
        return {k: v for k, v in values.items() if v != type(self).model_fields[k].default}

    def transformation(self) -> dict[str, Any]:
        """Arguments of an `ImageDataGenerator` that transforms and nothing else."""
        return self.model_dump(exclude={"p", "preprocessing_function", *NORMALISING})


class _Pasting(Entry):
    scale: Annotated[Range, _range(0.01, 100)]
    rotate: bool = Field(True, strict=True)
    feather: Annotated[NotNegative, Field(le=100)] = 1.0
    shadow: Probability = 0.0
    classes: list[str] | None = Field(None, min_length=1)


class SuperimposeEntry(_Pasting):
    """Settings of `tltool.augment.compose.Superimpose`, which explains them."""

    targets: Path
    by_class: bool = Field(False, strict=True)
    number: Annotated[tuple[int, int], _range(0, 1000, int)] = (1, 1)
    scale: Annotated[Range, _range(0.01, 100)] = (0.8, 1.2)


class SwapBackgroundEntry(_Pasting):
    """Settings of `tltool.augment.compose.SwapBackground`, which explains them."""

    cutouts: Path
    backgrounds: Path
    jitter: Probability = 0.1
    scale: Annotated[Range, _range(0.01, 100)] = (0.9, 1.1)


class DefocusEntry(Entry):
    """Settings of `tltool.augment.presets.defocus`: lowest and highest radius of the disc, px."""

    radius: Annotated[Range, _range(0, 100)] = (0.5, 2.0)


class BadExposureEntry(Entry):
    """Settings of `tltool.augment.presets.expose`: least and most stops, below 0 darker."""

    stops: Annotated[Range, _range(-10, 10)] = (-1.5, 1.5)


class SensorNoiseEntry(Entry):
    """Settings of `tltool.augment.presets.add_sensor_noise`: lowest and highest, electrons.

    `full_well` is drawn evenly on a logarithmic scale.
    """

    full_well: Annotated[Range, _range(1, 1e7)] = (500.0, 5000.0)
    read_noise: Annotated[Range, _range(0, 1e4)] = (2.0, 10.0)


class MixupEntry(Entry):
    """Settings of mixup, see `tltool.augment.mix.Mixer`."""

    p: Probability = 1.0
    alpha: Annotated[Number, Field(gt=0)] = 0.2


class CutmixEntry(MixupEntry):
    """Settings of cutmix, see `tltool.augment.mix.Mixer`."""

    alpha: Annotated[Number, Field(gt=0)] = 1.0


class ContainerEntry(Entry):
    """Settings of Albumentations' ``OneOf`` and ``Sequential``."""

    transforms: list[Any] = Field(min_length=1)


class SomeOfEntry(ContainerEntry):
    """Settings of Albumentations' ``SomeOf`` and ``RandomOrder``."""

    p: Probability = 1.0
    n: Annotated[int, Field(ge=1, strict=True)] = 1
    replace: bool = Field(False, strict=True)

    @model_validator(mode="after")
    def _enough(self) -> "SomeOfEntry":
        if self.n > len(self.transforms) and not self.replace:
            raise ValueError(
                f"expected n of at most {len(self.transforms)}, the number of transforms, or"
                f" replace: true; received n {self.n}"
            )
        return self


IMAGE_ENTRIES: dict[str, type[Entry]] = {
    "image_data_generator": ImageDataGeneratorEntry,
    "superimpose": SuperimposeEntry,
    "swap_background": SwapBackgroundEntry,
    "defocus": DefocusEntry,
    "bad_exposure": BadExposureEntry,
    "sensor_noise": SensorNoiseEntry,
}
BATCH_ENTRIES: dict[str, type[Entry]] = {"mixup": MixupEntry, "cutmix": CutmixEntry}
CONTAINERS: dict[str, type[ContainerEntry]] = {
    "OneOf": ContainerEntry,
    "SomeOf": SomeOfEntry,
    "RandomOrder": SomeOfEntry,
    "Sequential": ContainerEntry,
}
_OURS = {**IMAGE_ENTRIES, **BATCH_ENTRIES}


@dataclass(frozen=True)
class Node:
    """A checked entry.

    Attributes
    ----------
    where : str
        Path in the recipe, such as ``augment.1.OneOf.transforms.0``.
    name : str
    settings : Entry, or a dict of arguments for a transform of Albumentations
    inner : tuple of Node
        Entries inside a container.
    """

    where: str
    name: str
    settings: Any
    inner: tuple["Node", ...] = ()

    def leaves(self) -> Iterator["Node"]:
        """The transforms: the node itself, or what its container holds."""
        if self.name not in CONTAINERS:
            yield self
        for node in self.inner:
            yield from node.leaves()


def _nearest(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), 3)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def _split(entry: Any, where: str) -> tuple[str, Any]:
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and len(entry) == 1:
        name, settings = next(iter(entry.items()))
        if isinstance(settings, dict) or settings is None:
            return str(name), dict(settings or {})
        if name in CONTAINERS and isinstance(settings, list):
            return str(name), settings
    raise RecipeError(
        f"{where}: expected a transform's name or 'Name: {{arguments}}', received {entry!r}"
    )


def _check_settings(model: type[Entry], settings: dict[str, Any], where: str) -> Any:
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        # A misspelt key that is required is missing too: the misspelling says more.
        errors = error.errors()
        first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
        path, received = ".".join([where, *map(str, first["loc"])]), first["input"]
        message = first["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
        if first["type"] == "extra_forbidden":
            allowed = sorted(model.model_fields)
            near = _nearest(first["loc"][-1], allowed)
            message = f"no such key. Allowed: {', '.join(allowed)}.{near}"
        elif first["type"] == "missing":
            message = "expected a value, received none"
        elif not isinstance(received, dict) and "received" not in message:
            message = f"{message}, received {received!r}"
        raise RecipeError(f"{path}: {message}") from error


def make_transform(node: Node) -> Any:
    """Make the transform of Albumentations that a node stands for.

    Raises
    ------
    RecipeError
        For a transform or argument that the installed version does not have.
    """
    # Else it asks the internet for its newest version when imported.
    prepare_environment()
    import albumentations

    where, name, arguments = node.where, node.name, node.settings
    classes = {n: v for n, v in vars(albumentations).items() if isinstance(v, type)}
    theirs = {n: v for n, v in classes.items() if issubclass(v, albumentations.BasicTransform)}
    if name not in theirs:
        hint = _nearest(name, [*_OURS, *CONTAINERS, *theirs])
        raise RecipeError(
            f"{where}: Albumentations {albumentations.__version__} has no transform {name}."
            + (hint or f" tltool's own are {', '.join(_OURS)}")
        )
    # Albumentations itself only warns of an argument that it does not know.
    transform, allowed = theirs[name], inspect.signature(theirs[name]).parameters
    unknown = [str(key) for key in arguments if key not in allowed]
    if unknown:
        raise RecipeError(
            f"{where}: {name} takes no {', '.join(unknown)}. It takes {', '.join(allowed)}."
            + _nearest(unknown[0], allowed)
        )
    # Else an argument that its check does not understand is replaced by the default.
    strict = {"strict": True} if "InitSchema" in vars(transform) else {}
    # What an entry fills around the moved image has no class; left out where a mask is not filled.
    filled = allowed.get("fill_mask")
    fill = {"fill_mask": 255} if filled and filled.default is not None else {}
    try:
        return transform(**fill | arguments, **strict)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RecipeError(f"{where}: {name}({arguments}): {reason}") from error


def _check_container(name: str, settings: Any, where: str) -> Node:
    inside = path = f"{where}.{name}"
    if isinstance(settings, dict):
        path = f"{inside}.transforms"
    else:
        settings = {"transforms": settings}
    checked = _check_settings(CONTAINERS[name], settings, inside)
    inner = tuple(_check(e, f"{path}.{i}") for i, e in enumerate(checked.transforms))
    weights = []
    for node in inner:
        if node.name in BATCH_ENTRIES:
            raise RecipeError(
                f"{node.where}: {node.name} works on whole batches and cannot stand in {inside}."
                " Put it at the end of the list"
            )
        if node.name == "image_data_generator" and node.settings.normalising():
            names = ", ".join(node.settings.normalising())
            raise RecipeError(
                f"{node.where}: {names} apply to every image and cannot stand in {inside}."
                " Put them into an image_data_generator of their own"
            )
        ours = isinstance(node.settings, Entry)
        weights.append(node.settings.p if ours else float(make_transform(node).p))
    if name == "OneOf" and not any(weights):
        raise RecipeError(f"{inside}: p of the transforms are weights; expected one above 0")
    return Node(where, name, checked, inner)


def _check(entry: Any, where: str) -> Node:
    name, settings = _split(entry, where)
    if name in CONTAINERS:
        return _check_container(name, settings, where)
    if name in _OURS:
        settings = _check_settings(_OURS[name], settings, f"{where}.{name}")
        return Node(where, name, settings)
    node = Node(where, name, settings)
    make_transform(node)
    return node


def normalising_node(nodes: Sequence[Node]) -> Node | None:
    """The image_data_generator that normalises, of which there may be one."""
    found = [n for n in nodes if n.name == "image_data_generator" and n.settings.normalising()]
    if len(found) > 1:
        raise RecipeError(
            f"{found[1].where}: {', '.join(found[1].settings.normalising())} normalise, and so does"
            f" {found[0].where} already. Keep these parameters in one image_data_generator"
        )
    return found[0] if found else None


def parse_entries(entries: Sequence[Any]) -> list[Node]:
    """Check the entries of an ``augment`` list.

    Parameters
    ----------
    entries : sequence
        Entries as YAML reads them.

    Returns
    -------
    list of Node

    Raises
    ------
    RecipeError
        Naming the path in the recipe, what was expected and received.
    """
    if isinstance(entries, str | dict) or not isinstance(entries, Sequence):
        raise RecipeError(f"augment: expected a list of transforms, received {entries!r}")
    nodes = [_check(entry, f"augment.{i}") for i, entry in enumerate(entries)]
    batch = None
    for node in nodes:
        if node.name in BATCH_ENTRIES:
            batch = node
        elif batch is not None:
            raise RecipeError(
                f"{node.where}: {node.name} works on one image, but comes after {batch.name}"
                f" ({batch.where}), which mixes whole batches. Put {batch.name} last"
            )
    normalising_node(nodes)
    return nodes


def check_entries(entries: Sequence[Any]) -> None:
    """Raise `RecipeError` for a wrong ``augment`` list, see `parse_entries`.

    Folders and functions that it names are looked for by `Augmenter`, not here:
    a recipe can be read where they are not.
    """
    parse_entries(entries)
