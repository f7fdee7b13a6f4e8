"""What a run was begun with, so that it can go on where it was stopped."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.data.arrays import Classes, Scale
from tltool.errors import ModelError, RecipeError
from tltool.recipe import Recipe, load_recipe, make_recipe, upgrade_keys
from tltool.run.folder import BEGUN_NAME, CHECKPOINTS, METRICS_NAME, RECIPE_NAME, write_json
from tltool.training.state import STATE_NAME, State, load_state


@dataclass(frozen=True)
class RunStart:
    """Record of what a run began with.

    Attributes
    ----------
    data : Path
        Folder or manifest, or in words what was in memory.
    fingerprint : str
        Fingerprint of the data.
    strict : bool
        Whether an unreadable image stops it.
    recipe : dict
        Fully resolved.
    in_memory : bool
        Whether the data lie in no folder.
    classes : sequence of str, dict of them by task, or None
    scale : (float, float) or None
        As `tltool.finetune` got them.
    """

    data: Path
    fingerprint: str
    strict: bool
    recipe: dict[str, Any]
    in_memory: bool = False
    classes: Classes = None
    scale: Scale = None

    def save(self, folder: Path) -> None:
        """Write into the checkpoints of `folder`."""
        data = str(self.data if self.in_memory else self.data.resolve())
        write_json(folder / CHECKPOINTS / BEGUN_NAME, {**self.__dict__, "data": data})


def _difference(then: Any, now: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """The first path whose values differ, with both; None and no tasks may be anything now."""
    if now is None or then == now or (path == "tasks" and not now):
        return None
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        pairs = {str(place): pair for place, pair in enumerate(zip(then, now, strict=True))}
    elif isinstance(then, dict) and isinstance(now, dict):
        keys = sorted({*then, *now})
        pairs = {key: (then.get(key, "not there"), now.get(key, "not there")) for key in keys}
    else:
        return path, then, now
    inner = (_difference(*pair, f"{path}.{key}".lstrip(".")) for key, pair in pairs.items())
    return next((found for found in inner if found is not None), None)


def check_same_recipe(begun: dict[str, Any], received: Recipe, folder: Path) -> None:
    """Raise `RecipeError` for the first key that differs; what is None may be anything."""
    found = _difference(begun, received.anchored().model_dump(mode="json"))
    if found is not None:
        key, then, now = found
        raise RecipeError(
            f"{folder}: its checkpoint is from another recipe: {key} was {then}, is now {now}."
            f" Resume with the recipe it began with ({folder / RECIPE_NAME}), or start anew with"
            " `overwrite=True`"
        )


def open_unfinished(folder: Path, recipe: Recipe | None) -> tuple[RunStart, Recipe, State | None]:
    """Open what is needed to go on with a run.

    Parameters
    ----------
    folder : Path
        Folder of the unfinished run.
    recipe : Recipe, optional
        That the run should have been begun with; None: as ``recipe.yaml`` in
        the folder says.

    Returns
    -------
    RunStart, Recipe, State or None
        None where it was stopped before its first epoch ended.

    Raises
    ------
    ModelError
        No unfinished run there.
    RecipeError
        Another recipe than it began with.
    """
    path = folder / CHECKPOINTS / BEGUN_NAME
    if (folder / METRICS_NAME).exists():
        raise ModelError(f"{folder} holds a finished run: there is nothing to resume")
    if not path.exists():
        raise ModelError(
            f"{folder}: expected the folder of an unfinished run, {path} does not exist"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        # With the keys of today and defaults of new ones, where an earlier tltool resolved it.
        resolved = make_recipe(upgrade_keys(content["recipe"])).model_dump(mode="json")
        begun = RunStart(**{**content, "data": Path(content["data"]), "recipe": resolved})
    except (ValueError, TypeError, KeyError, RecipeError) as error:
        raise ModelError(f"{path}: expected what a run began with: {error}") from error
    stored = load_recipe(folder / RECIPE_NAME)
    for given in filter(None, (stored, recipe)):
        check_same_recipe(begun.recipe, given, folder)
    state = folder / CHECKPOINTS / STATE_NAME
    return begun, stored, load_state(state) if state.exists() else None
