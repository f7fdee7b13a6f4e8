"""From image files to batches: decoded once, augmented and enlarged batch by batch."""

import logging
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image, ImageOps

from tltool.augment.pipeline import Augmenter
from tltool.data.folders import Sample
from tltool.errors import ImageError
from tltool.raster import enlarge

logger = logging.getLogger("tltool")

# Beyond this many bytes decoded patches live in a temporary file, not in memory.
_MEMORY_LIMIT = 2 << 30


def read_image(path: Path) -> np.ndarray:
    """Decode a whole image file as a person sees it.

    Returns
    -------
    (height, width, 3) uint8 array, RGB.

    Raises
    ------
    ImageError
        Where the file is no image or is truncated, naming it.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):
                return np.repeat((np.asarray(upright) >> 8).astype(np.uint8)[..., None], 3, 2)
            return np.asarray(upright.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path} cannot be read as an image: {error}") from error


def fit_side(pixels: np.ndarray, side: int) -> np.ndarray:
    """Resize so that the shorter side is `side` px, then cut the middle square.

    Parameters
    ----------
    pixels : (height, width, 3) uint8 array
    side : int

    Returns
    -------
    (side, side, 3) uint8 array; `pixels` itself where it has that shape.
    """
    if pixels.shape[:2] == (side, side):
        return pixels
    return np.asarray(ImageOps.fit(Image.fromarray(pixels), (side, side), Image.Resampling.BICUBIC))


def cut_middle(pixels: np.ndarray, side: int) -> np.ndarray:
    """Cut the middle square of `side` px, which must fit."""
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


@dataclass(frozen=True)
class Patches:
    """Decoded images of one split.

    Attributes
    ----------
    images : (n, side, side, 3) uint8 array, RGB
        In memory, or in a temporary file where they are too many.
    labels : (n,) int array
    unreadable : list of ImageError
        Of the files that were left out.
    """

    images: np.ndarray
    labels: np.ndarray
    unreadable: list[ImageError]

    def __len__(self) -> int:
        return len(self.labels)


def _room_for(number: int, side: int) -> np.ndarray:
    shape = (number, side, side, 3)
    if np.prod(shape, dtype=np.int64) <= _MEMORY_LIMIT:
        return np.empty(shape, np.uint8)
    with tempfile.NamedTemporaryFile(prefix="tltool-patches-") as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)


def load_patches(
    samples: Sequence[Sample], side: int, *, crop: bool = False, strict: bool = False
) -> Patches:
    """Decode all images of a split.

    Parameters
    ----------
    samples : sequence of Sample
    side : int
        Of the result, px.
    crop : bool
        Cut the middle instead of resizing: the scale of the patches stays.
    strict : bool
        Raise for the first unreadable file instead of leaving it out.
    """
    images = _room_for(len(samples), side)
    adapt = cut_middle if crop else fit_side

    def decode(place: int) -> ImageError | None:
        try:
            pixels = read_image(samples[place].path)
            if crop and min(pixels.shape[:2]) < side:
                height, width = pixels.shape[:2]
                return ImageError(
                    f"{samples[place].path} is {width} x {height} px; expected {side} px or more"
                )
            images[place] = adapt(pixels, side)
        except ImageError as error:
            return error
        return None

    with ThreadPoolExecutor() as pool:
        errors = list(pool.map(decode, range(len(samples))))
    unreadable = [error for error in errors if error is not None]
    if unreadable and strict:
        raise unreadable[0]
    good = np.array([error is None for error in errors], bool)
    labels = np.array([sample.label for sample in samples], int)
    # In place: those in a file must not come into memory.
    for place, source in enumerate(np.flatnonzero(good)):
        if place != source:
            images[place] = images[source]
    return Patches(images[: good.sum()], labels[good], unreadable)


class Batches(keras.utils.PyDataset):
    """Batches for `keras.Model.fit`.

    Each sample's augmentation is drawn from (seed, epoch, place in the
    split), so that the same seed gives the same pixels, however many workers
    there are.

    Parameters
    ----------
    patches : Patches
    classes : int
        Number of classes; targets are one-hot.
    batch : int
    zoom : Fraction
        Enlargement after augmentation.
    augmenter : Augmenter, optional
        None: images as they are, in their order.
    seed : int

    Notes
    -----
    A batch is (images, targets): (b, side * zoom, side * zoom, 3) float32 RGB
    in 0..255 and (b, classes) float32.
    """

    def __init__(
        self,
        patches: Patches,
        classes: int,
        batch: int,
        zoom: Fraction = Fraction(1),
        augmenter: Augmenter | None = None,
        seed: int = 0,
        **workers: Any,
    ):
        super().__init__(**workers)
        self._patches, self._batch, self._zoom = patches, batch, zoom
        self._targets = np.eye(classes, dtype=np.float32)[patches.labels]
        self._augmenter, self._seed = augmenter, seed
        self._epoch = 0
        self._order = self._new_order()

    def _new_order(self) -> np.ndarray:
        number = len(self._patches)
        if self._augmenter is None:
            return np.arange(number)
        return np.random.default_rng((self._seed, self._epoch)).permutation(number)

    def __len__(self) -> int:
        return -(-len(self._patches) // self._batch)

    def on_epoch_end(self) -> None:
        """Shuffle for the next epoch."""
        self._epoch += 1
        self._order = self._new_order()

    def _image(self, place: int) -> np.ndarray:
        pixels = self._patches.images[place]
        if self._augmenter is not None:
            pixels = self._augmenter(pixels, (self._seed, self._epoch, int(place)))
        return enlarge(pixels, self._zoom)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        places = self._order[index * self._batch : (index + 1) * self._batch]
        images = np.stack([self._image(place) for place in places]).astype(np.float32)
        return images, self._targets[places]
