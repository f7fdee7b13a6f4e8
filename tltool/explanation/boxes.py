"""Weakly supervised localisation: the box around what a map shows, and how well it fits."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import find_objects, label

# Of the map's maximum, as Zhou et al. 2016, section 3.2, have it.
THRESHOLD = 0.2
# Overlap from which on a box counts as right.
IOU = 0.5


@dataclass(frozen=True)
class Box:
    """A rectangle, px to the right and down; 0 is the outer corner of the first pixel."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """px^2; 0 where it has no inside."""
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)

    def iou(self, other: "Box") -> float:
        """Intersection over union, 0..1."""
        left, right = max(self.left, other.left), min(self.right, other.right)
        top, bottom = max(self.top, other.top), min(self.bottom, other.bottom)
        common = Box(left, top, right, bottom).area
        union = self.area + other.area - common
        return common / union if union else 0.0

    def distance(self, x: float, y: float) -> float:
        """Distance of a point from the box, px; 0 inside."""
        across = max(self.left - x, 0.0, x - self.right)
        down = max(self.top - y, 0.0, y - self.bottom)
        return float(np.hypot(across, down))

    def moved(self, scale: float, left: float, top: float) -> "Box":
        """Enlarged by `scale` from the corner, then shifted."""
        first, last = (edge * scale + left for edge in (self.left, self.right))
        upper, lower = (edge * scale + top for edge in (self.top, self.bottom))
        return Box(first, upper, last, lower)


def find_box(heat: np.ndarray, threshold: float = THRESHOLD) -> Box | None:
    """The box around the largest connected part of a map that is above a share of its maximum.

    Parameters
    ----------
    heat : (height, width) array
    threshold : float
        Share of the maximum, 0..1.

    Returns
    -------
    Box in px of `heat`; None where the map has no positive value. Pixels that
    touch at an edge are connected; of equally large parts the first counts.

    References
    ----------
    B. Zhou et al., "Learning Deep Features for Discriminative Localization",
    CVPR 2016, section 3.2.
    """
    highest = heat.max()
    if not highest > 0:
        return None
    parts, _ = label((heat > 0) & (heat >= threshold * highest))
    largest = int(np.bincount(parts.reshape(-1))[1:].argmax())
    rows, columns = find_objects(parts)[largest]
    return Box(columns.start, rows.start, columns.stop, rows.stop)


@dataclass(frozen=True)
class Localisation:
    """Agreement of the boxes of images with their true ones.

    Attributes
    ----------
    images : int
        Images that have a true box.
    mean_iou : float
        Mean IoU of each image's box with the true one it fits best.
    accuracy : float
        Share of images where that is 0.5 or more.
    accuracy_with_class : float or None
        The same, and the class is that of the true box; None: no classes are
        given.
    """

    images: int
    mean_iou: float
    accuracy: float
    accuracy_with_class: float | None


def localise(found: list[tuple[float, bool | None]]) -> Localisation | None:
    """Sum up images, each with its IoU and whether its class is right (None: not known)."""
    if not found:
        return None
    ious = np.array([iou for iou, _ in found])
    right = [iou >= IOU and same for iou, same in found if same is not None]
    accuracy, with_class = (ious >= IOU).mean(), float(np.mean(right)) if right else None
    return Localisation(len(ious), float(ious.mean()), float(accuracy), with_class)
