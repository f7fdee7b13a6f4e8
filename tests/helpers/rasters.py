"""Small rasters for tests."""

import warnings

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning


def write_raster(path, values, colours=None, mask=None, internal=True, **profile):
    """Write (bands, height, width) values as a GeoTIFF, with a mask where one is given."""
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal),
            rasterio.open(path, "w", driver="GTiff", **shape, **profile) as file,
        ):
            if colours:
                file.colorinterp = [rasterio.enums.ColorInterp[name] for name in colours]
            file.write(values)
            if mask is not None:
                file.write_mask(mask)
    return path


def reflected(values, x, y, width, height, reach=200):
    """The window of (height, width, ...) values padded as NumPy reflects them."""
    padding = ((reach, reach), (reach, reach), *[(0, 0)] * (values.ndim - 2))
    padded = np.pad(values, padding, mode="reflect")
    return padded[y + reach : y + reach + height, x + reach : x + reach + width]
