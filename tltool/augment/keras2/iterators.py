"""Endless batches of augmented images, and those from arrays."""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import keras
import numpy as np

from tltool.errors import DataError, UsageError

if TYPE_CHECKING:
    from tltool.augment.keras2.image_data_generator import ImageDataGenerator


# The arguments of the method that makes an iterator, by name.
Settings = dict[str, Any]
# One for all iterators, held for a moment, so that an iterator can be pickled for a worker.
_NEXT = threading.Lock()


def check_choice(value: Any, allowed: Iterable[Any], name: str) -> None:
    """Raise `UsageError` where `value` is not among `allowed`."""
    choices = list(allowed)
    if value not in choices:
        listed = ", ".join(map(repr, choices))
        raise UsageError(f"`{name}`: expected one of {listed}, received {value!r}")


class Iterator(keras.utils.PyDataset):
    """An endless iterator over batches that is a `keras.utils.PyDataset` too.

    What is drawn for a sample depends on (seed, epoch, index) only, not on
    who asks for its batch or when.

    Attributes
    ----------
    n, samples : int
        Samples.
    batch_size : int
    epoch : int
        Complete passes so far.
    index_array : (n,) int array
        The order of this epoch.
    batch_index : int
        The batch that `next` gives next.
    """

    sample_weight: np.ndarray | None = None

    def __init__(self, generator: "ImageDataGenerator", n: int, settings: Settings):
        super().__init__()
        self.image_data_generator = generator
        self.dtype, self.data_format = generator.dtype, generator.data_format
        self.n = self.samples = n
        self.batch_size, self.shuffle = settings["batch_size"], settings["shuffle"]
        self.seed = settings["seed"]
        self.save_to_dir = settings["save_to_dir"]
        self.save_prefix, self.save_format = settings["save_prefix"], settings["save_format"]
        if not self.n:
            raise DataError("expected images, found none. Check the path, subset and split")
        if self.batch_size < 1:
            raise UsageError(f"`batch_size`: expected 1 or more, received {self.batch_size}")
        if self.seed is not None and self.seed < 0:
            raise UsageError(f"`seed`: expected None, 0 or more, received {self.seed}")
        # Without a seed NumPy's own state decides, so that numpy.random.seed counts.
        self._entropy = np.random.randint(2**31) if self.seed is None else self.seed
        self.batch_index = self.epoch = 0
        self._pass_is_over = False
        self._set_order()

    def _set_order(self) -> None:
        self.index_array = np.arange(self.n)
        if self.shuffle:
            rng = np.random.default_rng((self._entropy, self.epoch, 0, 1))
            self.index_array = rng.permutation(self.n)

    def __len__(self) -> int:
        return -(-self.n // self.batch_size)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise UsageError(f"expected the number of a batch below {len(self)}, received {index}")
        return self._batch(self.epoch, self.index_array, index % len(self))

    def __iter__(self) -> "Iterator":
        return self

    def __next__(self) -> Any:
        with _NEXT:
            if self._pass_is_over:
                self.on_epoch_end()
            wanted = self.epoch, self.index_array, self.batch_index
            self.batch_index = (self.batch_index + 1) % len(self)
            self._pass_is_over = self.batch_index == 0
        return self._batch(*wanted)

    next = __next__

    def reset(self) -> None:
        """Let `next` start over with the first batch of this epoch."""
        self.batch_index = 0
        self._pass_is_over = False

    def on_epoch_end(self) -> None:
        """Shuffle anew and draw other transformations from now on; Keras calls it."""
        self.epoch += 1
        self._pass_is_over = False
        self._set_order()

    def _batch(self, epoch: int, order: np.ndarray, index: int) -> Any:
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        images = np.empty(0)
        for row, sample in enumerate(chosen):
            rng = np.random.default_rng((self._entropy, epoch, sample))
            image = self.image_data_generator.augment(self._read(sample), rng)
            if not row:
                images = np.empty((len(chosen), *image.shape), self.dtype)
            images[row] = image
        if self.save_to_dir:
            self._save(images, chosen)
        inputs, targets = self._inputs(images, chosen), self._targets(images, chosen)
        if targets is None:
            return inputs
        weight = self.sample_weight
        return (inputs, targets) if weight is None else (inputs, targets, weight[chosen])

    def _save(self, images: np.ndarray, chosen: np.ndarray) -> None:
        folder = Path(self.save_to_dir)
        folder.mkdir(parents=True, exist_ok=True)
        for image, index in zip(images, chosen, strict=True):
            name = f"{self.save_prefix}_{index}_{uuid4().int % 10**9}.{self.save_format}"
            keras.utils.array_to_img(image, self.data_format).save(folder / name)

    def _read(self, index: int) -> np.ndarray:
        raise NotImplementedError

    def _inputs(self, images: np.ndarray, chosen: np.ndarray) -> Any:
        return images

    def _targets(self, images: np.ndarray, chosen: np.ndarray) -> Any:
        raise NotImplementedError


def part_of(n: int, subset: str | None, generator: "ImageDataGenerator") -> slice:
    """Slice of `n` samples that a subset has: the first share is for validation."""
    check_choice(subset, ("training", "validation", None), "subset")
    if subset == "validation" and not generator.validation_split:
        raise UsageError(
            "`subset`: 'validation' needs a share to take, received validation_split="
            f"{generator.validation_split}. Make the ImageDataGenerator with validation_split=0.2"
        )
    first = int(n * generator.validation_split)
    return {None: slice(n), "validation": slice(first), "training": slice(first, n)}[subset]


class NumpyArrayIterator(Iterator):
    """Batches from arrays, as `ImageDataGenerator.flow` makes them.

    Attributes
    ----------
    x : (n, ...) array
        The images in the type they came in; a batch is converted, not the lot.
    y, sample_weight : (n, ...) array or None
    x_misc : list of (n, ...) arrays
        Further inputs, handed out as they are.
    """

    def __init__(self, generator: "ImageDataGenerator", settings: Settings):
        x, misc = settings["x"], []
        if isinstance(x, (tuple, list)):
            x, misc = x[0], x[1] if isinstance(x[1], list) else [x[1]]
        self.x = np.asarray(x)
        generator.check_batch(self.x, "x")
        y, weight = settings["y"], settings["sample_weight"]
        named = [*(("x", more) for more in misc), ("y", y), ("sample_weight", weight)]
        for name, values in named:
            if values is not None and len(values) != len(self.x):
                raise UsageError(
                    f"`{name}`: expected one for each of the {len(self.x)} images,"
                    f" received {len(values)}"
                )
        part = part_of(len(x), settings["subset"], generator)
        if settings["subset"] and y is not None and not settings["ignore_class_split"]:
            inside, outside = np.asarray(y)[part], np.delete(y, part, axis=0)
            if not np.array_equal(np.unique(inside), np.unique(outside)):
                raise UsageError(
                    "`subset`: expected the same classes in training and validation, received"
                    " others. Shuffle x and y together first, or pass ignore_class_split=True"
                )
        self.x, self.x_misc = self.x[part], [np.asarray(further)[part] for further in misc]
        self.y = None if y is None else np.asarray(y)[part]
        self.sample_weight = None if weight is None else np.asarray(weight)[part]
        super().__init__(generator, len(self.x), settings)

    def _read(self, index: int) -> np.ndarray:
        return np.array(self.x[index], self.dtype)

    def _inputs(self, images: np.ndarray, chosen: np.ndarray) -> Any:
        further = [values[chosen] for values in self.x_misc]
        return (images, *further) if further else images

    def _targets(self, images: np.ndarray, chosen: np.ndarray) -> Any:
        return None if self.y is None else self.y[chosen]
