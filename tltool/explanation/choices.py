"""Methods, and what a run has to choose from as its files list it, for the command line.

Reads JSON alone: a shell must not wait for Keras. What cannot be read is no choice.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tltool.errors import TltoolError
from tltool.run.sidecar import load_sidecar

METHOD_NAMES = ("cam", "gradcam", "gradcam++", "augmented-gradcam", "scorecam", "layercam")
DEFAULT_METHOD = "gradcam"

# Layers whose output is never a map.
_WITHOUT_MAP = """
    InputLayer Dense Dropout Flatten GlobalAveragePooling2D GlobalMaxPooling2D Reshape Softmax
"""


def _model_of(run: Path) -> Path:
    # `tltool.run.folder` knows this too, and imports Keras.
    return run / "model.keras" if run.is_dir() else run


def _paths(config: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for layer in config.get("layers", []):
        inner = layer.get("config", {})
        path = f"{prefix}{inner.get('name')}"
        if "layers" in inner:
            yield from _paths(inner, f"{path}/")
            continue
        shape = (layer.get("build_config") or {}).get("input_shape")
        known = layer.get("class_name") in _WITHOUT_MAP.split()
        if not known and (shape is None or len(shape) == 4):
            yield path


def stored_layers(run: Path) -> list[str]:
    """Paths of the layers that may have a map, in order; none where there is no such model."""
    try:
        with zipfile.ZipFile(_model_of(run)) as archive:
            config = json.loads(archive.read("config.json"))
        return list(_paths(config["config"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile):
        return []


def stored_tasks(run: Path) -> dict[str, list[str]]:
    """The classes of each task."""
    try:
        sidecar = load_sidecar(_model_of(run))
    except (TltoolError, OSError, ValueError):
        return {}
    return {task.name: task.classes for task in sidecar.tasks} or {"label": sidecar.classes}
