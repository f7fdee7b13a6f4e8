"""Counts of images, with what is known of the true numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tltool.annotations import Point
from tltool.counting.maps import Choice, ImageMap
from tltool.counting.truth import ImageTruth
from tltool.data.coverage import Coverage
from tltool.errors import TltoolError, UsageError
from tltool.pictures.notebook import picture_html, table_html
from tltool.points import block_bootstrap, intervals
from tltool.points.block_bootstrap import LEAST_BLOCKS, bootstrap_interval
from tltool.points.detections import Detections
from tltool.points.intervals import CountInterval, count_interval
from tltool.points.scoring import Scene, Score
from tltool.run.detection_parameters import DetectionParameters, Validation

# What all classes together are called.
ANY = "(any)"

Method = Callable[[int, Validation, float], CountInterval | None]

INTERVALS: Mapping[str, Method] = {
    "beta-binomial": count_interval,
    "bootstrap": lambda number, known, level: bootstrap_interval(number, known.blocks, level),
}
METHODS = {"beta-binomial": intervals.METHOD, "bootstrap": block_bootstrap.METHOD}


def check_interval(method: str, level: float) -> None:
    """Raise a `UsageError` where there is no such method or level."""
    if method not in INTERVALS:
        raise UsageError(f"`interval`: expected {' or '.join(INTERVALS)}; received {method}")
    if not 0 < level < 1:
        raise UsageError(f"`level`: expected a probability between 0 and 1, received {level:g}")


@dataclass(frozen=True)
class Count:
    """Number of detections of a class, and what is known of the true number.

    Attributes
    ----------
    label : str
        Class; ``(any)``: all classes together.
    detections : int
    interval : CountInterval or None
        Estimate and interval of the true number; None: unknown.
    """

    label: str
    detections: int
    interval: CountInterval | None

    def __repr__(self) -> str:
        known = self.interval
        between = "" if known is None else f", {known.lower} to {known.upper}"
        return f"Count({self.label}: {self.detections}{between})"


def validation_of(parameters: DetectionParameters, label: str) -> Validation | None:
    """Agreement of the detections of a class, or of any, with the truth of validation images."""
    return parameters.validation_any if label == ANY else parameters.validation.get(label)


def shown_labels(classes: Sequence[str]) -> tuple[str, ...]:
    """The classes, and all of them together where there are several."""
    return tuple(classes) if len(classes) == 1 else (*classes, ANY)


def count_labels(
    labels: np.ndarray,
    classes: Sequence[str],
    parameters: DetectionParameters,
    level: float,
    method: str,
) -> list[Count]:
    """Count detections and bound the true numbers.

    Parameters
    ----------
    labels : (n,) array of str
        Labels of the detections of one image, or of several together: the
        interval of a sum is not the sum of intervals, since all images share
        what the validation does not know.
    classes : sequence of str
    parameters : DetectionParameters
        Those the points were found by; their validation bounds the numbers.
    level : float
    method : str
        One of `INTERVALS`.

    Returns
    -------
    list of Count
        One for each of `shown_labels`.
    """
    counts = []
    for label in shown_labels(classes):
        number = len(labels) if label == ANY else int((labels == label).sum())
        validation = validation_of(parameters, label)
        known = None if validation is None else INTERVALS[method](number, validation, level)
        counts.append(Count(label, number, known))
    return counts


def why_unknown(label: str, parameters: DetectionParameters, method: str) -> str:
    """Reason why a tuned run gives no interval for a class; empty where it gives one."""
    validation = validation_of(parameters, label)
    if validation is None or not validation.tp:
        missed = 0 if validation is None else validation.fn
        if missed:
            return f"none of {missed} was found in validation"
        return "validation has no example"
    filled = sum(any(counts) for counts in validation.blocks)
    if method == "bootstrap" and filled < LEAST_BLOCKS:
        return f"validation has {filled} blocks with points, {LEAST_BLOCKS} are needed"
    return ""


class PointTable(NamedTuple):
    """Points of an image as columns.

    Attributes
    ----------
    x, y : (n,) float64 arrays
        px of the image, 0 at the outer corner of its first pixel; y down.
    label : (n,) array of str
    score : (n,) float64 array
        0..1, the highest first.
    """

    x: np.ndarray
    y: np.ndarray
    label: np.ndarray
    score: np.ndarray

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns as lists, as ``pandas.DataFrame`` takes them."""
        return {name: column.tolist() for name, column in self._asdict().items()}


