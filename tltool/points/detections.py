"""From a map of probabilities to points.

Peaks are sought window by window, since whether a cell is one depends on its
neighbours alone. Which of them stay depends on points far away: one suppresses
the next, which then suppresses none. So suppression is done once, over the
peaks of the whole map, of which there are far fewer than cells: exactly the
greedy one, in bounded memory. The points are the same however the map was
divided.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.spatial import cKDTree

from tltool.errors import DataError
from tltool.points.cell_maps import CellMap, MapGeometry, RowsKept, Window, cut_windows, read_around
from tltool.points.peaks import HALO, Plateaus, find_peaks, fit_parabolas, merge_plateaus
from tltool.run.detection_parameters import DetectionParameters, Surface

# Points ranked at once: the first batch, and the largest.
_FIRST, _MOST = 1 << 12, 1 << 17


@dataclass(frozen=True)
class Detections:
    """Points on an image.

    Attributes
    ----------
    names : tuple of str
        Bands of the map.
    x, y : (n,) float64 arrays
        px of the image, 0 at the outer corner of its first pixel.
    score : (n,) float64 array
        Mean of the surface around the peak, 0..1, but not above `height`.
    height : (n,) float64 array
        Surface in the peak's cell, 0..1.
    label : (n,) int array
        Index in `names`.
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
        """Take the detections at these indices, or where this is true."""
        values = [getattr(self, f.name)[chosen] for f in fields(self)[1:]]
        return Detections(self.names, *values)


def choose_surface(names: Sequence[str], background: str | None) -> Surface:
    """'any' where a map shows the background, else 'class'."""
    return "any" if background in names else "class"


class Block:
    """A window of a map with the cells around it; bands are read when first asked for.

    Parameters
    ----------
    cells : CellMap
    window : (int, int, int, int)
        Row, column, rows, columns.
    around : sequence of (int, int)
        Cells over which means are taken: rows down and columns to the right.
    """

    def __init__(self, cells: CellMap, window: Window, around: Sequence[tuple[int, int]]):
        self.cells, self.window, self.around = cells, window, around
        self.halo = halo_of(around)
        self._bands: dict[int, np.ndarray] = {}

    def band(self, k: int) -> np.ndarray:
        """Values with `halo` cells around the window; NaN: no data."""
        if k not in self._bands:
            self._bands[k] = read_around(self.cells, k, *self.window, self.halo)
        return self._bands[k]

    def values(self, k: int, cell: np.ndarray, down: int = 0, right: int = 0) -> np.ndarray:
        """(n,) values of a band in (n, 2) cells of the map, or so far from them."""
        rows, columns = (cell - self.window[:2] + self.halo + [down, right]).T
        return self.band(k)[rows, columns]

    def means(self, cell: np.ndarray) -> np.ndarray:
        """(n, bands) float64 means around (n, 2) cells; 0 where a band has no data at all."""
        shape = len(cell), len(self.cells.names)
        total, number = np.zeros(shape), np.zeros(shape)
        for k in range(shape[1] if len(cell) else 0):
            for down, right in self.around:
                values = self.values(k, cell, down, right)
                known = ~np.isnan(values)
                total[:, k] += np.where(known, values, 0)
                number[:, k] += known
        return total / np.maximum(number, 1)


def cells_within(radius: float) -> list[tuple[int, int]]:
    """Rows down and columns right of the cells whose centres are at most so many cells away."""
    span = range(-int(radius), int(radius) + 1)
    return [(r, c) for r in span for c in span if r * r + c * c <= radius * radius]


def halo_of(around: Sequence[tuple[int, int]]) -> int:
    """Cells around a window that must be read for peaks and means."""
    return max([HALO, *(abs(step) for cell in around for step in cell)])


