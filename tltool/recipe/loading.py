"""Reading a recipe, overriding parts of it, and saying what is wrong with it."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from tltool.errors import RecipeError, UsageError
from tltool.recipe.parts import Recipe, TrainingRecipe
from tltool.recipe.stages import SCHEDULES

# Keys of before that have Keras's names now.
RENAMED = {
    "batch": "batch_size",
    "rate": "learning_rate",
    "clip": "clipnorm",
    "accumulate": "gradient_accumulation_steps",
    "curve": "schedule",
    "wait": "patience",
}


def upgrade_keys(content: Any) -> Any:
    """A recipe that a run folder holds, or a part of it, with the keys of today.

    Only run folders are read so: a recipe that is written by hand is refused
    with a message that names the new key.
    """
    if isinstance(content, list):
        return [upgrade_keys(part) for part in content]
    if not isinstance(content, dict):
        return content
    return {
        # Arguments of an augmentation and names of layers are not ours to rename.
        RENAMED.get(key, key): value if key in ("augment", "train") else upgrade_keys(value)
        for key, value in content.items()
    }


def recipe_names() -> list[str]:
    """Names of the recipes that are installed with tltool."""
    names = [file.name for file in resources.files("tltool.recipes").iterdir()]
    return sorted(Path(name).stem for name in names if name.endswith(".yaml"))


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
            f" received {source!s}{_nearest(source, recipe_names())}"
        )
    return (resources.files("tltool.recipes") / f"{source}.yaml").read_text(encoding="utf-8")


def _set_value(content: dict[str, Any], assignment: str) -> None:
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise RecipeError(
            "`assignments`: expected KEY=VALUE such as training.batch_size=16, received"
            f" {assignment}"
        )
    *parents, last = path.split(".")
    place: Any = content
    for depth, key in enumerate(parents, 1):
        listed = isinstance(place, list)
        place = place[_list_index(place, key, path)] if listed else place.setdefault(key, {})
        if not isinstance(place, dict | list):
            above = ".".join(parents[:depth])
            raise RecipeError(
                f"`assignments` {path}: {above} is a plain value and has no keys, {place!r}. Set it"
                f" as a whole: {above}={{NAME: VALUE}}"
            )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise RecipeError(f"`assignments` {path}: {text} is not valid YAML: {reason}") from error
    if isinstance(place, list):
        place[_list_index(place, last, path)] = value
        return
    if parents[-1:] == ["schedule"] and last == "name":
        # The parameters of one schedule are unknown to another.
        place.clear()
    if last in ("epochs", "steps") and isinstance(place.get("train"), str | dict):
        # A stage has one of the two.
        place.update(epochs=None, steps=None)
    place[last] = value


def _list_index(place: list[Any], key: str, path: str) -> int:
    if not place:
        raise RecipeError(
            f"`assignments` {path}: the list is empty; set it whole, KEY=[VALUE, ...]"
        )
    if not key.isdecimal() or int(key) >= len(place):
        raise RecipeError(
            f"`assignments` {path}: expected a number from 0 to {len(place) - 1}, received {key}"
        )
    return int(key)


def stage_assignments(stages: int, **values: Sequence[Any] | None) -> list[str]:
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
                f"`{key}`: expected {stages} number{'s' * (stages > 1)}, one for each stage of the"
                f" recipe (gradual: n counts as n), received {len(numbers)}"
            )
        texts += [f"training.stages.{i}.{key}={value}" for i, value in enumerate(numbers or ())]
    return texts


# Parameters of `tltool.finetune`, options of its command, and the keys that they are.
KEYWORDS = {
    **{name: f"training.{name}" for name in TrainingRecipe.model_fields},
    **{name: name for name in Recipe.model_fields},
    "backbone": "backbone.name",
    "alpha": "backbone.alpha",
    "weights": "backbone.weights",
    "head": "head.name",
    "loss": "training.loss.name",
}
_IN_STAGES = ("epochs", "steps", "learning_rate")


def override_recipe(
    source: Recipe | Mapping[str, Any] | str | Path | None = None,
    assignments: tuple[str, ...] = (),
    **keywords: Any,
) -> Recipe:
    """Read a recipe and lay keywords over it.

    Parameters
    ----------
    source, assignments
        See `load_recipe`.
    **keywords
        Keys of a recipe and of its part ``training``, and ``alpha`` and
        ``weights`` of the backbone; of ``backbone``, ``head`` and ``loss`` the
        name alone, or a mapping. ``epochs``, ``steps`` and ``learning_rate``
        are those of every stage, or a sequence with one for each. None: as the
        recipe says.

    Returns
    -------
    Recipe

    Raises
    ------
    UsageError
        For a keyword that is none.
    RecipeError
        See `load_recipe`.
    """
    changes: dict[str, Any] = {}
    for name, value in keywords.items():
        key = KEYWORDS.get(name)
        if key is None and name not in _IN_STAGES:
            known = [*KEYWORDS, *_IN_STAGES, *RENAMED]
            raise UsageError(f"`{name}`: no such parameter{_nearest(name, known)}")
        if key is None or value is None:
            continue
        whole = isinstance(value, Mapping)
        *parents, last = (key.removesuffix(".name") if whole else key).split(".")
        part = changes
        for parent in parents:
            part = part.setdefault(parent, {})
        part[last] = list(value) if isinstance(value, tuple) else value
    if keywords.get("epochs") is not None and keywords.get("steps") is not None:
        raise UsageError("`steps`: expected epochs or steps, received both")
    stages = len(load_recipe(source, changes, assignments).training.stages)
    given = {name: keywords.get(name) for name in _IN_STAGES}
    each = {k: (v,) * stages if isinstance(v, int | float) else v for k, v in given.items()}
    return load_recipe(source, changes, (*stage_assignments(stages, **each), *assignments))


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(inner, Mapping)
        merged[key] = _merge(inner, value) if both and inner is not None else value
    return merged


def _models(annotation: Any) -> dict[str, type[BaseModel]]:
    """The parts that a field may hold, by their ``name`` where that tells them apart."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        name = annotation.model_fields.get("name")
        choices: tuple[str, ...] = getattr(name.annotation, "__args__", ()) if name else ()
        return {choices[0] if len(choices) == 1 else annotation.__name__: annotation}
    found = {}
    for inner in getattr(annotation, "__args__", ()):
        found.update(_models(inner))
    return found


