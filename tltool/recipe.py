"""The recipe: everything a training run is told, checked before anything heavy is loaded.

A recipe is a YAML file. What it does not say has the default given here;
the run folder holds the fully resolved one.
"""

import difflib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tltool.errors import RecipeError
from tltool.files import write_text


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class BackboneRecipe(_Part):
    """Which network of keras.applications, and where its weights come from.

    Attributes
    ----------
    name : str
        A constructor of keras.applications.
    weights : str
        ``imagenet``, ``none``, the path of a weights file without top, or an
        earlier run's ``model.keras``, from which training goes on.
    alpha : float or None
        Width multiplier of the MobileNet families.
    """

    name: str = "MobileNet"
    weights: str = "imagenet"
    alpha: float | None = Field(None, gt=0)


class HeadRecipe(_Part):
    """What stands between the backbone's feature map and the class probabilities.

    Attributes
    ----------
    name : str
        ``gap`` (global average pooling), ``gmp`` (global max pooling) or ``fc`` (flatten).
    units : list of int
        Widths of hidden Dense layers.
    dropout : float
        Share of features dropped before each Dense layer in training.
    """

    name: str = "gap"
    units: list[int] = Field(default_factory=list)
    dropout: float = Field(0.2, ge=0, lt=1)


class StageRecipe(_Part):
    """One part of the schedule.

    Attributes
    ----------
    train : 'head', 'all' or {'top': n}
        Which layers train: the head alone, everything, or the head and the
        last n blocks of the backbone.
    epochs : int
        The most it runs; early stopping may end it sooner.
    rate : float
        Learning rate at the start; a cosine takes it to zero over the epochs.
    patience : int
        Epochs without a better validation loss after which the stage ends.
    batch_norm : 'inference' or 'train'
        Whether BatchNormalization keeps the statistics it has.
    """

    train: Literal["head", "all"] | dict[Literal["top"], int] = "head"
    epochs: int = Field(ge=0)
    rate: float = Field(gt=0, le=10)
    patience: int = Field(10, ge=1)
    batch_norm: Literal["inference", "train"] = "inference"

    @field_validator("train", mode="before")
    @classmethod
    def _head_all_or_blocks(cls, value: Any) -> Any:
        top = value.get("top") if isinstance(value, dict) and len(value) == 1 else None
        if value not in ("head", "all") and not (type(top) is int and top >= 1):
            raise ValueError("expected head, all, or {top: n} with n blocks, 1 or more")
        return value


def _pretrained_stages() -> list[StageRecipe]:
    return [
        StageRecipe(train="head", epochs=20, rate=3e-3),
        StageRecipe(train={"top": 7}, epochs=30, rate=3e-4),
    ]


def _scratch_stages() -> list[StageRecipe]:
    # Random features are worth nothing frozen, and BatchNormalization has no statistics yet.
    return [StageRecipe(train="all", epochs=40, rate=2e-3, batch_norm="train", patience=15)]


class TrainingRecipe(_Part):
    """How the weights are found.

    Attributes
    ----------
    batch : int
        Patches in a step.
    seed : int
        Of initial weights, order and augmentation.
    label_smoothing : float
        Share of a target's probability spread over all classes.
    stages : list of StageRecipe
        Left out: head, then top blocks; or everything at once where there are
        no pretrained weights.
    """

    batch: int = Field(32, ge=1)
    seed: int = Field(1, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    stages: list[StageRecipe] = Field(default_factory=list)


class Recipe(_Part):
    """Everything a training run is told.

    Attributes
    ----------
    patch : int or None
        Side of the judged square, px; None: as the data says.
    context : int or None
        Margin of real image around it, px; None: as the data says.
    zoom : float
        Enlargement before the network sees the image, 1..8.
    split : (float, float, float)
        Shares of train, valid and test where the data has no split.
    background : str or None
        The class that means "nothing"; None: as the data says, or a class
        called background(s).
    augment : list
        Albumentations transforms, each ``Name: {arguments}`` or ``Name``.
    """

    backbone: BackboneRecipe = Field(default_factory=BackboneRecipe)
    head: HeadRecipe = Field(default_factory=HeadRecipe)
    patch: int | None = Field(None, gt=0)
    context: int | None = Field(None, ge=0)
    zoom: float = Field(1, ge=1, le=8)
    split: tuple[float, float, float] = (0.6, 0.2, 0.2)
    background: str | None = None
    augment: list[Any] = Field(
        default_factory=lambda: [
            {"D4": {}},
            {"RandomBrightnessContrast": {"brightness_limit": 0.15, "contrast_limit": 0.15}},
        ]
    )
    training: TrainingRecipe = Field(default_factory=TrainingRecipe)

    @field_validator("split")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if min(value) < 0 or value[0] <= 0 or not abs(sum(value) - 1) <= 1e-6:
            raise ValueError("expected three shares that add up to 1, the first above 0")
        return value

    @model_validator(mode="after")
    def _default_stages(self) -> "Recipe":
        if not self.training.stages:
            scratch = self.backbone.weights == "none"
            self.training.stages = _scratch_stages() if scratch else _pretrained_stages()
        return self

    def save(self, path: Path) -> None:
        """Write as YAML."""
        content = self.model_dump(mode="json")
        write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def recipe_names() -> list[str]:
    """Names of the recipes that are installed with tltool."""
    folder = resources.files("tltool.recipes")
    return sorted(Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".yaml"))


