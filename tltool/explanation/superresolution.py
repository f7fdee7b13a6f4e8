"""Augmented Grad-CAM: a fine map from many coarse ones of the same image, rotated and shifted.

The model of Augmented Grad-CAM (Morbidelli, Carrera, Rossi, Fragneto and
Boracchi, ICASSP 2020): the coarse map g_l of the l-th rotated and shifted
image is what is left of one fine map h after the same rotation and shift A_l
and the reduction D to the layer's cells. h is found as the minimum of

    1/2 sum_l ||D A_l h - g_l||^2 + lambda TV(h) + mu/2 ||h||^2,

TV(h) the sum of the absolute differences of neighbours down and across.
"""

import logging
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from scipy.sparse import csr_matrix, kron, vstack

from tltool.explanation.cell_layout import Axis, CellLayout
from tltool.explanation.gradients import gradcam
from tltool.explanation.subject import Subject

logger = logging.getLogger(__name__)

# As in the authors' experiments: angles to 0.5 rad, shifts to 30 of 224 px.
ANGLE = 0.5
SHIFT = 30 / 224
# Of maps with a maximum of 1; lambda for each image and px of a cell's side, mu for each image and
# px of a cell: so the balance with the data is the same for cells of any size.
LAMBDA = 0.008
MU = 0.025
ITERATIONS = 200
# Differences below count as a part of a step, in place of the sign alone.
KINK = 0.02


def draw_motions(number: int, seed: int = 0) -> np.ndarray:
    """Rotations and shifts to look at an image in.

    Returns
    -------
    (number, 3) array of angle (rad), shift down and across (of the image's
    side); the first is none, the others are uniform in +-ANGLE and +-SHIFT.
    """
    motions = np.random.default_rng(seed).uniform(-1, 1, (number, 3)) * (ANGLE, SHIFT, SHIFT)
    motions[0] = 0
    return motions


