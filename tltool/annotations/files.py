"""Files of points: which format one has, and reading and writing any of them."""

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tltool.annotations.coco import KEYS, read_coco, write_coco
from tltool.annotations.geojson import TYPES, read_geojson, write_geojson
from tltool.annotations.geopackage import MAGIC, read_geopackage, write_geopackage
from tltool.annotations.images import match_images
from tltool.annotations.layouts import KNOWN, points_of_table, write_csv
from tltool.annotations.map_points import (
    IMAGE_FIELDS,
    ImageSource,
    opened,
    path_of,
    to_map,
    to_points,
)
from tltool.annotations.point import TWICE, Point, make_point, without_duplicates
from tltool.annotations.table import Row, Table, read_table, table_of
from tltool.errors import DataError, UsageError
from tltool.files import atomic_path, refuse_existing

logger = logging.getLogger(__name__)

# A file, or points in memory: `Point`s, a mapping of columns, an (n, 2) array.
PointSource = str | os.PathLike[str] | Sequence[Any] | Mapping[str, Any] | np.ndarray

# What an error lists.
_FORMATS = (
    f"a CSV table ({KNOWN}, or any with `columns=['IMAGE', 'X', 'Y', 'LABEL']`), COCO (JSON with"
    f" {', '.join(KEYS)}), GeoJSON or a GeoPackage of points"
)


def read_points(
    points: PointSource,
    columns: Sequence[str] | None = None,
    images: Sequence[ImageSource] = (),
    *,
    labels: str | Sequence[str] | None = None,
    empty: bool = False,
) -> list[Point]:
    """Read points from a file of any known format, known by its content, or from memory.

    Parameters
    ----------
    points : str, Path, sequence of Point, mapping of columns, DataFrame or (n, 2) array
        A file: a CSV table, COCO, GeoJSON or a GeoPackage. A mapping of column
        names to values (a pandas DataFrame is one) has the columns that a CSV
        table has; that of the image may be missing where one image is given. An
        array has x (right) and y (down), px of the one image given.
    columns : sequence of str, optional
        Columns of a table that hold image, x, y and label; property of a map
        that holds the class, or those that hold image and class. None: those
        of a known layout.
    images : sequence of str, Path or Raster
        Those the points lie on. Maps need them: their points become pixels
        through the images' CRS, and all lie on the one image given where
        nothing names it.
    labels : str or sequence of str, optional
        Classes of an array's points, or the one class of all.
    empty : bool
        Whether a table without points is no error.

    Returns
    -------
    list of Point
        Points; of those that are there twice (one image and class, within half
        a pixel) the first, and a warning says how many were left out.

    Raises
    ------
    DataError
        The format is unknown (lists the known ones), something is missing or
        cannot be meant (says on which line or in which feature), or there is
        no point.
    UsageError
        `columns` do not fit the format, or an array lacks labels or has no one
        image that it lies on.

    Examples
    --------
    >>> from tltool.annotations import read_points
    >>> read_points([[10, 20]], images=["a.jpg"], labels="seal")
    [Point(image='a.jpg', x=10.0, y=20.0, label='seal', score=None, where='`points`, row 0')]
    """
    source, images = source_of(points), list(images)
    if isinstance(points, str | os.PathLike):
        found = _read(source, columns, images, empty)
    elif hasattr(points, "keys"):
        table = table_of(points, "points")
        if columns is None and table.find(IMAGE_FIELDS) is None and len(images) == 1:
            name = path_of(images[0]).name
            rows = [Row(row.line, row.cells | {"image": name}) for row in table.rows]
            table = Table(table.path, [*table.columns, "image"], rows, table.counted)
        found = points_of_table(table, columns)
    elif isinstance(points, list | tuple) and all(isinstance(one, Point) for one in points):
        found = list(points)
    else:
        found = _of_array(points, images, labels)
    if not found and not empty:
        raise DataError(f"{source}: expected points, found none")
    kept = without_duplicates(found)
    if len(kept) < len(found):
        logger.warning(
            "%s: %d points are left out: another of the same class lies within %g px",
            source,
            len(found) - len(kept),
            TWICE,
        )
    return kept


def source_of(points: PointSource) -> Path:
    """Name points in messages: by their file, or in memory by the parameter."""
    return Path(points) if isinstance(points, str | os.PathLike) else Path("`points`")