def recipe_text(source: str | Path) -> str:
    """The text of a YAML file or of an installed recipe.

    Raises
    ------
    RecipeError
        Where there is none of that name.
    """
    path = Path(source)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if not path.is_file():
            raise RecipeError(f"recipe {path}: no such file")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise RecipeError(f"recipe {path}: expected a YAML text in UTF-8: {error}") from error
    if str(source) not in recipe_names():
        raise RecipeError(
            f"recipe: expected a YAML file or one of {', '.join(recipe_names())};"
            f" received {source!s}"
        )
    return (resources.files("tltool.recipes") / f"{source}.yaml").read_text(encoding="utf-8")


def _set_value(content: dict[str, Any], assignment: str) -> None:
    path, equals, text = assignment.partition("=")
    if not equals:
        raise RecipeError(
            f"--set: expected KEY=VALUE such as training.batch=16, received {assignment}"
        )
    *parents, last = path.split(".")
    place: Any = content
    for key in parents:
        place = _enter(place, key, path)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise RecipeError(f"--set {path}: {text} is not valid YAML: {reason}") from error
    if isinstance(place, list):
        place[_list_index(place, last, path)] = value
    else:
        place[last] = value


def _enter(place: Any, key: str, path: str) -> Any:
    if isinstance(place, list):
        return place[_list_index(place, key, path)]
    if not isinstance(place.setdefault(key, {}), dict | list):
        raise RecipeError(f"--set {path}: {key} is a plain value and has no keys")
    return place[key]


def _list_index(place: list[Any], key: str, path: str) -> int:
    if not place:
        raise RecipeError(f"--set {path}: the list is empty; set it whole, KEY=[VALUE, ...]")
    if not key.isdecimal() or int(key) >= len(place):
        raise RecipeError(
            f"--set {path}: expected a number from 0 to {len(place) - 1}, received {key}"
        )
    return int(key)


def stage_assignments(stages: int, **values: tuple[Any, ...] | None) -> list[str]:
    """Texts for `load_recipe` that set one key in each stage.

    Parameters
    ----------
    stages : int
        How many the recipe has.
    **values
        Key of a stage to a value for each stage; None is left out.
    """
    texts = []
    for key, numbers in values.items():
        if numbers is not None and len(numbers) != stages:
            raise RecipeError(
                f"--{key}: expected {stages} numbers, one for each stage of the recipe,"
                f" received {len(numbers)}"
            )
        pairs = enumerate(numbers or ())
        texts += [f"training.stages.{place}.{key}={value}" for place, value in pairs]
    return texts


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        both = isinstance(value, dict) and isinstance(inner, dict)
        merged[key] = _merge(inner, value) if both and inner is not None else value
    return merged


def _allowed_keys(location: tuple[Any, ...]) -> list[str]:
    part: Any = Recipe
    for key in location:
        if isinstance(key, int):
            continue
        field = part.model_fields.get(key)
        if field is None:
            break
        inner = (field.annotation, *getattr(field.annotation, "__args__", ()))
        models = [a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)]
        part = models[0] if models else part
    return list(part.model_fields)


def _explain(error: ValidationError) -> str:
    # A misspelt key that is required is missing too: the misspelling tells more.
    errors = error.errors()
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    location = tuple(first["loc"])
    path = ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        allowed = _allowed_keys(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), allowed, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"{path}: no such key. Allowed: {', '.join(allowed)}.{hint}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{path}: {message[0].lower()}{message[1:]}, received {first['input']!r}"


def make_recipe(content: dict[str, Any], name: str = "recipe") -> Recipe:
    """Check `content` and fill in the defaults.

    Raises
    ------
    RecipeError
        Naming the path through the document, what was expected and received.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{name}: {_explain(error)}") from error


def load_recipe(
    source: str | Path | None = None,
    changes: dict[str, Any] | None = None,
    assignments: tuple[str, ...] = (),
) -> Recipe:
    """Read a recipe and override parts of it.

    Parameters
    ----------
    source : str or Path, optional
        A YAML file or the name of an installed recipe; None: the defaults.
    changes : dict, optional
        Nested values laid over the file's.
    assignments : tuple of str
        ``key.path=value`` texts laid over both; a number enters a list.

    Returns
    -------
    Recipe

    Raises
    ------
    RecipeError
        For an unknown recipe or key, a wrong type, a value out of range.
    """
    name = "recipe" if source is None else f"recipe {source}"
    try:
        content = yaml.safe_load(recipe_text(source)) if source is not None else {}
    except yaml.YAMLError as error:
        raise RecipeError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content or {}, dict):
        raise RecipeError(f"{name}: expected keys and values, received {type(content).__name__}")
    given = _merge(content or {}, changes or {})
    resolved = make_recipe(given, name).model_dump(mode="json")
    if not given.get("training", {}).get("stages"):
        # The default stages depend on the weights, which an assignment may change.
        resolved["training"]["stages"] = []
    # Those that enter a stage come last, when the stages are known.
    for in_stages in (False, True):
        for assignment in assignments:
            if assignment.startswith("training.stages.") is in_stages:
                _set_value(resolved, assignment)
        resolved = make_recipe(resolved, name).model_dump(mode="json")
    return make_recipe(resolved, name)
