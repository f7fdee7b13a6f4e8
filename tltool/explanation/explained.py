"""What is found for one image, and the files of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tltool.explanation.boxes import Box, find_box
from tltool.explanation.picture import draw_explanation
from tltool.explanation.truth import Truth
from tltool.explanation.windows import patch_of, place_window
from tltool.files import atomic_path, refuse_existing
from tltool.run.sidecar import Sidecar


def _save_npy(path: Path, heat: np.ndarray) -> None:
    np.save(path, heat)


def _save_tiff(path: Path, heat: np.ndarray) -> None:
    Image.fromarray(heat).save(path)


# Format of a raw map -> what writes it.
RAW: dict[str, Callable[[Path, np.ndarray], None]] = {"npy": _save_npy, "tiff": _save_tiff}


@dataclass(frozen=True)
class Located:
    """The box of a map.

    Attributes
    ----------
    box : Box or None
        px of the image; None: the map has no positive value.
    inside : Box or None
        The same in px of the window that the network sees.
    true : list of Box
        The true ones there.
    size : (int, int)
        Width and height of the image.
    iou : float or None
        With the true box that fits best; None: there is none.
    right : bool or None
        Whether the class is that box's; None: not told.
    """

    box: Box | None
    inside: Box | None
    true: list[Box]
    size: tuple[int, int]
    iou: float | None
    right: bool | None


@dataclass(frozen=True)
class Explained:
    """Explanation of one image.

    Attributes
    ----------
    image : Path
    class_name : str
        That the map is of.
    probability : float
    predicted : str
        The most probable class.
    map : (side, side) float32 array
        In px of the window that the network sees, as the method gives it, not
        scaled.
    picture : Path
    raw : Path or None
    located : Located or None
        None: boxes were not asked for.
    """

    image: Path
    class_name: str
    probability: float
    predicted: str
    map: np.ndarray = field(repr=False)
    picture: Path
    raw: Path | None = None
    located: Located | None = None


def scaled(heat: np.ndarray) -> np.ndarray:
    """A map's positive part with a maximum of 1; 0 where it has none."""
    positive = np.maximum(heat, 0)
    highest = positive.max()
    return positive / highest if highest > 0 else positive


def _fit(box: Box | None, true: Sequence[Truth], class_name: str) -> tuple[float, bool | None]:
    """IoU with the true box that fits best, and whether the class is its own."""
    ious = [each.box.iou(box) if box else 0.0 for each in true]
    best = int(np.argmax(ious))
    label = true[best].label
    return ious[best], None if label is None else label == class_name


@dataclass(frozen=True)
class Locator:
    """Finds the boxes of maps.

    Attributes
    ----------
    sidecar : Sidecar
        Of the network.
    threshold : float
        As of `find_box`.
    truth : dict of Path to list of Truth
        Boxes alone.
    cut : callable
        As of `tltool.inference.predict_batches.is_cut`.
    """

    sidecar: Sidecar
    threshold: float
    truth: dict[Path, list[Truth]]
    cut: Callable[[Path], bool]

    def __call__(self, image: Path, heat: np.ndarray, class_name: str) -> Located:
        """The box of the map of a class, (side, side) in px of the window."""
        window, size = place_window(image, self.sidecar, self.cut(image))
        inside, true = find_box(heat, self.threshold), self.truth.get(image, [])
        box = window.to_image(inside) if inside else None
        iou, right = _fit(box, true, class_name) if true else (None, None)
        return Located(
            box, inside, [window.from_image(each.box) for each in true], size, iou, right
        )


@dataclass(frozen=True)
class Files:
    """The files that a call writes.

    Attributes
    ----------
    folder : Path
    names : dict of Path to str
        Image to the beginning of its files' names.
    method : str
    raw : str or None
        Of `RAW`.
    """

    folder: Path
    names: dict[Path, str]
    method: str
    raw: str | None

    def path(self, image: Path, suffix: str) -> Path:
        """A file of an image."""
        return self.folder / f"{self.names[image]}.{self.method}.{suffix}"

    def refuse(self, overwrite: bool, *more: str) -> None:
        """Raise an `OutputError` where one is there; `more` are others in the folder."""
        suffixes = ["png", *([self.raw] if self.raw else [])]
        every = [self.path(image, suffix) for image in self.names for suffix in suffixes]
        for path in [*(self.folder / name for name in more), *every]:
            refuse_existing(path, overwrite)

    def write_raw(self, image: Path, heat: np.ndarray) -> Path | None:
        """Write the map, where that is asked for."""
        if self.raw is None:
            return None
        path = self.path(image, self.raw)
        with atomic_path(path) as partial:
            RAW[self.raw](partial, np.asarray(heat, np.float32))
        return path

    def draw(
        self,
        image: Path,
        pixels: np.ndarray,
        heat: np.ndarray,
        lines: Sequence[str],
        located: Located | None,
        sidecar: Sidecar,
    ) -> Path:
        """Draw the picture of an image."""
        path = self.path(image, "png")
        picture = draw_explanation(
            pixels,
            scaled(heat),
            lines,
            patch=patch_of(sidecar),
            found=located.inside if located else None,
            true=located.true if located else (),
        )
        with atomic_path(path) as partial:
            picture.save(partial)
        return path
