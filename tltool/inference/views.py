"""Test-time augmentation: the views of an image whose probabilities are averaged.

The network is asked for each of A_1(I) .. A_L(I) and the mean of its posteriors
is the answer. A_l are the eight flips and rotations (the group D4), or random
draws of the augmentation that the network was trained with; the image as it is
counts in the former alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tltool.augment.entries import BATCH_ENTRIES, parse_entries
from tltool.augment.pipeline import Augmenter
from tltool.errors import UsageError

# What puts something else into the picture, so that it is not the one to be predicted any more.
_FOREIGN = ("superimpose", "swap_background")


class FlipsAndRotations:
    """The eight flips and rotations of a square.

    Attributes
    ----------
    kind : str
        ``d4`` or, of the draws, ``draws``.
    number : int
        Number of views.
    """

    kind, number = "d4", 8

    def __call__(self, images: np.ndarray, view: int, indices: Sequence[int]) -> np.ndarray:
        """Turn some images to a view; `indices` are theirs among all images."""
        turned = np.rot90(images, view // 2, axes=(1, 2))
        return turned[:, :, ::-1] if view % 2 else turned


class RandomDraws:
    """Draws of an augmentation, the same for a seed however the images are batched.

    Parameters
    ----------
    entries : sequence
        The recipe's ``augment`` list. Those that mix images or put other
        things into them are left out.
    number : int
    seed : int

    Raises
    ------
    UsageError
        Where nothing is left to draw.
    """

    kind = "draws"

    def __init__(self, entries: Sequence[Any], number: int, seed: int):
        kept = [
            entry
            for entry, node in zip(entries, parse_entries(entries), strict=True)
            if node.name not in BATCH_ENTRIES and not any(x.name in _FOREIGN for x in node.leaves())
        ]
        if not kept:
            raise UsageError(
                "`tta`: the recipe has no augmentation to draw from. Take d4, the flips and"
                " rotations"
            )
        self._augmenter, self.number, self._seed = Augmenter(kept), number, seed

    def __call__(self, images: np.ndarray, view: int, indices: Sequence[int]) -> np.ndarray:
        """As of `FlipsAndRotations`."""
        return np.stack(
            [
                self._augmenter(pixels, (self._seed, view, index))
                for pixels, index in zip(images, indices, strict=True)
            ]
        )


# Ways to see an image.
Views = FlipsAndRotations | RandomDraws


def parse_tta(tta: str | int | None) -> int | None:
    """Read the number of random draws that is asked for; 0 for D4, None for neither.

    Raises
    ------
    UsageError
        Where it is neither ``none``, ``d4`` nor a number from 1 on.
    """
    if tta in (None, "none"):
        return None
    if tta == "d4":
        return 0
    if not str(tta).isdecimal() or int(tta) < 1:
        raise UsageError(f"`tta`: expected none, d4 or a number of draws from 1 on; received {tta}")
    return int(tta)
