"""Random transformations of training images."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tltool.runtime import quiet_import

if TYPE_CHECKING:
    from tltool.augment.entries import check_entries
    from tltool.augment.keras2.image_data_generator import ImageDataGenerator
    from tltool.augment.mix import Mixer
    from tltool.augment.pipeline import Augmenter
    from tltool.augment.preview import preview

__all__ = ["Augmenter", "ImageDataGenerator", "Mixer", "check_entries", "preview"]

_MODULES = {
    "Augmenter": "pipeline",
    "ImageDataGenerator": "keras2.image_data_generator",
    "Mixer": "mix",
    "check_entries": "entries",
    "preview": "preview",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'tltool.augment' has no attribute {name!r}")
    # Imported when first used: a recipe is checked without Keras and Albumentations.
    if name == "ImageDataGenerator":
        quiet_import("keras")
    module = import_module(f"tltool.augment.{_MODULES[name]}")
    # Not the module of the same name that importing has put here.
    globals()[name] = getattr(module, name)
    return globals()[name]
