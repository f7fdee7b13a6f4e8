"""Image files to batches as a network takes them, in order, the unreadable ones told."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from tltool.data.images import read_image
from tltool.data.stream import to_window
from tltool.errors import ImageError
from tltool.inference.network import Network
from tltool.prefetch import default_workers, prefetch
from tltool.run.sidecar import Sidecar

logger = logging.getLogger("tltool")


@dataclass(frozen=True)
class Batch:
    """Some images in their order.

    Attributes
    ----------
    places : list of int
        Of the readable ones, among all that were given.
    paths : list of Path
        Of the readable ones.
    images : (b, side, side, bands) uint8 array
    prepared : float32 array
        The same as the network takes them.
    unreadable : list of ImageError
    """

    places: list[int]
    paths: list[Path]
    images: np.ndarray
    prepared: np.ndarray
    unreadable: list[ImageError]


class WindowReader:
    """Reads an image file to what a network takes before its enlargement.

    Parameters
    ----------
    sidecar : Sidecar
        Of the network.
    crop : callable
        Whether the middle of an image is cut, by its path: that of patches cut
        with more context than the network sees. Every other image is resized,
        as in training.
    """

    def __init__(self, sidecar: Sidecar, crop: Callable[[Path], bool]):
        self._sidecar, self._crop, self._resized = sidecar, crop, False

    def __call__(self, path: Path) -> np.ndarray:
        """Read (window, window, bands) uint8; an `ImageError` where that cannot be."""
        pixels = read_image(path, self._sidecar.band_numbers)
        if pixels.shape[2] != self._sidecar.bands:
            raise ImageError(
                f"{path}: expected {self._sidecar.bands} bands, which the network was trained on;"
                f" received {pixels.shape[2]}"
            )
        side, crop = self._sidecar.window, self._crop(path)
        if not crop and pixels.shape[:2] != (side, side) and not self._resized:
            self._resized = True
            logger.warning(
                "%s is %d x %d px; every image is resized to the %d px that the network sees, as in"
                " training (of a photograph tltool heatmap makes a map)",
                path,
                pixels.shape[1],
                pixels.shape[0],
                side,
            )
        return to_window(pixels, path, side, crop)


def _chunks(paths: Iterable[Path], size: int) -> Iterator[tuple[int, list[Path]]]:
    # One by one: they may come from a pipe without end.
    rest, first = iter(paths), 0
    while chunk := list(islice(rest, size)):
        yield first, chunk
        first += len(chunk)


def read_batches(
    paths: Iterable[Path],
    reader: WindowReader,
    network: Network,
    size: int,
    strict: bool = False,
) -> Iterator[Batch]:
    """Batches of image files, read ahead by threads.

    Parameters
    ----------
    paths : iterable of Path
        Taken as they are needed.
    reader : WindowReader
    network : Network
    size : int
        Files in a batch.
    strict : bool
        Raise for the first unreadable file instead of telling of it.

    Raises
    ------
    ImageError
        Where `strict`.
    """

    def read(chunk: tuple[int, list[Path]]) -> Batch:
        images: list[np.ndarray] = []
        places: list[int] = []
        unreadable: list[ImageError] = []
        first, paths = chunk
        for place, path in enumerate(paths):
            try:
                images.append(reader(path))
                places.append(first + place)
            except ImageError as error:
                if strict:
                    raise
                unreadable.append(error)
        kept = [paths[place - first] for place in places]
        stacked = np.stack(images) if images else np.empty((0, 0, 0, 0), np.uint8)
        prepared = network.prepare(stacked) if images else stacked
        return Batch(places, kept, stacked, prepared, unreadable)

    return prefetch(read, _chunks(paths, size), default_workers())
