"""Maps written to GeoTIFF, window by window."""

import contextlib
import errno
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.windows import Window

from tltool.errors import OutputError
from tltool.files import atomic_path, output_error, partial_path, remove
from tltool.raster.source import ENVIRONMENT, without_georeference_warning


@dataclass(frozen=True)
class Encoding:
    """Numbers in a file: ``value = stored * scale``, one of them meaning no data.

    Attributes
    ----------
    dtype : str
    scale : float
    nodata : float
        The stored number without a value: NaN, or the largest of an integer
        type, which no value has.
    """

    dtype: str
    scale: float = 1.0
    nodata: float = float("nan")

    @property
    def is_float(self) -> bool:
        """Whether values are stored as they are."""
        return np.dtype(self.dtype).kind == "f"

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Store float values, NaN where there are none; rounded to the nearest step, half to even.

        Integers hold 0..``scale * (nodata - 1)``; what lies outside takes the
        nearer end.
        """
        if self.is_float:
            return values.astype(self.dtype, copy=False)
        # Of float32 the product would lose the bits that decide the 65,534 steps.
        steps = np.rint(values.astype(np.float64) / self.scale)
        steps = steps.clip(0, self.nodata - 1)
        return np.where(np.isnan(steps), self.nodata, steps).astype(self.dtype)

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """Values as float32, NaN where there are none."""
        if self.is_float:
            return stored.astype(np.float32, copy=False)
        values = (stored * self.scale).astype(np.float32)
        values[stored == self.nodata] = np.nan
        return values


# Of probabilities: the top step is 1 exactly, the number above it no data.
ENCODINGS = {
    "float32": Encoding("float32"),
    "uint8": Encoding("uint8", 1 / 254, 255),
    "uint16": Encoding("uint16", 1 / 65534, 65535),
}

# Of numbers of classes, from 0.
CLASS_CODES = {"uint8": Encoding("uint8", 1, 255), "uint16": Encoding("uint16", 1, 65535)}


@dataclass(frozen=True)
class Legend:
    """Meaning of the numbers of a class map.

    Attributes
    ----------
    names : tuple of str
        Name of class k at index k.
    colours : tuple of (int, int, int)
        RGB in 0..255 of each.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class MapKind:
    """Meaning of a map's bands.

    Attributes
    ----------
    names : tuple of str
        Names of the bands, in their order.
    encoding : Encoding
    legend : Legend or None
        Where the one band holds numbers of classes.
    """

    names: tuple[str, ...]
    encoding: Encoding = ENCODINGS["float32"]
    legend: Legend | None = None


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


# Cells along a side of the file's blocks. Windows that are whole blocks are compressed once;
# GDAL would append a block that it has to write again, and leave its old bytes in the file.
BLOCK = 256

# Bytes of room with which a disk counts as full.
_FULL = 1 << 18


@dataclass(frozen=True)
class MapGeoreference:
    """Georeference of a map.

    Attributes
    ----------
    crs : rasterio.crs.CRS or None
        CRS of the transform, or of the control points.
    transform : Affine
        From (column, row) of cells to the CRS, or to pixels of the image.
    gcps : sequence of rasterio.control.GroundControlPoint
        In cells; where there are any they stand for the transform.
    """

    crs: Any = None
    transform: Affine = field(default_factory=Affine.identity)
    gcps: Sequence[GroundControlPoint] = ()

    def profile(self) -> dict[str, Any]:
        """Convert to entries of rasterio's profile."""
        if self.gcps:
            return {"crs": self.crs, "gcps": list(self.gcps)}
        return {"crs": self.crs, "transform": self.transform}