@dataclass(frozen=True)
class Seeker:
    """Seeks the peaks of one surface; x and y of what it finds are columns and rows of cells.

    Attributes
    ----------
    band : int
        Band of the surface.
    inverted : bool
        Whether the surface is 1 minus the band.
    labels : tuple of int
        Bands that a point may be named after.
    floor : float
        Least height.
    """

    band: int
    inverted: bool
    labels: tuple[int, ...]
    floor: float

    def _surface(self, values: np.ndarray) -> np.ndarray:
        return 1 - values if self.inverted else values

    def search(self, block: Block) -> tuple[Detections, Plateaus]:
        """Peaks of a window, and its plateaus that may go on in the next."""
        row, column, *_ = block.window
        around = block.halo - HALO
        surface = self._surface(block.band(self.band))
        surface = surface[around : len(surface) - around, around : surface.shape[1] - around]
        shape = block.cells.rows, block.cells.columns
        single, plateaus = find_peaks(surface, self.floor, row, column, shape)
        inner = plateaus.take(~plateaus.at_edge & ~plateaus.slope)
        level = self._level(block, inner.middle()) == inner.height
        cell, position = inner.positions(level, shape[1])
        cells = np.concatenate([single, cell])
        positions = np.concatenate([single + self._shift(block, single), position])
        return self._describe(block, cells, positions), plateaus.take(plateaus.at_edge)

    def search_across(
        self, cells: CellMap, plateaus: Plateaus, around: Sequence[tuple[int, int]]
    ) -> Iterator[Detections]:
        """Find the peaks among the plateaus of several windows."""
        tops = plateaus.take(~plateaus.slope)
        for k, middle in enumerate(tops.middle()):
            top, cell = tops.take(np.arange(len(tops)) == k), middle[None]
            block = Block(cells, (*middle.tolist(), 1, 1), around)
            level = self._level(block, cell) == top.height
            cell, position = top.positions(level, cells.columns)
            if not level[0]:
                block = Block(cells, (*cell[0].tolist(), 1, 1), around)
            yield self._describe(block, cell, position)

    def _level(self, block: Block, cell: np.ndarray) -> np.ndarray:
        return self._surface(block.values(self.band, cell))

    def _shift(self, block: Block, cell: np.ndarray) -> np.ndarray:
        """(n, 2) distance in cells from a cell's centre to the surface's maximum."""
        peak = self._level(block, cell)
        shifts = []
        for down, right in ((1, 0), (0, 1)):
            before = self._surface(block.values(self.band, cell, -down, -right))
            after = self._surface(block.values(self.band, cell, down, right))
            shifts.append(fit_parabolas(before, peak, after))
        return np.stack(shifts, axis=1)

    def _describe(self, block: Block, cell: np.ndarray, position: np.ndarray) -> Detections:
        means = block.means(cell)
        height = self._level(block, cell).astype(np.float64)
        # Rounding, or a higher peak nearby: no peak shall pass a threshold its height does not.
        score = np.minimum(self._surface(means[:, self.band]), height)
        label = np.array(self.labels)[means[:, list(self.labels)].argmax(axis=1)]
        x, y = position[:, 1], position[:, 0]
        return Detections(tuple(block.cells.names), x, y, score, height, label, means)


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
    else at the first. The position of a single cell is refined by a parabola
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
    names = tuple(cells.names)
    if not 0 < floor <= 1:
        raise DataError(f"`floor`: expected a probability above 0, received {floor:g}")
    labels = tuple(k for k, name in enumerate(names) if name != background)
    if not labels:
        raise DataError(
            f"the map: expected a class besides the background {background}, received none."
            " Make it again without `classes`"
        )
    if surface == "any" and background not in names:
        raise DataError(
            "peaks of any class: expected the background's probability in the map, received only"
            f" {', '.join(names)}. Make the map again with all classes, or seek each class's own"
            " peaks"
        )
    seekers = [Seeker(k, False, (k,), floor) for k in labels]
    if surface == "any":
        seekers = [Seeker(names.index(str(background)), True, labels, floor)]
    around = cells_within(1.5 if radius is None else radius / geometry.cell_size)
    halo, found = halo_of(around), list[Detections]()
    edges: list[list[Plateaus]] = [[] for _ in seekers]
    kept = RowsKept(cells, 2 * halo)
    for window in cut_windows(cells, halo) if windows is None else windows:
        block = Block(kept, window, around)
        for seeker, parts in zip(seekers, edges, strict=True):
            peaks, part = seeker.search(block)
            found.append(peaks)
            parts.append(part)
    for seeker, parts in zip(seekers, edges, strict=True):
        found += seeker.search_across(cells, merge_plateaus(parts, cells.columns), around)
    every = [np.concatenate([getattr(p, f.name) for p in found]) for f in fields(Detections)[1:]]
    points = Detections(names, *every)
    x, y = geometry.to_pixels(points.x, points.y)
    # Of two classes' peaks in one position neither the score nor the position need differ.
    order = np.lexsort((points.label, x, y, -points.score))
    return replace(points, x=x, y=y).take(order[points.score[order] >= floor])


