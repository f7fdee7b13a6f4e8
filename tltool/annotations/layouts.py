"""Points in tables, in the layouts that tools and competitions use."""

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tltool.annotations.point import Point, as_score, make_point
from tltool.annotations.table import Table
from tltool.errors import DataError, UsageError

logger = logging.getLogger(__name__)

COLUMNS = ("image", "x", "y", "label")

# What the class numbers of the sea-lion competition's coordinate files mean.
SEA_LIONS = ("adult_males", "subadult_males", "adult_females", "juveniles", "pups")


@dataclass(frozen=True)
class Layout:
    """Columns of a table, and what they hold.

    Attributes
    ----------
    image, label : str
    x, y : tuple of str
        One column, or the lower and the upper end of a box.
    classes : tuple of str
        Names of the classes where `label` holds their numbers, from 0.
    """

    image: str
    x: tuple[str, ...]
    y: tuple[str, ...]
    label: str
    classes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all that are needed."""
        return (self.image, *self.x, *self.y, self.label)


_KAGGLE = tuple(
    Layout(image, ("col",), ("row",), label, classes)
    for image in ("tid", "train_id")
    for label, classes in (("class_name", ()), ("cls", SEA_LIONS))
)

LAYOUTS = (
    Layout("image", ("x",), ("y",), "label"),
    *_KAGGLE,
    # HerdNet's points and boxes.
    Layout("images", ("x",), ("y",), "labels"),
    Layout("images", ("x_min", "x_max"), ("y_min", "y_max"), "labels"),
    # DeepForest's boxes and points.
    Layout("image_path", ("xmin", "xmax"), ("ymin", "ymax"), "label"),
    Layout("image_path", ("x",), ("y",), "label"),
)

# As a person writes them, for messages.
KNOWN = (
    "image,x,y,label; tid,cls,row,col,class_name (Kaggle sea lions); images,x,y,labels (HerdNet);"
    " image_path,xmin,ymin,xmax,ymax,label (DeepForest)"
)


def points_of_table(table: Table, columns: Sequence[str] | None = None) -> list[Point]:
    """Read points from a table.

    Parameters
    ----------
    table : Table
    columns : four str, optional
        The names of those that hold image, x, y and label. None: a known layout.

    Notes
    -----
    A box stands for its centre. One whose four numbers are 0 says that there
    is nothing on its image, as DeepForest has it, and is no point. Points of
    the sea-lion competition are left out on images that its list of mismatched
    ones names, where that lies beside the table.

    Raises
    ------
    DataError, UsageError
    """
    layout = _find_layout(table) if columns is None else _given_layout(table, columns)
    score = table.find(("score", "scores"))
    numbers = {str(number): name for number, name in enumerate(layout.classes)}
    points = []
    for row in table.rows:
        where, names = table.where(row), (*layout.x, *layout.y)
        try:
            values = [float(row.cells[name]) for name in names]
        except ValueError:
            received = " and ".join(repr(row.cells[name]) for name in names)
            raise DataError(
                f"{where}: expected numbers for {' and '.join(names)}, received {received}"
            ) from None
        if len(values) == 4 and not any(values):
            continue
        xs, ys = values[: len(layout.x)], values[len(layout.x) :]
        if xs[-1] < xs[0] or ys[-1] < ys[0]:
            raise DataError(
                f"{where}: expected a box whose {layout.x[0]} and {layout.y[0]} come before"
                f" {layout.x[1]} and {layout.y[1]}, received x {xs[0]:g} to {xs[1]:g}, y"
                f" {ys[0]:g} to {ys[1]:g}"
            )
        label = row.cells[layout.label]
        if numbers and label not in numbers:
            known = ", ".join(f"{number} ({name})" for number, name in numbers.items())
            raise DataError(
                f"{where}: expected a class number, {known}; received {label!r}. Remove the row,"
                " or name the classes in a column class_name"
            )
        sure = None if score is None else as_score(row.cells[score], where)
        position = sum(xs) / len(xs), sum(ys) / len(ys)
        image = row.cells[layout.image]
        points.append(make_point(where, image, position, numbers.get(label, label), sure))
    # The images whose coordinates are known not to fit, as that competition lists them.
    listed = table.path.with_name("MismatchedTrainImages.txt")
    if layout not in _KAGGLE or not listed.is_file():
        return points
    images = {Path(line.strip()).stem for line in listed.read_text(encoding="utf-8").splitlines()}
    kept = [point for point in points if Path(point.image).stem not in images]
    if len(kept) < len(points):
        logger.warning(
            "%s: %d points are left out, on images whose annotation does not fit by %s",
            table.path,
            len(points) - len(kept),
            listed,
        )
    return kept


def _find_layout(table: Table) -> Layout:
    for layout in LAYOUTS:
        found = [table.find([name]) or "" for name in layout.columns]
        if all(found):
            image, *ends, label = found
            half = len(layout.x)
            return Layout(image, tuple(ends[:half]), tuple(ends[half:]), label, layout.classes)
    absent = [[name for name in layout.columns if not table.find([name])] for layout in LAYOUTS]
    missing, nearest = min(zip(absent, LAYOUTS, strict=True), key=lambda pair: len(pair[0]))
    raise DataError(
        f"{table.path}: column {', '.join(missing)} is missing (of {','.join(nearest.columns)}),"
        f" and no other known layout fits: {KNOWN}; the {table.noun} has"
        f" {', '.join(table.columns)}. Say which to take with"
        " `columns=['IMAGE', 'X', 'Y', 'LABEL']`"
    )


def _given_layout(table: Table, columns: Sequence[str]) -> Layout:
    if len(columns) != 4:
        raise UsageError(
            f"{table.path}: expected four columns to take from a table, IMAGE,X,Y,LABEL; received"
            f" {','.join(columns)}"
        )
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(
            f"{table.path}: column {', '.join(missing)} is missing; the {table.noun} has"
            f" {', '.join(table.columns)}. Say which columns to take with"
            " `columns=['IMAGE', 'X', 'Y', 'LABEL']`"
        )
    image, x, y, label = columns
    return Layout(image, (x,), (y,), label)


def write_csv(path: Path, points: Sequence[Point]) -> None:
    """Write points as ``image,x,y,label,score``, the last empty where there is none."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((*COLUMNS, "score"))
        for p in points:
            # The shortest texts that are read as the same numbers.
            x, y, score = (
                "" if number is None else repr(float(number)).removesuffix(".0")
                for number in (p.x, p.y, p.score)
            )
            writer.writerow((p.image, x, y, p.label, score))