def _walk(location: tuple[Any, ...]) -> tuple[list[str], type[BaseModel]]:
    """The path as a user would write it, and the part that holds its last key."""
    part: type[BaseModel] = Recipe
    choices: dict[str, type[BaseModel]] = {}
    path = []
    for key in location:
        if len(choices) > 1 and key in choices:
            # Which of several parts it is, not a key of the document.
            part, choices = choices[key], {}
            continue
        # Pydantic's names of the kinds of value that a field may have.
        if key in ("float", "list[float]"):
            continue
        path.append(str(key))
        part, choices = (next(iter(choices.values())), {}) if len(choices) == 1 else (part, choices)
        field = part.model_fields.get(key) if isinstance(key, str) else None
        if field is not None:
            choices = _models(field.annotation)
    return path, part


def _nearest(received: Any, allowed: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(received), list(allowed), 1)
    return f". Did you mean {RENAMED.get(near[0], near[0])}?" if near else ""


def _explain(error: ValidationError) -> str:
    # A misspelt key that is required is missing too: the misspelling tells more.
    errors = error.errors()
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    keys, part = _walk(tuple(first["loc"]))
    received, context = first["input"], first.get("ctx", {})
    if first["type"] == "extra_forbidden":
        allowed, new = list(part.model_fields), RENAMED.get(keys[-1])
        if new in allowed:
            return f"{'.'.join(keys)}: no such key: it is called {new} now"
        before = [key for key, name in RENAMED.items() if name in allowed]
        hint = _nearest(keys[-1], [*allowed, *before])
        text = f"no such key. Allowed: {', '.join(allowed)}{hint}"
    elif first["type"] in ("union_tag_invalid", "union_tag_not_found", "literal_error"):
        received = context.get("tag", received)
        told = context.get("expected_tags") or context.get("expected") or ""
        allowed = re.findall(r"'([^']*)'", told) or list(SCHEDULES)
        with_name = "a name beside the parameters, " * (first["type"] == "union_tag_not_found")
        text = f"expected {with_name}one of {', '.join(allowed)}, received {received!r}"
        text += _nearest(received, allowed)
    elif first["type"] in ("model_type", "model_attributes_type"):
        text = f"expected a mapping of keys to values, received {received!r}"
    else:
        message = first["msg"].removeprefix("Value error, ")
        text = f"{message[0].lower()}{message[1:]}, received {received!r}"
    return ": ".join([".".join(keys), text] if keys else [text])


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
    source: Recipe | Mapping[str, Any] | str | Path | None = None,
    changes: dict[str, Any] | None = None,
    assignments: tuple[str, ...] = (),
) -> Recipe:
    """Read a recipe and override parts of it.

    Parameters
    ----------
    source : Recipe, mapping, str or Path, optional
        A recipe, its content, a YAML file or the name of an installed recipe;
        None: the defaults. That of a run folder may have the keys of an earlier
        tltool.
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

    Examples
    --------
    >>> import tltool
    >>> changes = {"backbone": {"alpha": 0.5}}
    >>> recipe = tltool.load_recipe("few-images", changes, ("training.batch_size=8",))
    >>> recipe.backbone.name, recipe.backbone.alpha, recipe.training.batch_size
    ('MobileNet', 0.5, 8)
    """
    name: str = "recipe"
    content: Any = source
    if isinstance(source, Recipe):
        content = source.model_dump(mode="json")
    elif isinstance(source, str | Path):
        name = f"recipe {source}"
        try:
            content = yaml.safe_load(recipe_text(source))
        except yaml.YAMLError as error:
            raise RecipeError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from error
        path = Path(source)
        beside = (path.with_name(name) for name in ("model.keras", "checkpoints"))
        # Of a run folder: written by tltool, maybe an earlier one.
        if path.name == "recipe.yaml" and any(each.exists() for each in beside):
            content = upgrade_keys(content)
    if not isinstance(content or {}, Mapping):
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
