"""The run folder: what lies in it, and whether it may be written."""

import json
import math
from pathlib import Path
from typing import Any

from tltool.errors import OutputError
from tltool.files import write_text

MODEL_NAME = "model.keras"
FCN_NAME = "fcn.keras"
RECIPE_NAME = "recipe.yaml"
METRICS_NAME = "metrics.json"
HISTORY_NAME = "history.csv"
# Folder with what `tltool evaluate` finds.
EVALUATION_NAME = "evaluation"

CHECKPOINTS = "checkpoints"
BEGUN_NAME = "begun.json"


def file_of(run: Path, name: str) -> Path:
    """The file `name` of a run folder; `run` itself where it is a file, or is not there yet."""
    return run / name if run.is_dir() else run


def _as_json(content: Any) -> Any:
    """The same with None for numbers that JSON does not know."""
    if isinstance(content, dict):
        return {key: _as_json(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_as_json(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_json(path: Path, content: Any) -> None:
    """Write as indented JSON; NaN and infinity, which JSON does not know, as null."""
    write_text(path, json.dumps(_as_json(content), indent=2, allow_nan=False) + "\n")


def check_folder(folder: Path, overwrite: bool) -> None:
    """Raise `OutputError` where a run may not be written into `folder`."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; expected the name of a folder")
    if not folder.is_dir() or not any(folder.iterdir()) or overwrite:
        return
    if (folder / METRICS_NAME).exists():
        state, hint = "holds a run", ""
    elif (folder / CHECKPOINTS / BEGUN_NAME).exists():
        state, hint = "holds an unfinished run", f" Go on with it by `tltool.resume({folder})`."
    else:
        state, hint = "is not empty", ""
    raise OutputError(
        f"{folder} {state} already.{hint} Name another output, or allow replacing it with"
        " `overwrite=True`"
    )


def clear_folder(folder: Path) -> None:
    """Remove what an earlier run wrote, so that nothing of it passes for the new one's."""
    names = ("fcn.keras", "fcn.json", MODEL_NAME, "model.json", METRICS_NAME, HISTORY_NAME)
    for name in names:
        (folder / name).unlink(missing_ok=True)
    inside = [*(folder / CHECKPOINTS).glob("*"), *(folder / EVALUATION_NAME).glob("*")]
    # Writes that were killed leave partial files.
    for old in [*(folder / "logs").glob("events.*"), *folder.glob(".partial-*"), *inside]:
        if old.is_file():
            old.unlink()
