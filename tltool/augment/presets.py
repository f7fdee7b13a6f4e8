"""What goes wrong in a camera: out of focus, over- or underexposed, noisy.

Each works in linear light, where these things happen; the bands of an image are taken to be
encoded as sRGB.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from tltool.augment.entries import SensorNoiseEntry

# Points along a pixel's side on which the share of it inside the disc is counted.
_SUBPIXELS = 16
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


_LIGHT_OF_LEVELS = decode_srgb(np.arange(256) / 255).astype(np.float32)
_LEVELS_OF_LIGHT = np.rint(255 * encode_srgb(np.arange(_FINE + 1) / _FINE)).astype(np.uint8)


def to_light(image: np.ndarray) -> np.ndarray:
    """Linear light 0..1, float32, of a uint8 array in sRGB."""
    return _LIGHT_OF_LEVELS[image]


def from_light(light: np.ndarray) -> np.ndarray:
    """The uint8 sRGB array of linear light; what is beyond 0..1 is clipped."""
    indices = np.clip(light * np.float32(_FINE) + np.float32(0.5), 0, _FINE)
    return _LEVELS_OF_LIGHT[indices.astype(np.uint16)]


@lru_cache(64)
def disc(radius: float) -> np.ndarray:
    """A disc as a filter kernel, its rim counted by the share of each pixel inside.

    Parameters
    ----------
    radius : float
        Px; below about half a pixel the disc is within one.

    Returns
    -------
    (side, side) float32 array that sums to 1, side odd.
    """
    reach = int(np.ceil(radius - 0.5)) if radius > 0.5 else 0
    side = 2 * reach + 1
    points = (np.arange(side * _SUBPIXELS) + 0.5) / _SUBPIXELS - side / 2
    inside = points[:, None] ** 2 + points**2 <= max(radius, 0.5) ** 2
    shares = inside.reshape(side, _SUBPIXELS, side, _SUBPIXELS).mean((1, 3))
    return (shares / shares.sum()).astype(np.float32)


def defocus(image: np.ndarray, radius: float) -> np.ndarray:
    """Blur by a disc of `radius` px: a point out of focus is the picture of the round aperture.

    Parameters
    ----------
    image : (h, w, c) uint8 array

    References
    ----------
    Potmesil and Chakravarty 1981, A lens and aperture camera model for
    synthetic image generation, doi:10.1145/965161.806818.
    """
    light = to_light(image)
    kernel = disc(round(radius, 2))
    planes = [cv2.filter2D(np.ascontiguousarray(p), -1, kernel) for p in np.moveaxis(light, 2, 0)]
    return from_light(np.stack(planes, axis=2))


def expose(image: np.ndarray, stops: float) -> np.ndarray:
    """Expose 2**stops times as long: a gain on the linear light, clipped where it is white.

    Parameters
    ----------
    image : (h, w, c) uint8 array

    References
    ----------
    Debevec and Malik 1997, Recovering high dynamic range radiance maps from
    photographs, doi:10.1145/258734.258884: exposure is light times time; the
    curve from light to level is that of sRGB (IEC 61966-2-1:1999).
    """
    light = np.clip(decode_srgb(np.arange(256) / 255) * 2.0**stops, 0, 1)
    return np.rint(255 * encode_srgb(light)).astype(np.uint8)[image]


def add_sensor_noise(
    image: np.ndarray, full_well: float, read_noise: float, rng: np.random.Generator
) -> np.ndarray:
    """Count photo-electrons, Poisson distributed, and read them out with Gaussian noise.

    Parameters
    ----------
    image : (h, w, c) uint8 array
    full_well : float
        Electrons of a white pixel; the fewer, the grainier.
    read_noise : float
        Standard deviation, electrons.

    References
    ----------
    Foi, Trimeche, Katkovnik and Egiazarian 2008, Practical
    Poissonian-Gaussian noise modeling and fitting for single-image raw-data,
    doi:10.1109/TIP.2008.2001399.
    """
    electrons = rng.poisson(to_light(image) * full_well).astype(np.float32)
    electrons += np.float32(read_noise) * rng.standard_normal(image.shape, np.float32)
    return from_light(electrons / np.float32(full_well))


def _random_noise(
    image: np.ndarray, settings: SensorNoiseEntry, rng: np.random.Generator
) -> np.ndarray:
    full_well = float(np.exp(rng.uniform(*np.log(settings.full_well))))
    return add_sensor_noise(image, full_well, rng.uniform(*settings.read_noise), rng)


# Entries at work: (h, w, bands) uint8 image, settings and the image's generator to an image.
PRESETS: dict[str, Callable[[np.ndarray, Any, np.random.Generator], np.ndarray]] = {
    "defocus": lambda image, settings, rng: defocus(image, rng.uniform(*settings.radius)),
    "bad_exposure": lambda image, settings, rng: expose(image, rng.uniform(*settings.stops)),
    "sensor_noise": _random_noise,
}
