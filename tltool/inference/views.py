"""Test-time augmentation: an image seen several ways, the mean of what is said to them.

The network is asked for each of A_1(I) .. A_L(I) and the mean of its posteriors
is the answer. A_l are the eight flips and rotations (the group D4), or random
draws of the augmentation that the network was trained with; the image as it is
counts in the former alone.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tltool.augment.entries import BATCH_ENTRIES, parse_entries
from tltool.augment.pipeline import Augmenter
from tltool.errors import UsageError
from tltool.inference.network import Network, Probabilities
from tltool.prefetch import default_workers, prefetch

# What puts something else into the picture, so that it is not the one to be judged any more.
_FOREIGN = ("superimpose", "swap_background")


class Views(Protocol):
    """Ways to see an image.

    Attributes
    ----------
    kind : str
        ``d4`` or ``draws``.
    number : int
    """

    kind: str
    number: int

    def __call__(self, images: np.ndarray, view: int, places: Sequence[int]) -> np.ndarray:
        """Some images in a view; `places` are theirs among all images."""
        ...


class FlipsAndRotations:
    """The eight flips and rotations of a square."""

    kind, number = "d4", 8

    def __call__(self, images: np.ndarray, view: int, places: Sequence[int]) -> np.ndarray:
        """See `Views`."""
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
                "tta: the recipe has no augmentation to draw from. Take d4, the flips and rotations"
            )
        self._augmenter, self.number, self._seed = Augmenter(kept), number, seed

    def __call__(self, images: np.ndarray, view: int, places: Sequence[int]) -> np.ndarray:
        """See `Views`."""
        return np.stack(
            [
                self._augmenter(pixels, (self._seed, view, place))
                for pixels, place in zip(images, places, strict=True)
            ]
        )


def parse_tta(told: str | int | None) -> int | None:
    """Number of random draws that a text asks for; 0 for D4, None for neither.

    Raises
    ------
    UsageError
        Where it is neither ``none``, ``d4`` nor a number from 1 on.
    """
    if told in (None, "none"):
        return None
    if told == "d4":
        return 0
    if not str(told).isdecimal() or int(told) < 1:
        raise UsageError(f"tta: expected none, d4 or a number of draws from 1 on; received {told}")
    return int(told)


def mean_of_views(
    network: Network, images: np.ndarray, views: Views, places: Sequence[int]
) -> Probabilities:
    """The mean of what a network says to all views of some images.

    Parameters
    ----------
    network : Network
    images : (b, side, side, bands) uint8 array
    views : Views
    places : sequence of int
        Theirs among all images, which random draws depend on.
    """
    total: Probabilities = {}
    make = lambda view: network.prepare(views(images, view, places))  # noqa: E731
    for prepared in prefetch(make, range(views.number), default_workers()):
        for name, values in network(prepared).items():
            total[name] = total.get(name, 0) + values / views.number
    return total
