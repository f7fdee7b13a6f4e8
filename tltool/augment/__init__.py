"""Random transformations of training images."""

from typing import TYPE_CHECKING, Any

from tltool.runtime import quiet_import

if TYPE_CHECKING:
    from tltool.augment.image_data_generator import ImageDataGenerator

__all__ = ["ImageDataGenerator"]


def __getattr__(name: str) -> Any:
    if name != "ImageDataGenerator":
        raise AttributeError(f"module 'tltool.augment' has no attribute {name!r}")
    # Imported when first used: it needs Keras, the pipeline does not.
    quiet_import("keras")
    from tltool.augment.image_data_generator import ImageDataGenerator

    return ImageDataGenerator
