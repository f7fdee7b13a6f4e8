"""The one prediction loop: images of any kind to batches, read ahead, with their probabilities."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from tltool.data.dataset import FACTS_NAME
from tltool.data.images import read_image
from tltool.data.stream import to_window
from tltool.errors import ImageError, UsageError
from tltool.files import walk_images
from tltool.inference.image_opening import as_pixels
from tltool.inference.network import LoadedNetwork, Probabilities
from tltool.inference.views import Views
from tltool.prefetch import default_workers, prefetch
from tltool.raster import Scale

logger = logging.getLogger(__name__)

OneImage = str | Path | np.ndarray | PillowImage.Image
# One image, a batch of arrays (n, height, width, bands), a folder, or any iterable of these.
Images = OneImage | Iterable[Any]


@dataclass
class Batch:
    """Some images in their order, and what the network says of them.

    Attributes
    ----------
    indices : list of int
        Indices of the readable ones, among all that were given.
    names : list of Path or str
        Paths of the readable ones; of an image in memory ``image <index>``.
    images : (b, side, side, bands) uint8 array
    prepared : float32 array
        The same as the network takes them.
    unreadable : list of ImageError
    probabilities : list of dict of task name to (b, outputs) float32 array
        One for each of the views that were asked for.
    seconds : list of float
        Time that each of these took, without reading.
    """

    indices: list[int]
    names: list[Path | str]
    images: np.ndarray
    prepared: np.ndarray
    unreadable: list[ImageError]
    probabilities: list[Probabilities] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names) + len(self.unreadable)


def join(parts: Sequence[Probabilities]) -> Probabilities:
    """Join the probabilities of several batches, in order."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def is_cut() -> Callable[[Path], bool]:
    """Make a function that says if `tltool.patches` cut an image, by the file it left."""

    @cache
    def cut(folder: Path) -> bool:
        # DATA/<split>/<class>/image.png
        return any((above / FACTS_NAME).exists() for above in (folder, *folder.parents[:2]))

    return lambda path: cut(path.absolute().parent)


def each_image(images: Images) -> Iterator[Path | np.ndarray | PillowImage.Image]:
    """Go through images one by one, those in folders and batches too, as they are needed.

    Raises
    ------
    ImageError
        A folder without images.
    UsageError
        Something that is no image.
    """
    if isinstance(images, str | Path):
        path = Path(images)
        if not path.is_dir():
            yield path
            return
        inside = None
        for inside in walk_images(path):
            yield inside
        if inside is None:
            raise ImageError(f"{path}: expected images in the folder, found none")
    elif isinstance(images, PillowImage.Image) or (
        isinstance(images, np.ndarray) and images.ndim != 4
    ):
        yield images
    elif isinstance(images, Iterable):
        for one in images:
            yield from each_image(one)
    else:
        raise UsageError(
            "`images`: expected paths, arrays (height, width, bands), PIL images or an iterable of"
            f" these, received {type(images).__name__}"
        )


def predict_batches(
    network: LoadedNetwork,
    images: Iterable[Path | np.ndarray | PillowImage.Image],
    *,
    batch_size: int = 32,
    views: Sequence[Views | None] = (None,),
    crop: Callable[[Path], bool] | None = None,
    strict: bool = False,
    scale: Scale = None,
) -> Iterator[Batch]:
    """Predict images batch by batch, reading ahead in threads.

    Parameters
    ----------
    network : LoadedNetwork
    images : iterable of Path, (height, width, bands) array or PIL image
        Taken as they are needed; see `each_image`.
    batch_size : int
    views : sequence of Views or None
        What to predict: None the image as it is, views the mean over them.
    crop : callable, optional
        Whether the middle of an image is cut, by its path: that of patches cut
        with more context than the network sees. Every other image is resized,
        as in training. Default: by the file that `tltool.patches` left.
    strict : bool
        Raise for the first unreadable file instead of counting it.
    scale : (float, float) or 'percentiles', optional
        Numbers of an image in memory that become 0 and 255.

    Raises
    ------
    ImageError
        Where `strict`.
    UsageError
        An array that is no image for the network.
    """
    sidecar, is_patch, resized = network.sidecar, crop or is_cut(), False
    side, bands = sidecar.window, sidecar.bands

    def read_window(image: Any, name: Path | str) -> np.ndarray:
        nonlocal resized
        if isinstance(image, Path):
            pixels = read_image(image, sidecar.band_numbers)
            if pixels.shape[2] != bands:
                raise ImageError(
                    f"{name}: expected {bands} bands, which the network was trained on;"
                    f" received {pixels.shape[2]}"
                )
        else:
            pixels = as_pixels(image, bands, scale, "images")
        cropped = isinstance(image, Path) and is_patch(image)
        if not cropped and pixels.shape[:2] != (side, side) and not resized:
            resized = True
            logger.warning(
                "%s is %d x %d px; every image is resized to the %d px that the network sees, as in"
                " training (of a photograph tltool heatmap makes a map)",
                name,
                pixels.shape[1],
                pixels.shape[0],
                side,
            )
        return to_window(pixels, Path(name), side, cropped)

    def read(chunk: tuple[int, list[Any]]) -> Batch:
        first, given = chunk
        batch, pixels = Batch([], [], np.empty((0, 0, 0, 0), np.uint8), np.empty(0), []), []
        for index, image in enumerate(given, first):
            name = image if isinstance(image, Path) else f"image {index}"
            try:
                pixels.append(read_window(image, name))
            except ImageError as error:
                if strict:
                    raise
                batch.unreadable.append(error)
                continue
            batch.indices.append(index)
            batch.names.append(name)
        if pixels:
            batch.images = np.stack(pixels)
            batch.prepared = network.prepare(batch.images)
        return batch

    def chunks() -> Iterator[tuple[int, list[Any]]]:
        # One by one: they may come from a pipe without end.
        rest, first = iter(images), 0
        while chunk := list(islice(rest, batch_size)):
            yield first, chunk
            first += len(chunk)

    # The graph is made in the first call, which would make the first of several look dear.
    called = len(views) < 2
    for batch in prefetch(read, chunks(), default_workers()):
        if batch.names and not called:
            called = True
            network(batch.prepared)
        for each in views if batch.names else ():
            started = time.perf_counter()
            if each is None:
                batch.probabilities.append(network(batch.prepared))
            else:
                batch.probabilities.append(
                    mean_of_views(network, batch.images, each, batch.indices)
                )
            batch.seconds.append(time.perf_counter() - started)
        yield batch


def mean_of_views(
    network: LoadedNetwork, images: np.ndarray, views: Views, indices: Sequence[int]
) -> Probabilities:
    """Average the probabilities of all views of some images.

    Parameters
    ----------
    network : LoadedNetwork
    images : (b, side, side, bands) uint8 array
    views : Views
    indices : sequence of int
        Theirs among all images, which random draws depend on.
    """
    total: Probabilities = {}
    make = lambda view: network.prepare(views(images, view, indices))  # noqa: E731
    for prepared in prefetch(make, range(views.number), default_workers()):
        for name, values in network(prepared).items():
            total[name] = total.get(name, 0) + values / views.number
    return total