def _of_array(
    points: Any, images: Sequence[ImageSource], labels: str | Sequence[str] | None
) -> list[Point]:
    try:
        xy = np.asarray(points, float)
    except (TypeError, ValueError):
        xy = np.empty(0)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise UsageError(
            "`points`: expected a file, Points, a mapping of columns or an array (n, 2) of x and"
            f" y, received {type(points).__name__} {str(points)[:60]}"
        )
    if len(images) != 1:
        raise UsageError(
            f"`points`: an array lies on one image, received {len(images)} images. Take a mapping"
            " with a column image"
        )
    names = [labels] * len(xy) if isinstance(labels, str) else list(labels or ())
    if len(names) != len(xy):
        raise UsageError(
            f"`labels`: expected a class for each of {len(xy)} points, or one for all; received"
            f" {len(names)}"
        )
    image = path_of(images[0]).name
    return [
        make_point(f"`points`, row {row}", image, position, label)
        for row, (position, label) in enumerate(zip(xy.tolist(), names, strict=True))
    ]


def check_is_file(path: Path) -> None:
    """Raise a `DataError` where there is no such file of points."""
    if not path.is_file():
        raise DataError(f"{path}: expected a file of points, found none")


def _read(
    path: Path, columns: Sequence[str] | None, images: list[ImageSource], empty: bool
) -> list[Point]:
    check_is_file(path)
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith(MAGIC):
        return to_points(read_geopackage(path), path, images, columns)
    if b"\0" in start:
        raise DataError(f"{path}: expected {_FORMATS}; received binary data (text must be UTF-8)")
    if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] not in (b"{", b"["):
        return points_of_table(read_table(path, empty=empty), columns)
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON: {error}") from error
    keys = document.keys() if isinstance(document, dict) else ()
    if {"images", "annotations"} <= set(keys):
        if columns is not None:
            raise UsageError(f"{path}: COCO has no columns to choose; received {','.join(columns)}")
        return read_coco(document, path)
    if "type" in keys and (document["type"] in TYPES or "coordinates" in keys):
        return to_points(read_geojson(document, path), path, images, columns)
    received = f"an object with {', '.join(list(keys)[:5]) or 'nothing'}" if keys else "a list"
    raise DataError(f"{path}: expected {_FORMATS}; received JSON that is {received}")


def _as_coco(path: Path, points: Sequence[Point], images: Sequence[ImageSource]) -> None:
    sizes: dict[str, tuple[int, int]] = {}
    names = match_images((point.image for point in points), [path_of(i) for i in images], path)
    for image in images:
        own = [name for name, found in names.items() if found == path_of(image)]
        with opened(image) as raster:
            sizes |= dict.fromkeys(own or [path_of(image).name], (raster.width, raster.height))
    write_coco(path, points, sizes)


WRITERS: Mapping[str, Callable[[Path, Sequence[Point], Sequence[ImageSource]], None]] = {
    "csv": lambda path, points, images: write_csv(path, points),
    "geojson": lambda path, points, at: write_geojson(path, points, *to_map(points, at, path)),
    "gpkg": lambda path, points, at: write_geopackage(path, points, *to_map(points, at, path)),
    "coco": _as_coco,
}

_SUFFIXES = {".csv": "csv", ".geojson": "geojson", ".gpkg": "gpkg", ".json": "coco"}


def write_points(
    path: str | Path,
    points: Sequence[Point],
    images: Sequence[ImageSource] = (),
    *,
    format: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write points to a file, which `read_points` reads back.

    Parameters
    ----------
    path : str or Path
    points : sequence of Point
        May be empty.
    images : sequence of str, Path or Raster
        Those the points lie on. GeoJSON and GeoPackages are in their CRS (in
        WGS 84 where they have several, in pixels where they have none, or none
        are given); COCO has their sizes.
    format : 'csv', 'geojson', 'gpkg' or 'coco', optional
        None: as the suffix says, ``.json`` being COCO.
    overwrite : bool
        Replace an earlier file.

    Returns
    -------
    Path

    Raises
    ------
    DataError
        A point on none of the images, or images with and without a CRS.
    OutputError, UsageError
    """
    path = Path(path)
    format = format or _SUFFIXES.get(path.suffix.lower(), path.suffix)
    if format not in WRITERS:
        raise UsageError(
            f"{path}: expected a format of points, {', '.join(WRITERS)} (or a file called"
            f" {', '.join(f'*{suffix}' for suffix in _SUFFIXES)}); received {format or 'none'}"
        )
    refuse_existing(path, overwrite)
    with atomic_path(path) as partial:
        WRITERS[format](partial, points, images)
    return path
