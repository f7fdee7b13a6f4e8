"""One image divided into blocks, one a split, such that no pixel is in two of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from tltool.data.splits import SPLITS, Fractions

# Positions along an axis where an image may be cut, plus one.
_CUTS = 40


@dataclass(frozen=True)
class Blocks:
    """An image divided into three rectangles, one a split.

    Attributes
    ----------
    bounds : (3, 4) array
        x0, y0, x1, y1 of each of `SPLITS`, px; infinite at the image's ends,
        where windows see reflections and nothing is cut.
    margin : float
        Half the side of a window, px: a window that is not wholly inside one
        rectangle lies in the gap and belongs to no split.
    """

    bounds: np.ndarray
    margin: float

    def assign(self, positions: np.ndarray) -> np.ndarray:
        """Split of each window centre.

        Parameters
        ----------
        positions : (n, 2) array of x, y

        Returns
        -------
        (n,) int array of indices into `SPLITS`, -1 in the gap.
        """
        centres = np.asarray(positions, float).reshape(-1, 2)
        low, high = self.bounds[:, None, :2], self.bounds[:, None, 2:]
        inside = np.all((centres - self.margin >= low) & (centres + self.margin <= high), axis=2)
        return np.where(inside.any(axis=0), inside.argmax(axis=0), -1)

    def as_rectangles(self) -> dict[str, list[float | None]]:
        """Rectangles by the split's name: x0, y0, x1, y1 in px, None where one has no end."""
        return {
            split: [float(end) if np.isfinite(end) else None for end in bounds]
            for split, bounds in zip(SPLITS, self.bounds, strict=True)
            if not np.isnan(bounds).any()
        }

    @classmethod
    def of_rectangles(cls, rectangles: dict[str, list[float | None]], margin: float) -> "Blocks":
        """Take what `as_rectangles` gave, with a margin."""
        bounds = np.full((len(SPLITS), 4), np.nan)
        for split, ends in rectangles.items():
            given = np.array(ends, float)
            beyond = (-np.inf, -np.inf, np.inf, np.inf)
            bounds[SPLITS.index(split)] = np.where(np.isnan(given), beyond, given)
        return cls(bounds, margin)


# Which axis train is cut off along and which the rest.
_AXES = tuple(product((0, 1), (0, 1)))


def _halves(bounds: np.ndarray, axis: int, cut: float) -> tuple[np.ndarray, np.ndarray]:
    low, high = bounds.copy(), bounds.copy()
    low[2 + axis], high[axis] = cut, cut
    return low, high


def _bounds(layout: Sequence[int], places: Sequence[np.ndarray]) -> np.ndarray:
    """Rectangles of train, valid and test; NaN where there is none.

    Parameters
    ----------
    layout : six int
        One of `_AXES`, the index of the first cut, whether train is above it, the index
        of the second (the last is none), whether valid and test are exchanged.
    places : two arrays
        Where an image may be cut along each axis, px.
    """
    axis, other, cut, upper, second, swapped = layout
    whole, none = np.array([-np.inf, -np.inf, np.inf, np.inf]), np.full(4, np.nan)
    train, rest = _halves(whole, axis, places[axis][cut])[:: 1 - 2 * upper]
    undivided = second == len(places[other])
    parts = (rest, none) if undivided else _halves(rest, other, places[other][second])
    return np.stack([train, *parts[:: 1 - 2 * swapped]])


@dataclass(frozen=True)
class _Side:
    """Windows on one side of cuts: `above` those before, or below those from `first` on."""

    first: np.ndarray
    above: bool

    def gather(self, table: np.ndarray, axis: int) -> np.ndarray:
        """From windows counted by `first` along an axis to those on this side of each cut."""
        below = table.cumsum(axis)
        found = below.take([-1], axis) - below if self.above else below
        return found.take(range(table.shape[axis] - 1), axis)


def _sides(points: np.ndarray, places: np.ndarray, margin: float) -> tuple[_Side, _Side]:
    """Which cuts along an axis leave windows around (n,) points below and above them."""
    # Below all from the first one on, above all before the other one.
    return (
        _Side(np.searchsorted(places, points + margin, "left"), False),
        _Side(np.searchsorted(places, points - margin, "right"), True),
    )


def _counts(sides: Sequence[_Side], kinds: np.ndarray, cuts: int, classes: int) -> np.ndarray:
    """Windows of each class that lie on all of the sides: (cuts, ..., classes) array."""
    table = np.zeros((cuts + 1,) * len(sides) + (classes,))
    np.add.at(table, (*(side.first for side in sides), kinds), 1)
    for axis, side in enumerate(sides):
        table = side.gather(table, axis)
    return table


