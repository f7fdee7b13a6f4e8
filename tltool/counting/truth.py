"""The true points of images, checked before anything is compared with them."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from tltool.annotations import PointSource, points_by_image, read_points, source_of
from tltool.counting.images import Images
from tltool.data.coverage import Coverage
from tltool.data.patches import check_inside
from tltool.errors import DataError, ImageError
from tltool.points.matching import match_points
from tltool.points.scoring import Scene
from tltool.text import some_of, with_numbers

logger = logging.getLogger(__name__)

# Farther than so many radii from every true point nothing was annotated, it seems. So many
# confident detections there, and such a share of all confident ones, are worth a warning.
_FAR, _MANY, _SHARE = 4, 5, 0.2


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

    def within(self, coverage: Coverage) -> "ImageTruth":
        """True points inside the area and not ignored."""
        chosen = coverage.covers(*self.xy.T)
        return ImageTruth(self.xy[chosen], self.labels[chosen])


def read_truth(
    truth: PointSource, images: Images, classes: Sequence[str], columns: Sequence[str] | None = None
) -> dict[Path, ImageTruth]:
    """Read and check the true points of images.

    Parameters
    ----------
    truth : str, Path, sequence of Point, mapping of columns or DataFrame
        A file or points in memory, see `tltool.annotations.read_points`, which
        leaves duplicates out and says how many.
    images : Images
        Points on others are left out, with a warning.
    classes : sequence of str
        Classes that the network knows.
    columns : sequence of str, optional
        See `read_points`.

    Returns
    -------
    dict of Path to ImageTruth
        Truth of every image that can be read; one without a point has an empty
        one.

    Raises
    ------
    DataError
        A point outside its image (names file and line), none on any image, or
        none with a label that the network knows.
    ImageError
        None of the images can be read; of several some may be.

    Notes
    -----
    Points of the background are left out, with a message. Surveys name kinds
    that a network was not trained on: their points are kept, with a warning.
    They can be found as any animal, never as what they are.
    """
    source, background = source_of(truth), images.sidecar.background
    readable, first = [], None
    for image in images.paths:
        try:
            images.open(image).close()
            readable.append(image)
        except ImageError as error:
            first = first or error
    if first is not None and not readable:
        raise first
    points = read_points(truth, columns, readable)
    animals = [point for point in points if point.label != background]
    if len(animals) < len(points):
        logger.info(
            "%s: %d points of %s are left out: nothing is there to find",
            source,
            len(points) - len(animals),
            background,
        )
    unknown = [point for point in animals if point.label not in classes]
    if unknown:
        received, known = with_numbers(Counter(p.label for p in unknown)), ", ".join(classes)
        if len(unknown) == len(animals):
            raise DataError(
                f"{unknown[0].where}: expected a label that the run knows, {known}; received"
                f" {received} and none else. `columns` says which column holds it"
            )
        logger.warning(
            "%s: labels that the run does not know: %s. These points can be found as any animal,"
            " never as what they are. It knows %s",
            source,
            received,
            known,
        )
    grouped = points_by_image(readable, animals, source) if animals else {}
    found = {}
    for image in readable:
        own = grouped.get(image, [])
        with images.open(image) as raster:
            check_inside(raster, own)
        xy = np.array([(p.x, p.y) for p in own], float).reshape(-1, 2)
        found[image] = ImageTruth(xy, np.array([p.label for p in own], str))
    return found


def labels_with(classes: Sequence[str], truth: Iterable[ImageTruth]) -> tuple[str, ...]:
    """The classes, and behind them the labels of a truth that are none of them."""
    every = {str(label) for own in truth for label in own.labels}
    return (*classes, *sorted(every.difference(classes)))


def warn_of_blank(truth: Mapping[Path, ImageTruth], source: PointSource) -> None:
    """Name the images without a true point: nothing tells whether they were looked at."""
    blank = [image.name for image, own in truth.items() if not len(own)]
    if blank and len(blank) < len(truth):
        logger.warning(
            "%s: no point lies on %s: taken as images without animals. Leave out what was not"
            " annotated",
            source_of(source),
            some_of(blank, 3),
        )


def warn_of_far(scenes: Sequence[Scene], radius: float, source: PointSource) -> None:
    """Warn where many confident detections lie where no true point is near.

    Parameters
    ----------
    scenes : sequence of Scene
    radius : float
        Within which a detection can stand for a true point, px.
    source : str, Path or points in memory
        Where the points come from, for the message.

    Notes
    -----
    Confident are those with a score that half of the right detections reach.
    """
    far = every = 0
    for scene in scenes:
        if not len(scene.truth) or not len(scene.xy):
            continue
        right = match_points(scene.xy, scene.truth, radius).detection
        least = np.median(scene.score[right]) if len(right) else 0
        confident = scene.xy[scene.score >= least]
        distance, _ = cKDTree(scene.truth).query(confident)
        far, every = far + int((distance > _FAR * radius).sum()), every + len(confident)
    if far >= _MANY and far >= _SHARE * every:
        logger.warning(
            "%s: %d of %d confident detections lie more than %g px from every point. Where only a"
            " part of the images was annotated they count as false: draw that part with `aoi`",
            source_of(source),
            far,
            every,
            _FAR * radius,
        )