def sources(motion: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns that each pixel of a moved image comes from, reflected at the edges."""
    angle, down, across = motion
    middle = (np.array(shape) - 1) / 2
    y, x = np.arange(shape[0])[:, None] - middle[0], np.arange(shape[1]) - middle[1]
    rows = np.cos(angle) * y - np.sin(angle) * x + middle[0] + down * shape[0]
    columns = np.sin(angle) * y + np.cos(angle) * x + middle[1] + across * shape[1]
    return _reflected(rows, shape[0]), _reflected(columns, shape[1])


def _reflected(positions: np.ndarray, size: int) -> np.ndarray:
    """Mirrored at the outer pixels' centres, which leaves the image in one piece."""
    last = max(size - 1, 1)
    return (last - np.abs(last - positions % (2 * last))).clip(0, size - 1)


def moving(motion: np.ndarray, shape: tuple[int, int]) -> csr_matrix:
    """A_l: (pixels, pixels) matrix that moves an image, with bilinear weights."""
    rows, columns = (each.reshape(-1) for each in sources(motion, shape))
    top = np.minimum(rows.astype(int), max(shape[0] - 2, 0))
    left = np.minimum(columns.astype(int), max(shape[1] - 2, 0))
    down, across = rows - top, columns - left
    below, right = np.minimum(top + 1, shape[0] - 1), np.minimum(left + 1, shape[1] - 1)
    taps = [(top, left), (top, right), (below, left), (below, right)]
    weights = [(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across]
    pixels = np.tile(np.arange(rows.size), 4)
    positions = np.concatenate([y * shape[1] + x for y, x in taps])
    values = np.concatenate(weights).astype(np.float32)
    return csr_matrix((values, (pixels, positions)), (rows.size,) * 2)


def _merging(side: int, step: int) -> csr_matrix:
    """(side, squares) matrix: each pixel takes the value of its square."""
    pixels = np.arange(side)
    return csr_matrix((np.ones(side, np.float32), (pixels, pixels // step)))


@dataclass(frozen=True)
class Observation:
    """Model of how the coarse maps of all moved images are made from a fine one, at once.

    Attributes
    ----------
    forward : (number * cells, squares) sparse matrix
        All D A_l, one below the other. The fine map has one value for each
        square of `step` x `step` px.
    backward : sparse matrix
        Its transpose.
    step : int
    number : int
        Number of moved images.
    shape : (int, int)
        Shape of the fine map.
    layout : CellLayout
        Layout of the coarse maps.
    """

    forward: csr_matrix
    backward: csr_matrix
    step: int
    number: int
    shape: tuple[int, int]
    layout: CellLayout

    def reduce(self, maps: np.ndarray) -> np.ndarray:
        """Maps of the image's size, (n, height, width), at the middle of each square."""
        rows, columns = (
            np.minimum(np.arange(cells) * self.step + self.step // 2, side - 1)
            for cells, side in zip(self.shape, maps.shape[1:], strict=True)
        )
        return maps[:, rows[:, None], columns]

    def enlarge(self, maps: np.ndarray) -> np.ndarray:
        """Fine maps interpolated to the image's pixels: (n, height, width)."""
        rows, columns = (
            Axis(n, axis.side, self.step)
            for n, axis in zip(self.shape, (self.layout.rows, self.layout.columns), strict=True)
        )
        return CellLayout(rows, columns).enlarge(maps)


@lru_cache(maxsize=2)
def observe(layout: CellLayout, number: int, seed: int = 0) -> Observation:
    """Prepare for the maps of `number` moved images.

    The fine map's squares are half as wide as what so many coarse maps can
    tell apart, a cell's side divided by the square root of their number.
    """
    axes = layout.rows, layout.columns
    shape = axes[0].side, axes[1].side
    step = max(1, int(min(axis.cell_size for axis in axes) / (2 * number**0.5)))
    reduce = kron(*(csr_matrix(axis.reducing()) for axis in axes), format="csr")
    merge = kron(*(_merging(axis.side, step) for axis in axes), format="csr")
    each = [reduce @ moving(motion, shape) @ merge for motion in draw_motions(number, seed)]
    forward = vstack(each, format="csr").astype(np.float32)
    fine = -(-shape[0] // step), -(-shape[1] // step)
    return Observation(forward, forward.T.tocsr(), step, number, fine, layout)


class Energy:
    """Energy that is minimised, of fine maps (n, height, width) side by side.

    Parameters
    ----------
    observation : Observation
    coarse : (number * cells, n) array
        The coarse maps g.

    Attributes
    ----------
    tv : float
        Lambda, for a difference between two squares, which is as long as they
        are wide.
    ridge : float
        Mu, for a square.
    """

    def __init__(self, observation: Observation, coarse: np.ndarray):
        self.observation, self.coarse = observation, coarse
        pixels = observation.layout.rows.cell_size * observation.layout.columns.cell_size
        self.tv = LAMBDA * observation.number / pixels**0.5 * observation.step
        self.ridge = MU * observation.number / pixels * observation.step**2

    def __call__(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The energy of each map, (n,), and a subgradient of it.

        Where neighbours differ by less than `KINK` the difference over it is
        taken, a subgradient of their absolute difference up to `KINK` / 4: the
        sign alone would make plains swing.
        """
        flat = maps.reshape(len(maps), -1).T
        missing = self.observation.forward @ flat - self.coarse
        down, across = np.diff(maps, axis=1), np.diff(maps, axis=2)
        energy = (missing**2).sum(0) / 2 + self.ridge / 2 * (flat**2).sum(0)
        energy += self.tv * (np.abs(down).sum((1, 2)) + np.abs(across).sum((1, 2)))
        slope = (self.observation.backward @ missing).T.reshape(maps.shape) + self.ridge * maps
        down, across = (self.tv * (d / KINK).clip(-1, 1) for d in (down, across))
        slope[:, 1:] += down
        slope[:, :-1] -= down
        slope[:, :, 1:] += across
        slope[:, :, :-1] -= across
        return energy, slope


def reconstruct(observation: Observation, coarse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the fine maps of least energy, by subgradient descent with momentum.

    The start is the first coarse map enlarged. A step is the subgradient
    divided by a bound of how fast it can change, the longest that cannot
    overshoot; momentum after Y. Nesterov (Introductory Lectures on Convex
    Optimization, 2004, section 2.2) makes what is left of the energy fall as
    the square of the number of steps. It may rise for a few on the way, so the
    best map is kept.

    Parameters
    ----------
    observation : Observation
    coarse : (n, number, cells down, cells across) array
        Maps of all moved copies of each image, the first unmoved.

    Returns
    -------
    (n, height, width) float32 array
        One value for each square of `Observation.step` px.
    (iterations + 1, n) array
        Energies from that of the start to that of the maps.
    """
    highest = coarse.max(axis=(1, 2, 3))
    scale = np.where(highest > 0, highest, 1).astype(np.float32)[:, None, None]
    energy = Energy(observation, coarse.reshape(len(coarse), -1).T / scale[:, 0].T)
    maps = best = observation.reduce(observation.layout.enlarge(coarse[:, 0])) / scale
    # The largest eigenvalue of a matrix M'M without negative entries is at most its largest row
    # sum; that of the differences' is 8. So this bounds the subgradient's Lipschitz constant.
    every = np.ones(observation.forward.shape[1], np.float32)
    data = float((observation.backward @ (observation.forward @ every)).max())
    length = 1 / (data + 8 * energy.tv / KINK + energy.ridge)
    ahead, momentum, energies = maps, 1.0, []
    least = np.full(len(coarse), np.inf)
    for _ in range(ITERATIONS + 1):
        value, slope = energy(ahead)
        best = np.where((value < least)[:, None, None], ahead, best)
        least = np.minimum(value, least)
        energies.append(value)
        after, heavier = ahead - length * slope, (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead, maps = after + (momentum - 1) / heavier * (after - maps), after
        momentum = heavier
    return np.maximum(best, 0) * scale, np.stack(energies)


COPIES, _BATCH = 64, 32


def moved_copies(image: np.ndarray, number: int) -> np.ndarray:
    """The rotated and shifted copies of an image: (number, height, width, bands)."""
    shape = image.shape[:2]
    bands = np.moveaxis(np.asarray(image, np.float32), -1, 0)
    copies = np.empty((number, *image.shape), np.float32)
    for copy, motion in zip(copies, draw_motions(number), strict=True):
        rows, columns = (each.astype(np.float32) for each in sources(motion, shape))
        for index, band in enumerate(bands):
            copy[..., index] = cv2.remap(band, columns, rows, cv2.INTER_LINEAR)
    return copies


def reconstruct_maps(
    subject: Subject, images: np.ndarray, targets: np.ndarray, number: int = COPIES
) -> tuple[np.ndarray, np.ndarray]:
    """Fine maps of images, of the images' size, and the energies on the way to them."""
    observation = observe(subject.layout, number)
    coarse = np.empty((len(images), number, *subject.cells), np.float32)
    for own, image, target in zip(coarse, images, targets, strict=True):
        copies, wanted = moved_copies(image, number), np.full(number, target)
        for start in range(0, number, _BATCH):
            part = slice(start, start + _BATCH)
            own[part] = gradcam(subject, copies[part], wanted[part])
    maps, energies = reconstruct(observation, coarse)
    return observation.enlarge(maps), energies


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
    maps, energies = reconstruct_maps(subject, images, targets)
    means = energies.mean(axis=1)
    for step in range(0, len(means), 10):
        logger.debug("augmented-gradcam: step %d, mean energy %.4g", step, means[step])
    text = "augmented-gradcam: energy %.4g at the start, %.4g after %d steps (mean of %d images)"
    logger.info(text, means[0], means[-1], len(means) - 1, len(images))
    return maps
