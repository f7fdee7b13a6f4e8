"""Folders of pictures that an augmentation draws from: cut-outs with alpha, and backgrounds."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tltool.data.images import read_image
from tltool.errors import ImageError, RecipeError
from tltool.files import IMAGE_SUFFIXES

# Bytes of decoded pictures that a folder keeps in memory; others are decoded at each use.
_KEPT = 512 << 20


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except ImageError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path} cannot be read as an image: {error}") from error


def _not_a_cutout(path: Path, found: str) -> ImageError:
    return ImageError(
        f"{path}: expected a cut-out with an alpha channel, {found}. Save it as a PNG with a"
        " transparent ground, or move it out of the folder"
    )


def check_cutout(path: Path) -> None:
    """Raise `ImageError` where a file has no alpha channel; reads its header alone."""
    with _opened(path) as image:
        alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
        if not alpha:
            raise _not_a_cutout(path, f"received mode {image.mode}")


def read_cutout(path: Path) -> np.ndarray:
    """Decode a cut-out, without the empty margin around it.

    Returns
    -------
    (h, w, 4) uint8 array: RGB, not multiplied by alpha, and alpha.

    Raises
    ------
    ImageError
        Where the file cannot be read, or is transparent throughout.
    """
    with _opened(path) as image:
        pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))
    rows, columns = (np.flatnonzero(pixels[..., 3].any(axis)) for axis in (1, 0))
    if not rows.size:
        raise _not_a_cutout(path, "received one that is transparent throughout")
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def read_background(path: Path) -> np.ndarray:
    """Decode a background as (h, w, 3) uint8 RGB, or raise `ImageError`."""
    pixels = read_image(path)
    if pixels.shape[2] != 3:
        raise ImageError(f"{path}: expected an RGB or grey image, received {pixels.shape[2]} bands")
    return pixels


class Pictures:
    """The images of a folder, of any depth, decoded when first asked for.

    Safe to use from many threads.

    Parameters
    ----------
    folder : Path
    where : str
        Path of the setting in the recipe.
    cutouts : bool
        Whether they must have alpha.

    Attributes
    ----------
    classes : list of str
        Names of the folders directly inside that hold images.

    Raises
    ------
    RecipeError
        Where the folder is missing or holds no image.
    ImageError
        For a file without alpha, naming it.
    """

    def __init__(self, folder: Path, where: str, cutouts: bool):
        folder = folder.expanduser()
        if not folder.is_dir():
            raise RecipeError(
                f"{where}: expected a folder of images, received {folder}, which is none"
            )
        self._paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if not self._paths:
            raise RecipeError(
                f"{where}: {folder} holds no image, however deep. Expected files ending in"
                f" {', '.join(IMAGE_SUFFIXES)}"
            )
        self._decode: Callable[[Path], np.ndarray] = read_cutout if cutouts else read_background
        if cutouts:
            for path in self._paths:
                check_cutout(path)
        self._by_class: dict[str, list[int]] = {}
        for index, path in enumerate(self._paths):
            inside = path.relative_to(folder).parts
            if len(inside) > 1:
                self._by_class.setdefault(inside[0], []).append(index)
        self.classes = list(self._by_class)
        self._kept: dict[int, np.ndarray] = {}
        self._room, self._lock = _KEPT, threading.Lock()

    def __len__(self) -> int:
        return len(self._paths)

    def draw(self, rng: np.random.Generator, label: str | None = None) -> np.ndarray:
        """One of them at random; with `label` from the folder of that name."""
        choices = range(len(self)) if label is None else self._by_class[label]
        return self[choices[rng.integers(len(choices))]]

    def __getitem__(self, index: int) -> np.ndarray:
        found = self._kept.get(index)
        if found is None:
            found = self._decode(self._paths[index])
            with self._lock:
                if index not in self._kept and found.nbytes <= self._room:
                    self._kept[index] = found
                    self._room -= found.nbytes
        return found
