"""An image opened as a network wants it: its bands, its range of numbers, its scale."""

import copy
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps

from tltool.errors import ImageError, UsageError
from tltool.raster import AnyRaster, ArrayRaster, Raster, ResampledRaster, Scale
from tltool.raster.bands import PERCENTILES, Limits, check_scale, high_byte, to_bytes
from tltool.run.sidecar import Sidecar

logger = logging.getLogger(__name__)

# What `open_image` takes: a path, an array (height, width) or (height, width, bands), a PIL image,
# or an opened raster.
ImageSource = str | Path | np.ndarray | PillowImage.Image | AnyRaster

# A ground sample distance nearer to the network's than this is the network's.
_ALIKE = 0.02
# From here on animals have another size than those it was trained on.
_FOREIGN = 0.1
# Longest side of what percentiles of an array are taken from, px.
_SAMPLE = 1024


def open_image(
    image: ImageSource,
    sidecar: Sidecar,
    *,
    scale: Scale = None,
    bands: Sequence[int] | None = None,
    resample: bool = False,
    name: str = "image",
) -> AnyRaster:
    """Open an image, to read the bands of it that a network takes.

    Parameters
    ----------
    image : str, Path, array, PIL image or Raster
        A file; an array (height, width, bands) or (height, width) as
        `as_pixels` takes it; an image of Pillow, turned as its EXIF
        orientation says; or a raster that is open already, which stays open
        when what this gives is closed.
    sidecar : Sidecar
        What is known of the network.
    scale : (float, float) or 'percentiles', optional
        As for `tltool.raster.Raster`.
    bands : sequence of int, optional
        From 1, in place of those that the sidecar names.
    resample : bool
        Resample to the ground sample distance of the training.
    name : str
        The caller's parameter, for messages about an array.

    Returns
    -------
    AnyRaster

    Raises
    ------
    ImageError
        Where it has another number of bands, naming both; to be resampled, and
        its ground sample distance is not known.
    UsageError
        An array that is no image, as `as_pixels` says; to be resampled, and
        the ground sample distance of the training is not known.
    """
    raster: AnyRaster
    if isinstance(image, str | Path):
        raster = Raster(image, bands or sidecar.band_numbers, scale)
    elif isinstance(image, AnyRaster):
        raster = copy.copy(image)
        # It belongs to the caller.
        raster.close = lambda: None  # type: ignore[method-assign]
    else:
        values = _values_of(image, name)
        numbers = bands or (sidecar.band_numbers if values.shape[2] > sidecar.bands else None)
        if numbers is not None:
            missing = [number for number in numbers if not 1 <= number <= values.shape[2]]
            if missing:
                raise ImageError(
                    f"`{name}`: expected band {missing[0]}, the array has {values.shape[2]} (bands"
                    " count from 1)"
                )
            values = values[..., [number - 1 for number in numbers]]
        pixels, limits = _to_pixels(values, sidecar.bands, scale, name)
        title = Path(getattr(image, "filename", "") or name).name
        raster = ArrayRaster(pixels, title, limits)
    try:
        if raster.bands != sidecar.bands:
            raise ImageError(
                f"{raster.label}: expected {sidecar.bands} bands, which the network was trained on;"
                f" received {raster.bands}. Take an image like those of the training, or name the"
                " bands that are meant with `bands`"
            )
        factor = 1.0
        if resample:
            if sidecar.gsd is None:
                raise UsageError(
                    "`resample`: the network's JSON file does not know the ground sample distance"
                    " it was trained at. Write it there as gsd, in metres per pixel, or use"
                    " `scales`"
                )
            if raster.gsd is None:
                raise ImageError(
                    f"{raster.label}: `resample` needs its ground sample distance, and it has no"
                    " projected coordinate system that would tell it. Use `scales`"
                )
            factor = raster.gsd / sidecar.gsd
        return raster if abs(factor - 1) < _ALIKE else ResampledRaster(raster, factor)
    except BaseException:
        raster.close()
        raise


