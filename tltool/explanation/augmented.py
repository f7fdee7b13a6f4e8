"""Augmented Grad-CAM: a map of the image's resolution from Grad-CAM of many moved copies."""

import logging
from collections.abc import Iterator

import cv2
import numpy as np

from tltool.explanation.gradients import gradcam
from tltool.explanation.subject import Subject
from tltool.explanation.superresolution import (
    Observation,
    Reconstruction,
    draw_motions,
    observe,
    reconstruct,
    sources,
)

logger = logging.getLogger(__name__)

COPIES = 64


def moved_copies(image: np.ndarray, number: int) -> np.ndarray:
    """The rotated and shifted copies of an image: (number, height, width, bands)."""
    shape = image.shape[:2]
    bands = np.moveaxis(np.asarray(image, np.float32), -1, 0)
    copies = np.empty((number, *image.shape), np.float32)
    for copy, motion in zip(copies, draw_motions(number), strict=True):
        rows, columns = (each.astype(np.float32) for each in sources(motion, shape))
        for place, band in enumerate(bands):
            copy[..., place] = cv2.remap(band, columns, rows, cv2.INTER_LINEAR)
    return copies


def _batches(length: int, batch_size: int) -> Iterator[slice]:
    return (slice(start, start + batch_size) for start in range(0, length, batch_size))


def coarse_maps(
    subject: Subject, images: np.ndarray, targets: np.ndarray, number: int, batch_size: int = 32
) -> np.ndarray:
    """Grad-CAM of every moved copy: (n, number, cells down, cells across)."""
    made = []
    for image, target in zip(images, targets, strict=True):
        copies, wanted = moved_copies(image, number), np.full(number, target)
        maps = [gradcam(subject, copies[s], wanted[s]) for s in _batches(number, batch_size)]
        made.append(np.concatenate(maps))
    return np.stack(made)


def reconstruct_maps(
    subject: Subject, images: np.ndarray, targets: np.ndarray, number: int = COPIES
) -> tuple[Reconstruction, Observation]:
    """The fine maps of images, with the energy on the way to them."""
    observation = observe(subject.placement, number)
    return reconstruct(observation, coarse_maps(subject, images, targets, number)), observation


def augmented_gradcam(subject: Subject, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Augmented Grad-CAM: the fine map whose moved and reduced copies are those of Grad-CAM.

    argmin_h 1/2 sum_l ||D A_l h - g_l||^2 + lambda TV(h) + mu/2 ||h||^2 over
    64 rotations and shifts; see `tltool.explanation.superresolution`. The
    energies are logged, at level DEBUG those of every tenth step.

    Returns
    -------
    (n, height, width) array, of the image's size.

    References
    ----------
    P. Morbidelli, D. Carrera, B. Rossi, P. Fragneto and G. Boracchi,
    "Augmented Grad-CAM: Heat-Maps Super Resolution Through Augmentation",
    ICASSP 2020, pp. 4067-4071.
    """
    found, observation = reconstruct_maps(subject, images, targets)
    means = found.energies.mean(axis=1)
    for step in range(0, len(means), 10):
        logger.debug("augmented-gradcam: step %d, mean energy %.4g", step, means[step])
    logger.info(
        "augmented-gradcam: energy %.4g at the start, %.4g after %d steps (mean of %d images)",
        means[0],
        means[-1],
        len(means) - 1,
        len(images),
    )
    return observation.enlarge(found.maps)