class MapWriter:
    """A tiled GeoTIFF with a band a class, under its final name only when whole.

    Parameters
    ----------
    path : Path
    rows, columns : int
        Size in cells.
    names : sequence of str, or MapKind
        Band descriptions, in the order of the bands, of a float32 map; or all
        that is to be said of the bands.
    georeference : MapGeoreference
    cog : bool
        Lay it out as a Cloud-Optimized GeoTIFF.
    durable : bool
        As of `tltool.files.atomic_path`.

    Notes
    -----
    No data is NaN, or the largest number of an integer type; overviews leave
    it out. Integers carry their scale in the band's tags. A class map has a
    colour table; its names are in ``<path>.aux.xml``, where GDAL and QGIS
    look for them, and in the tag ``classes``. Use it as a context manager; an
    exception inside leaves no file.
    """

    def __init__(
        self,
        path: Path,
        rows: int,
        columns: int,
        names: Sequence[str] | MapKind,
        georeference: MapGeoreference,
        cog: bool = False,
        durable: bool = False,
    ):
        self._path = path
        self._kind = names if isinstance(names, MapKind) else MapKind(tuple(names))
        self._factors: list[int] = []
        while max(rows, columns) / 2 ** len(self._factors) > BLOCK:
            self._factors.append(2 ** (len(self._factors) + 1))
        legend = self._kind.legend
        # The mean of two classes is a third one.
        self._resampling = Resampling.average if legend is None else Resampling.mode
        # Differences of neighbours compress numbers, and spoil numbers of classes.
        numbers = 3 if self._kind.encoding.is_float else 2
        self._cog = cog
        self._profile = {
            "driver": "GTiff",
            "width": columns,
            "height": rows,
            "count": len(self._kind.names),
            "dtype": self._kind.encoding.dtype,
            **georeference.profile(),
            "nodata": self._kind.encoding.nodata,
            "tiled": True,
            "blockxsize": BLOCK,
            "blockysize": BLOCK,
            "compress": "deflate",
            "predictor": numbers if legend is None else 1,
            "interleave": "band",
            "BIGTIFF": "IF_SAFER",
        }
        self._atomic = atomic_path(path, durable)
        self._plain = partial_path(path.with_name(f"plain-{path.name}"), durable)
        self._environment = rasterio.Env(**ENVIRONMENT)

    def __enter__(self) -> "MapWriter":
        self._partial = self._atomic.__enter__()
        self._written = self._plain if self._cog else self._partial
        self._environment.__enter__()
        try:
            with without_georeference_warning():
                self._file = rasterio.open(self._written, "w", **self._profile)
            kind = self._kind
            self._file.descriptions = kind.names
            if kind.encoding.scale != 1:
                self._file.scales = (kind.encoding.scale,) * len(kind.names)
            if kind.legend is not None:
                self._file.write_colormap(1, dict(enumerate(kind.legend.colours)))
                self._file.update_tags(classes="\n".join(kind.legend.names))
        except RasterioError as error:
            wrapped = self._failure(error)
            self._leave(wrapped)
            raise wrapped from error
        return self

    def write(self, row: int, column: int, values: np.ndarray, band: int | None = None) -> None:
        """Write a window, as whole blocks where that is possible.

        Parameters
        ----------
        row, column : int
            Its first cell.
        values : (bands, rows, columns) array
            As they are stored.
        band : int, optional
            From 0: the only one of them that `values`, (1, rows, columns), belongs to.
        """
        window = Window(column, row, values.shape[2], values.shape[1])
        indexes = None if band is None else [band + 1]
        try:
            self._file.write(values, indexes, window=window)
        except RasterioError as error:
            raise self._failure(error) from error

    def _failure(self, error: BaseException) -> OutputError:
        """What GDAL calls a write error, as what it is where the disk is full."""
        if shutil.disk_usage(self._path.parent).free < _FULL:
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return output_error(self._path, error)

    def _finish(self) -> None:
        # GDAL may notice a full disk only now, or never: reading back tells. Overviews of blocks
        # that never reached the disk crash GDAL, so they come after that.
        try:
            self._file.close()
            _read_back(self._written, 0)
            if self._cog:
                rasterio.shutil.copy(
                    self._plain,
                    self._partial,
                    driver="COG",
                    compress="deflate",
                    predictor="NO" if self._kind.legend else "YES",
                    blocksize=BLOCK,
                    overview_resampling=self._resampling.name,
                    BIGTIFF="IF_SAFER",
                )
            elif self._factors:
                with rasterio.open(self._written, "r+") as written:
                    written.build_overviews(self._factors, self._resampling)
            if self._cog or self._factors:
                _read_back(self._partial, len(self._factors))
            # What another map of this name had beside it is forgotten.
            beside = self._path.with_name(f"{self._path.name}.aux.xml")
            if self._kind.legend is None:
                remove(beside)
            else:
                beside.write_text(category_names(self._kind.legend), encoding="utf-8")
        except (RasterioError, CPLE_BaseError) as error:
            raise self._failure(error) from error

    def _leave(self, error: BaseException | None) -> None:
        self._environment.__exit__(None, None, None)
        with contextlib.suppress(OSError):
            remove(self._plain)
        self._atomic.__exit__(type(error) if error else None, error, None)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None:
            try:
                with without_georeference_warning():
                    self._finish()
            except OSError as failure:
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


def _read_back(path: Path, levels: int) -> None:
    """Read all blocks of a file, and of as many overviews as it should have."""
    for level in range(levels + 1):
        options = {"overview_level": level - 1} if level else {}
        with rasterio.open(path, **options) as written:
            # Overviews that did not reach the disk may be missing without a word.
            found = {len(written.overviews(band)) for band in written.indexes}
            if not level and found != {levels}:
                raise RasterioError("its overviews did not reach the disk")
            for band in written.indexes:
                for _, window in written.block_windows(band):
                    written.read(band, window=window)


def category_names(legend: Legend) -> str:
    """The names of classes as GDAL keeps them beside a file, where QGIS finds them."""
    names = "".join(f"      <Category>{escape(name)}</Category>\n" for name in legend.names)
    return (
        '<PAMDataset>\n  <PAMRasterBand band="1">\n    <CategoryNames>\n'
        f"{names}    </CategoryNames>\n  </PAMRasterBand>\n</PAMDataset>\n"
    )
