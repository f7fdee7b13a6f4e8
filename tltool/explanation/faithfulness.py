"""Faithfulness of maps: how the answer changes with the pixels they name, and where they point."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from tltool.explanation.boxes import Box

# Shares of the pixels that are changed at a time.
STEPS = 32
# Blur that insertion starts from: sigma over the image's side.
BLUR = 1 / 12
# How far from a box a map may point, over the image's side: Zhang et al. allow 15 px.
TOLERANCE = 15 / 224
# How far from a point, whose thing has a size that is not known: over the side of a patch.
POINT_TOLERANCE = 1 / 4

# (n, height, width, bands) images -> (n,) probabilities
Predict = Callable[[np.ndarray], np.ndarray]


def rank_pixels(heat: np.ndarray, seed: int = 0) -> np.ndarray:
    """The pixels' ranks from the highest, (height, width); equal ones in random order."""
    chance = np.random.default_rng(seed).random(heat.size)
    order = np.lexsort((chance, -heat.reshape(-1)))
    return np.argsort(order).reshape(heat.shape)


def _curve(predict: Predict, start: np.ndarray, end: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """The probability as pixels go over from `start` to `end` by rank: (STEPS + 1,)."""
    numbers = np.arange(STEPS + 1)[:, None, None] * ranks.size / STEPS
    changed = (ranks < numbers)[..., None]
    return predict(np.where(changed, end, start))


def area_under(curve: np.ndarray) -> float:
    """Area under a curve over 0..1, by trapezoids."""
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))


def deletion(predict: Predict, image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The probability while the pixels are deleted, the ones with most heat first.

    A deleted pixel takes the image's mean colour, so the last image is of one
    colour. A good map makes the probability fall soon: the area under the
    curve (`area_under`) is small.

    Parameters
    ----------
    predict : callable
        From (n, height, width, bands) images to (n,) probabilities of the
        class that the map is of.
    image : (height, width, bands) array
    heat : (height, width) array

    Returns
    -------
    (STEPS + 1,) array

    References
    ----------
    V. Petsiuk, A. Das and K. Saenko, "RISE: Randomized Input Sampling for
    Explanation of Black-box Models", BMVC 2018, section 4.1 and algorithm 1.
    """
    image = np.asarray(image, np.float32)
    mean = np.broadcast_to(image.mean(axis=(0, 1)), image.shape)
    return _curve(predict, image, mean, rank_pixels(heat))


def insertion(predict: Predict, image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The probability while a blurred image gets its pixels back, the ones with most heat first.

    The start is the image blurred by a Gaussian whose sigma is a twelfth of
    its side, the end the image. A good map makes the probability rise soon:
    the area under the curve (`area_under`) is large. Parameters, result and
    source as of `deletion`.
    """
    image = np.asarray(image, np.float32)
    sigma = BLUR * max(heat.shape)
    blurred = gaussian_filter(image, (sigma, sigma, 0), mode="reflect")
    return _curve(predict, blurred, image, rank_pixels(heat))


def points_at(heat: np.ndarray, things: Sequence[tuple[Box, float]]) -> bool:
    """The pointing game: whether the map is highest on one of the things, or next to it.

    A map of one value points nowhere.

    Parameters
    ----------
    heat : (height, width) array
    things : sequence of (Box, float)
        px of `heat`, each with how far outside is still a hit; points are
        boxes without inside.

    References
    ----------
    J. Zhang, S. A. Bargal, Z. Lin, J. Brandt, X. Shen and S. Sclaroff,
    "Top-Down Neural Attention by Excitation Backprop", International Journal
    of Computer Vision 126, 2018, section 4.2.
    """
    if heat.min() == heat.max():
        return False
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    return any(box.distance(column + 0.5, row + 0.5) <= near for box, near in things)
