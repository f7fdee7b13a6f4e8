"""Labelled images that a caller has in hand: arrays, `tf.data`, `keras.utils.PyDataset`."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import numpy as np

from tltool.data.dataset import Dataset, Sample, by_split
from tltool.data.images import fit_side
from tltool.data.splits import stratified_split
from tltool.data.stream import Augment, for_model, mixed
from tltool.errors import DataError, UsageError
from tltool.prefetch import default_workers, prefetch
from tltool.raster import enlarge
from tltool.raster.bands import to_bytes
from tltool.recipe import Recipe
from tltool.tasks.kinds import kind_of, make_task
from tltool.tasks.task import Task

logger = logging.getLogger(__name__)

Scale = tuple[float, float] | None
# Names of the classes, of the only task or of each.
Classes = Sequence[str] | Mapping[str, Sequence[str]] | None


def as_images(images: Any, scale: Scale = None, name: str = "x") -> np.ndarray:
    """Check images and turn them to bytes.

    Parameters
    ----------
    images : (n, height, width, bands) array of numbers
        In 0..255, or from the first to the second number of `scale`; rounded.
    scale : (float, float), optional
        The numbers that become 0 and 255.
    name : str
        What an error calls them.

    Returns
    -------
    (n, height, width, bands) uint8 array

    Raises
    ------
    DataError
        Another rank, none, NaN, or numbers beyond 0..255 or within 0..1.
    """
    array = np.asarray(images)
    if array.ndim != 4 or array.dtype.kind not in "buif" or 0 in array.shape:
        raise DataError(
            f"`{name}`: expected images, (n, height, width, bands) numbers; received an array of"
            f" shape {array.shape} and kind {array.dtype}"
        )
    if scale in (None, (0, 255)) and array.dtype == np.uint8:
        return array
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array).all(axis=(1, 2, 3)))[0])
        raise DataError(f"`{name}`: expected finite numbers; image {bad} holds NaN or infinity")
    if scale is None:
        low, high = float(array.min()), float(array.max())
        if array.dtype.kind == "f" and low >= 0 and high <= 1:
            raise DataError(
                f"`{name}`: expected numbers in 0..255, received floats within 0..1. Multiply them"
                " by 255, or say `scale=(0, 1)`"
            )
        if low < 0 or high > 255:
            raise DataError(
                f"`{name}`: expected numbers in 0..255, received {low:g} to {high:g}. Say with"
                " `scale=(MIN, MAX)` which become 0 and 255"
            )
    return np.stack([to_bytes(image, scale or (0, 255)) for image in array])


def as_labels(
    labels: Any, classes: Sequence[str] | None = None, *, numbers: bool = False, name: str = "y"
) -> tuple[list[tuple[str, ...]], tuple[str, ...] | None]:
    """Read labels of any of the usual forms as a manifest would hold them.

    Parameters
    ----------
    labels : array
        (n,) class indices or names, or (n, classes) of 0 and 1: one-hot, or
        any number of classes a row; (n,) measurements where `numbers`.
    classes : sequence of str, optional
        Names in the order of the indices. Default: the indices as text.
    numbers : bool
        Whether they are measurements, not classes.
    name : str
        What an error calls them.

    Returns
    -------
    column : list of tuple of str
        The classes of each, or the number.
    classes : tuple of str or None
        In their order; None: the labels do not tell it.

    Raises
    ------
    DataError
        Labels of another form, or that `classes` does not have.
    """
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 1 and array.dtype.kind in "OSU" and not numbers:
        names = [x.decode() if isinstance(x, bytes) else str(x) for x in array.tolist()]
        if unknown := sorted(set(names) - set(classes or names)):
            raise DataError(
                f"`classes`: expected every class of `{name}`, received"
                f" {', '.join(classes or ())} without {', '.join(unknown)}"
            )
        return [(each,) for each in names], tuple(classes) if classes else None
    real = array.dtype.kind in "bui" or (array.dtype.kind == "f" and np.isfinite(array).all())
    if array.ndim not in (1, 2) or not real or not len(array) or (numbers and array.ndim != 1):
        raise DataError(
            f"`{name}`: expected labels, (n,) indices or names of classes, (n, classes) of 0 and 1,"
            f" or (n,) numbers of a regression; received an array of shape {array.shape} and kind"
            f" {array.dtype}"
        )
    if numbers:
        return [(repr(float(each)),) for each in array], None
    number = array.shape[1] if array.ndim == 2 else int(array.max()) + 1
    known = tuple(classes or map(str, range(number)))
    wrong = number != len(known) if array.ndim == 2 else number > len(known)
    wrong |= bool((array != np.floor(array)).any() or array.min() < 0)
    if wrong or (array.ndim == 2 and array.max() > 1):
        raise DataError(
            f"`{name}`: expected indices of the {len(known)} classes, or a column of 0 and 1 for"
            f" each; received numbers from {array.min():g} to {array.max():g}, shape {array.shape}"
        )
    if array.ndim == 1:
        return [(known[index],) for index in array.astype(int)], known
    return [tuple(known[index] for index in np.flatnonzero(row)) for row in array], known


def _measured(labels: Any) -> bool:
    """Whether labels are numbers that no class has: not whole."""
    array = np.asarray(labels)
    return array.dtype.kind == "f" and array.ndim == 1 and bool((array != np.floor(array)).any())


def _label(task: Task, y: Any, name: str) -> list[Any]:
    """Labels of the samples of a task that is known, as `Sample` has them."""
    values = y[task.name] if isinstance(y, Mapping) else y
    numbers = not task.probabilistic
    column, _ = as_labels(values, None if numbers else task.classes, numbers=numbers, name=name)
    return [task.label(names) for names in column]


def _learn_tasks(y: Any, recipe: Recipe, classes: Classes, name: str) -> list[Task]:
    """The tasks that labels are of."""
    by_task = dict(y) if isinstance(y, Mapping) else {"label": y}
    names = classes if isinstance(classes, Mapping) else dict.fromkeys(by_task, classes)
    if unknown := {*recipe.tasks, *names} - set(by_task):
        raise UsageError(
            f"`{name}`: expected labels of {', '.join(sorted(unknown))}, as `recipe` or `classes`"
            f" says; received {', '.join(by_task)}"
        )
    tasks = []
    for task, labels in by_task.items():
        kind = (recipe.tasks[task].kind if task in recipe.tasks else None) or recipe.task
        if kind is None and _measured(labels):
            kind = "regression"
            logger.info("`%s` holds numbers that are not whole: task: %s", name, kind)
        numbers = kind is not None and not kind_of(kind).probabilistic
        column, order = as_labels(labels, names.get(task), numbers=numbers, name=name)
        several = any(len(each) != 1 for each in column)
        kind = kind or ("multi-label" if several else "multi-class")
        found = {each for names_of in column for each in names_of}
        if not numbers and not several and names.get(task) is None and len(found) < 2:
            raise DataError(
                f"`{name}`: expected two classes or more, received one, {', '.join(found)}"
            )
        if order is None:
            tasks.append(kind_of(kind).learn(task, column, recipe.background))
        else:
            tasks.append(make_task(task, order, kind))
    return tasks


def _pair(data: Any, name: str) -> tuple[Any, Any]:
    if isinstance(data, tuple | list) and len(data) == 2:
        x, y = data
        for labels in y.values() if isinstance(y, Mapping) else [y]:
            if len(x) != len(labels):
                raise DataError(
                    f"`{name}`: expected as many labels as images, received {len(x)} images and"
                    f" {len(labels)} labels"
                )
        return x, y
    raise UsageError(
        f"`{name}`: expected a folder, a manifest, arrays (x, y), a tf.data.Dataset or a"
        f" keras.utils.PyDataset; received {type(data).__name__}"
    )


def _samples(x: Any, y: Any, tasks: Sequence[Task], scale: Scale, name: str) -> list[Sample]:
    images = as_images(x, scale, name)
    labels = zip(*(_label(task, y, name) for task in tasks), strict=True)
    return [
        Sample(Path(f"{name}[{i}]"), each, pixels=pixels)
        for i, (pixels, each) in enumerate(zip(images, labels, strict=True))
    ]


def collected(data: Any, name: str) -> tuple[Any, Any]:
    """Arrays (x, y) of whatever holds labelled images and ends."""
    if not is_stream(data):
        return _pair(data, name)
    stream = Stream(data, name)
    if stream.length is None:
        raise UsageError(f"`{name}`: expected images that end, received a stream without a length")
    join = np.concatenate if stream.batched else np.stack
    images, labels, *_ = _join(list(stream.elements()), join)
    return images, labels


def read_arrays(
    data: Any,
    recipe: Recipe,
    validation_data: Any = None,
    classes: Classes = None,
    scale: Scale = None,
) -> Dataset:
    """Labelled images in memory as a dataset.

    Parameters
    ----------
    data : (x, y)
        (n, height, width, bands) numbers in 0..255, and labels as `as_labels`
        reads them or a dict of them by task.
    recipe : Recipe
        Its task, tasks, split, background and training.seed.
    validation_data : (x, y) or what `Stream` takes, optional
        Default: the recipe's split is drawn.
    classes : sequence of str, or dict of them by task, optional
    scale : (float, float), optional
        See `as_images`.

    Raises
    ------
    DataError, UsageError
    """
    x, y = _pair(data, "data")
    if recipe.group is not None:
        raise UsageError("`group`: expected a manifest, whose columns it names; received arrays")
    tasks = _learn_tasks(y, recipe, classes, "data")
    samples = _samples(x, y, tasks, scale, "data")
    if validation_data is not None:
        valid = _valid(validation_data, tasks, scale)
        divided = {"train": samples, "valid": valid, "test": []}
    else:
        columns = [
            task.strata([tuple(task.label_text(s.labels[place] or ()).split("|")) for s in samples])
            for place, task in enumerate(tasks)
        ]
        strata = [str(each) for each in zip(*columns, strict=True)]
        drawn = stratified_split(strata, recipe.split, recipe.training.seed)
        for place, task in enumerate(tasks):
            # Rows that are alike in all labels may be few: train gets one of every class.
            members = [task.members(sample.labels[place] or ()) for sample in samples]
            for index in range(len(task.classes)):
                having = [i for i, of_sample in enumerate(members) if index in of_sample]
                if having and not (drawn[having] == 0).any():
                    drawn[having[0]] = 0
        divided = by_split(samples, drawn)
    return Dataset(
        Path(f"arrays in memory: {len(samples)} images"),
        tasks,
        divided,
        given_background=recipe.background,
        divided=validation_data is None,
        in_memory=True,
    )


def _valid(data: Any, tasks: Sequence[Task], scale: Scale) -> list[Sample]:
    x, y = collected(data, "validation_data")
    if missing := {t.name for t in tasks} - set(y if isinstance(y, Mapping) else ["label"]):
        raise DataError(
            f"`validation_data`: expected labels of {', '.join(sorted(missing))} as `data` has"
        )
    return _samples(x, y, tasks, scale, "validation_data")


def is_stream(data: Any) -> bool:
    """Whether `data` gives its images bit by bit: neither a path nor arrays."""
    if isinstance(data, str | Path | tuple | list | Mapping | np.ndarray):
        return False
    return hasattr(data, "__iter__") or hasattr(data, "__getitem__")


class Stream:
    """Labelled images that come bit by bit, one by one or in batches.

    Parameters
    ----------
    data : tf.data.Dataset, keras.utils.PyDataset or iterable
        Elements (image, label), (images, labels), or with weights of the
        samples as a third; labels as `as_labels` reads them, or a dict of them
        by task.
    name : str
        What an error calls it.

    Attributes
    ----------
    length : int or None
        Elements of a pass; None: without end, or not known.
    first : tuple
        The first element.
    batched : bool
    """

    def __init__(self, data: Any, name: str = "data"):
        self._data, self._name = data, name
        self._rest: Iterator[Any] | None = None
        if hasattr(data, "cardinality"):
            number: int | None = int(data.cardinality())
        else:
            number = getattr(data, "num_batches", len(data) if hasattr(data, "__len__") else None)
        self.length = None if number is None or number < 0 else number
        elements = self.elements()
        first: Any = next(elements, None)
        if not isinstance(first, tuple | list) or len(first) not in (2, 3):
            raise DataError(
                f"`{name}`: expected elements (image, label), received"
                f" {'none' if first is None else type(first).__name__}"
            )
        if np.ndim(first[0]) not in (3, 4):
            raise DataError(
                f"`{name}`: expected images (height, width, bands) or batches of them, received"
                f" shape {np.shape(first[0])}"
            )
        self.first, self.batched = first, np.ndim(first[0]) == 4
        if isinstance(data, Iterator):
            # It can be gone through once.
            self._rest = chain([first], elements)

    def __str__(self) -> str:
        number = f"{self.length or 'no known number of'} {'batches' if self.batched else 'images'}"
        return f"{type(self._data).__name__.strip('_')}: {number}"

    def elements(self) -> Iterator[Any]:
        """A pass over the elements; of what can be gone through once, the rest."""
        if self._rest is not None:
            return self._rest
        if hasattr(self._data, "as_numpy_iterator"):
            return iter(self._data.as_numpy_iterator())
        if hasattr(self._data, "num_batches") and self.length is not None:
            return (self._data[index] for index in range(self.length))
        return iter(self._data)

    def end_epoch(self) -> None:
        """Tell a `keras.utils.PyDataset` that a pass is over."""
        if hasattr(self._data, "on_epoch_end"):
            self._data.on_epoch_end()

    def labels(self, classes: Classes, numbers: bool = False) -> tuple[Any, Classes]:
        """Labels that tell all classes, and their names, where they are given.

        Parameters
        ----------
        classes : sequence of str, dict of them by task, or None
        numbers : bool
            Whether there are measurements, of which the first batch is enough
            where there is no end.

        Raises
        ------
        UsageError
            Where it would take a pass over what has no end.
        """
        classes = classes or getattr(self._data, "class_names", None)
        first = self.first[1] if self.batched else _join([self.first])[1]
        every = first.values() if isinstance(first, Mapping) else [first]
        hot = all(np.ndim(each) == 2 and np.shape(each)[1] > 1 for each in every)
        if classes is not None or hot:
            return first, classes
        if self.length is not None:
            return collected(self._data, self._name)[1], None
        if numbers or all(_measured(each) for each in every):
            return first, None
        raise UsageError(
            "`classes`: expected the names of all classes, since `data` has no known end;"
            " received None"
        )


def _join(elements: Sequence[Any], join: Callable[..., np.ndarray] = np.stack) -> tuple[Any, ...]:
    """Elements (image, label), or with weights, as one (images, labels)."""
    images, labels, *weights = zip(*elements, strict=True)
    if isinstance(labels[0], Mapping):
        joined: Any = {name: join([each[name] for each in labels]) for name in labels[0]}
    else:
        joined = join(labels)
    return (join(images), joined, *(join(each) for each in weights))


def read_stream(
    stream: Stream,
    recipe: Recipe,
    validation_data: Any = None,
    classes: Classes = None,
    scale: Scale = None,
) -> Dataset:
    """A stream as a dataset without training samples: these come when they are trained on.

    Parameters
    ----------
    stream : Stream
    recipe, validation_data, classes, scale
        See `read_arrays`; without `validation_data` there is none.
    """
    kinds = [recipe.task, *(task.kind for task in recipe.tasks.values())]
    numbers = any(kind is not None and not kind_of(kind).probabilistic for kind in kinds)
    labels, classes = stream.labels(classes, numbers)
    tasks = _learn_tasks(labels, recipe, classes, "data")
    valid = [] if validation_data is None else _valid(validation_data, tasks, scale)
    samples: dict[str, list[Sample]] = {"train": [], "valid": valid, "test": []}
    return Dataset(
        Path(str(stream)), tasks, samples, given_background=recipe.background, in_memory=True
    )


class StreamBatches:
    """Batches of a stream for `keras.Model.fit`; see `tltool.data.stream.Batches`.

    Parameters
    ----------
    stream : Stream
        What comes in batches keeps them; what comes one by one is put into
        batches of `batch_size`.
    tasks, batch_size, zoom, augmenter, seed, context
        See `tltool.data.stream.Batches`.
    side : int
        Side of a training image, px; others are resized.
    scale, bands
        See `as_images` and `tltool.data.images.read_image`.
    """

    def __init__(
        self,
        stream: Stream,
        tasks: Sequence[Task],
        batch_size: int,
        zoom: Fraction,
        augmenter: Augment,
        seed: int,
        context: int,
        *,
        side: int,
        scale: Scale,
        bands: Sequence[int] | None,
    ):
        self._stream, self._tasks, self.batch_size, self._zoom = stream, tasks, batch_size, zoom
        self._augmenter, self._seed, self._side = augmenter, seed, side
        self._scale, self._bands = scale, bands
        self._mixer = augmenter.mixer and augmenter.mixer.with_margin(round(context * zoom))

    def length(self, steps: int | None) -> int:
        """Batches in an epoch: of a pass, or where that has no end, of a tenth of a stage's steps.

        Raises
        ------
        UsageError
            Where neither is known.
        """
        length = self._stream.length
        if length is not None:
            return length if self._stream.batched else -(-length // self.batch_size)
        if steps is None:
            raise UsageError(
                "`steps`: expected a number of steps for each stage, since `data` has no known end;"
                " received epochs"
            )
        return -(-steps // 10)

    def batches_from(self, first: int, done: int, per_epoch: int) -> Iterator[Any]:
        """Batches without end, from an epoch of a stage on.

        Parameters
        ----------
        first, done : int
            Epochs of earlier stages, and of this one.
        per_epoch : int
            Batches in an epoch.
        """
        return prefetch(self._prepare, self._numbered(first, done, per_epoch), default_workers())

    def _numbered(self, first: int, done: int, per_epoch: int) -> Iterator[tuple[int, int, Any]]:
        endless = self._stream.length is None
        for _ in range(0 if endless else first + done):
            # Begun, as a pass that shuffles draws its order then.
            next(self._stream.elements(), None)
            self._stream.end_epoch()
        # Without end there is one epoch, whose batches count on from pass to pass.
        end, skipped = 0, done * per_epoch if endless else 0
        for epoch in count(first + done):
            elements = self._stream.elements()
            if not self._stream.batched:
                # Until there is an empty list.
                take = partial(lambda source: list(islice(source, self.batch_size)), elements)
                elements = map(_join, iter(take, []))
            begin = end if endless else 0
            for index, batch in enumerate(elements, begin):
                end = index + 1
                if index >= skipped:
                    yield first if endless else epoch, index, batch
            if end == begin:
                raise DataError(
                    f"`data`: expected images for all steps, but {self._stream} ended. Take fewer"
                    " steps, or what can be gone through again"
                )
            self._stream.end_epoch()

    def _prepare(self, numbered: tuple[int, int, Any]) -> tuple[Any, ...]:
        epoch, index, (images, labels, *weights) = numbered
        # Checked for their range on the first batch; a dark one is none of 0..1.
        pixels = as_images(images, self._scale or (0, 255), "data")
        if self._bands is not None:
            pixels = pixels[..., [band - 1 for band in self._bands]]
        targets: dict[str, np.ndarray] = {}
        names: list[str | None] = [None] * len(pixels)
        for task in self._tasks:
            values = np.asarray(labels[task.name] if isinstance(labels, Mapping) else labels)
            if values.ndim == 2 and values.shape[1] == task.outputs and values.dtype.kind == "f":
                targets[task.name] = values.astype(np.float32)
                continue
            read = _label(task, values, "data")
            targets[task.name] = task.encode(read)
            if task is self._tasks[0]:
                names = [task.class_of(label) for label in read]
        done = []
        for turn, (image, name) in enumerate(
            zip(pixels, names, strict=True), index * self.batch_size
        ):
            own = fit_side(image, self._side)
            done.append(enlarge(self._augmenter(own, (self._seed, epoch, turn), name), self._zoom))
        ready = np.stack(done).astype(np.float32)
        key = (self._seed, epoch, index)
        ready, targets = mixed(self._mixer, ready, targets, key, self._tasks)
        return (ready, for_model(targets), *weights)
