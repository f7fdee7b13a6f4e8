"""A whole image made small enough to look at, in bounded memory."""

import numpy as np
from rasterio.enums import Resampling
from rasterio.windows import Window

from tltool.raster.bands import BandView
from tltool.raster.orientation import Orientation
from tltool.raster.source import Source

# Pixels of an image that are shrunk at once, and rows at most.
_PIXELS, _ROWS = 16 << 20, 1024


def shrink(source: Source, view: BandView, orientation: Orientation, longest: int) -> np.ndarray:
    """Shrink an image by the smallest whole number that makes its longer side fit.

    Parameters
    ----------
    source : Source
    view : BandView
    orientation : Orientation
    longest : int
        px.

    Returns
    -------
    (height, width, bands) uint8 array, upright

    Raises
    ------
    ImageError
        Where the file cannot be read, naming the window.
    """
    height, width = orientation.shape(source.dataset.shape)
    factor = -(-max(width, height) // longest)
    # In strips: GDAL averages band by band, and would read the whole image for each.
    rows = factor * max(1, min(_ROWS, _PIXELS // width) // factor)
    # Class numbers of a palette must not be averaged.
    averaged = Resampling.nearest if view.palette is not None else Resampling.average
    strips = []
    for top in range(0, height, rows):
        part = min(rows, height - top)
        window = orientation.stored_window(Window(0, top, width, part), width, height)
        shape = orientation.shape((-(-part // factor), -(-width // factor)))
        values = source.read(view.stored, window, out_shape=shape, resampling=averaged)
        strips.append(orientation.upright(view.pixels(values)))
    return np.concatenate(strips)


def brighten(picture: np.ndarray) -> np.ndarray:
    """Make the brightest of a picture of 16 bits white: sensors seldom fill them."""
    top = max(1, int(np.quantile(picture, 0.99)))
    return (picture.astype(np.uint16) * 255 // top).clip(0, 255).astype(np.uint8)
