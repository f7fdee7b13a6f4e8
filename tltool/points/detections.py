"""From a map of probabilities to points.

Peaks are sought window by window, since whether a cell is one depends on its
neighbours alone. Which of them stay depends on points far away: one suppresses
the next, which then suppresses none. So suppression is done once, over the
peaks of the whole map, of which there are far fewer than cells; the points are
the same however the map was divided.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from tltool.errors import DataError
from tltool.points.cell_maps import CellMap, MapGeometry, RowsKept
from tltool.points.peaks import Plateaus, merge_plateaus
from tltool.points.seeking import Block, Peaks, Seeker, Stencil, Window, cut_windows
from tltool.points.suppression import suppress_near
from tltool.run.detection_parameters import DetectionParameters, Surface


@dataclass(frozen=True)
class Detections:
    """Points on an image.

    Attributes
    ----------
    names : tuple of str
        Of the map's bands.
    x, y : (n,) float64 arrays
        px of the image, 0 at the outer corner of its first pixel.
    score : (n,) float64 array
        Mean of the surface around the peak, 0..1, but not above `height`.
    height : (n,) float64 array
        Of the surface in the peak's cell, 0..1.
    label : (n,) int array
        Place in `names`.
    probabilities : (n, names) float64 array
        Means around the peak.
    """

    names: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray
    score: np.ndarray
    height: np.ndarray
    label: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    @property
    def xy(self) -> np.ndarray:
        """(n, 2) array of x, y."""
        return np.stack([self.x, self.y], axis=1)

    @property
    def labels(self) -> np.ndarray:
        """(n,) array of class names."""
        return np.array(self.names)[self.label]

    def take(self, chosen: np.ndarray) -> "Detections":
        """Those at these places, or where this is true."""
        values = [getattr(self, f.name)[chosen] for f in fields(self)[1:]]
        return Detections(self.names, *values)


def choose_surface(names: Sequence[str], background: str | None) -> Surface:
    """'any' where a map shows the background, else 'class'."""
    return "any" if background in names else "class"


def _seekers(
    names: tuple[str, ...], background: str | None, surface: Surface, floor: float
) -> list[Seeker]:
    if not 0 < floor <= 1:
        raise DataError(f"floor: expected a probability above 0, received {floor:g}")
    labels = tuple(k for k, name in enumerate(names) if name != background)
    if not labels:
        raise DataError(
            f"the map: expected a class besides the background {background}, received none."
            " Make it again without --classes"
        )
    if surface == "class":
        return [Seeker(k, False, (k,), floor) for k in labels]
    if background not in names:
        raise DataError(
            "peaks of any class: expected the background's probability in the map, received only"
            f" {', '.join(names)}. Make the map again with all classes, or seek each class's own"
            " peaks"
        )
    return [Seeker(names.index(background), True, labels, floor)]


def _points(
    names: tuple[str, ...], geometry: MapGeometry, found: Sequence[Peaks], floor: float
) -> Detections:
    """Detections in their canonical order."""
    empty = np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros(0, np.intp)
    every = [Peaks(*empty, np.zeros((0, len(names)))), *found]
    place, height, score, label, means = (
        np.concatenate([getattr(part, f.name) for part in every]) for f in fields(Peaks)
    )
    x, y = geometry.to_pixels(place[:, 1], place[:, 0])
    points = Detections(names, x, y, score, height, label, means)
    # Of two classes' peaks in one place neither the score nor the place need differ.
    order = np.lexsort((label, x, y, -score))
    return points.take(order[score[order] >= floor])


def find_candidates(
    cells: CellMap,
    geometry: MapGeometry,
    *,
    background: str | None,
    surface: Surface = "any",
    floor: float = 0.05,
    radius: float | None = None,
    windows: Iterable[Window] | None = None,
) -> Detections:
    """Find all local maxima of a map, before any is suppressed.

    A cell is a peak where no neighbour of the eight is higher; connected
    cells of one height are one peak, at their centre if that is one of them,
    else at the first. The place of a single cell is refined by a parabola
    along each axis, by half a cell at most. Cells without data are never
    peaks, nor parts of a mean; beside them nothing is refined.

    Parameters
    ----------
    cells : CellMap
    geometry : MapGeometry
    background : str or None
        The band that means "nothing here".
    surface : 'any' or 'class'
        Seek peaks of 1 - P(background), named after the most probable of the
        other classes; or of each class's probability.
    floor : float
        Least height and score, above 0.
    radius : float, optional
        As `DetectionParameters.radius`.
    windows : iterable of (row, column, rows, columns), optional
        That cover each cell once; the result does not depend on them.

    Returns
    -------
    Detections
        Highest score first, then from top to bottom, then from left to right.

    Raises
    ------
    DataError
        Where the map does not show what is sought.
    """
    seekers = _seekers(cells.names, background, surface, floor)
    around = Stencil.disc(1.5 if radius is None else radius / geometry.cell_size)
    found: list[Peaks] = []
    edges: list[list[Plateaus]] = [[] for _ in seekers]
    kept = RowsKept(cells, 2 * around.halo)
    for window in cut_windows(cells, around.halo) if windows is None else windows:
        block = Block(kept, window, around)
        for seeker, parts in zip(seekers, edges, strict=True):
            peaks, part = seeker.search(block)
            found.append(peaks)
            parts.append(part)
    for seeker, parts in zip(seekers, edges, strict=True):
        found += seeker.search_across(cells, merge_plateaus(parts, cells.columns), around)
    return _points(cells.names, geometry, found, floor)


def suppress(candidates: Detections, parameters: DetectionParameters) -> Detections:
    """Of the candidates those that reach their class's threshold, the greedy choice by distance.

    Parameters
    ----------
    candidates : Detections
        Of `find_candidates` with a floor not above any threshold.
    parameters : DetectionParameters

    Returns
    -------
    Detections
        Highest score first.
    """
    rules = [parameters.rule_of(name) for name in candidates.names]
    threshold = np.array([rule.threshold for rule in rules])
    distance = np.array([rule.distance for rule in rules])
    high = candidates.take(candidates.score >= threshold[candidates.label])
    return high.take(suppress_near(high.x, high.y, high.score, distance[high.label]))


def detect(
    cells: CellMap,
    geometry: MapGeometry,
    parameters: DetectionParameters,
    *,
    background: str | None,
    windows: Iterable[Window] | None = None,
) -> Detections:
    """Find the points of a map of any size.

    Parameters
    ----------
    cells, geometry, background, windows
        As of `find_candidates`.
    parameters : DetectionParameters

    Returns
    -------
    Detections
        Highest score first; the same however the map is divided.

    Raises
    ------
    DataError
        Where the map does not show what is sought.
    """
    found = find_candidates(
        cells,
        geometry,
        background=background,
        surface=parameters.surface,
        floor=parameters.floor,
        radius=parameters.radius,
        windows=windows,
    )
    return suppress(found, parameters)
