"""Batches of augmented images from class folders and from tables of file names."""

import logging
import os
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from PIL import Image

from tltool.augment.keras2.iterators import Iterator, Settings, check_choice, part_of
from tltool.errors import DataError, ImageError, UsageError

if TYPE_CHECKING:
    from tltool.augment.keras2.image_data_generator import ImageDataGenerator

logger = logging.getLogger(__name__)

_FORMATS = ("png", "jpg", "jpeg", "bmp", "ppm", "tif", "tiff")
_CHANNELS = {"rgb": 3, "rgba": 4, "grayscale": 1}

_LABELLED = ("categorical", "binary", "sparse")
_FOLDER_MODES = (*_LABELLED, "input", None)


def _announce(text: str) -> None:
    if keras.config.is_interactive_logging_enabled():
        print(text)
    else:
        logger.info(text)


class _FileIterator(Iterator):
    """Batches from image files.

    Attributes
    ----------
    filenames, filepaths : list of str
    image_shape : tuple of int
    class_indices : dict of class name to int
    classes : sequence
        The class of each file, or its classes.
    """

    directory: str
    filenames: list[str]
    class_indices: dict[Any, int]
    classes: Any = None
    labels: Any = None

    def __init__(self, generator: "ImageDataGenerator", settings: Settings):
        self.class_mode, self.color_mode = settings["class_mode"], settings["color_mode"]
        self.interpolation = settings["interpolation"]
        self.keep_aspect_ratio = settings.get("keep_aspect_ratio", False)
        self.target_size = tuple(settings["target_size"])
        check_choice(self.color_mode, _CHANNELS, "color_mode")
        methods = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")
        check_choice(self.interpolation, methods, "interpolation")
        size, channels = self.target_size, (_CHANNELS[self.color_mode],)
        if len(size) != 2:
            raise UsageError(f"`target_size`: expected (height, width), received {size}")
        last = generator.data_format == "channels_last"
        self.image_shape = size + channels if last else channels + size
        self.filepaths = [os.path.join(self.directory, name) for name in self.filenames]
        super().__init__(generator, len(self.filenames), settings)

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_indices)

    def _read(self, index: int) -> np.ndarray:
        path, how = self.filepaths[index], (self.interpolation, self.keep_aspect_ratio)
        try:
            image = keras.utils.load_img(path, self.color_mode, self.target_size, *how)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ImageError(f"{path} cannot be read as an image: {error}") from error
        return keras.utils.img_to_array(image, self.data_format, self.dtype)

    def _targets(self, images: np.ndarray, chosen: np.ndarray) -> Any:
        if self.class_mode is None:
            return None
        if self.class_mode == "input":
            return images.copy()
        if self.class_mode == "categorical":
            hot = np.zeros((len(chosen), self.num_classes), self.dtype)
            for row, index in zip(hot, chosen, strict=True):
                row[self.classes[index]] = 1
            return hot
        if self.class_mode == "multi_output":
            return tuple(values[chosen] for values in self.labels)
        labels = np.asarray(self.labels)[chosen]
        return labels if self.class_mode == "raw" else labels.astype(self.dtype)


def _list_images(folder: str, name: str, follow_links: bool) -> list[str]:
    found = []
    for root, _, files in sorted(os.walk(os.path.join(folder, name), followlinks=follow_links)):
        within = os.path.relpath(root, os.path.join(folder, name))
        files = [file for file in sorted(files) if file.lower().endswith(_FORMATS)]
        found += [os.path.join(name, os.path.normpath(os.path.join(within, f))) for f in files]
    if not found:
        warnings.warn(f"{folder}: no image of class {name}", stacklevel=2)
    return found


class DirectoryIterator(_FileIterator):
    """Batches from class folders, as `ImageDataGenerator.flow_from_directory` makes them."""

    def __init__(self, generator: "ImageDataGenerator", settings: Settings):
        check_choice(settings["class_mode"], _FOLDER_MODES, "class_mode")
        self.directory = os.fspath(settings["directory"])
        names = list(settings["classes"] or ())
        if not names and not os.path.isdir(self.directory):
            raise DataError(f"{self.directory}: expected a folder of class folders, found none")
        names = names or sorted(e.name for e in os.scandir(self.directory) if e.is_dir())
        if not names:
            raise DataError(
                f"{self.directory}: expected a folder for each class, found none. For images"
                " without classes pass classes=['.'] and class_mode=None"
            )
        found = [_list_images(self.directory, name, settings["follow_links"]) for name in names]
        found = [files[part_of(len(files), settings["subset"], generator)] for files in found]
        self.filenames = [name for files in found for name in files]
        self.class_indices = {name: i for i, name in enumerate(names)}
        counts = [len(files) for files in found]
        self.classes = self.labels = np.repeat(np.arange(len(names), dtype=np.int32), counts)
        _announce(f"Found {len(self.filenames)} images belonging to {len(names)} classes.")
        super().__init__(generator, settings)


