"""Whether a truth covers only the part of the images that was annotated."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from tltool.points.matching import match_points
from tltool.points.scoring import Scene

logger = logging.getLogger("tltool")

# Farther than so many radii from every true point nothing was annotated, it seems. So many
# confident detections there, and such a share of all confident ones, are worth a warning.
_FAR, _MANY, _SHARE = 4, 5, 0.2


def _far_and_confident(scene: Scene, radius: float) -> tuple[int, int]:
    """Confident detections far from every true point, and all confident ones."""
    if not len(scene.truth) or not len(scene.xy):
        return 0, 0
    right = match_points(scene.xy, scene.truth, radius).detection
    least = np.median(scene.score[right]) if len(right) else 0
    confident = scene.xy[scene.score >= least]
    distance, _ = cKDTree(scene.truth).query(confident)
    return int((distance > _FAR * radius).sum()), len(confident)


def warn_of_far(scenes: Sequence[Scene], radius: float, truth: str | Path) -> None:
    """Warn where many confident detections lie where no true point is near.

    Parameters
    ----------
    scenes : sequence of Scene
    radius : float
        Within which a detection can stand for a true point, px.
    truth : str or Path
        Where the points come from, for the message.

    Notes
    -----
    Confident are those with a score that half of the right detections reach.
    """
    pairs = np.array([_far_and_confident(scene, radius) for scene in scenes]).reshape(-1, 2)
    far, confident = pairs.sum(axis=0).tolist()
    if far >= _MANY and far >= _SHARE * confident:
        logger.warning(
            "%s: %d of %d confident detections lie more than %g px from every point. Where only a"
            " part of the images was annotated they count as false: draw that part with --aoi",
            truth,
            far,
            confident,
            _FAR * radius,
        )
