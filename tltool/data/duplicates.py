"""Images of one split that are copies of images of another: re-encoded, resized, brightened.

References
----------
C. Zauner, Implementation and Benchmarking of Perceptual Image Hash
Functions, thesis, Upper Austria University of Applied Sciences, 2010: the
hash by the discrete cosine transform, section 3.2.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from scipy.fft import dct

_SIDE = 32
# Hashes compared at once.
_AT_ONCE = 4_000_000
_FREQUENCIES = dct(np.eye(_SIDE), axis=0, norm="ortho")[1:9]


@dataclass(frozen=True)
class Pair:
    """Two images that look like one.

    Attributes
    ----------
    split_a, split_b : str
        Different ones.
    index_a, index_b : int
        Into the images of these splits.
    distance : int
        Bits in which their hashes differ, 0..64.
    """

    split_a: str
    index_a: int
    split_b: str
    index_b: int
    distance: int


@dataclass(frozen=True)
class _Prints:
    """Of the images that are not plain: indices (n,), hashes (n,) uint64, thumbnails (n, 256)."""

    indices: np.ndarray
    hashes: np.ndarray
    thumbnails: np.ndarray

    def rows(self, part: slice) -> "_Prints":
        return _Prints(self.indices[part], self.hashes[part], self.thumbnails[part])


def perceptual_hashes(squares: np.ndarray) -> np.ndarray:
    """Hash images such that similar ones differ in few bits.

    A bit says whether one of the 8 x 8 lowest frequencies of the discrete
    cosine transform, the constant row and column left out, is above their
    median (Zauner 2010).

    Parameters
    ----------
    squares : (n, 32, 32) float array, grey

    Returns
    -------
    (n,) uint64 array
    """
    spectrum = (_FREQUENCIES @ squares @ _FREQUENCIES.T).reshape(-1, 64)
    bits = spectrum > np.median(spectrum, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64).reshape(-1)


def _prints(images: np.ndarray) -> _Prints:
    squares = np.empty((len(images), _SIDE, _SIDE), np.float32)
    for index, image in enumerate(images):
        pixels = np.asarray(image)
        if pixels.shape[2] > 4:
            # OpenCV shrinks no more bands than that.
            pixels = pixels.mean(axis=2, dtype=np.float32)
        small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        squares[index] = small.reshape(_SIDE, _SIDE, -1).mean(axis=2)
    half = _SIDE // 2
    thumbnails = squares.reshape(-1, half, 2, half, 2).mean(axis=(2, 4)).reshape(-1, half**2)
    # Less standard deviation than that is plain water or sky: its hash is noise.
    indices = np.flatnonzero(thumbnails.std(axis=1) >= 4.0)
    return _Prints(indices, perceptual_hashes(squares[indices]), thumbnails[indices])


def _alike(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether thumbnails (..., 256) are of one picture, in grey levels of 0..255.

    Unrelated aerial patches of 96 px reach a correlation of 0.83; of copies (JPEG
    of quality 30, half size, a fifth brighter) 99 % have 0.96.
    """
    near = np.abs(first - second).mean(axis=-1) <= 40.0
    first, second = (each - each.mean(axis=-1, keepdims=True) for each in (first, second))
    scale = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    result: np.ndarray = near & ((first * second).sum(axis=-1) >= 0.96 * scale)
    return result


def _closest(
    known: _Prints, asked: _Prints, threshold: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places in `asked` that have a copy, their closest in `known`, and the distances."""
    distances = np.bitwise_count(asked.hashes[:, None] ^ known.hashes)
    rows = np.flatnonzero(distances.min(axis=1) <= threshold)
    distances = distances[rows]
    # Of each the nearest are confirmed.
    nearest = min(32, len(known.hashes))
    columns = np.argpartition(distances, nearest - 1, axis=1)[:, :nearest]
    of_columns = np.take_along_axis(distances, columns, axis=1)
    alike = _alike(known.thumbnails[columns], asked.thumbnails[rows][:, None])
    of_columns = np.where(alike, of_columns, 65)
    best = of_columns.argmin(axis=1)[:, None]
    found = np.take_along_axis(of_columns, best, axis=1)[:, 0]
    kept = found <= threshold
    own = np.take_along_axis(columns, best, axis=1)[:, 0]
    return asked.indices[rows[kept]], known.indices[own[kept]], found[kept]


def near_duplicates(images: Mapping[str, np.ndarray], threshold: int = 10) -> list[Pair]:
    """Find images that are in several splits.

    Re-encoded, resized and moderately brightened or darkened copies are
    found; shifted, turned and mirrored ones are not. Nearly plain images are
    left out: they all look alike. Two images count as copies where their
    hashes differ in few bits and thumbnails confirm it.

    Parameters
    ----------
    images : mapping of split to (n, height, width, b) uint8 array
        Sizes and bands may differ between splits.
    threshold : int
        Most bits of 64 in which two hashes may differ.

    Returns
    -------
    list of Pair
        For each two splits, in the order of `images`: each image of the
        latter that has copies in the former, with the closest of them.

    Notes
    -----
    All hashes are compared, about 10^9 pairs in two seconds on one core.
    """
    prints = {split: _prints(array) for split, array in images.items()}
    pairs = []
    for (split_a, known), (split_b, asked) in combinations(prints.items(), 2):
        if not len(known.indices):
            continue
        step = max(1, min(1024, _AT_ONCE // len(known.indices)))
        for start in range(0, len(asked.indices), step):
            found = _closest(known, asked.rows(slice(start, start + step)), threshold)
            pairs += [
                Pair(split_a, int(own), split_b, int(index), int(distance))
                for index, own, distance in zip(*found, strict=True)
            ]
    return pairs
