"""Annotated points read from files, and the images they lie on."""

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tltool.errors import DataError, ImageError
from tltool.raster import list_images

logger = logging.getLogger("tltool")

COLUMNS = ("image", "x", "y", "label")


@dataclass(frozen=True)
class Point:
    """An annotated position: pixel centre x (right), y (down), px, and its class."""

    image: str
    x: float
    y: float
    label: str
    line: int = 0


def read_points(path: str | Path, columns: Sequence[str] = COLUMNS) -> list[Point]:
    """Read points from a CSV file.

    Parameters
    ----------
    path : str or Path
        With a header line.
    columns : four str
        The names of the columns that hold image, x, y and label.

    Raises
    ------
    DataError
        A column is missing (both lists are named), a coordinate is no number
        (with its line), or there is no point.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: expected a CSV file of points, found none")
    try:
        path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected text in UTF-8: {error}. Save it as UTF-8") from error
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        header = reader.fieldnames or []
        missing = [name for name in columns if name not in header]
        if missing:
            raise DataError(
                f"{path}: column {', '.join(missing)} is missing; the file has {', '.join(header)}."
                " Say which columns to take with --columns IMAGE,X,Y,LABEL"
            )
        points = [_point(row, columns, path, reader.line_num) for row in reader]
    if not points:
        raise DataError(f"{path}: expected points below the header, found none")
    return points


def _point(row: dict[str, str], columns: Sequence[str], path: Path, line: int) -> Point:
    image, x, y, label = (row[name] for name in columns)
    try:
        point = Point((image or "").strip(), float(x), float(y), (label or "").strip(), line)
    except (TypeError, ValueError):
        raise DataError(
            f"{path}, line {line}: expected numbers for {columns[1]} and {columns[2]},"
            f" received {x!r} and {y!r}"
        ) from None
    if not point.label or Path(point.label).name != point.label or point.label.startswith("."):
        raise DataError(
            f"{path}, line {line}: expected a class name that can name a folder, received {label!r}"
        )
    return point


def find_images(sources: Sequence[str | Path]) -> list[Path]:
    """Image files named, and those in the folders named.

    Raises
    ------
    ImageError
        Where a source does not exist or a folder holds no image.
    """
    found: list[Path] = []
    for source in map(Path, sources):
        if source.is_dir():
            inside = list_images(source)
            if not inside:
                raise ImageError(f"{source}: expected images in the folder, found none")
            found += inside
        elif source.exists():
            found.append(source)
        else:
            raise ImageError(f"{source} does not exist")
    return found


def points_by_image(
    images: Sequence[Path], points: Sequence[Point], source: Path
) -> dict[Path, list[Point]]:
    """Group points by the given images, by file name or stem.

    Parameters
    ----------
    images : sequence of Path
    points : sequence of Point
    source : Path
        Where the points come from, for messages.

    Raises
    ------
    DataError
        Where two images have one name, or no point lies on any of them.
    """
    names = [path.name for path in images]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"two images are called {twice}: points cannot tell them apart. Rename one")
    by_name: dict[str, list[Point]] = {}
    for point in points:
        by_name.setdefault(point.image, []).append(point)
    stems = [path.stem for path in images]
    shared = next((stem for stem in by_name if stem not in names and stems.count(stem) > 1), None)
    if shared is not None:
        raise DataError(
            f"{source}: {shared} is the name of two images. Name them with their suffix"
        )
    grouped = {
        p: [own for n in dict.fromkeys((p.name, p.stem)) for own in by_name.get(n, [])]
        for p in images
    }
    grouped = {path: own for path, own in grouped.items() if own}
    if not grouped:
        raise DataError(
            f"{source}: no point lies on {', '.join(p.name for p in images[:3])};"
            f" the file names {', '.join(sorted(by_name)[:3])}"
        )
    left_out = len(points) - sum(map(len, grouped.values()))
    if left_out:
        logger.warning("%s: %d points lie on images that were not given", source, left_out)
    return grouped
