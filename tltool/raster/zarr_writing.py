"""Maps written to Zarr, chunk by chunk."""

from pathlib import Path
from typing import Any

import numpy as np

from tltool.errors import UsageError
from tltool.files import atomic_path
from tltool.raster.writing import BLOCK, MapGeoreference, MapKind

# The one array of the store.
ARRAY = "heatmap"


def check_zarr() -> None:
    """Raise a `UsageError` where zarr is not installed."""
    try:
        import zarr  # noqa: F401
    except ImportError:
        raise UsageError(
            "`format='zarr'`: expected the package zarr, which is not installed. Install it with"
            " pip install 'tltool[zarr]', or take `format='geotiff'`"
        ) from None


class ZarrWriter:
    """A Zarr store (format 2) that opens in xarray, under its final name only when whole.

    Its one array, ``heatmap``, has the axes (class, row, col) and attributes:
    ``classes`` (names of its planes, or of a class map its numbers),
    ``transform`` (six numbers of the affine transform from (col, row) to the
    CRS, or to pixels of the image; null where ``gcps`` stand for it, ground
    control points as (col, row, x, y, z)), ``crs`` (WKT or null),
    ``_ARRAY_DIMENSIONS``, and of integers ``scale_factor``, as xarray reads
    them. The fill value is no data.

    Parameters
    ----------
    path, rows, columns, kind, georeference, durable
        As of `tltool.raster.MapWriter`.
    """

    def __init__(
        self,
        path: Path,
        rows: int,
        columns: int,
        kind: MapKind,
        georeference: MapGeoreference,
        durable: bool = False,
    ):
        self._kind, self._shape = kind, (len(kind.names), rows, columns)
        self._attributes = {
            "_ARRAY_DIMENSIONS": ["class", "row", "col"],
            "classes": list(kind.legend.names if kind.legend else kind.names),
            "transform": list(georeference.transform)[:6],
            "crs": None if georeference.crs is None else georeference.crs.to_wkt(),
        }
        if georeference.gcps:
            points = [[p.col, p.row, p.x, p.y, p.z or 0.0] for p in georeference.gcps]
            self._attributes |= {"transform": None, "gcps": points}
        if kind.encoding.scale != 1:
            self._attributes |= {"scale_factor": kind.encoding.scale, "add_offset": 0.0}
        self._atomic = atomic_path(path, durable)

    def __enter__(self) -> "ZarrWriter":
        import zarr
        from numcodecs import Zlib

        encoding = self._kind.encoding
        partial = self._atomic.__enter__()
        try:
            group = zarr.open_group(str(partial), mode="w", zarr_format=2)
            self._array = group.create_array(
                ARRAY,
                shape=self._shape,
                chunks=(1, *(min(BLOCK, side) for side in self._shape[1:])),
                dtype=encoding.dtype,
                fill_value=np.dtype(encoding.dtype).type(encoding.nodata),
                # Bytes that do not depend on the number of threads.
                compressors=Zlib(level=6),
                attributes=self._attributes,
            )
        except BaseException as error:
            self._atomic.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def write(self, row: int, column: int, values: np.ndarray, band: int | None = None) -> None:
        """Write a window; parameters as of `tltool.raster.MapWriter.write`."""
        bands = slice(None) if band is None else slice(band, band + 1)
        height, width = values.shape[1:]
        self._array[bands, row : row + height, column : column + width] = values

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._atomic.__exit__(kind, error, trace)
