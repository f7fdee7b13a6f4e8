"""Which split any place of an image belongs to, by what `tltool patches` wrote."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tltool.data.blocks import Blocks
from tltool.data.dataset import Rectangle, read_facts
from tltool.data.patch_folder import patch_rows
from tltool.data.splits import SPLITS
from tltool.run.sidecar import Sidecar

_OPEN = np.array([-np.inf, -np.inf, np.inf, np.inf])


def blocks_as_facts(blocks: Blocks) -> dict[str, Rectangle]:
    """Rectangles by the split's name: x0, y0, x1, y1 in px, None where one has no end."""
    return {
        split: [float(end) if np.isfinite(end) else None for end in bounds]
        for split, bounds in zip(SPLITS, blocks.bounds, strict=True)
        if not np.isnan(bounds).any()
    }


def _blocks_of_facts(rectangles: dict[str, Rectangle], margin: float) -> Blocks:
    bounds = np.full((len(SPLITS), 4), np.nan)
    for split, ends in rectangles.items():
        told = np.array([np.nan if end is None else end for end in ends], float)
        bounds[SPLITS.index(split)] = np.where(np.isnan(told), _OPEN, told)
    return Blocks(bounds, margin)


@dataclass(frozen=True)
class KnownSplits:
    """The splits of the images that patches were cut from.

    Attributes
    ----------
    images : dict of Path to int
        Place in `SPLITS` of images that are in one split as a whole.
    blocks : dict of Path to dict of split to rectangle
        Of those that were divided.
    """

    images: dict[Path, int]
    blocks: dict[Path, dict[str, Rectangle]]

    @classmethod
    def load(cls, folder: Path) -> "KnownSplits":
        """Read them from what `tltool patches` wrote; of other data nothing is known.

        Parameters
        ----------
        folder : Path
            Of the patches, or their manifest.
        """
        rows = patch_rows(folder)
        facts = read_facts(folder if folder.is_dir() else folder.parent) if rows else None
        blocks = {Path(image): told for image, told in ((facts and facts.blocks) or {}).items()}
        splits: dict[Path, set[str]] = {}
        for row in rows:
            splits.setdefault(Path(row["image"]), set()).add(row["split"])
        whole = {image: SPLITS.index(min(told)) for image, told in splits.items() if len(told) == 1}
        return cls({image: k for image, k in whole.items() if image not in blocks}, blocks)

    def trained_on(self, image: Path) -> bool:
        """Whether an image, or a part of it, belongs to the training split."""
        path = image.resolve()
        return path in self.blocks or self.images.get(path) == 0

    def assign(self, image: Path, positions: np.ndarray, margin: float = 0) -> np.ndarray:
        """Split of places on an image.

        Parameters
        ----------
        image : Path
        positions : (n, 2) array of x, y, px
        margin : float
            How far around a place must be in the same split, px.

        Returns
        -------
        (n,) int array
            Indices into `SPLITS`; -1: between two splits, or on an image that
            nothing is known of.
        """
        path = image.resolve()
        if path in self.blocks:
            return _blocks_of_facts(self.blocks[path], margin).assign(positions)
        return np.full(len(positions), self.images.get(path, -1))


def known_splits(sidecar: Sidecar) -> KnownSplits:
    """The splits of the images that a run's patches were cut from, as far as they are known."""
    folder = (sidecar.data or {}).get("folder")
    return KnownSplits.load(Path(folder)) if folder else KnownSplits({}, {})