def _column(table: Any, name: Any) -> list[Any]:
    known = getattr(table, "columns", None)
    if known is None:
        raise UsageError(
            "`dataframe`: expected a table with columns, such as a pandas DataFrame, received"
            f" {type(table).__name__}"
        )
    if name not in list(known):
        raise DataError(f"expected a column {name!r}, the table has {', '.join(map(str, known))}")
    return list(table[name])


def _check_types(values: Iterable[Any], types: tuple[type, ...], column: Any) -> None:
    for row, value in enumerate(values):
        if not isinstance(value, types):
            names = " or ".join(t.__name__ for t in types)
            raise DataError(
                f"column {column!r}, row {row}: expected {names}, received {value!r}."
                " Convert the column first, for example with astype(str)"
            )


def _names(label: Any) -> list[Any]:
    return list(label) if isinstance(label, (list, tuple)) else [label]


class DataFrameIterator(_FileIterator):
    """Batches from a table, as `ImageDataGenerator.flow_from_dataframe` makes them."""

    def __init__(self, generator: "ImageDataGenerator", settings: Settings):
        self.directory = os.fspath(settings["directory"] or "")
        self.class_mode = settings["class_mode"]
        check_choice(self.class_mode, (*_FOLDER_MODES, "multi_output", "raw"), "class_mode")
        table, column, wanted = settings["dataframe"], settings["x_col"], settings["y_col"]
        several = isinstance(wanted, (list, tuple))
        paths = _column(table, column)
        _check_types(paths, (str,), column)
        rows = list(range(len(paths)))
        if settings["validate_filenames"]:
            full = [os.path.join(self.directory, path) for path in paths]
            rows = [
                i for i in rows if full[i].lower().endswith(_FORMATS) and os.path.isfile(full[i])
            ]
        if len(rows) < len(paths):
            warnings.warn(
                f"column {column!r}: {len(paths) - len(rows)} of {len(paths)} are no image file in"
                f" {self.directory or 'the working directory'} and are left out",
                stacklevel=2,
            )
        labels, self.class_indices = [], {}
        if self.class_mode in _LABELLED:
            labels = _column(table, wanted)
            lists = (list, tuple) if self.class_mode == "categorical" else ()
            _check_types(labels, (str, *lists), wanted)
            found = sorted({name for row in rows for name in _names(labels[row])})
            known = dict.fromkeys(settings["classes"] or found)
            self.class_indices = {name: i for i, name in enumerate(known)}
            if self.class_mode == "binary" and len(known) != 2:
                raise DataError(f"class_mode 'binary': expected 2 classes, found {len(known)}")
            rows = [row for row in rows if not known.keys().isdisjoint(_names(labels[row]))]
        elif settings["classes"]:
            warnings.warn(f"`classes`: unused with class_mode={self.class_mode!r}", stacklevel=2)
        rows = rows[part_of(len(rows), settings["subset"], generator)]
        self.filenames = [paths[row] for row in rows]
        if self.class_mode in _LABELLED:
            # A list of indices where there is one of names.
            index = self.class_indices
            self.classes = self.labels = [
                index[labels[row]]
                if isinstance(labels[row], str)
                else [index[name] for name in labels[row] if name in index]
                for row in rows
            ]
        elif self.class_mode == "multi_output":
            if not several:
                raise UsageError(f"`y_col`: 'multi_output' expects a list, received {wanted!r}")
            self.labels = [np.asarray(_column(table, name))[rows] for name in wanted]
        elif self.class_mode == "raw":
            values = [np.asarray(_column(table, name))[rows] for name in _names(wanted)]
            self.labels = np.stack(values, 1) if several else values[0]
        weighting = settings["weight_col"]
        if weighting:
            weights = np.asarray(_column(table, weighting))
            if not np.issubdtype(weights.dtype, np.number):
                raise DataError(f"column {weighting!r}: expected numbers, received {weights.dtype}")
            self.sample_weight = weights[rows]
        classes = f" belonging to {self.num_classes} classes" if self.class_indices else ""
        _announce(f"Found {len(self.filenames)} image filenames{classes}.")
        super().__init__(generator, settings)
