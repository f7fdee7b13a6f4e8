"""Batches whose images are mixed with each other, and their targets likewise: mixup and cutmix."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tltool.augment.entries import BATCH_ENTRIES, parse_entries
from tltool.errors import RecipeError

# Sets the stream of a batch apart from those of its images, whatever their keys.
_STREAM = (1,)
Targets = dict[str, np.ndarray]


def draw_box(
    share: float, size: tuple[int, int], margin: int, rng: np.random.Generator
) -> tuple[slice, slice]:
    """Draw the box that cutmix replaces.

    Parameters
    ----------
    share : float
        Share of the patch, 0..1, before the box is cut off at its edges.
    size : (height, width)
        Sides of the image, px.
    margin : int
        Context around the patch, px.

    Returns
    -------
    rows, columns : slices
        Within the patch, maybe empty.

    References
    ----------
    Yun et al. 2019, CutMix, arXiv:1905.04899, equation 2: sides are the patch's
    times sqrt(share), the centre is anywhere in the patch.
    """
    sides = []
    for length in size:
        patch = length - 2 * margin
        reach, centre = int(patch * np.sqrt(share)), int(rng.integers(patch))
        start, stop = centre - reach // 2, centre - reach // 2 + reach
        sides.append(slice(margin + max(0, start), margin + min(patch, max(0, stop))))
    return sides[0], sides[1]


def mix_targets(
    own: np.ndarray, other: np.ndarray, weights: np.ndarray, unlabelled: float = -1.0
) -> np.ndarray:
    """Mix rows of targets.

    Parameters
    ----------
    own, other : (b, outputs) float32 array
        0..1, or numbers.
    weights : (b,) float32 array
        Share of `own`, 0..1; `other` has the rest.
    unlabelled : float
        What stands for "not labelled": -1 (any value below 0) or NaN.

    Returns
    -------
    (b, outputs) float32 array: `unlabelled` where a part with a weight above 0 is.
    """
    weights = weights[:, None]
    lacks = [np.isnan(each) if np.isnan(unlabelled) else each < 0 for each in (own, other)]
    mixed = weights * np.where(lacks[0], 0, own) + (1 - weights) * np.where(lacks[1], 0, other)
    unknown = ((weights > 0) & lacks[0]) | ((weights < 1) & lacks[1])
    mixed[unknown] = unlabelled
    return mixed


def mixup(
    images: np.ndarray, others: np.ndarray, alpha: float, margin: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Average each image with its partner.

    Parameters
    ----------
    images, others : (b, h, w, c) float32 array
    alpha : float
        Weights are drawn from Beta(alpha, alpha).

    Returns
    -------
    mixed : (b, h, w, c) float32 array
    weights : (b,) float32 array
        Share of each of `images`.

    References
    ----------
    Zhang, Cisse, Dauphin and Lopez-Paz 2018, mixup, arXiv:1710.09412.
    """
    weights = rng.beta(alpha, alpha, len(images)).astype(np.float32)
    spread = weights[:, None, None, None]
    return spread * images + (1 - spread) * others, weights


def cutmix(
    images: np.ndarray, others: np.ndarray, alpha: float, margin: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Replace a box of each image by that of its partner.

    Parameters
    ----------
    images, others : (b, h, w, c) float32 array
    alpha : float
        The share that stays is drawn from Beta(alpha, alpha).
    margin : int
        See `draw_box`.

    Returns
    -------
    mixed : (b, h, w, c) float32 array
    weights : (b,) float32 array
        Share of the patch that stayed, counted in px.
    """
    size = images.shape[1], images.shape[2]
    patch = (size[0] - 2 * margin) * (size[1] - 2 * margin)
    mixed, weights = images.copy(), np.ones(len(images), np.float32)
    for index, kept in enumerate(rng.beta(alpha, alpha, len(images))):
        rows, columns = draw_box(1 - kept, size, margin, rng)
        mixed[index, rows, columns] = others[index, rows, columns]
        box = (rows.stop - rows.start) * (columns.stop - columns.start)
        weights[index] = 1 - box / patch
    return mixed, weights


class Mixer:
    """The batch entries of an ``augment`` list, one after another.

    Each sample has a partner, weight and box of its own: the papers' code has
    one weight a batch, which makes the steps of training noisier for nothing.

    Parameters
    ----------
    entries : sequence
        Entries as in a recipe: ``mixup: {alpha, p}`` and ``cutmix: {alpha, p}``; p
        is the probability that a sample is mixed.
    margin : int
        Px on each side of the images that are context of the patch, as
        the images are when they come, so after any zoom. The box of cutmix is
        drawn within the patch, and the share of a target is counted there.

    Raises
    ------
    RecipeError
    """

    def __init__(self, entries: Sequence[Any], margin: int = 0):
        nodes = parse_entries(entries)
        wrong = next((node for node in nodes if node.name not in BATCH_ENTRIES), None)
        if wrong:
            raise RecipeError(
                f"{wrong.where}: expected {' or '.join(BATCH_ENTRIES)}, received {wrong.name}"
            )
        self._entries, self.margin = list(entries), margin
        mixes = {"mixup": mixup, "cutmix": cutmix}
        self._steps = [(mixes[node.name], node.settings) for node in nodes]

    def with_margin(self, margin: int) -> "Mixer":
        """Copy the mixer for images with `margin` px of context on each side."""
        return Mixer(self._entries, margin)

    def __call__(
        self,
        images: np.ndarray,
        targets: Mapping[str, np.ndarray],
        key: tuple[int, ...],
        unlabelled: Mapping[str, float] | None = None,
    ) -> tuple[np.ndarray, Targets]:
        """Mix a batch.

        Parameters
        ----------
        images : (b, h, w, c) float32 array
        targets : dict of task name to (b, outputs) float32 array
            What is not labelled stays so, and so does what it is mixed into.
        key : tuple of int
            Seeds the draw.
        unlabelled : mapping of task name to float
            Target of what is not labelled; -1 where nothing is said.

        Returns
        -------
        images, targets
            New arrays of the same shapes; all tasks are mixed alike.
        """
        if min(images.shape[1:3]) <= 2 * self.margin:
            raise ValueError(
                f"images: expected more than the margin of {self.margin} px on each side, received"
                f" shape {images.shape}"
            )
        rng = np.random.default_rng(np.random.SeedSequence(key, spawn_key=_STREAM))
        mixed = dict(targets)
        for mix, settings in self._steps:
            partners = rng.permutation(len(images))
            partners = np.where(rng.random(len(images)) < settings.p, partners, range(len(images)))
            alone = partners == np.arange(len(images))
            found, weights = mix(images, images[partners], settings.alpha, self.margin, rng)
            # To the last bit, and whatever is drawn.
            found[alone], weights[alone] = images[alone], 1
            images = found
            mixed = {
                k: mix_targets(t, t[partners], weights, (unlabelled or {}).get(k, -1.0))
                for k, t in mixed.items()
            }
        return images, mixed
