"""Draw, warp, flip and brighten one image by the conventions of Keras's former ImageDataGenerator.

Images are (height, width, channels) arrays of any number type.
"""

import math
from typing import Any

import cv2
import numpy as np
import scipy.ndimage

# What is drawn of an affine transformation, see `affine_matrix`.
MOVES = ("theta", "tx", "ty", "shear", "zx", "zy")
FILL_MODES = ("nearest", "constant", "reflect", "wrap")
# SciPy's others: the former class took them as well without saying so.
SPLINE_FILL_MODES = ("mirror", "grid-mirror", "grid-constant", "grid-wrap")

# Where OpenCV's borders mean what SciPy's do; the other fill modes go through coordinates.
BORDERS = {"nearest": cv2.BORDER_REPLICATE, "reflect": cv2.BORDER_REFLECT}
# OpenCV interpolates in full precision with these numbers of channels only, else in 1/32 px.
_PRECISE_CHANNELS = (1, 3, 4)
# OpenCV counts pixels in 16 bits.
_LONGEST_SIDE = 32766
INVERSE_LINEAR = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_FAR = np.float32(-9)
# What rounding in 32 bits may do: a white pixel just above 255, a level just below itself.
_RELATIVE_ERROR = 2.0**-20
_LEVEL_ERROR = 2.0**-10
_IDENTITIES = np.stack([np.eye(3)] * 6)
# Exchanges (row, column) and (x, y) of a matrix.
_SWAPPED = np.ix_([1, 0, 2], [1, 0, 2])
_LEVELS = np.arange(256, dtype=np.float32)


def affine_matrix(
    size: tuple[int, int],
    theta: float = 0,
    tx: float = 0,
    ty: float = 0,
    shear: float = 0,
    zx: float = 1,
    zy: float = 1,
) -> np.ndarray:
    """Matrix that says where each pixel of the result comes from.

    Parameters
    ----------
    size : (height, width)
    theta, shear : float
        Degrees.
    tx, ty : float
        Shift in px: `tx` along the columns, `ty` along the rows.
    zx, zy : float
        Pixels of the image per pixel of the result, along columns and rows;
        below 1 enlarges.

    Returns
    -------
    (3, 3) float64 array: (row, column, 1) of the result to that of the image.

    Notes
    -----
    The former class takes half the *height* for the middle column and half the
    width for the middle row, so that an oblong image turns about a point
    beside its centre. Models were trained so; it is kept.
    """
    turn, slant = np.deg2rad(theta), np.deg2rad(shear)
    factors = _IDENTITIES.copy()
    to_centre, rotation, shift, shearing, zoom, from_centre = factors
    to_centre[0, 2], to_centre[1, 2] = (side / 2 - 0.5 for side in size)
    rotation[0, 0] = rotation[1, 1] = np.cos(turn)
    rotation[1, 0] = np.sin(turn)
    rotation[0, 1] = -rotation[1, 0]
    shift[0, 2], shift[1, 2] = tx, ty
    shearing[0, 1], shearing[1, 1] = -np.sin(slant), np.cos(slant)
    zoom[0, 0], zoom[1, 1] = zx, zy
    from_centre[:2, 2] = -to_centre[:2, 2]
    # In this order: quarter turns end on the image's very edge, where the last bit decides
    # between a pixel and `cval`.
    matrix = to_centre @ (rotation @ shift @ shearing @ zoom) @ from_centre
    return matrix[_SWAPPED]


def quick_matrix(
    size: tuple[int, int], theta: float, tx: float, ty: float, shear: float, zx: float, zy: float
) -> np.ndarray:
    """`affine_matrix` multiplied out, in OpenCV's order; the last bit may differ.

    Returns
    -------
    (2, 3) float64 array: (x, y, 1) of the result to that of the image.
    """
    turn, slant = math.radians(theta), math.radians(shear)
    cos, sin = math.cos(turn), math.sin(turn)
    xx, xy = cos * zx, -math.sin(turn + slant) * zy
    yx, yy = sin * zx, math.cos(turn + slant) * zy
    # As there: the middle column by the height, the middle row by the width.
    x, y = size[0] / 2 - 0.5, size[1] / 2 - 0.5
    right = cos * tx - sin * ty + x - xx * x - xy * y
    down = sin * tx + cos * ty + y - yx * x - yy * y
    return np.array([[xx, xy, right], [yx, yy, down]])


