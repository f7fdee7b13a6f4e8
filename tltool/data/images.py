"""Image files to arrays, and arrays to the side that is wanted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tltool.errors import ImageError
from tltool.raster import Raster
from tltool.raster.bands import RASTER_SUFFIXES, check_bands, check_depth, high_byte


def read_image(path: Path, bands: Sequence[int] | None = None) -> np.ndarray:
    """Decode a whole image file.

    Parameters
    ----------
    path : Path
    bands : sequence of int, optional
        Which to take and in which order, from 1. None: as a person sees the
        image, or all bands where there are more than two and none is said
        to be red, green or blue.

    Returns
    -------
    (height, width, b) uint8 array
        RGB without `bands`: grey is repeated, a palette looked up, alpha left
        out. EXIF orientation is applied, except to the bands of a TIFF.

    Raises
    ------
    ImageError
        Where the file is no image, is truncated, has more than 16 bits or
        lacks a band, naming it.

    Notes
    -----
    Of 16 bits the high byte is kept, so that all images have one scale; where
    only the lowest bits are used, such as 12 of 16, scale the files first.
    """
    in_bands = path.suffix.lower() in RASTER_SUFFIXES
    if bands is not None and in_bands:
        return _read_bands(path, bands)
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            return _as_seen(upright, path) if bands is None else _channels(upright, path, bands)
    except ImageError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        foreign = isinstance(error, UnidentifiedImageError | ValueError)
        if foreign and in_bands and path.is_file():
            return _read_bands(path, None)
        raise ImageError(f"{path} cannot be read as an image: {error}") from error


def _as_seen(image: Image.Image, path: Path) -> np.ndarray:
    check_depth(path, "32 bits", image.mode not in ("I", "F"))
    if image.mode.startswith("I;16"):
        return np.repeat(high_byte(np.asarray(image).astype(np.uint16))[..., None], 3, axis=2)
    return np.asarray(image.convert("RGB"))


def _channels(image: Image.Image, path: Path, bands: Sequence[int]) -> np.ndarray:
    raw = image.mode in ("L", "LA", "RGB", "RGBA")
    pixels = np.asarray(image) if raw else _as_seen(image, path)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    check_bands(path, bands, pixels.shape[2])
    return pixels[..., [band - 1 for band in bands]]


def _read_bands(path: Path, bands: Sequence[int] | None) -> np.ndarray:
    with Raster(path, bands) as raster:
        return raster.read_whole()


def fit_side(pixels: np.ndarray, side: int) -> np.ndarray:
    """Resize so that the shorter side is `side` px, then cut the middle square.

    Parameters
    ----------
    pixels : (height, width, b) uint8 array
    side : int

    Returns
    -------
    (side, side, b) uint8 array; `pixels` itself where it has that shape.
    """
    if pixels.shape[:2] == (side, side):
        return pixels
    if pixels.shape[2] == 3:
        return _fit(pixels, side)
    # Pillow resizes each band on its own anyway.
    bands = [_fit(pixels[..., band], side) for band in range(pixels.shape[2])]
    return np.stack(bands, axis=2)


def _fit(pixels: np.ndarray, side: int) -> np.ndarray:
    image = Image.fromarray(pixels)
    return np.asarray(ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC))


def window_matrix(shape: Sequence[int], side: int, crop: bool) -> np.ndarray:
    """Compute where positions go in `cut_middle` (`crop`), else in `fit_side`.

    Parameters
    ----------
    shape : (height, width, ...)
        Shape of the image before, px.
    side : int
    crop : bool

    Returns
    -------
    (2, 3) array, from (x, y, 1) of the image to (x, y) of the window, px.
    """
    factor = 1.0 if crop else side / min(shape[:2])
    height, width = (length * factor - side for length in shape[:2])
    left, top = (width // 2, height // 2) if crop else (width / 2, height / 2)
    return np.array([[factor, 0, -left], [0, factor, -top]])


def cut_middle(pixels: np.ndarray, side: int) -> np.ndarray:
    """Cut the middle square of `side` px, which must fit."""
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]
