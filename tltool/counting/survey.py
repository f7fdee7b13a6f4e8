"""What `tltool count` found on images."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tltool.annotations import Point
from tltool.counting.estimates import Count
from tltool.counting.maps import ImageMap
from tltool.counting.parameters import Choice
from tltool.counting.truth import ImageTruth
from tltool.data.coverage import Coverage
from tltool.errors import TltoolError
from tltool.points.detections import Detections
from tltool.points.scoring import Scene, Score


@dataclass(frozen=True)
class ImageCount:
    """The points of an image.

    Attributes
    ----------
    map : ImageMap
    points : Detections
        In px of the image, inside the area; highest score first.
    counts : list of Count
    coverage : Coverage
        Where points count.
    outside : int
        Points that are left out for it.
    truth : ImageTruth or None
        Inside the area; None where no truth was given.
    """

    map: ImageMap
    points: Detections
    counts: list[Count]
    coverage: Coverage
    outside: int = 0
    truth: ImageTruth | None = None

    @property
    def image(self) -> Path:
        """The image's file."""
        return self.map.image

    @property
    def scene(self) -> Scene:
        """To score, in px of the image."""
        truth = self.truth or ImageTruth(np.zeros((0, 2)), np.zeros(0, str))
        points = self.points
        told = points.xy, points.labels, points.score
        return Scene(*told, truth.xy, truth.labels, self.map.gsd)

    def as_points(self) -> list[Point]:
        """The points as files have them: to a hundredth of a pixel, the highest score first."""
        points = self.points
        rows = zip(points.x, points.y, points.labels, points.score, strict=True)
        name = self.image.name
        rounded = [
            Point(name, round(float(x), 2), round(float(y), 2), str(label), round(float(score), 4))
            for x, y, label, score in rows
        ]
        # By what is written: a tile's rounding decides nothing.
        return sorted(rounded, key=lambda p: (-(p.score or 0), p.y, p.x, p.label))


@dataclass(frozen=True)
class Survey:
    """Counts of images.

    Attributes
    ----------
    folder : Path
        Where all is written.
    run : Path
    classes : tuple of str
        Without the background.
    images : list of ImageCount
    totals : list of Count
        Of all images together.
    choice : Choice
        How points were found, and whether it is known how well.
    level : float
        Of the intervals.
    interval : str
        Their method, one of `tltool.counting.estimates.INTERVALS`.
    doubts : dict of str to str
        Of each label without an interval the reason.
    score : Score or None
        Agreement with the truth, where it was given.
    failed : dict of Path to TltoolError
        Images that could not be counted.
    left_out : list of Path
        Images that the area has no part of.
    files : list of Path
        What was written beside the maps.
    """

    folder: Path
    run: Path
    classes: tuple[str, ...]
    images: list[ImageCount]
    totals: list[Count]
    choice: Choice
    level: float
    interval: str
    doubts: dict[str, str]
    score: Score | None = None
    failed: dict[Path, TltoolError] = field(default_factory=dict)
    left_out: list[Path] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    @property
    def points(self) -> list[Point]:
        """All points, image by image."""
        return [point for each in self.images for point in each.as_points()]

    def without(self, label: str) -> int:
        """Images on which none of a class was detected."""
        place = [count.label for count in self.totals].index(label)
        return sum(not each.counts[place].detections for each in self.images)


def labels_of(images: Sequence[ImageCount]) -> np.ndarray:
    """Labels of the points of images."""
    return np.concatenate([np.zeros(0, str), *(each.points.labels for each in images)])
