"""Which parts of images a run was not trained on, by the manifest of its patches."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from tltool.data.patch_writing import patch_rows
from tltool.sidecar import Sidecar


@dataclass(frozen=True)
class PatchPlaces:
    """Patches that were cut from an image.

    Attributes
    ----------
    xy : (n, 2) float64 array
        Their centres, px.
    train : (n,) bool array
        Whether a patch was trained on.
    """

    xy: np.ndarray
    train: np.ndarray

    def held_out(self, xy: np.ndarray) -> np.ndarray:
        """Which of (n, 2) positions lie where nothing was trained on.

        A position belongs to the split of the patch nearest to it: splits are
        blocks with a gap between them, in the middle of which that changes.
        """
        if not len(xy):
            return np.zeros(0, bool)
        _, nearest = cKDTree(self.xy).query(xy)
        return ~self.train[nearest]


def trained_places(sidecar: Sidecar, images: Sequence[Path]) -> dict[Path, PatchPlaces]:
    """Patches of those images that a network was trained on, at least in part.

    Parameters
    ----------
    sidecar : Sidecar
        Tells where its data lie.
    images : sequence of Path

    Returns
    -------
    dict of Path to PatchPlaces
        Empty where no manifest of `tltool patches` lies there any more.
    """
    if not sidecar.data or "folder" not in sidecar.data:
        return {}
    wanted = {image.resolve(): image for image in images}
    of_image: dict[Path, list[tuple[float, float, bool]]] = {}
    for row in patch_rows(Path(sidecar.data["folder"])):
        image = wanted.get(Path(row["image"]))
        if image is not None:
            place = float(row["x"]), float(row["y"]), row["split"] == "train"
            of_image.setdefault(image, []).append(place)
    every = {image: np.array(rows, float) for image, rows in of_image.items()}
    places = {i: PatchPlaces(rows[:, :2], rows[:, 2] > 0) for i, rows in every.items()}
    return {image: place for image, place in places.items() if place.train.any()}
