"""How GDAL is set while tltool reads and writes."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rasterio.errors import NotGeoreferencedWarning

# Decoded blocks that GDAL keeps, in bytes: rows shared by neighbouring tiles, not the image.
CACHE_BYTES = 128 << 20

ENVIRONMENT = {
    "GDAL_CACHEMAX": CACHE_BYTES,
    # A truncated JPEG would otherwise come out half grey without a word.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",
    # So would a truncated PNG, of which the whole is read at once.
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
}


@contextmanager
def without_georeference_warning() -> Iterator[None]:
    """Silence the warning that an image has no georeference: it need not have one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
