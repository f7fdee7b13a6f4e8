"""The entry ``image_data_generator``: ImageDataGenerator's transformations of uint8 images."""

import importlib
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from tltool.augment.entries import ImageDataGeneratorEntry
from tltool.augment.keras2 import affine
from tltool.augment.presets import saturate
from tltool.data.targets import UNLABELLED
from tltool.errors import RecipeError
from tltool.runtime import quiet_import

# Keras is imported with the standard error turned away: by one thread at a time.
_IMPORTING = threading.Lock()


# OpenCV's code of (horizontal, vertical).
_FLIPS = {(True, False): 1, (False, True): 0, (True, True): -1}


def _import_function(name: str, where: str) -> Callable[[np.ndarray], Any]:
    module, _, function = name.replace(":", ".").rpartition(".")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise RecipeError(
            f"{where}: {name} cannot be imported: {error}. Expected package.module.function that"
            " Python finds (PYTHONPATH)"
        ) from error
    if not callable(found):
        raise RecipeError(f"{where}: expected a function, {name} is {type(found).__name__}")
    return found


class RandomTransformation:
    """Entry ``image_data_generator``: the transformations of `ImageDataGenerator`.

    The normalising parameters are not applied: they are of the network.

    Parameters
    ----------
    settings : ImageDataGeneratorEntry
    where : str
        Path in the recipe.

    Notes
    -----
    Masks, boxes and keypoints move with the image. Images may have any number of
    bands; as in the former class the fourth band of four counts as opacity,
    which `brightness_range` leaves alone.
    """

    def __init__(self, settings: ImageDataGeneratorEntry, where: str):
        self._settings = settings
        self._where = f"{where}.image_data_generator.preprocessing_function"
        name = settings.preprocessing_function
        self._function = None if name is None else _import_function(name, self._where)
        colours = settings.brightness_range or settings.channel_shift_range or name
        linear = settings.interpolation_order == 1 and settings.fill_mode in affine.BORDERS
        self._moves_alone = linear and not colours

    @cached_property
    def _generator(self) -> Any:
        # Imported when first used: it needs Keras, checking a recipe does not.
        with _IMPORTING:
            quiet_import("keras")
            from tltool.augment.keras2.image_data_generator import ImageDataGenerator

        wanted = self._settings.transformation()
        return ImageDataGenerator(**wanted, data_format="channels_last", dtype="float32")

    def draw(self, shape: Sequence[int], rng: np.random.Generator) -> dict[str, Any]:
        """Numbers of one transformation of an image of `shape`."""
        drawn: dict[str, Any] = self._generator._draw(shape, rng)
        return drawn

    def move_image(self, image: np.ndarray, drawn: dict[str, Any]) -> np.ndarray:
        """Transform a (h, w, bands) uint8 image."""
        if not (self._moves_alone and image.shape[2] in (1, 3, 4)):
            moved = self._generator.apply_transform(image.astype(np.float32), drawn)
            return saturate(self._preprocess(moved))
        # Without the way over float32: OpenCV computes in it and rounds once.
        matrix = affine.quick_matrix(image.shape[:2], **{k: drawn[k] for k in affine.MOVES})
        pixels, size = np.ascontiguousarray(image), image.shape[1::-1]
        border, flags = affine.BORDERS[self._settings.fill_mode], affine.INVERSE_LINEAR
        moved = cv2.warpAffine(pixels, matrix, size, flags=flags, borderMode=border)
        flips = drawn["flip_horizontal"], drawn["flip_vertical"]
        if any(flips):
            moved = cv2.flip(moved, _FLIPS[flips])
        return np.asarray(moved).reshape(image.shape)

    def move_mask(self, mask: np.ndarray, drawn: dict[str, Any]) -> np.ndarray:
        """Move a (h, w) mask with its image: nearest pixels, unlabelled for ``constant``."""
        matrix = affine.affine_matrix(mask.shape[:2], **{k: drawn[k] for k in affine.MOVES})
        mode = self._settings.fill_mode
        moved = affine.warp(mask[..., None], matrix, mode, UNLABELLED, order=0)
        return affine.flip(moved, drawn["flip_horizontal"], drawn["flip_vertical"])[..., 0]

    def matrix(self, drawn: dict[str, Any], shape: Sequence[int]) -> np.ndarray:
        """Compute where positions go, px: (2, 3), from (x, y, 1) of the image to the result.

        What ``reflect`` and ``wrap`` repeat beyond the edge has no box and no
        keypoint.
        """
        height, width = shape[:2]
        back = affine.quick_matrix((height, width), **{k: drawn[k] for k in affine.MOVES})
        turned = np.linalg.inv(back[:, :2])
        # There 0 is the middle of the first pixel.
        shift = 0.5 - turned @ (back[:, 2] + 0.5)
        moved = np.column_stack([turned, shift])
        for axis, (key, side) in enumerate((("horizontal", width), ("vertical", height))):
            if drawn[f"flip_{key}"]:
                moved[axis] = np.array([0, 0, side]) - moved[axis]
        return moved

    def _preprocess(self, image: np.ndarray) -> np.ndarray:
        name, shape = self._settings.preprocessing_function, image.shape
        if self._function is None:
            return image
        # A copy of its own, in the range that it is promised: splines overshoot.
        given = np.clip(image, 0, 255)
        try:
            found = np.array(self._function(given), np.float32)
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise RecipeError(
                f"{self._where}: {name} failed on an image of shape {shape}: {reason}"
            ) from error
        if found.shape != shape or not np.isfinite(found).all():
            fault = f"shape {found.shape}" if found.shape != shape else "values that are not finite"
            raise RecipeError(
                f"{self._where}: expected {name} to give {shape} finite numbers in 0..255 for an"
                f" image of shape {shape}, received {fault}"
            )
        return found
