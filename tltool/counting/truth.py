"""The true points of images, checked before anything is compared with them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tltool.data.annotations import Point, points_by_image, read_points
from tltool.data.coverage import Coverage
from tltool.data.points import check_inside, check_known
from tltool.errors import ImageError
from tltool.raster import Raster

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
        Any format of `tltool.data.annotations.read_points`, which leaves
        duplicates out and says how many.
    images : sequence of Path
        Points on others are left out, with a warning.
    classes : sequence of str
        Labels that may occur.
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
        A label that is none of the classes: counting it as any animal would
        hide a typing error. A point outside its image, or none on any image.
        Names file and line.
    """
    path = Path(path)
    readable = [image for image in images if _can_be_read(image)]
    points = read_points(path, columns, readable)
    animals = [point for point in points if point.label != background]
    if len(animals) < len(points):
        logger.info(
            "%s: %d points of %s are left out: nothing is there to find",
            path,
            len(points) - len(animals),
            background,
        )
    check_known(animals, classes)
    grouped = points_by_image(readable, animals, path) if animals else {}
    for image, own in grouped.items():
        with Raster(image, scale=(0, 1)) as raster:
            check_inside(raster, own)
    return {image: _as_truth(grouped.get(image, ())) for image in readable}


def _can_be_read(image: Path) -> bool:
    try:
        Raster(image, scale=(0, 1)).close()
    except ImageError:
        return False
    return True


def warn_of_blank(truth: Mapping[Path, ImageTruth], path: str | Path) -> None:
    """Say which images the truth has no point on: nothing tells whether they were looked at."""
    blank = [image.name for image, own in truth.items() if not len(own)]
    if blank and len(blank) < len(truth):
        more = f" and {len(blank) - 3} more" if len(blank) > 3 else ""
        logger.warning(
            "%s: no point lies on %s%s: taken as images without animals. Leave out what was not"
            " annotated",
            path,
            ", ".join(blank[:3]),
            more,
        )
