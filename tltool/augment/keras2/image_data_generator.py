"""ImageDataGenerator for scripts written for Keras's, which is deprecated: the same, faster."""

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tltool.augment.keras2 import affine
from tltool.augment.keras2.file_iterators import DataFrameIterator, DirectoryIterator
from tltool.augment.keras2.iterators import NumpyArrayIterator, check_choice
from tltool.errors import UsageError

_TINY = 1e-6


def _pair(value: Any, name: str) -> list[float]:
    if not isinstance(value, (list, tuple, np.ndarray)) or len(value) != 2:
        raise UsageError(f"`{name}`: expected (lowest, highest), received {value!r}")
    return list(value)


@dataclass(eq=False)
class ImageDataGenerator:
    """Random transformations and normalisation of batches of images.

    A drop-in for ``tf.keras.preprocessing.image.ImageDataGenerator``: same
    parameters, same order, same pixels for the same transformation.

    Parameters
    ----------
    featurewise_center, featurewise_std_normalization : bool
        Subtract the mean, divide by the deviation that `fit` found, by channel.
    samplewise_center, samplewise_std_normalization : bool
        The same with the mean and deviation of the image itself.
    zca_whitening : bool
        Whiten with the matrix that `fit` found; `zca_epsilon` keeps it finite.
    rotation_range : float
        Largest angle, degrees, either way.
    width_shift_range, height_shift_range : float, int or list
        A fraction below 1 of the side, else px; an int n means whole px below
        n; a list is what to choose from, of either sign.
    brightness_range : (float, float), optional
        Factors between which to draw; 1 changes nothing.
    shear_range : float
        Largest angle, degrees, either way.
    zoom_range : float or (float, float)
        1 - z to 1 + z, or lowest and highest; drawn for each axis, below 1
        enlarges.
    channel_shift_range : float
        Largest value to add or subtract.
    fill_mode : str
        What lies beyond the edge: nearest, constant (`cval`), reflect or wrap.
    horizontal_flip, vertical_flip : bool
        Whether to mirror every second image.
    rescale : float, optional
        Factor, applied after the transformation.
    preprocessing_function : callable, optional
        Takes and gives one image, after the transformation, before `rescale`.
    data_format : {"channels_last", "channels_first"}, optional
        Keras's own setting if not given; so with `dtype`.
    validation_split : float
        Share of the samples, the first ones, that subset="validation" takes.
    interpolation_order : int
        Order of the spline, 0 to 5; 0 and 1 are fast.

    Attributes
    ----------
    mean, std : (1, 1, channels) array or None
        Mean and deviation of the training images; set by `fit` or by hand.
    zca_whitening_matrix : (pixels, pixels) array or None

    Notes
    -----
    Two traits of the former class are kept, because models were trained so:
    `width_shift_range` moves an image up and down and `height_shift_range`
    sideways, and an oblong image turns about a point beside its centre.

    Examples
    --------
    >>> import numpy as np
    >>> from tltool.augment import ImageDataGenerator
    >>> generator = ImageDataGenerator(rotation_range=20, horizontal_flip=True, rescale=1 / 255)
    >>> images, labels = next(generator.flow(np.zeros((4, 8, 8, 3)), np.arange(4), batch_size=2))
    >>> images.shape
    (2, 8, 8, 3)
    """

    featurewise_center: bool = False
    samplewise_center: bool = False
    featurewise_std_normalization: bool = False
    samplewise_std_normalization: bool = False
    zca_whitening: bool = False
    zca_epsilon: float = 1e-6
    rotation_range: float = 0
    width_shift_range: float | Sequence[float] = 0.0
    height_shift_range: float | Sequence[float] = 0.0
    brightness_range: Sequence[float] | None = None
    shear_range: float = 0.0
    zoom_range: float | Sequence[float] = 0.0
    channel_shift_range: float = 0.0
    fill_mode: str = "nearest"
    cval: float = 0.0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    rescale: float | None = None
    preprocessing_function: Callable[[np.ndarray], Any] | None = None
    data_format: str | None = None
    validation_split: float = 0.0
    interpolation_order: int = 1
    dtype: str | None = None

    mean: np.ndarray | None = field(default=None, init=False, repr=False)
    std: np.ndarray | None = field(default=None, init=False, repr=False)
    zca_whitening_matrix: np.ndarray | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.data_format = self.data_format or keras.config.image_data_format()
        self.dtype = self.dtype or keras.config.floatx()
        check_choice(self.data_format, ("channels_last", "channels_first"), "data_format")
        last = self.data_format == "channels_last"
        self.channel_axis, self.row_axis, self.col_axis = (3, 1, 2) if last else (1, 2, 3)
        check_choice(self.fill_mode, (*affine.FILL_MODES, *affine.SPLINE_FILL_MODES), "fill_mode")
        check_choice(self.interpolation_order, range(6), "interpolation_order")
        if not 0 <= self.validation_split < 1:
            raise UsageError(
                f"`validation_split`: expected 0 or more, below 1, received {self.validation_split}"
            )
        zoom = self.zoom_range
        if isinstance(zoom, (int, float, np.number)):
            zoom = [1 - zoom, 1 + zoom]
        self.zoom_range = _pair(zoom, "zoom_range")
        if self.brightness_range is not None:
            self.brightness_range = _pair(self.brightness_range, "brightness_range")
        if self.zca_whitening and self.featurewise_std_normalization:
            self.featurewise_std_normalization = False
            warnings.warn("zca_whitening switches off featurewise_std_normalization", stacklevel=3)
        for reason, centre in (
            ("zca_whitening", "featurewise_center"),
            ("featurewise_std_normalization", "featurewise_center"),
            ("samplewise_std_normalization", "samplewise_center"),
        ):
            if getattr(self, reason) and not getattr(self, centre):
                setattr(self, centre, True)
                warnings.warn(f"{reason} switches on {centre}", stacklevel=3)

    def flow(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        shuffle: bool = True,
        sample_weight: Any = None,
        seed: int | None = None,
        save_to_dir: str | os.PathLike[str] | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        ignore_class_split: bool = False,
        subset: str | None = None,
    ) -> NumpyArrayIterator:
        """Augmented batches of arrays.

        Parameters
        ----------
        x : (n, ...) array, or a pair of it and further inputs
        y, sample_weight : (n, ...) array, optional
        batch_size : int
        shuffle : bool
            Anew before each epoch.
        seed : int, optional
            The same seed gives the same order and the same transformations,
            so that images and masks can flow side by side.
        save_to_dir : path, optional
            Folder that receives every augmented image, as
            ``<save_prefix>_<index>_<random>.<save_format>``.
        ignore_class_split : bool
            Allow subsets that have other classes.
        subset : {"training", "validation"}, optional

        Returns
        -------
        Endless iterator and `keras.utils.PyDataset` over ``images``,
        ``(images, y)`` or ``(images, y, sample_weight)``.
        """
        return NumpyArrayIterator(self, dict(locals()))

    def flow_from_directory(
        self,
        directory: str | os.PathLike[str],
        target_size: tuple[int, int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: str | os.PathLike[str] | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
    ) -> DirectoryIterator:
        """Augmented batches of the images in class folders; see `flow` for what is not said here.

        Parameters
        ----------
        directory : path
            Holds a folder for each class; images may lie deeper.
        target_size : (height, width)
            All images are resized to it, by `interpolation`; with
            `keep_aspect_ratio` the middle of that shape is cut first.
        color_mode : {"rgb", "rgba", "grayscale"}
        classes : sequence of str, optional
            Folders in the order of their indices; sorted names if not given.
        class_mode : {"categorical", "binary", "sparse", "input", None}
            Targets: one-hot, index, index, the image itself, or none.
        follow_links : bool
            Look into linked folders.
        """
        return DirectoryIterator(self, dict(locals()))

    def flow_from_dataframe(
        self,
        dataframe: Any,
        directory: str | os.PathLike[str] | None = None,
        x_col: str = "filename",
        y_col: Any = "class",
        weight_col: str | None = None,
        target_size: tuple[int, int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: str | os.PathLike[str] | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        interpolation: str = "nearest",
        validate_filenames: bool = True,
        **former: Any,
    ) -> DataFrameIterator:
        """Augmented batches of the images that a table names; see also `flow_from_directory`.

        Parameters
        ----------
        dataframe : object with ``columns`` and ``[column]``, such as a pandas DataFrame
        directory : path, optional
            That the file names in column `x_col` start from.
        y_col : str or list of str
            Column of targets; several for "multi_output" and "raw".
        weight_col : str, optional
            Column of sample weights.
        class_mode : {"categorical", "binary", "sparse", "input", "multi_output", "raw", None}
            "categorical" takes a list of classes too; "raw" hands out the
            column, "multi_output" a tuple of columns.
        validate_filenames : bool
            Leave out rows without an image file.
        """
        settings = dict(locals())
        for name in former:
            check_choice(name, ("has_ext", "sort", "drop_duplicates"), "keyword")
            warnings.warn(f"{name} has no effect any more", DeprecationWarning, stacklevel=2)
        if class_mode == "other":
            warnings.warn('write "raw" for class_mode="other"', DeprecationWarning, stacklevel=2)
            settings["class_mode"] = "raw"
        return DataFrameIterator(self, settings)

    def get_random_transform(
        self, img_shape: Sequence[int], seed: int | None = None
    ) -> dict[str, Any]:
        """Draw a transformation, the same for the same seed as the former class draws.

        Parameters
        ----------
        img_shape : shape of the image
        seed : int, optional
            NumPy's own state decides if not given, and is left alone if given.

        Returns
        -------
        dict with ``theta, tx, ty, shear, zx, zy`` as in `affine.affine_matrix`,
        ``flip_horizontal, flip_vertical``, ``channel_shift_intensity`` and
        ``brightness`` (None for none).
        """
        return self._draw(img_shape, np.random if seed is None else np.random.RandomState(seed))

    def _draw(self, shape: Sequence[int], rng: Any) -> dict[str, Any]:
        height, width = shape[self.row_axis - 1 : self.row_axis + 1]
        low, high = self.zoom_range  # type: ignore[misc]
        bright = self.brightness_range
        # In this order, so that the numbers are those of the former class.
        return {
            "theta": affine.draw_around_zero(rng, self.rotation_range),
            "tx": affine.draw_shift(rng, self.height_shift_range, height),
            "ty": affine.draw_shift(rng, self.width_shift_range, width),
            "shear": affine.draw_around_zero(rng, self.shear_range),
            "zx": 1 if low == high == 1 else affine.draw_between(rng, low, high),
            "zy": 1 if low == high == 1 else affine.draw_between(rng, low, high),
            "flip_horizontal": rng.random() < 0.5 and self.horizontal_flip,
            "flip_vertical": rng.random() < 0.5 and self.vertical_flip,
            "channel_shift_intensity": affine.draw_around_zero(rng, self.channel_shift_range)
            or None,
            "brightness": None if bright is None else affine.draw_between(rng, *bright),
        }

    def apply_transform(self, x: np.ndarray, transform_parameters: dict[str, Any]) -> np.ndarray:
        """Transform one image.

        Parameters
        ----------
        x : array of three axes in the generator's `data_format`
        transform_parameters : dict
            Numbers of `get_random_transform`; what is missing is not done.

        Returns
        -------
        Array of the same shape.
        """
        if np.ndim(x) != 3:
            raise UsageError(f"`x`: expected one image of three axes, received shape {np.shape(x)}")
        image, wanted = np.moveaxis(x, self.channel_axis - 1, -1), transform_parameters
        moves = {k: wanted[k] for k in affine.MOVES if k in wanted}
        if any(value != (key in ("zx", "zy")) for key, value in moves.items()):
            matrix = affine.affine_matrix(image.shape[:2], **moves)
            image = affine.warp(image, matrix, self.fill_mode, self.cval, self.interpolation_order)
        # Keras 2 spelt it the second way.
        for key in ("channel_shift_intensity", "channel_shift_intencity"):
            if wanted.get(key) is not None:
                image = affine.shift_channels(image, wanted[key])
        flips = (bool(wanted.get(f"flip_{way}")) for way in ("horizontal", "vertical"))
        image = affine.flip(image, *flips)
        if wanted.get("brightness") is not None:
            image = affine.brighten(image, wanted["brightness"])
        return np.moveaxis(image, -1, self.channel_axis - 1)

    def random_transform(self, x: np.ndarray, seed: int | None = None) -> np.ndarray:
        """Transform one image at random; see `get_random_transform` and `apply_transform`."""
        return self.apply_transform(x, self.get_random_transform(x.shape, seed))

    def augment(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Transform one image with the numbers of `rng`, then `standardize` it."""
        return self.standardize(self.apply_transform(x, self._draw(x.shape, rng)))

    def fit(
        self, x: np.ndarray, augment: bool = False, rounds: int = 1, seed: int | None = None
    ) -> None:
        """Find the mean, deviation and whitening matrix of some images, as far as configured.

        Parameters
        ----------
        x : (n, ...) array of images
            `rescale` is applied first, `preprocessing_function` is not.
        augment : bool
            Whether to take `rounds` random transformations of each image.
        seed : int, optional
            Seeds the transformations.
        """
        x = np.array(x, self.dtype)
        self.check_batch(x, "x")
        if self.rescale:
            x *= self.rescale
        if augment:
            rng = np.random if seed is None else np.random.RandomState(seed)
            drawn = [(image, self._draw(image.shape, rng)) for _ in range(rounds) for image in x]
            x = np.stack([self.apply_transform(*pair) for pair in drawn]).astype(self.dtype)
        axes = tuple({0, 1, 2, 3} - {self.channel_axis})
        if self.featurewise_center:
            self.mean = x.mean(axes, keepdims=True)[0]
            x -= self.mean
        if self.featurewise_std_normalization:
            self.std = x.std(axes, keepdims=True)[0]
            x /= self.std + _TINY
        if self.zca_whitening:
            flat = x.reshape(len(x), -1)
            u, s, _ = np.linalg.svd(flat.T, full_matrices=False)
            self.zca_whitening_matrix = (u * (np.sqrt(len(flat)) / (s + self.zca_epsilon))) @ u.T

    def standardize(self, x: np.ndarray) -> np.ndarray:
        """Normalise an image or a batch as configured; a float array is changed in place.

        Parameters
        ----------
        x : array of three or four axes

        Returns
        -------
        Array of the same shape.
        """
        if self.preprocessing_function:
            x = self.preprocessing_function(x)
        x = np.asarray(x)
        if not np.issubdtype(x.dtype, np.floating):
            x = x.astype(self.dtype)
        elif not x.flags.writeable:
            x = x.copy()
        if self.rescale:
            x *= self.rescale
        if self.samplewise_center:
            x -= x.mean()
        if self.samplewise_std_normalization:
            x /= x.std() + _TINY
        if self.featurewise_center and self._is_fitted("mean"):
            x -= self.mean
        if self.featurewise_std_normalization and self._is_fitted("std"):
            x /= self.std + _TINY  # type: ignore[operator]
        if self.zca_whitening and self._is_fitted("zca_whitening_matrix"):
            flat = x.reshape(-1, np.prod(x.shape[-3:]))
            x = (flat @ self.zca_whitening_matrix).reshape(x.shape)
        return x

    def _is_fitted(self, name: str) -> bool:
        if getattr(self, name) is None:
            warnings.warn(
                f"{name} is not known yet, nothing is done: call fit(images) first", stacklevel=3
            )
            return False
        return True

    def check_batch(self, x: np.ndarray, name: str) -> None:
        """Raise `UsageError` unless `x` has four axes; warn of an odd number of channels."""
        if x.ndim != 4:
            raise UsageError(
                f"`{name}`: expected images on four axes (n and three more), received shape"
                f" {x.shape}. Add a missing axis with x[None] or x[..., None]"
            )
        channels = x.shape[self.channel_axis]
        if channels not in (1, 3, 4):
            warnings.warn(
                f"`{name}`: expected 1, 3 or 4 channels on axis {self.channel_axis}"
                f" ({self.data_format}), received {channels}",
                stacklevel=4,
            )
