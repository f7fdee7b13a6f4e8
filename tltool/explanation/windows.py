"""From the window that a network sees to the image it was taken from."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tltool.data.images import read_image
from tltool.errors import ImageError, UsageError
from tltool.explanation.boxes import Box
from tltool.files import expand_patterns, find_images, walk_images
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


def place_window(path: Path, sidecar: Sidecar, cut: bool) -> tuple[Window, tuple[int, int]]:
    """The window that the network sees of an image file, and the file's width and height.

    Parameters
    ----------
    path : Path
    sidecar : Sidecar
    cut : bool
        Whether the middle is cut out, not the whole resized; see
        `tltool.data.stream.to_window`.
    """
    height, width = read_image(path, sidecar.band_numbers).shape[:2]
    side = sidecar.window
    if cut:
        return Window((width - side) // 2, (height - side) // 2, 1.0), (width, height)
    shorter = min(width, height)
    place = Window((width - shorter) / 2, (height - shorter) / 2, shorter / side)
    return place, (width, height)


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


def gather(sources: Sequence[str | Path]) -> dict[Path, str]:
    """Image files and what their outputs are called: path to name, without suffix.

    Parameters
    ----------
    sources : sequence of str or Path
        Images, folders (of folders too), or patterns.

    Returns
    -------
    dict of Path to str
        The stem; where two are alike, the path from the folder that holds all.

    Raises
    ------
    ImageError
        A source that does not exist, or without images.
    UsageError
        Two images that differ in their suffix alone.
    """
    images: list[Path] = []
    for source in map(Path, expand_patterns(sources)):
        images += _inside(source) if source.is_dir() else find_images([source])
    by_place = {image.resolve(): image for image in images}
    stems = Counter(image.stem for image in by_place.values())
    if max(stems.values()) == 1:
        return {image: image.stem for image in by_place.values()}
    top = Path(os.path.commonpath([place.parent for place in by_place]))
    named = {
        image: place.relative_to(top).with_suffix("").as_posix()
        for place, image in by_place.items()
    }
    twice = next((name for name, n in Counter(named.values()).items() if n > 1), None)
    if twice is not None:
        raise UsageError(
            f"two images are called {twice}: their outputs would have one name. Take two calls with"
            " different output folders"
        )
    return named


def _inside(folder: Path) -> list[Path]:
    found = list(walk_images(folder))
    if not found:
        raise ImageError(f"{folder}: expected images in the folder or below, found none")
    return found
