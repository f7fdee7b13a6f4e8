"""What an image shows beside its classes: a mask, boxes, keypoints; and how they move with it.

Positions are in pixels, x to the right and y down, 0 at the outer corner of the first pixel. So
the middle of the first pixel is (0.5, 0.5), and a box of the whole image is (0, 0, width, height).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tltool.errors import UsageError

TARGET_KINDS = ("mask", "boxes", "keypoints")
# Value of a mask where nothing is known, as in PASCAL VOC and Cityscapes.
UNLABELLED = 255
# A box of which a smaller share is left within the image is dropped.
LEAST_VISIBLE = 0.1


def _array(name: str, value: Any, width: int | None) -> np.ndarray:
    """A table of numbers as float64, or one of whole numbers, of any width, as it is."""
    found = np.asarray(value)
    found = found.reshape(0, width) if found.size == 0 and width else found
    fits = found.ndim == 2 and width in (None, found.shape[1])
    if not fits or found.dtype.kind not in ("buif" if width else "bui"):
        raise UsageError(
            f"`{name}`: expected {'numbers' if width else 'whole numbers'} of shape"
            f" (n, {width or 'n'}), received {found.dtype} of shape {found.shape}"
        )
    return found.astype(float, copy=False) if width else found


@dataclass(frozen=True, eq=False)
class Targets:
    """Mask, boxes and keypoints of an image, each of which may be missing.

    Attributes
    ----------
    mask : (h, w) uint8 array or None
        Class of each pixel; 255 where nothing is known.
    boxes : (n, 4) float64 array or None
        xmin, ymin, xmax, ymax, px. Boxes without an area are dropped when they
        move.
    box_classes : (n,) int64 array or None
        Classes of the boxes; 0 where none are given.
    keypoints : (n, 2) float64 array or None
        x and y, px; NaN where a keypoint is missing. Their order has a meaning
        and stays.

    Raises
    ------
    UsageError
        An array of another shape or of other numbers.
    """

    mask: np.ndarray | None = None
    boxes: np.ndarray | None = None
    box_classes: np.ndarray | None = None
    keypoints: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.mask is not None:
            mask = _array("mask", self.mask, None)
            if mask.size and not 0 <= mask.min() <= mask.max() <= UNLABELLED:
                raise UsageError(
                    f"`mask`: expected classes in 0..{UNLABELLED}, received {mask.min()} to"
                    f" {mask.max()}"
                )
            object.__setattr__(self, "mask", mask.astype(np.uint8, copy=False))
        if self.keypoints is not None:
            object.__setattr__(self, "keypoints", _array("keypoints", self.keypoints, 2))
        if self.boxes is not None:
            boxes = _array("boxes", self.boxes, 4)
            if not np.isfinite(boxes).all() or (boxes[:, 2:] < boxes[:, :2]).any():
                raise UsageError("`boxes`: expected xmin, ymin, xmax, ymax, each least first")
            given = np.zeros(len(boxes)) if self.box_classes is None else self.box_classes
            classes = np.asarray(given).astype(int)
            if classes.shape != (len(boxes),):
                raise UsageError(
                    f"`box_classes`: expected one for each of {len(boxes)} boxes, received shape"
                    f" {classes.shape}"
                )
            object.__setattr__(self, "boxes", boxes)
            object.__setattr__(self, "box_classes", classes)

    @property
    def kinds(self) -> frozenset[str]:
        """Names of those of `TARGET_KINDS` that there are."""
        return frozenset(kind for kind in TARGET_KINDS if getattr(self, kind) is not None)

    def warped(self, matrix: np.ndarray, size: tuple[int, int]) -> "Targets":
        """Move all as an affine map moves the image.

        Parameters
        ----------
        matrix : (2, 3) array
            From (x, y, 1) of the image to (x, y) of the result, px.
        size : (height, width)
            Sides of the result, px.

        Returns
        -------
        Targets
            The mask by its nearest pixel, unlabelled beyond the image. The
            hull of each turned box, clipped; it is dropped where less than
            `LEAST_VISIBLE` of it is left. Keypoints outside are missing.
        """
        mask, boxes, classes = self.mask, self.boxes, self.box_classes
        if mask is not None:
            inverse = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]
            rows, columns = np.indices(size) + 0.5
            x, y = (np.floor(a * columns + b * rows + c).astype(int) for a, b, c in inverse)
            inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
            mask = np.where(inside, mask[y * inside, x * inside], UNLABELLED)
        if boxes is not None and classes is not None:
            moved = move_boxes(boxes, matrix)
            clipped = np.clip(moved, 0, [*size[::-1], *size[::-1]])
            whole, left = (np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (moved, clipped))
            kept = (left > 0) & (left >= LEAST_VISIBLE * whole)
            boxes, classes = clipped[kept], classes[kept]
        keypoints = self.keypoints
        if keypoints is not None:
            keypoints = keypoints_inside(move_points(keypoints, matrix), size)
        return Targets(mask, boxes, classes, keypoints)


def move_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Map (..., 2) positions x, y by a (2, 3) matrix."""
    moved: np.ndarray = points @ matrix[:, :2].T + matrix[:, 2]
    return moved


def move_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Hulls of (n, 4) boxes xmin, ymin, xmax, ymax whose corners a (2, 3) matrix maps."""
    corners = move_points(boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]], matrix)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def keypoints_inside(points: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """(n, 2) keypoints, NaN where one lies outside an image of (height, width) px."""
    inside = (points >= 0) & (points <= np.array(size[1::-1]))
    return np.where(inside.all(axis=1, keepdims=True), points, np.nan)
