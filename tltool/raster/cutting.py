"""Small GeoTIFFs of all bands, for parts of images that PNG cannot hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError

from tltool.raster.environment import without_georeference_warning

_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def save_bands(
    path: Path, values: np.ndarray, meanings: Sequence[ColorInterp], **known: Any
) -> None:
    """Write (bands, height, width) numbers as they are.

    Parameters
    ----------
    path : Path
    values : (bands, height, width) array
    meanings : sequence of ColorInterp
        What each band shows, so that the file is seen as the image it was cut from.
    **known
        ``crs``, ``transform`` and ``nodata``, as rasterio's.

    Raises
    ------
    OSError
    """
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    colours = "RGB" if tuple(meanings[:3]) == _RGB else "MINISBLACK"
    options = {"photometric": colours, "compress": "deflate", **known}
    try:
        with (
            rasterio.Env(),
            without_georeference_warning(),
            rasterio.open(path, "w", driver="GTiff", **shape, **options) as file,
        ):
            file.colorinterp = list(meanings)
            file.write(values)
    except RasterioError as error:
        raise OSError(str(error.__cause__ or error)) from error
