"""From image files to batches: decoded once, augmented and enlarged batch by batch."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from tltool.data.dataset import Sample
from tltool.data.images import cut_middle, fit_side, window_matrix
from tltool.data.sampling import sample_indices
from tltool.data.targets import Targets
from tltool.errors import DataError, ImageError, OutputError
from tltool.prefetch import prefetch
from tltool.raster import enlarge
from tltool.recipe import Sampling
from tltool.tasks.task import Task


@dataclass(frozen=True)
class Patches:
    """Decoded images of one split.

    Attributes
    ----------
    images : (n, side, side, bands) uint8 array
        In memory, or in a temporary file where they are too many.
    samples : list of Sample
        In the same order; their targets in px of `images`.
    unreadable : list of ImageError
        Errors of the files that were left out.
    """

    images: np.ndarray
    samples: list[Sample]
    unreadable: list[ImageError]

    def __len__(self) -> int:
        return len(self.samples)

    def targets(self, tasks: Sequence[Task]) -> dict[str, np.ndarray]:
        """Encode labels: task name to (n, outputs) float32, see `Task.encode`.

        Tasks that say where things are have theirs batch by batch, see `Batches`.
        """
        return {
            task.name: task.encode([sample.labels[index] for sample in self.samples])
            for index, task in enumerate(tasks)
            if not hasattr(task, "encode_targets")
        }


def room_for(shape: tuple[int, ...], dtype: Any, limit: int = 2 << 30) -> np.ndarray:
    """An empty array: in memory, or beyond `limit` bytes in a temporary file.

    Raises
    ------
    OutputError
        Where there is no room for the file.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size <= limit:
        return np.empty(shape, dtype)
    try:
        with tempfile.NamedTemporaryFile(prefix="tltool-") as file:
            # Taken now: writing to a mapped file on a full disk kills the process without a word.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, dtype, "w+", shape=shape)
    except OSError as error:
        raise OutputError(
            f"expected {size / 2**30:.1f} GiB of room for a temporary file in"
            f" {tempfile.gettempdir()}: {error.strerror}. Free some, set TMPDIR to a larger disk,"
            " or take fewer draws, smaller patches or less zoom"
        ) from error


def to_window(pixels: np.ndarray, path: Path, side: int, crop: bool) -> np.ndarray:
    """An image at the side that a network takes.

    Parameters
    ----------
    pixels : (height, width, b) uint8 array
    path : Path
        The file it was read from.
    side : int
        Side of the result, px.
    crop : bool
        Cut the middle instead of resizing: the scale of the patches stays.

    Returns
    -------
    (side, side, b) uint8 array.

    Raises
    ------
    ImageError
        Too small to be cut.
    """
    height, width = pixels.shape[:2]
    if crop and min(height, width) < side:
        raise ImageError(f"{path} is {width} x {height} px; expected {side} px or more")
    return cut_middle(pixels, side) if crop else fit_side(pixels, side)


def first_image(samples: Sequence[Sample], bands: Sequence[int] | None) -> np.ndarray | None:
    """The first image that can be read, or None."""
    for sample in samples:
        with suppress(ImageError):
            return sample.read(bands)
    return None


def load_patches(
    samples: Sequence[Sample],
    side: int,
    *,
    crop: bool = False,
    strict: bool = False,
    bands: Sequence[int] | None = None,
    number: int | None = None,
) -> Patches:
    """Decode all images of a split.

    Parameters
    ----------
    samples : sequence of Sample
    side : int
        Side of the result, px.
    crop : bool
        Cut the middle instead of resizing: the scale of the patches stays.
    strict : bool
        Raise for the first unreadable file instead of leaving it out.
    bands : sequence of int, optional
        Numbers of those to read, from 1.
    number : int, optional
        How many bands every image must have; None: as many as the first.

    Raises
    ------
    ImageError
        Where `strict`.
    DataError
        An image with another number of bands, naming it.
    """
    if number is None:
        first = first_image(samples, bands)
        number = 3 if first is None else first.shape[2]
    images = room_for((len(samples), side, side, number), np.uint8)

    loaded = list(samples)

    def decode(index: int) -> ImageError | None:
        sample = samples[index]
        try:
            whole = sample.read(bands)
            pixels = to_window(whole, sample.path, side, crop)
        except ImageError as error:
            return error
        if pixels.shape[2] != number:
            raise DataError(
                f"{sample.path} has {pixels.shape[2]} bands; the others have {number}."
                " Take the same ones of all with `bands`"
            )
        images[index] = pixels
        if sample.targets is not None:
            matrix = window_matrix(whole.shape, side, crop)
            loaded[index] = replace(sample, targets=sample.targets.warped(matrix, (side, side)))
        return None

    with ThreadPoolExecutor() as pool:
        errors = list(pool.map(decode, range(len(samples))))
    unreadable = [error for error in errors if error is not None]
    if unreadable and strict:
        raise unreadable[0]
    good = [index for index, error in enumerate(errors) if error is None]
    # In place: those in a file must not come into memory.
    for index, source in enumerate(good):
        if index != source:
            images[index] = images[source]
    return Patches(images[: len(good)], [loaded[index] for index in good], unreadable)


