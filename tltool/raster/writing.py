"""Maps written to GeoTIFF, window by window."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.windows import Window

from tltool.errors import OutputError
from tltool.files import atomic_path, output_error
from tltool.raster.reading import ENVIRONMENT, without_georeference_warning

_BLOCK = 256


def _overview_factors(rows: int, columns: int) -> list[int]:
    factors: list[int] = []
    while max(rows, columns) / 2 ** len(factors) > _BLOCK:
        factors.append(2 ** (len(factors) + 1))
    return factors


class MapWriter:
    """A tiled float32 GeoTIFF with a band a class, under its final name only when whole.

    Parameters
    ----------
    path : Path
    rows, columns : int
        Size in cells.
    names : sequence of str
        Band descriptions, in the order of the bands.
    crs : rasterio.crs.CRS or None
    transform : Affine
        From (column, row) of cells to the CRS, or to pixels of the image.

    Notes
    -----
    No data is NaN. Use it as a context manager; an exception inside leaves no
    file.
    """

    def __init__(
        self,
        path: Path,
        rows: int,
        columns: int,
        names: Sequence[str],
        crs: Any,
        transform: Affine,
    ):
        self._path = path
        self._factors = _overview_factors(rows, columns)
        self._profile = {
            "driver": "GTiff",
            "width": columns,
            "height": rows,
            "count": len(names),
            "dtype": "float32",
            "crs": crs,
            "transform": transform,
            "nodata": float("nan"),
            "tiled": True,
            "blockxsize": _BLOCK,
            "blockysize": _BLOCK,
            "compress": "deflate",
            "predictor": 3,
            "interleave": "band",
            "BIGTIFF": "IF_SAFER",
        }
        self._names = tuple(names)
        self._atomic = atomic_path(path)
        self._environment = rasterio.Env(**ENVIRONMENT)

    def __enter__(self) -> "MapWriter":
        self._partial = self._atomic.__enter__()
        self._environment.__enter__()
        try:
            with without_georeference_warning():
                self._file = rasterio.open(self._partial, "w", **self._profile)
            self._file.descriptions = self._names
        except RasterioError as error:
            wrapped = output_error(self._path, error)
            self._leave(wrapped)
            raise wrapped from error
        return self

    def write(self, row: int, column: int, values: np.ndarray) -> None:
        """Write a window.

        Parameters
        ----------
        row, column : int
            Its first cell.
        values : (classes, rows, columns) float32 array
        """
        window = Window(column, row, values.shape[2], values.shape[1])
        try:
            self._file.write(values, window=window)
        except RasterioError as error:
            raise output_error(self._path, error) from error

    def _finish(self) -> None:
        # GDAL may notice a full disk only now, or never: reading back tells. Overviews of blocks
        # that never reached the disk crash GDAL, so they come after that.
        try:
            self._file.close()
            self._read_back()
            if self._factors:
                with rasterio.open(self._partial, "r+") as written:
                    written.build_overviews(self._factors, Resampling.average)
                self._read_back()
        except (RasterioError, CPLE_BaseError) as error:
            raise output_error(self._path, error) from error

    def _read_back(self) -> None:
        with rasterio.open(self._partial) as written:
            for band in written.indexes:
                for _, window in written.block_windows(band):
                    written.read(band, window=window)

    def _leave(self, error: BaseException | None) -> None:
        self._environment.__exit__(None, None, None)
        self._atomic.__exit__(type(error) if error else None, error, None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            try:
                with without_georeference_warning():
                    self._finish()
            except OutputError as failure:
                error = failure
        self._file.close()
        if error is None:
            self._leave(None)
            return
        try:
            self._leave(error)
        except BaseException as raised:
            if kind is None or raised is not error:
                raise
        if kind is None:
            raise error