def _coordinates(matrix: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    rows, columns = np.arange(size[0])[:, None], np.arange(size[1])
    # Summed in the order that SciPy does, again for the last bit.
    return [(m[2] + rows * m[0]) + columns * m[1] for m in matrix[:2]]


def _outside(coordinates: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    outside = np.zeros(size, bool)
    for c, side in zip(coordinates, size, strict=True):
        outside |= c < 0
        outside |= c > side - 1
    return outside


def _reflect(x: np.ndarray, side: int) -> np.ndarray:
    # Step by step as SciPy does: half-way coordinates round by the last bit.
    turns = 2 * side * np.floor(np.abs(x) / (2 * side))
    below, above = x + turns, x - turns
    below = np.where(below < -side, below + 2 * side, -below - 1)
    above = np.where(above >= side, 2 * side - above - 1, above)
    return np.where(x < 0, below, above)


def _wrap(x: np.ndarray, side: int) -> np.ndarray:
    # SciPy's period: first and last pixel coincide.
    period = side - 1
    if period == 0:
        return np.zeros_like(x)
    quotient = x / period
    turns = np.floor(quotient)
    # Whole turns to the left end on the last pixel, and the last pixel itself is not folded.
    turns -= (turns == quotient) & ((x < 0) | (x == period))
    turns *= period
    return x - turns


def _linear(image: np.ndarray, matrix: np.ndarray, mode: str, cval: float) -> np.ndarray:
    pixels, size = np.ascontiguousarray(image, np.float32), image.shape[:2]
    coordinates = [] if mode in BORDERS else _coordinates(matrix, size)
    if mode == "wrap":
        coordinates = [_wrap(c, side) for c, side in zip(coordinates, size, strict=True)]
    there: list[Any] = [c.astype(np.float32) for c in coordinates]
    if mode == "constant":
        # OpenCV blends the edge with `cval` over a pixel, SciPy cuts: so what lies outside is
        # sent where there is nothing to blend with.
        np.copyto(there[0], _FAR, where=_outside(coordinates, size))
    border = cv2.BORDER_CONSTANT if mode == "constant" else cv2.BORDER_REPLICATE
    borders: dict[str, Any] = {"borderMode": BORDERS.get(mode, border), "borderValue": (cval,) * 4}

    def move(plane: np.ndarray) -> np.ndarray:
        if there:
            return cv2.remap(plane, there[1], there[0], cv2.INTER_LINEAR, **borders)
        matrix_xy = matrix[_SWAPPED][:2]
        return cv2.warpAffine(plane, matrix_xy, size[::-1], flags=INVERSE_LINEAR, **borders)

    if image.shape[2] in _PRECISE_CHANNELS:
        warped = move(pixels).reshape(image.shape)
    else:
        warped = np.stack([move(p) for p in np.ascontiguousarray(np.moveaxis(pixels, 2, 0))], 2)
    whole = not np.issubdtype(image.dtype, np.inexact)
    return (np.rint(warped) if whole else warped).astype(image.dtype, copy=False)


def _nearest(image: np.ndarray, matrix: np.ndarray, mode: str, cval: float) -> np.ndarray:
    size = image.shape[:2]
    coordinates = _coordinates(matrix, size)
    # What lies outside is clipped in the other modes; for "constant" it is overwritten.
    fold = {"reflect": _reflect, "wrap": _wrap}.get(mode, lambda x, side: x)
    rows, columns = (
        np.clip(np.floor(fold(c, side) + 0.5), 0, side - 1).astype(np.intp)
        for c, side in zip(coordinates, size, strict=True)
    )
    picked = image[rows, columns]
    if mode == "constant":
        picked[_outside(coordinates, size)] = cval
    return picked


def warp(
    image: np.ndarray,
    matrix: np.ndarray,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    order: int = 1,
) -> np.ndarray:
    """Move the pixels of an image, as SciPy's ``affine_transform`` would.

    Parameters
    ----------
    image : (height, width, channels) array
    matrix : (3, 3) array
        Matrix of `affine_matrix`.
    fill_mode : str
        What lies beyond the edge, SciPy's meaning: one of `FILL_MODES` or
        `SPLINE_FILL_MODES`.
    cval : float
        The value beyond the edge for "constant".
    order : int
        Order of the spline, 0 (nearest pixel) to 5. Orders 0 and 1 are fast.

    Returns
    -------
    Array of the same shape and type.
    """
    if order == 0 and fill_mode in FILL_MODES:
        return _nearest(image, matrix, fill_mode, cval)
    if order == 1 and fill_mode in FILL_MODES and max(image.shape[:2]) <= _LONGEST_SIDE:
        return _linear(image, matrix, fill_mode, cval)
    planes = [
        scipy.ndimage.affine_transform(
            image[..., c], matrix[:2, :2], matrix[:2, 2], order=order, mode=fill_mode, cval=cval
        )
        for c in range(image.shape[2])
    ]
    return np.stack(planes, axis=2)


def flip(image: np.ndarray, horizontal: bool, vertical: bool) -> np.ndarray:
    """Mirror left to right, top to bottom, or both."""
    if not (horizontal or vertical):
        return image
    if image.dtype == np.float32 and image.shape[2] <= 4:
        code = -1 if horizontal and vertical else int(horizontal)
        return cv2.flip(np.ascontiguousarray(image), code).reshape(image.shape)
    return image[:: -1 if vertical else 1, :: -1 if horizontal else 1]


def shift_channels(image: np.ndarray, amount: float) -> np.ndarray:
    """Add `amount` everywhere, within the range that the image has."""
    return np.clip(image + amount, image.min(), image.max())


def brighten(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the pixels as Pillow's ``ImageEnhance.Brightness`` does, in 256 levels.

    Parameters
    ----------
    image : (height, width, channels) array
        0..255; another range is stretched over the levels first and back
        afterwards. The fourth channel is opacity and stays.
    factor : float
        0 is black, 1 changes nothing.

    Returns
    -------
    float32 array of the same shape.
    """
    image = np.ascontiguousarray(image, np.float32)
    low, high = float(image.min()), float(image.max())
    stretch = low < -high * _RELATIVE_ERROR or high > 255 * (1 + _RELATIVE_ERROR)
    if stretch:
        # Step by step as Keras does: the levels are cut, not rounded.
        shifted = image - image.min()
        shifted /= shifted.max() or 1
        shifted *= 255
    else:
        shifted = image + _LEVEL_ERROR
    levels = shifted.astype(np.uint8)
    table = np.trunc(np.clip(_LEVELS * np.float32(factor), 0, 255))
    bright: np.ndarray = cv2.LUT(levels, table).reshape(image.shape)
    if image.shape[2] == 4:
        bright[..., 3] = levels[..., 3]
    if stretch:
        bright *= (high - low) / 255
        bright += low
    return bright


def draw_between(rng: Any, low: float, high: float) -> float:
    """Draw a number from a `numpy.random.Generator`, a `RandomState` or `numpy.random`."""
    return low + (high - low) * rng.random()


def draw_around_zero(rng: Any, limit: float) -> float:
    """Draw from -limit to limit, or nothing where that is 0."""
    return draw_between(rng, -limit, limit) if limit else 0


def draw_shift(rng: Any, limit: Any, side: int) -> float:
    """Draw a shift in px.

    Parameters
    ----------
    limit : float, int or sequence
        Below 1 in all: shares of `side`, else px. A float bounds a uniform
        draw, an int n is for whole numbers below n, a sequence is chosen from;
        each goes either way.
    """
    if isinstance(limit, (float, np.floating)):
        shift = draw_around_zero(rng, float(limit))
        return shift * side if limit < 1 else shift
    if np.ndim(limit) == 0 and not limit:
        return 0
    shift = rng.choice(limit) * rng.choice([-1, 1])
    return shift * side if np.max(limit) < 1 else shift