class Augment(Protocol):
    """Augmentation of images, such as `tltool.augment.pipeline.Augmenter`.

    Attributes
    ----------
    mixer : callable or None
        Mixes the images of a batch with each other, and their targets.
    """

    mixer: Any

    @property
    def draws(self) -> bool:
        """Whether anything is drawn by chance."""
        ...

    def __call__(
        self, image: np.ndarray, key: tuple[int, ...], label: str | None = None
    ) -> np.ndarray:
        """Transform an image of a class, drawn by `key`."""
        ...

    def move(
        self, image: np.ndarray, targets: Targets, key: tuple[int, ...], label: str | None = None
    ) -> tuple[np.ndarray, Targets]:
        """Transform an image and its targets by one draw."""
        ...


class Batches(keras.utils.PyDataset):
    """Batches for `keras.Model.fit`.

    Each sample's augmentation is drawn from (seed, epoch, index in the
    epoch), so that the same seed gives the same pixels, however many workers
    there are.

    Parameters
    ----------
    patches : Patches
    tasks : sequence of Task
    batch_size : int
    zoom : Fraction
        Enlargement after augmentation.
    augmenter : Augment, optional
        None: images as they are, in their order.
    seed : int
    sampling : str
        Mode of `tltool.data.sampling.sample_indices`; with an augmenter only.
    context : int
        Margin of the images that is no part of the patch, px before the
        enlargement.

    Notes
    -----
    A batch is (images, targets): (b, side * zoom, side * zoom, bands) float32
    in 0..255 and (b, outputs) float32, or a dict of them by task where there
    are several. A task that says where things are has a method
    ``encode_targets(targets, size)``, which gets the `Targets` of each sample
    (or None), moved with its image, and the (height, width) of these, px.
    """

    def __init__(
        self,
        patches: Patches,
        tasks: Sequence[Task],
        batch_size: int,
        zoom: Fraction = Fraction(1),
        augmenter: Augment | None = None,
        seed: int = 0,
        sampling: Sampling = "as-is",
        context: int = 0,
        **workers: Any,
    ):
        super().__init__(**workers)
        self._patches, self.batch_size, self._zoom = patches, batch_size, zoom
        self._tasks = tuple(tasks)
        self._placing: list[Any] = [task for task in tasks if hasattr(task, "encode_targets")]
        self._targets = patches.targets(tasks)
        self._augmenter, self._seed, self._sampling = augmenter, seed, sampling
        mixer = augmenter and augmenter.mixer
        self._mixer = mixer and mixer.with_margin(round(context * zoom))
        self.start(0)

    def start(self, epoch: int) -> None:
        """Go to the beginning of an epoch, counted from 0."""
        self._epoch = epoch
        self._order = np.arange(len(self._patches))
        if self._augmenter is not None:
            rng = np.random.default_rng((self._seed, epoch))
            labels = [sample.labels[0] for sample in self._patches.samples]
            self._order = sample_indices(labels, self._sampling, rng)

    @property
    def differs(self) -> bool:
        """Whether an epoch has other images than another, not only another order."""
        return self._augmenter is not None and (self._augmenter.draws or self._sampling != "as-is")

    @property
    def samples(self) -> int:
        """Number of samples in this epoch."""
        return len(self._order)

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def on_epoch_end(self) -> None:
        """Shuffle for the next epoch."""
        self.start(self._epoch + 1)

    def _sample(self, turn: int) -> tuple[np.ndarray, Targets | None]:
        index = int(self._order[turn])
        pixels, sample = self._patches.images[index], self._patches.samples[index]
        targets = sample.targets
        if self._augmenter is not None:
            key = (self._seed, self._epoch, turn)
            name = self._tasks[0].class_of(sample.labels[0])
            if targets is None:
                pixels = self._augmenter(pixels, key, name)
            else:
                pixels, targets = self._augmenter.move(pixels, targets, key, name)
        enlarged = enlarge(pixels, self._zoom)
        if targets is not None and self._zoom != 1:
            targets = targets.warped(np.eye(2, 3) * float(self._zoom), enlarged.shape[:2])
        return enlarged, targets

    def rows(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """A batch with the targets of every task, by name."""
        turns = range(index * self.batch_size, min((index + 1) * self.batch_size, self.samples))
        drawn = [self._sample(turn) for turn in turns]
        images = np.stack([pixels for pixels, _ in drawn]).astype(np.float32)
        chosen = self._order[turns.start : turns.stop]
        targets = {name: values[chosen] for name, values in self._targets.items()}
        for task in self._placing:
            targets[task.name] = task.encode_targets([own for _, own in drawn], images.shape[1:3])
        key = (self._seed, self._epoch, index)
        return mixed(self._mixer, images, targets, key, self._tasks)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Any]:
        images, targets = self.rows(index)
        return images, for_model(targets)

    def stream(self) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Give all batches of this epoch in order, prepared ahead by the workers."""
        return prefetch(self.rows, range(len(self)), max(1, self.workers))


def mixed(
    mixer: Any,
    images: np.ndarray,
    targets: dict[str, np.ndarray],
    key: tuple[int, ...],
    tasks: Sequence[Task],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A batch whose images the mixer mixed with each other; as it is without one."""
    found: tuple[np.ndarray, dict[str, np.ndarray]] = (images, targets)
    return mixer(*found, key, {t.name: t.unlabelled for t in tasks}) if mixer else found


def for_model(targets: dict[str, np.ndarray]) -> Any:
    """The one array that there is, or the dict by task."""
    return targets if len(targets) > 1 else next(iter(targets.values()))
