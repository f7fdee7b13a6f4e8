"""Windows drawn for a person to count in, so that a network's count can be checked.

Counting whole photographs by eye costs days; counting in a few windows of them
costs minutes. Windows are drawn with replacement, those where the network
expects many objects more often, and what a person counts in them is weighted
by the inverse of how likely they were drawn (`tltool.points.checked`). A share
of the draws falls anywhere with the same probability, so that every window can
be drawn, no weight exceeds ``windows / uniform``, and what the network misses
everywhere is found.

References
----------
G. Perez, S. Maji and D. Sheldon, "DISCount: Counting in Large Image
Collections with Detector-Based Importance Sampling", AAAI 2024, section 3.
M. H. Hansen and W. N. Hurwitz, "On the theory of sampling from finite
populations", Annals of Mathematical Statistics 14(4), 1943, pp. 333-362.
T. Hesterberg, "Weighted average importance sampling and defensive mixture
distributions", Technometrics 37(2), 1995, pp. 185-194: the uniform share.
"""

import numpy as np

from tltool.errors import DataError


def window_probabilities(expected: np.ndarray, uniform: float = 0.5) -> np.ndarray:
    """Compute how probable each window is in one draw.

    ``(1 - uniform) * expected / expected.sum() + uniform / n``; where nothing
    is expected anywhere, ``1 / n``.

    Parameters
    ----------
    expected : (n,) array
        Objects that the network expects in each window, from 0 on: better the
        sum of calibrated probabilities than the number of detections.
    uniform : float
        Share of the draws that falls anywhere, above 0 and at most 1. At 0.5 a
        useless network costs little and what a good one misses shows up; less
        pays for large samples and networks known to be good.

    Returns
    -------
    (n,) float64 array that sums to 1.

    Raises
    ------
    DataError
        No window, negative or not finite numbers, a share out of range.
    """
    expected = np.asarray(expected, np.float64)
    if expected.ndim != 1 or not len(expected):
        raise DataError(
            f"`expected`: expected a number for each window, received shape {expected.shape}"
        )
    if not np.isfinite(expected).all() or (expected < 0).any():
        raise DataError("`expected`: expected finite numbers from 0 on")
    if not 0 < uniform <= 1:
        raise DataError(f"`uniform`: expected a share above 0 and at most 1, received {uniform:g}")
    number, total = len(expected), expected.sum()
    if not total:
        return np.full(number, 1 / number)
    return (1 - uniform) * expected / total + uniform / number


def draw_windows(probability: np.ndarray, number: int, seed: int = 0) -> np.ndarray:
    """Draw windows with replacement.

    Parameters
    ----------
    probability : (n,) array
        As `window_probabilities` gives it.
    number : int
        Draws in all, from 1 on.
    seed : int
        The same seed draws the same windows.

    Returns
    -------
    (n,) int64 array
        How often each window was drawn. A person counts in a window once,
        however often it was.

    Raises
    ------
    DataError
        No draws, or probabilities that do not sum to 1.
    """
    if number < 1:
        raise DataError(f"`number`: expected 1 or more, received {number}")
    probability = np.asarray(probability, np.float64)
    if probability.ndim != 1 or not np.isclose(probability.sum(), 1):
        raise DataError("`probability`: expected a probability for each window, 1 in all")
    drawn = np.random.default_rng(seed).choice(len(probability), number, p=probability)
    return np.bincount(drawn, minlength=len(probability))
