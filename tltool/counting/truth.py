"""The true points of images, checked before anything is compared with them."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tltool.annotations import Point, points_by_image, read_points
from tltool.data.coverage import Coverage
from tltool.data.patches import check_inside
from tltool.errors import DataError, ImageError
from tltool.raster import Raster
from tltool.text import some_of, with_numbers

logger = logging.getLogger("tltool")


@dataclass(frozen=True)
class ImageTruth:
    """True points of an image.

    Attributes
    ----------
    xy : (n, 2) float64 array
        x (right) and y (down), px of the image.
    labels : (n,) array of str
    """

    xy: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.xy)

    def take(self, chosen: np.ndarray) -> "ImageTruth":
        """Those at these places, or where this is true."""
        return ImageTruth(self.xy[chosen], self.labels[chosen])

    def within(self, coverage: Coverage) -> "ImageTruth":
        """Those inside the area and not ignored."""
        return self.take(coverage.covers(*self.xy.T))


def _as_truth(points: Sequence[Point]) -> ImageTruth:
    xy = np.array([(p.x, p.y) for p in points], float).reshape(-1, 2)
    return ImageTruth(xy, np.array([p.label for p in points], str))


def read_truth(
    path: str | Path,
    images: Sequence[Path],
    classes: Sequence[str],
    background: str | None = None,
    columns: Sequence[str] | None = None,
) -> dict[Path, ImageTruth]:
    """Read and check the true points of images.

    Parameters
    ----------
    path : str or Path
        Any format of `tltool.annotations.read_points`, which leaves
        duplicates out and says how many.
    images : sequence of Path
        Points on others are left out, with a warning.
    classes : sequence of str
        That the run knows.
    background : str, optional
        A label that means "nothing here": its points are left out, with a
        message.
    columns : sequence of str, optional
        As of `read_points`.

    Returns
    -------
    dict of Path to ImageTruth
        Of every image that can be read; one without a point has an empty one.

    Raises
    ------
    DataError
        A point outside its image (names file and line), none on any image, or
        none with a label that the run knows.
    ImageError
        None of the images can be read; of several some may be.

    Notes
    -----
    Surveys tell kinds that a network was not trained on. Points of labels that
    are none of the classes are kept, with a warning: they can be found as any
    animal, never as what they are.
    """
    path = Path(path)
    readable = [image for image in images if _can_be_read(image)]
    if images and not readable:
        # It says why.
        Raster(images[0], scale=(0, 1))
    points = read_points(path, columns, readable)
    animals = [point for point in points if point.label != background]
    if len(animals) < len(points):
        logger.info(
            "%s: %d points of %s are left out: nothing is there to find",
            path,
            len(points) - len(animals),
            background,
        )
    _judge_labels(animals, classes, path)
    grouped = points_by_image(readable, animals, path) if animals else {}
    for image, own in grouped.items():
        with Raster(image, scale=(0, 1)) as raster:
            check_inside(raster, own)
    return {image: _as_truth(grouped.get(image, ())) for image in readable}


def _judge_labels(points: Sequence[Point], classes: Sequence[str], path: Path) -> None:
    """Warn of labels that are none of the classes; raise where all are."""
    number = Counter(point.label for point in points if point.label not in classes)
    if not number:
        return
    first = next(point for point in points if point.label in number)
    told = with_numbers(number)
    if number.total() == len(points):
        raise DataError(
            f"{first.where}: expected a label that the run knows, {', '.join(classes)}; received"
            f" {told} and none else. --columns says which column holds it"
        )
    logger.warning(
        "%s: labels that the run does not know: %s. These points can be found as any animal, never"
        " as what they are. It knows %s",
        path,
        told,
        ", ".join(classes),
    )


def _can_be_read(image: Path) -> bool:
    try:
        Raster(image, scale=(0, 1)).close()
    except ImageError:
        return False
    return True


def labels_with(classes: Sequence[str], truth: Iterable[ImageTruth]) -> tuple[str, ...]:
    """The classes, and behind them the labels of a truth that are none of them."""
    every = {str(label) for own in truth for label in own.labels}
    return (*classes, *sorted(every.difference(classes)))


def warn_of_blank(truth: Mapping[Path, ImageTruth], path: str | Path) -> None:
    """Say which images the truth has no point on: nothing tells whether they were looked at."""
    blank = [image.name for image, own in truth.items() if not len(own)]
    if blank and len(blank) < len(truth):
        logger.warning(
            "%s: no point lies on %s: taken as images without animals. Leave out what was not"
            " annotated",
            path,
            some_of(blank, 3),
        )
