"""tltool: fine-tune a pretrained Keras backbone on patches and map huge images with it, verified.

The public names are imported when first used, so that ``import tltool``
costs no TensorFlow.
"""

# ruff: noqa: F401

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from tltool.errors import TltoolError
from tltool.runtime import prepare_environment, quiet_import

__version__ = "0.1.0"

prepare_environment()

if TYPE_CHECKING:
    from tltool.annotations import Point
    from tltool.augment.pipeline import Augmenter
    from tltool.augment.preview import preview
    from tltool.conversion.adapt import Adaptation, adapt
    from tltool.conversion.agreement import measure_fidelity
    from tltool.conversion.convert import Conversion, convert
    from tltool.conversion.export import Export, export
    from tltool.conversion.fidelity import Fidelity, fidelity
    from tltool.counting.count import count
    from tltool.counting.mine import Mining, MiningRound, mine
    from tltool.counting.survey import Count, ImageCount, Survey
    from tltool.counting.tune import Tuning, tune_count
    from tltool.data.patches import PatchSet, patches
    from tltool.data.targets import Targets
    from tltool.demonstration.demo import demo
    from tltool.evaluation.evaluate import evaluate
    from tltool.explanation.compare import MethodComparison, compare_methods
    from tltool.explanation.explain import Explanation, explain
    from tltool.explanation.explained import Explained
    from tltool.fcn.atrous import to_dense
    from tltool.inference.predict import Predictions, predict
    from tltool.inference.predictions import Prediction
    from tltool.mapping.heatmap import heatmap
    from tltool.mapping.map_image import Map, map_image
    from tltool.models.loading import upgrade
    from tltool.models.network import build_classifier
    from tltool.network import Network, open
    from tltool.recipe import Recipe, load_recipe
    from tltool.report.evaluation import Evaluation
    from tltool.run.map_options import MapOptions, Output
    from tltool.tasks.task import Task
    from tltool.training.finetune import Run, finetune, resume
    from tltool.training.lr_find import FoundRates, lr_find

# Module -> its public names; those of the latter table import Keras.
_LIGHT = {
    "tltool.annotations": ("Point",),
    "tltool.augment.pipeline": ("Augmenter",),
    "tltool.augment.preview": ("preview",),
    "tltool.data.patches": ("PatchSet", "patches"),
    "tltool.data.targets": ("Targets",),
    "tltool.demonstration.demo": ("demo",),
    "tltool.recipe": ("Recipe", "load_recipe"),
    "tltool.run.map_options": ("MapOptions", "Output"),
    "tltool.tasks.task": ("Task",),
}
_WITH_KERAS = {
    "tltool.conversion.adapt": ("Adaptation", "adapt"),
    "tltool.conversion.agreement": ("measure_fidelity",),
    "tltool.conversion.convert": ("Conversion", "convert"),
    "tltool.conversion.export": ("Export", "export"),
    "tltool.conversion.fidelity": ("Fidelity", "fidelity"),
    "tltool.counting.count": ("count",),
    "tltool.counting.survey": ("Count", "ImageCount", "Survey"),
    "tltool.counting.mine": ("Mining", "MiningRound", "mine"),
    "tltool.counting.tune": ("Tuning", "tune_count"),
    "tltool.evaluation.evaluate": ("evaluate",),
    "tltool.explanation.compare": ("MethodComparison", "compare_methods"),
    "tltool.explanation.explain": ("Explanation", "explain"),
    "tltool.explanation.explained": ("Explained",),
    "tltool.fcn.atrous": ("to_dense",),
    "tltool.inference.predict": ("Predictions", "predict"),
    "tltool.inference.predictions": ("Prediction",),
    "tltool.mapping.heatmap": ("heatmap",),
    "tltool.mapping.map_image": ("Map", "map_image"),
    "tltool.models.loading": ("upgrade",),
    "tltool.models.network": ("build_classifier",),
    "tltool.network": ("Network", "open"),
    "tltool.report.evaluation": ("Evaluation",),
    "tltool.training.finetune": ("Run", "finetune", "resume"),
    "tltool.training.lr_find": ("FoundRates", "lr_find"),
}

_PUBLIC = {
    name: (module, needs_keras)
    for table, needs_keras in ((_LIGHT, False), (_WITH_KERAS, True))
    for module, names in table.items()
    for name in names
}
__all__ = sorted([*_PUBLIC, "TltoolError"])

_GONE = {
    "open_model": "tltool.open(path) opens a model of any Keras; its .keras is the classifier",
    "to_fcn": "tltool.open(model).fcn is the fully convolutional network",
}


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        module, needs_keras = _PUBLIC[name]
        if needs_keras:
            quiet_import("keras")
        return getattr(importlib.import_module(module), name)
    if name in _rooms():
        return importlib.import_module(f"tltool.{name}")
    hint = f": {_GONE[name]}" if name in _GONE else ""
    raise AttributeError(f"module 'tltool' has no attribute {name!r}{hint}")


def _rooms() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(__path__)}


def __dir__() -> list[str]:
    return sorted({*__all__, *_rooms(), "__version__"})
