"""Cut-outs laid over images: more targets in an image, or another ground beneath one.

A cut-out in the making is a (h, w, 4) float32 array, RGB 0..255 multiplied by alpha, and alpha
0..1. So a partly transparent dark pixel, the soft shadow that was cut out with its target, darkens
the ground instead of covering it.

References
----------
Porter and Duff 1984, Compositing digital images, doi:10.1145/800031.808606: the operator "over".
Dwibedi, Misra and Hebert 2017, Cut, paste and learn, arXiv:1708.01642: with blurred edges a
network learns the target, not the edge of the paste.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from tltool.augment.entries import SuperimposeEntry, SwapBackgroundEntry
from tltool.augment.pictures import Pictures
from tltool.augment.presets import saturate
from tltool.errors import RecipeError

# Row and column, px.
Position = np.ndarray | tuple[float, float]

# ITU-R BT.601, as Pillow's mode L.
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def premultiply(pixels: np.ndarray) -> np.ndarray:
    """A cut-out from (h, w, 4) uint8 RGB and alpha."""
    cutout = pixels.astype(np.float32)
    cutout[..., 3] /= 255
    cutout[..., :3] *= cutout[..., 3:]
    return cutout


def pad(cutout: np.ndarray, margin: int) -> np.ndarray:
    """Add `margin` transparent px on each side."""
    return np.pad(cutout, ((margin, margin), (margin, margin), (0, 0)))


def resize(cutout: np.ndarray, factor: float) -> np.ndarray:
    """Scale by `factor`; averages where it shrinks."""
    height, width = (max(1, round(side * factor)) for side in cutout.shape[:2])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return cv2.resize(cutout, (width, height), interpolation=method)


def turn(cutout: np.ndarray, degrees: float) -> np.ndarray:
    """Rotate counter-clockwise; the canvas grows so that nothing is lost."""
    height, width = cutout.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    cos, sin = np.abs(matrix[0, :2])
    wide, high = width * cos + height * sin, width * sin + height * cos
    # At a quarter turn the last bit must not add a column.
    size = int(np.ceil(wide - 1e-6)), int(np.ceil(high - 1e-6))
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return cv2.warpAffine(cutout, matrix, size, flags=cv2.INTER_LINEAR)


def feather(cutout: np.ndarray, sigma: float) -> np.ndarray:
    """Blur alpha by a Gaussian of `sigma` px, and leave the colours sharp.

    What grows over the edge has the colours of the pixels nearby, so that no
    fringe of the cut-out's former ground appears.
    """
    if not sigma:
        return cutout
    cutout = pad(cutout, int(np.ceil(3 * sigma)))
    blurred = cv2.GaussianBlur(cutout, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    alpha = blurred[..., 3:]
    around = blurred[..., :3] / np.maximum(alpha, 1e-6)
    colours = cutout[..., :3] + (1 - cutout[..., 3:]) * around
    return np.concatenate([colours * alpha, alpha], axis=2)


def _parts(
    ground: np.ndarray, cutout: np.ndarray, centre: Position
) -> tuple[np.ndarray, np.ndarray]:
    """What of the ground a cut-out covers, and that part of it; views."""
    there, own = [], []
    for middle, length, side in zip(centre, cutout.shape[:2], ground.shape[:2], strict=True):
        corner = round(middle - length / 2)
        last = max(0, min(side, corner + length))
        first = min(max(0, corner), last)
        there.append(slice(first, last))
        own.append(slice(first - corner, last - corner))
    return ground[tuple(there)], cutout[tuple(own)]


def paste(ground: np.ndarray, cutout: np.ndarray, centre: Position) -> None:
    """Lay a cut-out over an image, in place.

    Parameters
    ----------
    ground : (h, w, 3) or (h, w, 1) float32 array, 0..255
    cutout : (h, w, 4) float32 array
        May reach over the image's edges.
    centre : (row, column)
        Middle of the cut-out, in px of the image; 0 is the outer edge.
    """
    beneath, above = _parts(ground, cutout, centre)
    colours = above[..., :3] if ground.shape[2] == 3 else (above[..., :3] @ _GREY)[..., None]
    beneath *= 1 - above[..., 3:]
    beneath += colours


def cast_shadow(ground: np.ndarray, cutout: np.ndarray, centre: Position, strength: float) -> None:
    """Darken an image in place by `strength` 0..1 where the cut-out, put at `centre`, is opaque."""
    # A share of the target's longer side.
    sigma = max(0.5, 0.04 * max(cutout.shape[:2]))
    alpha = pad(cutout[..., 3:], int(np.ceil(3 * sigma)))[..., 0]
    soft = cv2.GaussianBlur(alpha, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    beneath, above = _parts(ground, soft[..., None], centre)
    beneath *= 1 - strength * above


class _Pasting:
    """Draws size, turn and shadow, the same for both entries of this module."""

    # Why masks, boxes and keypoints of an image do not hold any more.
    new_content = ""

    def __init__(self, settings: SuperimposeEntry | SwapBackgroundEntry, where: str, key: str):
        self._settings, self._classes, self._where = settings, settings.classes, where
        self._folder = getattr(settings, key)
        self._cutouts = Pictures(self._folder, f"{where}.{key}", cutouts=True)
        # Names of classes by the keys of the recipe that have them.
        self._named = {"classes": self._classes or []}

    def _use_classes(self, key: str, told_by: str) -> None:
        """Take cut-outs by class, from the folders inside."""
        self._named[key] = self._cutouts.classes
        if not self._cutouts.classes:
            raise RecipeError(
                f"{self._where}.{told_by}: expected a folder for each class in {self._folder},"
                " found images alone"
            )

    def check_classes(self, known: Sequence[str]) -> None:
        """Raise `RecipeError` for a class that the data does not have."""
        for key, named in self._named.items():
            unknown = [name for name in named if name not in known]
            if unknown:
                raise RecipeError(
                    f"{self._where}.{key}: the data has no class {', '.join(unknown)}. It has"
                    f" {', '.join(known)}"
                )

    def _is_for(self, image: np.ndarray, label: str | None) -> bool:
        if self._classes is not None and label not in self._classes:
            return False
        if image.shape[2] not in (1, 3):
            name = self._where.rpartition(".")[2]
            raise RecipeError(
                f"{self._where}: {name} lays RGB cut-outs over images of 1 or 3 bands; these have"
                f" {image.shape[2]}. Take it out of the list"
            )
        return True

    def _shape(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        cutout = resize(premultiply(pixels), rng.uniform(*self._settings.scale))
        degrees = rng.uniform(0, 360)
        if self._settings.rotate:
            cutout = turn(cutout, degrees)
        return feather(cutout, self._settings.feather)

    def _lay(
        self, ground: np.ndarray, cutout: np.ndarray, centre: np.ndarray, sun: np.ndarray
    ) -> None:
        if self._settings.shadow:
            shifted = centre + sun * max(cutout.shape[:2])
            cast_shadow(ground, cutout, shifted, self._settings.shadow)
        paste(ground, cutout, centre)

    @staticmethod
    def _sun(rng: np.random.Generator) -> np.ndarray:
        # One for all targets of an image: where shadows fall, in shares of a target's longer side.
        direction, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.15)
        return reach * np.array([np.sin(direction), np.cos(direction)])


class Superimpose(_Pasting):
    """Entry ``superimpose``: cut-outs of targets laid over an image, anywhere.

    The label of the image stays; masks, boxes and keypoints would not, and are
    refused. So name in `classes` those whose images may
    show these targets, or let `by_class` choose targets of the image's class.

    Parameters
    ----------
    settings : SuperimposeEntry
        ``targets``: folder of images with alpha, of any depth. ``classes``:
        names of the classes whose images get targets; None: all.
        ``by_class``: take targets of an image from ``targets/<its class>/``
        alone; images of other classes stay as they are. ``number``: [fewest,
        most] targets. ``scale``: [lowest, highest] factor on the cut-out's own
        px. ``rotate``: turn by any angle. ``feather``: deviation of the blur of
        alpha, px of the image. ``shadow``: how much darker the ground is in the
        shadow cast, 0..1, beside those that the cut-outs have themselves.
        ``p``: probability.
    where : str
        Path in the recipe.

    Raises
    ------
    RecipeError, ImageError
        Where `Pictures` finds no cut-outs.
    """

    new_content = "it lays objects over the image that the targets do not have"

    def __init__(self, settings: SuperimposeEntry, where: str):
        super().__init__(settings, f"{where}.superimpose", "targets")
        self._number, self._by_class = settings.number, settings.by_class
        if self._by_class:
            self._use_classes("targets", "by_class")

    def __call__(
        self, image: np.ndarray, rng: np.random.Generator, label: str | None
    ) -> np.ndarray:
        """Transform a (h, w, bands) uint8 image of class `label`."""
        apart = self._by_class and label not in self._cutouts.classes
        if apart or not self._is_for(image, label):
            return image
        ground = image.astype(np.float32)
        sun = self._sun(rng)
        for _ in range(rng.integers(*self._number, endpoint=True)):
            pixels = self._cutouts.draw(rng, label if self._by_class else None)
            centre = rng.uniform(0, image.shape[:2])
            self._lay(ground, self._shape(pixels, rng), centre, sun)
        return saturate(ground)


class SwapBackground(_Pasting):
    """Entry ``swap_background``: an image replaced by a cut-out of its class on another ground.

    A training image has no alpha, so what it shows cannot be lifted off its
    ground. Instead an image of class C becomes one of the cut-outs in
    ``cutouts/<C>/``, in the middle but for some jitter, on a random crop of a
    random background. Images of classes without such a folder stay as they
    are, and so does every image whose class is not known.

    Parameters
    ----------
    settings : SwapBackgroundEntry
        ``cutouts``: folder with a folder for each class, images with alpha.
        ``backgrounds``: folder of images; smaller ones than the training
        images are enlarged. Whole photographs are slow to decode: cut patches.
        ``classes``: names to restrict it to. ``jitter``: how far off the middle
        the cut-out may be, share of the image's side. ``scale``, ``rotate``,
        ``feather``, ``shadow``, ``p``: see `Superimpose`.
    where : str
        Path in the recipe.

    Raises
    ------
    RecipeError, ImageError
        Where `Pictures` finds no cut-outs or backgrounds.
    """

    new_content = "it replaces the whole image"

    def __init__(self, settings: SwapBackgroundEntry, where: str):
        super().__init__(settings, f"{where}.swap_background", "cutouts")
        self._jitter = settings.jitter
        self._grounds = Pictures(settings.backgrounds, f"{self._where}.backgrounds", cutouts=False)
        self._use_classes("cutouts", "cutouts")
        missing = [name for name in self._classes or () if name not in self._cutouts.classes]
        if missing:
            raise RecipeError(
                f"{self._where}.classes: no cut-outs of {', '.join(missing)}; there are folders of"
                f" {', '.join(self._cutouts.classes)}"
            )

    def __call__(
        self, image: np.ndarray, rng: np.random.Generator, label: str | None
    ) -> np.ndarray:
        """Transform a (h, w, bands) uint8 image of class `label`."""
        if label not in self._cutouts.classes or not self._is_for(image, label):
            return image
        height, width, bands = image.shape
        pixels = self._grounds.draw(rng)
        factor = max(height / pixels.shape[0], width / pixels.shape[1])
        if factor > 1:
            high, wide = (round(side * factor) for side in pixels.shape[:2])
            size = max(width, wide), max(height, high)
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC)
        top = rng.integers(pixels.shape[0] - height, endpoint=True)
        left = rng.integers(pixels.shape[1] - width, endpoint=True)
        ground = pixels[top : top + height, left : left + width].astype(np.float32)
        if bands == 1:
            ground = (ground @ _GREY)[..., None]
        cutout = self._shape(self._cutouts.draw(rng, label), rng)
        centre = np.array([height, width]) * (0.5 + rng.uniform(-self._jitter, self._jitter, 2))
        self._lay(ground, cutout, centre, self._sun(rng))
        return saturate(ground)
