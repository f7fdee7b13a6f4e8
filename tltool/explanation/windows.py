"""From the window that a network sees to the image it was taken from."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from tltool.data.images import read_image
from tltool.errors import UsageError
from tltool.explanation.boxes import Box
from tltool.files import expand_patterns, find_images
from tltool.inference.predict_batches import Images, OneImage, each_image
from tltool.run.sidecar import Sidecar


@dataclass(frozen=True)
class Window:
    """Window of an image: its corner, px, and px of the image for one of its own."""

    left: float
    top: float
    scale: float

    def to_image(self, box: Box) -> Box:
        """A box of the window on the image."""
        return box.moved(self.scale, self.left, self.top)

    def from_image(self, box: Box) -> Box:
        """A box of the image in the window."""
        return box.moved(1 / self.scale, -self.left / self.scale, -self.top / self.scale)


def place_window(
    image: OneImage, sidecar: Sidecar, cut: Callable[[Path], bool]
) -> tuple[Window, tuple[int, int]]:
    """Find the window that the network sees of an image, and the image's width and height.

    Parameters
    ----------
    image : Path, array or PIL image
    sidecar : Sidecar
    cut : callable
        Whether the middle of a file is cut out, not the whole resized; see
        `tltool.data.stream.to_window`.
    """
    path = Path(image) if isinstance(image, str | Path) else None
    pixels = np.asarray(image) if path is None else read_image(path, sidecar.band_numbers)
    (height, width), side = pixels.shape[:2], sidecar.window
    if path is not None and cut(path):
        return Window((width - side) // 2, (height - side) // 2, 1.0), (width, height)
    shorter = min(width, height)
    window = Window((width - shorter) / 2, (height - shorter) / 2, shorter / side)
    return window, (width, height)


def shrink_to_window(maps: np.ndarray, side: int) -> np.ndarray:
    """Maps of the enlarged window, (n, s, s), as means over its pixels: (n, side, side)."""
    if maps.shape[1:] == (side, side):
        return maps
    resized = [cv2.resize(each, (side, side), interpolation=cv2.INTER_AREA) for each in maps]
    return np.stack(resized) if resized else np.zeros((0, side, side), np.float32)


def patch_of(sidecar: Sidecar) -> Box | None:
    """Part of the window that the network predicts for; None: all of it."""
    first, last = sidecar.context, sidecar.context + sidecar.patch
    return Box(first, first, last, last) if first else None


def gather(images: Images) -> list[Any]:
    """Collect images: files, those in folders and of patterns (each once), arrays, PIL images.

    Raises
    ------
    ImageError
        A source that does not exist, or without images.
    UsageError
        No image at all.
    """
    found: dict[Any, Any] = {}
    alone = isinstance(images, str | Path | np.ndarray | Image.Image)
    sources: Any = [images] if alone else images
    for source in sources:
        if not isinstance(source, str | Path):
            found |= {len(found) + index: each for index, each in enumerate(each_image(source))}
            continue
        for path in map(Path, expand_patterns([source])):
            inside: Any = each_image(path) if path.is_dir() else find_images([path])
            found |= {each.resolve(): each for each in inside}
    if not found:
        raise UsageError("`images`: expected images, received none")
    return list(found.values())


def output_names(images: Sequence[Any]) -> list[str]:
    """Name the outputs of images, without suffix.

    Returns
    -------
    list of str
        The stem; where two are alike, the path from the folder that holds all.
        Of images in memory ``image-<index>``.

    Raises
    ------
    UsageError
        Two images that differ in their suffix alone.
    """
    paths = [image.resolve() for image in images if isinstance(image, Path)]
    top = None
    if len({path.stem for path in paths}) < len(paths):
        top = Path(os.path.commonpath([path.parent for path in paths]))
    names = []
    for index, image in enumerate(images):
        if not isinstance(image, Path):
            names.append(f"image-{index}")
        elif top is None:
            names.append(image.stem)
        else:
            names.append(image.resolve().relative_to(top).with_suffix("").as_posix())
    twice = next((name for name, n in Counter(names).items() if n > 1), None)
    if twice is not None:
        raise UsageError(
            f"`images`: two images are called {twice}: their outputs would have one name. Take two"
            " calls with different output folders"
        )
    return names
