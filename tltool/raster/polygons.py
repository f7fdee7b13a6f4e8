"""Points in polygons, on arrays.

A point lies in a ring where a ray to the right crosses it an odd number of
times. Edges own their lower end and not their upper, and what lies exactly on
an edge belongs to what is right of it: neighbours that share an edge share no
point and leave none out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

Bounds = tuple[float, float, float, float]

# How far around a window it is still said to touch an edge, px: rounding.
_CLOSE = 1e-6


class Ring:
    """A closed line.

    Parameters
    ----------
    corners : (n, 2) float array
        x and y; the last may repeat the first.
    """

    def __init__(self, corners: np.ndarray):
        corners = np.asarray(corners, float)
        following = np.roll(corners, -1, 0)
        upwards = (corners[:, 1] <= following[:, 1])[:, None]
        # An edge gives the same numbers whichever way it is walked.
        self._low = np.where(upwards, corners, following)
        self._high = np.where(upwards, following, corners)
        self.bounds: Bounds = (*corners.min(0).tolist(), *corners.max(0).tolist())

    def contains(self, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        """Test which of (n,) points, sorted by y, lie inside: (n,) bool array."""
        inside = np.zeros(len(xs), bool)
        starts = np.searchsorted(ys, self._low[:, 1], "left")
        stops = np.searchsorted(ys, self._high[:, 1], "left")
        # Edges wholly left of all points are never crossed by a ray to the right.
        right = np.maximum(self._low[:, 0], self._high[:, 0]) > xs.min(initial=np.inf)
        for edge in np.flatnonzero((starts < stops) & right):
            part = slice(starts[edge], stops[edge])
            inside[part] ^= self._left_of(edge, xs[part], ys[part])
        return inside

    def _left_of(self, edge: np.integer, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        (x, y), (end, top) = self._low[edge], self._high[edge]
        # Without a division: exact for points on the edge whose numbers are short.
        return (xs - x) * (top - y) < (ys - y) * (end - x)

    def touches(self, bounds: Bounds) -> bool:
        """Whether an edge comes into a box, or closer to it than rounding."""
        left, top, right, bottom = bounds
        low, high = np.minimum(self._low, self._high), np.maximum(self._low, self._high)
        near = (low[:, 0] <= right) & (high[:, 0] >= left)
        near &= (low[:, 1] <= bottom) & (high[:, 1] >= top)
        x, y = self._low[near].T
        across, down = (self._high[near] - self._low[near]).T
        # An edge's line misses a box whose corners all lie strictly on one side of it.
        sides = [across * (b - y) - down * (a - x) for a in (left, right) for b in (top, bottom)]
        return bool(((np.min(sides, 0) <= 0) & (np.max(sides, 0) >= 0)).any())


@dataclass(frozen=True)
class Polygon:
    """A ring without the holes in it."""

    outer: Ring
    holes: Sequence[Ring] = ()

    def contains(self, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        """Test which of (n,) points, sorted by y, lie inside: (n,) bool array."""
        inside = self.outer.contains(xs, ys)
        for hole in self.holes:
            inside &= ~hole.contains(xs, ys)
        return inside


class Area:
    """One or more polygons of an image: all that lies in any of them.

    Parameters
    ----------
    polygons : sequence of Polygon
        In pixels of the image: x to the right, y down, 0 at the outer corner
        of the first pixel.

    Attributes
    ----------
    bounds : (left, top, right, bottom)
        px.
    """

    def __init__(self, polygons: Sequence[Polygon]):
        self._polygons = list(polygons)
        boxes = np.array([polygon.outer.bounds for polygon in polygons])
        self._boxes = boxes
        self.bounds: Bounds = (*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist())

    def covers(self, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        """Test which points lie in the area.

        Parameters
        ----------
        xs, ys : (...) float array
            px.

        Returns
        -------
        (...) bool array. Of a rectangle the left and upper edges are in, the
        right and lower ones out.
        """
        xs, ys = np.broadcast_arrays(np.asarray(xs, float), np.asarray(ys, float))
        order = np.argsort(ys, axis=None, kind="stable")
        found = np.zeros(xs.size, bool)
        found[order] = self._covers_sorted(xs.ravel()[order], ys.ravel()[order])
        return found.reshape(xs.shape)

    def _covers_sorted(self, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        found = np.zeros(len(xs), bool)
        starts = np.searchsorted(ys, self._boxes[:, 1], "left")
        stops = np.searchsorted(ys, self._boxes[:, 3], "right")
        for number in np.flatnonzero(starts < stops):
            part = slice(starts[number], stops[number])
            found[part] |= self._polygons[number].contains(xs[part], ys[part])
        return found

    def overlaps(self, x: float, y: float, width: float, height: float) -> bool:
        """Whether a window may have a point of the area in it; False is certain."""
        box = (x - _CLOSE, y - _CLOSE, x + width + _CLOSE, y + height + _CLOSE)
        for polygon in self._near(box):
            if any(ring.touches(box) for ring in (polygon.outer, *polygon.holes)):
                return True
            # No edge comes in: it lies in the polygon wholly or not at all.
            corner = np.array([x], float), np.array([y], float)
            if polygon.contains(*corner)[0]:
                return True
        return False

    def _near(self, box: Bounds) -> Iterator[Polygon]:
        left, top, right, bottom = self._boxes.T
        near = (left <= box[2]) & (right >= box[0]) & (top <= box[3]) & (bottom >= box[1])
        return (self._polygons[number] for number in np.flatnonzero(near))

    def on_cells(
        self, x0: float, y0: float, cell_width: float, cell_height: float, rows: int, columns: int
    ) -> np.ndarray:
        """Test which cells of a grid have their centre in the area.

        Parameters
        ----------
        x0, y0 : float
            Outer corner of the first cell, px.
        cell_width, cell_height : float
            Width and height of a cell, px.
        rows, columns : int

        Returns
        -------
        (rows, columns) bool array
        """
        xs = float(x0) + (np.arange(columns) + 0.5) * float(cell_width)
        ys = float(y0) + (np.arange(rows) + 0.5) * float(cell_height)
        found = np.zeros((rows, columns), bool)
        # Some rows at a time, so that the points of a large map need not exist at once.
        step = max(1, _POINTS // max(1, columns))
        for first in range(0, rows, step):
            part = ys[first : first + step]
            if self._misses(xs, part):
                continue
            points = np.tile(xs, len(part)), np.repeat(part, columns)
            found[first : first + step] = self._covers_sorted(*points).reshape(-1, columns)
        return found

    def _misses(self, xs: np.ndarray, ys: np.ndarray) -> bool:
        box = (xs[0], ys[0], xs[-1], ys[-1]) if len(xs) else (0.0, 0.0, -1.0, -1.0)
        return not any(True for _ in self._near(box))


# Points that are looked at together.
_POINTS = 1 << 20
