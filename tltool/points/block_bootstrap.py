"""Intervals from how precision and recall vary between blocks of the validation images.

Animals lie in groups, and light, ground and height differ from place to place,
so errors of neighbours are alike: whole blocks are then the independent
samples, not points. The bootstrap draws blocks with replacement. It assumes
that blocks are independent and alike in kind (larger than the groups, drawn
from the same survey) and that a new image is made of such blocks; it assumes
nothing on how errors are distributed within them. It needs blocks: from fewer
than about 20 its intervals are a guess, from fewer than 8 with points none is
given.

References
----------
B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, Chapman &
Hall, 1993, chapters 8 and 13.
P. Hall, "Resampling a coverage pattern", Stochastic Processes and their
Applications 20(2), 1985, pp. 231-246: blocks in space.
W. G. Cochran, Sampling Techniques, 3rd edition, Wiley, 1977, chapter 6: the
ratio estimator and its residuals.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm, t

from tltool.errors import DataError
from tltool.points.intervals import CountInterval
from tltool.points.matching import match_points
from tltool.points.scoring import Scene

Counts = tuple[int, int, int]

LEAST_BLOCKS = 8

METHOD = (
    "bootstrap of validation blocks: ratio of true points to detections and its residuals;"
    " assumes independent blocks and an image made of such"
)


def count_blocks(
    scenes: Sequence[Scene], radius: float, block: float | None = None
) -> list[Counts]:
    """Matched, false and missed points of each block.

    Parameters
    ----------
    scenes : sequence of Scene
        Scenes of one class, or of all where labels do not matter.
    radius : float
        See `match_points`.
    block : float, optional
        Side of the squares that images are cut into, px; default: each image
        is a block. A pair belongs where its true point lies. Squares without
        any point are left out, images are not.

    Returns
    -------
    list of (tp, fp, fn)
    """
    return [counts for scene in scenes for counts in _blocks_of(scene, radius, block)]


def _blocks_of(scene: Scene, radius: float, block: float | None) -> list[Counts]:
    found, true = (np.asarray(xy, float).reshape(-1, 2) for xy in (scene.xy, scene.truth))
    matched = match_points(found, true, radius)
    false, missed = np.ones(len(found), bool), np.ones(len(true), bool)
    false[matched.detection], missed[matched.truth] = False, False
    groups = true[~missed], found[false], true[missed]
    if block is None:
        return [(len(matched), int(false.sum()), int(missed.sum()))]
    kind = np.repeat(np.arange(3), [len(group) for group in groups])
    square = np.floor(np.concatenate(groups) / block).astype(int)
    _, of = np.unique(square, axis=0, return_inverse=True)
    table = np.zeros((of.max(initial=-1) + 1, 3), int)
    np.add.at(table, (of.reshape(-1), kind), 1)
    return [(tp, fp, fn) for tp, fp, fn in table.tolist()]


def resample_blocks(blocks: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Sum over as many blocks, drawn with replacement.

    Parameters
    ----------
    blocks : (n, 3) array
        Matched, false and missed points of each.
    draws : int
    rng : numpy.random.Generator

    Returns
    -------
    (draws, 3) array
        Of each resampled validation set.
    """
    number = len(blocks)
    return rng.multinomial(number, np.full(number, 1 / number), draws) @ blocks


def bootstrap_interval(
    detections: int, blocks: Sequence[Counts], level: float = 0.95, draws: int = 4000, seed: int = 0
) -> CountInterval | None:
    """The true number in a new image, by resampling validation blocks.

    Each draw takes the ratio of true points to detections from one resampled
    validation set, and adds what the points of as many blocks as the image's
    detections would fill deviate from that ratio in another: how well the
    ratio is known, and how far a new place strays from it.

    Parameters
    ----------
    detections : int
    blocks : sequence of (tp, fp, fn)
        Blocks of this class, as `count_blocks` gives them.
    level : float
        Probability that the interval holds the true number, 0..1.
    draws, seed : int

    Returns
    -------
    CountInterval or None
        None, which means unknown, where fewer than 8 blocks have a point or no
        true point was found.

    Notes
    -----
    Deviations are those of a Student distribution for the number of blocks
    rather than of a normal one: a few blocks show less than there is.
    """
    if detections < 0:
        raise DataError(f"`detections`: expected a number from 0 on, received {detections}")
    table = np.asarray(blocks, float).reshape(-1, 3)
    table = table[table.any(axis=1)]
    if len(table) < LEAST_BLOCKS or not table[:, 0].any():
        return None
    rng, number = np.random.default_rng(seed), len(table)
    found, true = table[:, 0] + table[:, 1], table[:, 0] + table[:, 2]
    ratio = true.sum() / found.sum()
    tp, fp, fn = resample_blocks(table, draws, rng).T
    known = np.divide(tp + fn, tp + fp, out=np.full(draws, ratio), where=tp + fp > 0) - ratio
    filled = (detections + 0.5) / found.mean()
    others = rng.multinomial(int(np.ceil(filled)), np.full(number, 1 / number), draws)
    strayed = others @ (true - ratio * found) * np.sqrt(filled / np.ceil(filled))
    tail = (1 + level) / 2
    widen = np.sqrt(number / (number - 1)) * t.ppf(tail, number - 1) / norm.ppf(tail)
    drawn = ratio * detections + widen * (known * detections + strayed)
    lower, upper = np.rint(np.quantile(drawn, [1 - tail, tail])).clip(0).astype(int).tolist()
    return CountInterval(detections, ratio * detections, lower, upper, level, METHOD)
