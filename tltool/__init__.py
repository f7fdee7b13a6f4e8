"""tltool: fine-tune a pretrained Keras backbone on patches and map huge images with it, verified.

The public functions are imported when first used, so that ``import tltool``
costs no TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tltool.errors import TltoolError
from tltool.runtime import prepare_environment, quiet_import

__version__ = "0.1.0"

prepare_environment()

if TYPE_CHECKING:
    from tltool.annotations import Point
    from tltool.augment.pipeline import Augmenter
    from tltool.augment.preview import preview
    from tltool.conversion.adapt import adapt
    from tltool.conversion.agreement import measure_fidelity
    from tltool.conversion.convert import convert
    from tltool.conversion.export import export
    from tltool.conversion.fidelity import fidelity
    from tltool.counting.count import count
    from tltool.counting.mine import mine
    from tltool.counting.tune import tune_count
    from tltool.data.patches import PatchSet, patches
    from tltool.data.targets import Targets
    from tltool.demonstration.demo import demo
    from tltool.evaluation.evaluate import evaluate
    from tltool.explanation.compare import compare_methods
    from tltool.explanation.explain import explain
    from tltool.fcn.atrous import to_dense
    from tltool.fcn.surgery import to_fcn
    from tltool.inference.predict import predict
    from tltool.mapping.heatmap import heatmap
    from tltool.models.loading import open_model, upgrade
    from tltool.models.network import build_classifier
    from tltool.recipe import Recipe, load_recipe
    from tltool.training.finetune import finetune, resume
    from tltool.training.lr_find import lr_find

# name -> (module, whether it imports Keras)
_PUBLIC = {
    "Augmenter": ("tltool.augment.pipeline", False),
    "PatchSet": ("tltool.data.patches", False),
    "Point": ("tltool.annotations", False),
    "Targets": ("tltool.data.targets", False),
    "Recipe": ("tltool.recipe", False),
    "adapt": ("tltool.conversion.adapt", True),
    "build_classifier": ("tltool.models.network", True),
    "compare_methods": ("tltool.explanation.compare", True),
    "convert": ("tltool.conversion.convert", True),
    "count": ("tltool.counting.count", True),
    "demo": ("tltool.demonstration.demo", False),
    "evaluate": ("tltool.evaluation.evaluate", True),
    "fidelity": ("tltool.conversion.fidelity", True),
    "explain": ("tltool.explanation.explain", True),
    "export": ("tltool.conversion.export", True),
    "finetune": ("tltool.training.finetune", True),
    "heatmap": ("tltool.mapping.heatmap", True),
    "load_recipe": ("tltool.recipe", False),
    "lr_find": ("tltool.training.lr_find", True),
    "measure_fidelity": ("tltool.conversion.agreement", True),
    "mine": ("tltool.counting.mine", True),
    "open_model": ("tltool.models.loading", True),
    "patches": ("tltool.data.patches", False),
    "predict": ("tltool.inference.predict", True),
    "preview": ("tltool.augment.preview", False),
    "resume": ("tltool.training.finetune", True),
    "to_dense": ("tltool.fcn.atrous", True),
    "to_fcn": ("tltool.fcn.surgery", True),
    "tune_count": ("tltool.counting.tune", True),
    "upgrade": ("tltool.models.loading", True),
}

__all__ = [
    "Augmenter",
    "PatchSet",
    "Point",
    "Recipe",
    "Targets",
    "TltoolError",
    "adapt",
    "build_classifier",
    "compare_methods",
    "convert",
    "count",
    "demo",
    "evaluate",
    "explain",
    "export",
    "fidelity",
    "finetune",
    "heatmap",
    "load_recipe",
    "lr_find",
    "measure_fidelity",
    "mine",
    "open_model",
    "patches",
    "predict",
    "preview",
    "resume",
    "to_dense",
    "to_fcn",
    "tune_count",
    "upgrade",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tltool' has no attribute {name!r}")
    module, needs_keras = _PUBLIC[name]
    if needs_keras:
        quiet_import("keras")
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