def as_pixels(image: Any, bands: int, scale: Scale = None, name: str = "image") -> np.ndarray:
    """Check an array or a PIL image, and make its numbers bytes.

    Parameters
    ----------
    image : array or PIL image
        (height, width, bands) or (height, width). Eight bits are taken as they
        are, of sixteen unsigned ones the high byte; other numbers where all
        are in 0..255, rounded. One band is repeated where three are wanted.
    bands : int
        Number of bands that the network takes.
    scale : (float, float) or 'percentiles', optional
        Numbers that become 0 and 255; or each band's 2nd and 98th percentile.
    name : str
        The caller's parameter, for messages.

    Returns
    -------
    (height, width, bands) uint8 array

    Raises
    ------
    UsageError
        Another rank or number of bands, no pixels, NaN or infinity; numbers
        beyond 0..255, or floats that all lie in 0..1, without a scale.
    """
    return _to_pixels(_values_of(image, name), bands, scale, name)[0]


def _values_of(image: Any, name: str) -> np.ndarray:
    """The (height, width, bands) numbers of an array or a PIL image."""
    if isinstance(image, PillowImage.Image):
        image = ImageOps.exif_transpose(image)
        if image.mode not in ("L", "RGB", "F") and not image.mode.startswith("I"):
            # As a person sees it: a palette looked up, alpha left out.
            image = image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")
    values = np.asarray(image)
    if values.dtype.kind not in "biuf":
        raise UsageError(
            f"`{name}`: expected a path, an array of numbers or a PIL image, received"
            f" {type(image).__name__} of {values.dtype}"
        )
    if values.ndim not in (2, 3) or not values.size:
        more = ": one image at a time" if values.ndim == 4 else ""
        raise UsageError(
            f"`{name}`: expected an array (height, width, bands) or (height, width) with pixels in"
            f" it, received the shape {values.shape}{more}"
        )
    return values if values.ndim == 3 else values[..., None]


def _to_pixels(
    values: np.ndarray, bands: int, scale: Scale, name: str
) -> tuple[np.ndarray, list[Limits] | None]:
    """Bytes of (height, width, bands) numbers, and what of each band became 0 and 255."""
    check_scale(scale)
    if values.shape[2] == 1 and bands == 3:
        values = np.repeat(values, 3, axis=2)
    if values.shape[2] != bands:
        first = values.shape[0] == bands
        hint = f"; its bands stand first: np.moveaxis({name}, 0, -1)" if first else ""
        raise UsageError(
            f"`{name}`: expected {bands} bands on the last axis, which the network was trained on;"
            f" received {values.shape[2]}, an array {values.shape}{hint}"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise UsageError(f"`{name}`: expected numbers, received NaN or infinity among them")
    if scale is not None:
        if scale == "percentiles":
            step = -(-max(values.shape[:2]) // _SAMPLE)
            found = np.percentile(values[::step, ::step].astype(float), PERCENTILES, axis=(0, 1))
            limits = [(float(low), float(high)) for low, high in found.T]
        else:
            limits = [(float(scale[0]), float(scale[1]))] * bands
        parts = [to_bytes(values[..., band], limits[band]) for band in range(bands)]
        return np.stack(parts, axis=-1), limits
    if values.dtype in (np.uint8, np.uint16):
        return high_byte(values), None
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind in "bf" and low >= 0 and 0 < high <= 1:
        raise UsageError(
            f"`scale`: `{name}` holds numbers from {low:g} to {high:g}, and the network takes"
            " 0..255. Say which become black and white: `scale=(0, 1)`"
        )
    if low < 0 or high > 255:
        raise UsageError(
            f"`scale`: `{name}` holds {values.dtype} from {low:g} to {high:g}, and the network"
            " takes 0..255. Say which become black and white, with `scale=(MIN, MAX)` or"
            " `scale='percentiles'`"
        )
    return np.rint(values).astype(np.uint8), None


def check_size(raster: AnyRaster, sidecar: Sidecar) -> None:
    """Raise an `ImageError` where an image is smaller than a patch."""
    if min(raster.width, raster.height) < sidecar.patch:
        raise ImageError(
            f"{raster.label} is {raster.width} x {raster.height} px: expected at least the"
            f" {sidecar.patch} px of a patch along both sides"
        )


def warn_of_distance(raster: AnyRaster, sidecar: Sidecar) -> None:
    """Warn where an image was taken at another ground sample distance than the training's."""
    if raster.gsd is None or sidecar.gsd is None:
        return
    if abs(raster.gsd / sidecar.gsd - 1) > _FOREIGN:
        logger.warning(
            "%s has %.3g m per pixel, the network was trained at %.3g m: what it knows has another"
            " size here. `resample` makes them alike",
            raster.name,
            raster.gsd,
            sidecar.gsd,
        )
