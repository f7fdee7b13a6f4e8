"""Centring, scaling and whitening of images, by themselves or by what `fit` found."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

_TINY = 1e-6


class Normalising:
    """The part of `ImageDataGenerator` that knows mean, deviation and whitening matrix."""

    featurewise_center: bool
    samplewise_center: bool
    featurewise_std_normalization: bool
    samplewise_std_normalization: bool
    zca_whitening: bool
    zca_epsilon: float
    rescale: float | None
    preprocessing_function: Callable[[np.ndarray], Any] | None
    dtype: str | None
    channel_axis: int
    mean: np.ndarray | None
    std: np.ndarray | None
    zca_whitening_matrix: np.ndarray | None

    def _settle_normalisation(self) -> None:
        if self.zca_whitening and self.featurewise_std_normalization:
            self.featurewise_std_normalization = False
            warnings.warn("zca_whitening switches off featurewise_std_normalization", stacklevel=4)
        for reason in ("zca_whitening", "featurewise_std_normalization"):
            self._centre_too("featurewise_center", reason)
        self._centre_too("samplewise_center", "samplewise_std_normalization")

    def _centre_too(self, centre: str, reason: str) -> None:
        if getattr(self, reason) and not getattr(self, centre):
            setattr(self, centre, True)
            warnings.warn(f"{reason} switches on {centre}", stacklevel=5)

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
        x = self._changeable(x)
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

    def _changeable(self, x: Any) -> np.ndarray:
        x = np.asarray(x)
        if not np.issubdtype(x.dtype, np.floating):
            return x.astype(self.dtype)
        return x if x.flags.writeable else x.copy()

    def _is_fitted(self, name: str) -> bool:
        if getattr(self, name) is None:
            warnings.warn(
                f"{name} is not known yet, nothing is done: call fit(images) first", stacklevel=3
            )
            return False
        return True

    def _learn(self, x: np.ndarray) -> None:
        """Find what is configured of mean, deviation and matrix; a float batch `x` is used up."""
        axes = tuple({0, 1, 2, 3} - {self.channel_axis})
        if self.featurewise_center:
            self.mean = x.mean(axes, keepdims=True)[0]
            x -= self.mean
        if self.featurewise_std_normalization:
            self.std = x.std(axes, keepdims=True)[0]
            x /= self.std + _TINY
        if self.zca_whitening:
            self.zca_whitening_matrix = self._whitening(x.reshape(len(x), -1))

    def _whitening(self, flat: np.ndarray) -> np.ndarray:
        u, s, _ = np.linalg.svd(flat.T, full_matrices=False)
        return (u * (np.sqrt(len(flat)) / (s + self.zca_epsilon))) @ u.T