def _layout_counts(
    first: Sequence[_Side], second: Sequence[_Side], kinds: np.ndarray, cuts: int
) -> np.ndarray:
    """Windows of each class and split, for every layout that cuts along two axes.

    Parameters
    ----------
    first, second : pair of _Side
        Below and above the cuts of the first axis, and of the second.
    kinds : (n,) int array
        The windows' classes.
    cuts : int
        Along each axis.

    Returns
    -------
    (cuts, 2, cuts + 1, 2, 3, classes) array
        Indices as the last four of the layout of `_bounds`, then split and class.
    """
    classes = int(kinds.max(initial=0)) + 1
    counts = np.zeros((cuts, 2, cuts + 1, 2, 3, classes))
    for upper, (train, rest) in enumerate((first, first[::-1])):
        counts[:, upper, :, :, 0] = _counts([train], kinds, cuts, classes)[:, None, None]
        for half, inside in enumerate(second):
            found = _counts([rest, inside], kinds, cuts, classes)
            counts[:, upper, :-1, 0, 1 + half] = found
            counts[:, upper, :-1, 1, 2 - half] = found
        for swapped in (0, 1):
            undivided = _counts([rest], kinds, cuts, classes)
            counts[:, upper, -1, swapped, 1 + swapped] = undivided
    return counts


def _costs(counts: np.ndarray, total: int, fractions: Fractions) -> np.ndarray:
    # counts: (..., splits, classes) of windows that fit.
    sizes, wanted = counts.sum(axis=-1), np.asarray(fractions)
    together = sizes.sum(axis=-1, keepdims=True)
    lost = 1 - together[..., 0] / total
    shares = np.abs(sizes / np.maximum(1, together) - wanted).sum(axis=-1)
    missing = ((counts == 0) & (wanted > 0)[:, None]).sum(axis=-1)
    unwanted = sizes[..., wanted == 0].sum(axis=-1) > 0
    found: np.ndarray = 2 * lost + shares + missing @ np.array((1.0, 0.1, 0.1)) + unwanted
    return found


def cut_into_blocks(
    positions: np.ndarray,
    labels: Sequence[str],
    size: tuple[float, float],
    margin: float,
    fractions: Fractions,
    seed: int = 0,
    origin: tuple[float, float] = (0, 0),
) -> Blocks:
    """Divide an image such that few windows are lost and each split has its share and classes.

    Every layout of `_CUTS` places along both axes is weighed: twice the share
    of windows lost in the gap, plus how far the splits are from `fractions`,
    plus 1 for every class that train lacks and a tenth for every class that
    valid or test lacks.

    Parameters
    ----------
    positions : (n, 2) array of x, y, px
    labels : (n,) sequence of str
    size : (width, height), px
        Sides of the image, or of the part of it that is cut; what lies beyond goes
        with what is next to it.
    margin : float
        Half the side of a window, px.
    fractions : three floats
        Shares of train, valid and test.
    seed : int
        Draws the points that stand for all where there are more than a thousand.
    origin : (x, y)
        Where the part begins, px.
    """
    points = np.asarray(positions, float).reshape(-1, 2)
    chosen = np.random.default_rng(seed).permutation(len(points))[:1000]
    points, names = points[chosen], np.asarray(labels)[chosen]
    kinds = np.unique(names, return_inverse=True)[1]
    places = [
        start + np.arange(1, _CUTS) * (side / _CUTS)
        for start, side in zip(origin, size, strict=True)
    ]
    cuts, costs = len(places[0]), []
    sides = [_sides(points[:, axis], places[axis], margin) for axis in (0, 1)]
    for axis, other in _AXES:
        counts = _layout_counts(sides[axis], sides[other], kinds, cuts)
        found = _costs(counts, len(points), fractions)
        if axis == other:
            # The second cut must go through the rest.
            first, second = np.indices((cuts, cuts))
            found[:, 0, :-1][second <= first] = np.inf
            found[:, 1, :-1][second >= first] = np.inf
        costs.append(found)
    undivided = np.stack([np.bincount(kinds), *np.zeros((2, kinds.max() + 1))])
    # The first of the cheapest layouts, unless all is best left to train.
    every = np.stack(costs)
    best = int(every.argmin())
    if every.flat[best] > _costs(undivided, len(points), fractions):
        nothing = np.full((2, 4), np.nan)
        return Blocks(np.vstack([(-np.inf, -np.inf, np.inf, np.inf), nothing]), margin)
    axes, *rest = map(int, np.unravel_index(best, every.shape))
    return Blocks(_bounds((*_AXES[axes], *rest), places), margin)
