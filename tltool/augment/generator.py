"""The entry ``image_data_generator``: ImageDataGenerator's transformations of uint8 images."""

import importlib
import math
import threading
from collections.abc import Callable
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from tltool.augment.entries import ImageDataGeneratorEntry
from tltool.augment.levels import saturate
from tltool.errors import RecipeError
from tltool.runtime import quiet_import

# Keras is imported with the standard error turned away: by one thread at a time.
_IMPORTING = threading.Lock()

_MOVES = ("theta", "tx", "ty", "shear", "zx", "zy")
# Order and fill mode of the warps that OpenCV does on levels, to its name of the border.
_IN_LEVELS = {(1, "nearest"): cv2.BORDER_REPLICATE, (1, "reflect"): cv2.BORDER_REFLECT}
# OpenCV's code of (horizontal, vertical).
_FLIPS = {(True, False): 1, (False, True): 0, (True, True): -1}


def warp_matrix(
    size: tuple[int, int], theta: float, tx: float, ty: float, shear: float, zx: float, zy: float
) -> np.ndarray:
    """`affine.affine_matrix` multiplied out, in OpenCV's order.

    Returns
    -------
    (2, 3) float64 array: (x, y, 1) of the result to that of the image.
    """
    turn, slant = math.radians(theta), math.radians(shear)
    cos, sin = math.cos(turn), math.sin(turn)
    xx, xy = cos * zx, -math.sin(turn + slant) * zy
    yx, yy = sin * zx, math.cos(turn + slant) * zy
    # As there: the middle column by the height, the middle row by the width.
    x, y = size[0] / 2 - 0.5, size[1] / 2 - 0.5
    right = cos * tx - sin * ty + x - xx * x - xy * y
    down = sin * tx + cos * ty + y - yx * x - yy * y
    return np.array([[xx, xy, right], [yx, yy, down]])


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
    Images may have any number of bands. As in the former class the fourth band
    of four counts as opacity, which `brightness_range` leaves alone.
    """

    def __init__(self, settings: ImageDataGeneratorEntry, where: str):
        self._settings = settings
        self._where = f"{where}.image_data_generator.preprocessing_function"
        name = settings.preprocessing_function
        self._function = None if name is None else _import_function(name, self._where)
        colours = settings.brightness_range or settings.channel_shift_range or name
        warp = (settings.interpolation_order, settings.fill_mode)
        self._moves_alone = not colours and warp in _IN_LEVELS

    @cached_property
    def _generator(self) -> Any:
        # Imported when first used: it needs Keras, checking a recipe does not.
        with _IMPORTING:
            quiet_import("keras")
            from tltool.augment.keras2.image_data_generator import ImageDataGenerator

        wanted = self._settings.transformation()
        return ImageDataGenerator(**wanted, data_format="channels_last", dtype="float32")

    def __call__(
        self, image: np.ndarray, rng: np.random.Generator, label: str | None
    ) -> np.ndarray:
        """Transform a (h, w, bands) uint8 image of class `label`."""
        generator = self._generator
        drawn = generator._draw(image.shape, rng)
        if self._moves_alone and image.shape[2] in (1, 3, 4):
            return self._move(image, drawn)
        moved = generator.apply_transform(image.astype(np.float32), drawn)
        return saturate(moved if self._function is None else self._preprocess(moved))

    def _move(self, image: np.ndarray, drawn: dict[str, Any]) -> np.ndarray:
        """`apply_transform` without the way over float32: OpenCV computes in it and rounds once."""
        matrix = warp_matrix(image.shape[:2], **{k: drawn[k] for k in _MOVES})
        border = _IN_LEVELS[self._settings.interpolation_order, self._settings.fill_mode]
        size, flags = image.shape[1::-1], cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        moved = cv2.warpAffine(
            np.ascontiguousarray(image), matrix, size, flags=flags, borderMode=border
        )
        flips = drawn["flip_horizontal"], drawn["flip_vertical"]
        if any(flips):
            moved = cv2.flip(moved, _FLIPS[flips])
        return np.asarray(moved).reshape(image.shape)

    def _preprocess(self, image: np.ndarray) -> np.ndarray:
        name, shape = self._settings.preprocessing_function, image.shape
        assert self._function is not None
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