@dataclass(frozen=True, repr=False)
class ImageCount:
    """Points and counts of an image; a notebook shows them as a table and a picture.

    Attributes
    ----------
    map : ImageMap
        The map they were found in.
    detections : Detections
        The points in px of the image, inside the area; highest score first.
    counts : dict of str to Count
        By class, ``(any)`` at last where there are several.
    coverage : Coverage
        Where points count.
    outside : int
        Points that are left out for it.
    truth : ImageTruth or None
        True points inside the area; None where no truth was given.
    radius : float or None
        Within which a detection stands for a true point, px.
    """

    map: ImageMap
    detections: Detections
    counts: dict[str, Count]
    coverage: Coverage
    outside: int = 0
    truth: ImageTruth | None = None
    radius: float | None = None

    @property
    def image(self) -> Path:
        """File of the image; of one in memory its name."""
        return self.map.image

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that were counted."""
        return tuple(label for label in self.counts if label != ANY)

    @property
    def total(self) -> Count:
        """Count of all classes together."""
        return list(self.counts.values())[-1]

    @property
    def points(self) -> PointTable:
        """The points as columns x, y, label, score."""
        found = self.detections
        return PointTable(found.x, found.y, found.labels, found.score)

    @property
    def scene(self) -> Scene:
        """Points and truth to score, in px of the image."""
        truth = self.truth or ImageTruth(np.zeros((0, 2)), np.zeros(0, str))
        found = self.detections
        return Scene(found.xy, found.labels, found.score, truth.xy, truth.labels, self.map.gsd)

    def as_points(self) -> list[Point]:
        """Points as files have them: to a hundredth of a pixel, the highest score first."""
        name = self.image.name
        rounded = [
            Point(name, round(x, 2), round(y, 2), label, round(score, 4))
            for x, y, label, score in zip(*self.points.to_dict().values(), strict=True)
        ]
        # By what is written: a tile's rounding decides nothing.
        return sorted(rounded, key=lambda p: (-(p.score or 0), p.y, p.x, p.label))

    def to_image(self, side: int = 2000) -> Image.Image:
        """Draw the points on the image, with a legend.

        Parameters
        ----------
        side : int
            Longest side of the image in the picture, px.
        """
        from tltool.counting.picture import draw_count

        return draw_count(self, side)[0]

    def __repr__(self) -> str:
        numbers = ", ".join(map(repr, self.counts.values()))
        return f"<ImageCount of {self.image.name}: {len(self.detections)} points; {numbers}>"

    def _repr_html_(self) -> str:
        from tltool.counting.tables import count_rows

        header = ("class", "points", "estimate", "interval")
        return table_html(count_rows(self.counts.values()), header) + picture_html(self.to_image())


@dataclass(frozen=True)
class Survey:
    """Counts of images.

    Attributes
    ----------
    folder : Path or None
        Where all is written; None: nowhere.
    run : str
        Path or name of the network.
    classes : tuple of str
        Without the background.
    images : list of ImageCount
    totals : list of Count
        Counts of all images together.
    choice : Choice
        Rules by which points were found, and whether it is known how well.
    level : float
        Level of the intervals.
    interval : str
        Their method, one of `tltool.counting.survey.INTERVALS`.
    doubts : dict of str to str
        Reason why an interval is unknown, by class.
    score : Score or None
        Comparison with the truth, where one was given.
    failed : dict of Path to TltoolError
        Images that could not be counted.
    left_out : list of Path
        Images that the area has no part of.
    files : list of Path
        What was written.
    """

    folder: Path | None
    run: str
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
        """Points of all images, image by image."""
        return [point for each in self.images for point in each.as_points()]

    def without(self, label: str) -> int:
        """Number of images on which none of a class was detected."""
        return sum(not each.counts[label].detections for each in self.images)

    def __repr__(self) -> str:
        numbers = ", ".join(map(repr, self.totals))
        return f"<Survey of {len(self.images)} images: {numbers}>"

    def _repr_html_(self) -> str:
        from tltool.counting import tables

        shown = [tables.totals(self), *([tables.by_image(self)] if len(self.images) > 1 else [])]
        return "".join(table_html(table.rows, table.header) for table in shown)
