"""Non-maximum suppression of points by distance: exactly the greedy one, in bounded memory."""

import numpy as np
from scipy.spatial import cKDTree

# Points ranked at once: the first batch, and the largest.
_FIRST, _MOST = 1 << 12, 1 << 17


def rank(score: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Order of (n,) points: highest score first; of equal ones the upper, then the left one."""
    return np.lexsort((x, y, -score))


def suppress_near(
    x: np.ndarray, y: np.ndarray, score: np.ndarray, distance: np.ndarray | float
) -> np.ndarray:
    """Keep points greedily by score, none too near to one that is kept.

    Parameters
    ----------
    x, y, score : (n,) arrays
    distance : (n,) array or float
        Of each point, in the unit of x and y; two points are too near where
        they are nearer than the smaller distance of both. So an animal of a
        small class may stand beside one of a large class.

    Returns
    -------
    (m,) int array
        Places of the kept points, by `rank`.

    Notes
    -----
    Points are taken in batches down the ranking. Of a batch those too near to
    one kept earlier go first, and pairs are sought only among the others: the
    result is that of one greedy pass, while the pairs of all points at once
    need not fit into memory.
    """
    order = rank(score, x, y)
    places = np.stack([x, y], axis=1).astype(np.float64)[order]
    reach = np.broadcast_to(np.asarray(distance, np.float64), x.shape)[order]
    kept: list[np.ndarray] = []
    start, size = 0, _FIRST
    while start < len(order):
        batch = np.arange(start, min(start + size, len(order)))
        batch = batch[~_near_kept(places, reach, batch, kept)]
        kept.append(batch[_keep_greedily(places[batch], reach[batch])])
        start, size = start + size, min(2 * size, _MOST)
    return order[np.concatenate([np.zeros(0, np.intp), *kept])]


def _near_kept(
    places: np.ndarray, reach: np.ndarray, batch: np.ndarray, kept: list[np.ndarray]
) -> np.ndarray:
    """Which of a batch are too near to a point kept before."""
    near = np.zeros(len(batch), bool)
    if not kept:
        return near
    earlier = np.concatenate(kept)
    for theirs in np.unique(reach[earlier]):
        tree = cKDTree(places[earlier[reach[earlier] == theirs]])
        for own in np.unique(reach[batch]):
            asked = np.flatnonzero((reach[batch] == own) & ~near)
            least = min(own, theirs)
            if len(asked) and least > 0:
                found, _ = tree.query(places[batch[asked]], distance_upper_bound=least)
                near[asked] = found < least
    return near


def _keep_greedily(places: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Places of the kept ones of ranked points."""
    alive = np.ones(len(places), bool)
    if len(places) < 2 or not reach.max() > 0:
        return np.flatnonzero(alive)
    pairs = cKDTree(places).query_pairs(reach.max(), output_type="ndarray")
    apart = np.sqrt(((places[pairs[:, 0]] - places[pairs[:, 1]]) ** 2).sum(axis=1))
    pairs = np.sort(pairs[apart < np.minimum(*reach[pairs.T])], axis=1)
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    higher, first = np.unique(pairs[:, 0], return_index=True)
    for one, lower in zip(higher, np.split(pairs[:, 1], first[1:]), strict=False):
        if alive[one]:
            alive[lower] = False
    return np.flatnonzero(alive)