def suppress_near(
    x: np.ndarray, y: np.ndarray, score: np.ndarray, distance: np.ndarray | float
) -> np.ndarray:
    """Keep points greedily by score, none too near to one that is kept.

    Parameters
    ----------
    x, y, score : (n,) arrays
    distance : (n,) array or float
        Least distance of each point, in the unit of x and y; two points are
        too near where they are nearer than the smaller distance of both. So an
        animal of a small class may stand beside one of a large class.

    Returns
    -------
    (m,) int array
        Indices of the kept points: highest score first, of equal ones the
        upper, then the left one.

    Notes
    -----
    Points are taken in batches down the ranking. Of a batch those too near to
    one kept earlier go first, and pairs are sought only among the others: the
    result is that of one greedy pass, while the pairs of all points at once
    need not fit into memory.
    """
    order = np.lexsort((x, y, -score))
    xy = np.stack([x, y], axis=1).astype(np.float64)[order]
    reach = np.broadcast_to(np.asarray(distance, np.float64), x.shape)[order]
    kept: list[np.ndarray] = []
    start, size = 0, _FIRST
    while start < len(order):
        batch = np.arange(start, min(start + size, len(order)))
        batch = batch[~_near_kept(xy, reach, batch, kept)]
        kept.append(batch[_keep_greedily(xy[batch], reach[batch])])
        start, size = start + size, min(2 * size, _MOST)
    return order[np.concatenate([np.zeros(0, np.intp), *kept])]


def _near_kept(
    xy: np.ndarray, reach: np.ndarray, batch: np.ndarray, kept: list[np.ndarray]
) -> np.ndarray:
    """Which of a batch are too near to a point kept before."""
    near = np.zeros(len(batch), bool)
    if not kept:
        return near
    earlier = np.concatenate(kept)
    for theirs in np.unique(reach[earlier]):
        tree = cKDTree(xy[earlier[reach[earlier] == theirs]])
        for own in np.unique(reach[batch]):
            asked = np.flatnonzero((reach[batch] == own) & ~near)
            least = min(own, theirs)
            if len(asked) and least > 0:
                found, _ = tree.query(xy[batch[asked]], distance_upper_bound=least)
                near[asked] = found < least
    return near


def _keep_greedily(xy: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Indices of the kept ones of ranked points."""
    alive = np.ones(len(xy), bool)
    if len(xy) < 2 or not reach.max() > 0:
        return np.flatnonzero(alive)
    pairs = cKDTree(xy).query_pairs(reach.max(), output_type="ndarray")
    apart = np.sqrt(((xy[pairs[:, 0]] - xy[pairs[:, 1]]) ** 2).sum(axis=1))
    pairs = np.sort(pairs[apart < np.minimum(*reach[pairs.T])], axis=1)
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    higher, first = np.unique(pairs[:, 0], return_index=True)
    for one, lower in zip(higher, np.split(pairs[:, 1], first[1:]), strict=False):
        if alive[one]:
            alive[lower] = False
    return np.flatnonzero(alive)


def suppress(candidates: Detections, parameters: DetectionParameters) -> Detections:
    """Choose greedily by distance among candidates that reach their class's threshold.

    Parameters
    ----------
    candidates : Detections
        What `find_candidates` gives with a floor not above any threshold.
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
