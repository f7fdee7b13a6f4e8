"""Between the 256 levels of an image, numbers in 0..255, and linear light."""

from functools import cache

import cv2
import numpy as np

# Entries of the table from linear light to levels: 20 for the narrowest level.
_FINE = 65535


def saturate(image: np.ndarray) -> np.ndarray:
    """Round to whole levels and clip to 0..255.

    Parameters
    ----------
    image : (h, w, c) float32 array
        Is used up.

    Returns
    -------
    (h, w, c) uint8 array.
    """
    # OpenCV's quickest way to round and clip drops the sign.
    np.maximum(image, 0, out=image)
    # As one plane, for any number of bands.
    return np.asarray(cv2.convertScaleAbs(image.reshape(len(image), -1))).reshape(image.shape)


def decode_srgb(values: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values, both 0..1 (IEC 61966-2-1:1999)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encode_srgb(light: np.ndarray) -> np.ndarray:
    """SRGB values of linear light, both 0..1; the inverse of `decode_srgb`."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


@cache
def _light_of_levels() -> np.ndarray:
    return decode_srgb(np.arange(256) / 255).astype(np.float32)


@cache
def _levels_of_light() -> np.ndarray:
    return np.rint(255 * encode_srgb(np.arange(_FINE + 1) / _FINE)).astype(np.uint8)


def to_light(image: np.ndarray) -> np.ndarray:
    """Linear light 0..1, float32, of a uint8 array in sRGB."""
    return _light_of_levels()[image]


def from_light(light: np.ndarray) -> np.ndarray:
    """The uint8 sRGB array of linear light; what is beyond 0..1 is clipped."""
    places = np.clip(light * np.float32(_FINE) + np.float32(0.5), 0, _FINE)
    return _levels_of_light()[places.astype(np.uint16)]
