"""Matching of detections to true points, one to one within a radius."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from tltool.errors import DataError

# Numbers of a dense cost matrix, at most; above, edges alone are kept.
_DENSE = 1 << 20


@dataclass(frozen=True)
class Matches:
    """Pairs of points.

    Attributes
    ----------
    detection, truth : (n,) int arrays
        Indices of the partners.
    distance : (n,) float64 array
        Distance of the partners, px.
    """

    detection: np.ndarray
    truth: np.ndarray
    distance: np.ndarray

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, chosen: np.ndarray) -> "Matches":
        """Take the pairs at these indices, or where this is true."""
        return Matches(self.detection[chosen], self.truth[chosen], self.distance[chosen])


def _points(xy: np.ndarray, name: str) -> np.ndarray:
    points = np.asarray(xy, np.float64)
    if not points.size:
        return np.zeros((0, 2))
    if points.ndim != 2 or points.shape[1] != 2:
        raise DataError(f"`{name}`: expected (n, 2) positions x, y; received {points.shape}")
    if not np.isfinite(points).all():
        raise DataError(f"`{name}`: expected finite positions, received NaN or infinity")
    return points


def _near(detections: np.ndarray, truth: np.ndarray, radius: float) -> Matches:
    """All pairs within the radius of each other."""
    if not radius > 0:
        raise DataError(f"`radius`: expected px above 0, received {radius:g}")
    found, true = _points(detections, "detections"), _points(truth, "truth")
    # A tree of no points has no shape.
    if not len(found) or not len(true):
        none = np.zeros(0, np.intp)
        return Matches(none, none, np.zeros(0))
    tree = cKDTree(found)
    pairs = tree.sparse_distance_matrix(cKDTree(true), radius, output_type="ndarray")
    return Matches(pairs["i"], pairs["j"], pairs["v"])


def _components(pairs: Matches, detections: int, truth: int) -> Iterator[Matches]:
    """Pairs that share points, directly or through others."""
    ones = np.ones(len(pairs.truth), bool)
    size = detections + truth
    graph = coo_matrix((ones, (pairs.detection, pairs.truth + detections)), shape=(size, size))
    _, of = connected_components(graph, directed=False)
    of = of[pairs.detection]
    order = np.lexsort((pairs.truth, pairs.detection, of))
    _, first, number = np.unique(of[order], return_index=True, return_counts=True)
    # Most points have one partner only: all those at once.
    alone = number == 1
    yield pairs.take(order[first[alone]])
    for start, length in zip(first[~alone], number[~alone], strict=True):
        yield _assign(pairs.take(order[start : start + length]))


def _assign(pairs: Matches) -> Matches:
    """The assignment within a component."""
    one, row = np.unique(pairs.detection, return_inverse=True)
    other, column = np.unique(pairs.truth, return_inverse=True)
    shape = len(one), len(other)
    # Dearer than all distances together: one match more always pays.
    miss = 1 + (1 + min(shape)) * pairs.distance.max()
    if shape[0] * shape[1] > _DENSE:
        return pairs.take(_assign_sparse(row, column, pairs.distance, shape, miss))
    cost, index = np.full(shape, miss), np.full(shape, -1)
    cost[row, column], index[row, column] = pairs.distance, np.arange(len(row))
    chosen = index[linear_sum_assignment(cost)]
    return pairs.take(chosen[chosen >= 0])


def _assign_sparse(
    row: np.ndarray, column: np.ndarray, distance: np.ndarray, shape: tuple[int, int], miss: float
) -> np.ndarray:
    """Indices of the chosen pairs: each detection has a partner of its own that means a miss."""
    every = np.arange(shape[0])
    # A weight of 0 would be no edge; adding 1 to each row's one weight changes no choice.
    weight = np.concatenate([distance, np.full(shape[0], miss)]) + 1
    rows, columns = np.concatenate([row, every]), np.concatenate([column, every + shape[1]])
    graph = csr_matrix((weight, (rows, columns)), shape=(shape[0], shape[1] + shape[0]))
    partner = np.empty(shape[0], np.intp)
    chosen_row, chosen_column = min_weight_full_bipartite_matching(graph)
    partner[chosen_row] = chosen_column
    return np.flatnonzero(partner[row] == column)


def match_points(detections: np.ndarray, truth: np.ndarray, radius: float) -> Matches:
    """Assign detections to true points, each to one at most.

    As many as possible are matched, and of all such assignments the one of
    least total distance is taken.

    Parameters
    ----------
    detections, truth : (n, 2) and (m, 2) arrays of x, y
    radius : float
        Largest distance of a pair, in the same unit.

    Returns
    -------
    Matches
        In the order of the truth.

    Raises
    ------
    DataError
        Where positions are not finite or the radius is not above 0.

    Notes
    -----
    Points that are linked by no chain of pairs within the radius cannot
    compete, so each connected component is solved on its own.

    References
    ----------
    D. F. Crouse, "On implementing 2D rectangular assignment algorithms", IEEE
    Transactions on Aerospace and Electronic Systems 52(4), 2016,
    doi:10.1109/TAES.2016.140952: the solver behind
    `scipy.optimize.linear_sum_assignment`.
    """
    pairs = _near(detections, truth, radius)
    if not len(pairs.truth):
        return pairs
    parts = list(_components(pairs, len(detections), len(truth)))
    detection, true, distance = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("detection", "truth", "distance")
    )
    return Matches(detection, true, distance).take(np.argsort(true))


def enlarging_matches(
    detections: np.ndarray, truth: np.ndarray, radius: float, score: np.ndarray
) -> np.ndarray:
    """Find the detections that each let one true point more be matched, highest score first.

    Parameters
    ----------
    detections, truth : (n, 2) and (m, 2) arrays of x, y
    radius : float
    score : (n,) array

    Returns
    -------
    (n,) bool array; above any threshold as many are true as `match_points`
    matches of the detections above it.
    """
    pairs = _near(detections, truth, radius)
    pairs = pairs.take(np.lexsort((pairs.truth, pairs.distance, pairs.detection)))
    starts = np.searchsorted(pairs.detection, np.arange(1, len(detections)))
    # True points within the radius of each detection, the nearest first.
    partners = [part.tolist() for part in np.split(pairs.truth, starts)]
    enlarging = np.zeros(len(detections), bool)
    taken, held, closed = [-1] * len(truth), dict[int, int](), [False] * len(truth)
    for new in np.argsort(-np.asarray(score), kind="stable").tolist():
        came_from: dict[int, int] = {}
        queue, free = [new], -1
        for one in queue:
            for true in partners[one]:
                if closed[true] or true in came_from:
                    continue
                came_from[true] = one
                if taken[true] < 0:
                    free = true
                    break
                queue.append(taken[true])
            if free >= 0:
                break
        if free < 0:
            # No later detection finds a way out of here either: their partners are all seen.
            for true in came_from:
                closed[true] = True
            continue
        enlarging[new] = True
        # The points of the path are handed on, from the free one back to the new detection.
        while (one := came_from[free]) != new:
            left = held[one]
            taken[free], held[one] = one, free
            free = left
        taken[free], held[new] = new, free
    return enlarging


def average_precision(right: np.ndarray, score: np.ndarray, truth: int) -> float | None:
    """Mean precision over the recall that each threshold adds.

    ``sum over k of (R_k - R_(k-1)) * P_k``, where P_k and R_k are precision
    and recall of the detections that reach the k-th highest of the distinct
    scores: scikit-learn's definition, without interpolation. Recall is that
    of all true points, so the missed ones lower it: with none missed it is
    ``sklearn.metrics.average_precision_score(right, score)``, else that times
    the share of the truth that is found at the lowest score.

    Parameters
    ----------
    right : (n,) bool array
        See `enlarging_matches`.
    score : (n,) array
    truth : int
        Number of true points.

    Returns
    -------
    float in 0..1; None without true points.
    """
    if not truth:
        return None
    order = np.argsort(-np.asarray(score), kind="stable")
    ranked = np.asarray(score)[order]
    found = np.cumsum(np.asarray(right)[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else order
    gained = np.diff(found[last], prepend=0)
    return float((gained * (found[last] / (last + 1))).sum() / truth)
