"""A check of a count: a folder of drawn windows that a person counts in, and what follows from it.

``windows.csv`` lists all windows with what the network expects and how
probable and how often drawn each is; ``check.csv`` the drawn ones with empty
cells to fill in. The first is what the second is checked against.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from tltool.errors import DataError
from tltool.files import atomic_path, refuse_existing
from tltool.points.checked import CheckedTotal, Method, checked_total
from tltool.raster.areas import Area

WINDOWS_NAME, CHECK_NAME, ESTIMATE_NAME = "windows.csv", "check.csv", "estimate.csv"
ANY = "any"
_FACTS = ["window", "image", "xmin", "ymin", "xmax", "ymax", "draws", "probability"]


@dataclass(frozen=True)
class Check:
    """Windows of a survey and what is known of them.

    Attributes
    ----------
    images : (n,) tuple of str
        Name of each window's image.
    boxes : (n, 4) int array
        xmin, ymin, xmax, ymax of each, px; the maxima are outside.
    classes : tuple of str
        That the network tells apart.
    expected : (n, classes) float64 array
        Objects that the network expects.
    probability : (n,) float64 array
        Of each window in a draw.
    draws : (n,) int array
        How often each was drawn.
    counts : dict of str to (n,) float64 array
        What a person counted, by class and ``any``; NaN in windows that were
        not drawn. Empty before the check is filled in.
    """

    images: tuple[str, ...]
    boxes: np.ndarray
    classes: tuple[str, ...]
    expected: np.ndarray
    probability: np.ndarray
    draws: np.ndarray
    counts: dict[str, np.ndarray]


def window_grid(width: int, height: int, side: int, area: Area | None = None) -> np.ndarray:
    """Cut an image into windows without gap or overlap.

    Parameters
    ----------
    width, height : int
        Of the image, px.
    side : int
        Of a window, px. Windows at the right and lower borders are smaller
        where it does not divide the image.
    area : Area, optional
        Polygons; windows that they do not touch are left out.

    Returns
    -------
    (n, 4) int array of xmin, ymin, xmax, ymax

    Raises
    ------
    DataError
        A side below 1 px or above both of the image's.
    """
    if side < 1 or side > max(width, height):
        raise DataError(
            f"`window`: expected 1 to {max(width, height)} px for an image of {width} x {height},"
            f" received {side}"
        )
    boxes = [
        (x, y, min(x + side, width), min(y + side, height))
        for y in range(0, height, side)
        for x in range(0, width, side)
    ]
    if area is not None:
        boxes = [b for b in boxes if area.overlaps(b[0], b[1], b[2] - b[0], b[3] - b[1])]
    return np.array(boxes, int).reshape(-1, 4)


def expected_in(boxes: np.ndarray, xy: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Sum the (n,) scores of points at (n, 2) x, y in each of (m, 4) windows: (m,) float64."""
    x, y = np.asarray(xy, float).reshape(-1, 2).T
    inside = (x >= boxes[:, :1]) & (x < boxes[:, 2:3]) & (y >= boxes[:, 1:2]) & (y < boxes[:, 3:])
    return inside @ np.asarray(scores, np.float64)


def draw_window(raster: Any, box: Sequence[int], margin: int) -> Image.Image:
    """Picture of a window and its surroundings, the window outlined.

    Parameters
    ----------
    raster : Raster or ArrayRaster
        Three bands of 0..255, or one.
    box : (xmin, ymin, xmax, ymax)
    margin : int
        Surroundings on each side, px, as far as the image goes.
    """
    x0, y0 = max(0, box[0] - margin), max(0, box[1] - margin)
    x1, y1 = min(raster.width, box[2] + margin), min(raster.height, box[3] + margin)
    pixels = np.asarray(raster.read(x0, y0, x1 - x0, y1 - y0))
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] < 3 else pixels[..., :3])
    picture = picture.convert("RGB")
    corners = [box[0] - x0 - 1, box[1] - y0 - 1, box[2] - x0, box[3] - y0]
    # White beside black is seen on any ground.
    pen = ImageDraw.Draw(picture)
    pen.rectangle(corners, outline="white")
    pen.rectangle([corners[0] - 1, corners[1] - 1, corners[2] + 1, corners[3] + 1], outline="black")
    return picture


def write_check(check: Check, folder: str | Path, overwrite: bool = False) -> None:
    """Write windows.csv and a check.csv to be filled in.

    Raises
    ------
    OutputError
        A check is there already.
    """
    folder = Path(folder)
    refuse_existing(folder / CHECK_NAME, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    facts = [
        [i, image, *box, times, repr(float(p))]
        for i, (image, box, times, p) in enumerate(
            zip(check.images, check.boxes.tolist(), check.draws.tolist(), check.probability,
                strict=True)
        )
    ]  # fmt: skip
    expected = [[repr(v) for v in row] for row in check.expected.tolist()]
    everything = [[*fact, *row] for fact, row in zip(facts, expected, strict=True)]
    _write(folder / WINDOWS_NAME, [*_FACTS, *check.classes], everything)
    empty = [""] * (len(check.classes) + 1)
    drawn = [[*facts[i], *empty] for i in np.flatnonzero(check.draws)]
    _write(folder / CHECK_NAME, [*_FACTS, *check.classes, ANY], drawn)


def _write(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    with atomic_path(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        # Spreadsheets write a byte order mark, and semicolons where the comma is decimal.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    first = text.partition("\n")[0]
    rows = [
        [cell.strip() for cell in row]
        for row in csv.reader(text.splitlines(), delimiter=";" if ";" in first else ",")
    ]
    rows = [row for row in rows if any(row)]
    if not rows or rows[0][: len(_FACTS)] != _FACTS:
        raise DataError(f"{path}: expected the columns {', '.join(_FACTS)} first")
    return rows[0], [row + [""] * (len(rows[0]) - len(row)) for row in rows[1:]]


def read_check(folder: str | Path) -> Check:
    """Read a check that a person filled in.

    A column may be left empty as a whole: its class is not estimated, and
    ``any`` is then the sum of the classes where these are all there.

    Raises
    ------
    DataError
        Rows that are missing, new or of another check, cells that are empty or
        hold no whole number, classes that the network does not have, fewer of
        any than of all classes; names the row. Nothing is changed.
    """
    folder = Path(folder)
    header, rows = _read(folder / WINDOWS_NAME)
    classes, path = tuple(header[len(_FACTS) :]), folder / CHECK_NAME
    try:
        numbers = np.array([[float(v) for v in (row[0], *row[2:])] for row in rows]).T
        boxes, draws = numbers[1:5].T.astype(int), numbers[5].astype(int)
        probability, expected = numbers[6], numbers[7:].T
    except (ValueError, IndexError) as error:
        raise DataError(f"{folder / WINDOWS_NAME} is damaged ({error}): draw anew") from error
    filled, lines = _read(path)
    columns = filled[len(_FACTS) :]
    unknown = [name for name in columns if name not in (*classes, ANY)]
    if unknown or len(set(columns)) < len(columns):
        raise DataError(
            f"{path}: expected the columns {', '.join(classes)} and {ANY}, once each, for the"
            f" classes of the network; received {', '.join(columns)}"
        )
    drawn = {rows[i][0]: i for i in np.flatnonzero(draws).tolist()}
    found: dict[int, list[str]] = {}
    for at, line in enumerate(lines, 2):
        i = drawn.get(line[0])
        if i is None or line[1:7] != rows[i][1:7]:
            raise DataError(
                f"{path}, line {at}: window {line[0]!r} of {line[1]!r} was not drawn so. Is the"
                " file of another check, or was a row added?"
            )
        if i in found:
            raise DataError(f"{path}, line {at}: window {line[0]} stands there twice")
        found[i] = line[len(_FACTS) :]
    missing = [name for name, i in drawn.items() if i not in found]
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(drawn)} drawn windows are missing, first window"
            f" {missing[0]}. Every drawn window counts, also an empty one"
        )
    counts = {}
    for column, name in enumerate(columns):
        cells = {i: cells[column] for i, cells in found.items()}
        if any(cells.values()):
            counts[name] = np.full(len(rows), math.nan)
            for i, value in _whole_numbers(cells, name, rows, path):
                counts[name][i] = value
    if not counts:
        raise DataError(
            f"{path}: no window is counted yet. Fill in the columns of classes or {ANY}"
        )
    if all(name in counts for name in classes):
        together = np.sum([counts[name] for name in classes], axis=0)
        fewer = np.flatnonzero(counts.setdefault(ANY, together) < together)
        if len(fewer):
            raise DataError(
                f"{path}, window {rows[fewer[0]][0]}: {counts[ANY][fewer[0]]:g} of {ANY}, but"
                f" {together[fewer[0]]:g} of all classes together"
            )
    images = tuple(row[1] for row in rows)
    return Check(images, boxes, classes, expected, probability, draws, counts)


def _whole_numbers(
    cells: dict[int, str], name: str, rows: list[list[str]], path: Path
) -> Iterator[tuple[int, int]]:
    empty = [i for i, cell in cells.items() if not cell]
    if empty:
        raise DataError(
            f"{path}: column {name} is filled in for {len(cells) - len(empty)} of {len(cells)}"
            f" windows; window {rows[empty[0]][0]} ({rows[empty[0]][1]}) is empty. Write 0 where"
            " there is none, or leave the whole column empty"
        )
    for i, cell in cells.items():
        if not cell.isdecimal():
            raise DataError(
                f"{path}, window {rows[i][0]}, column {name}: expected a whole number from 0 on,"
                f" received {cell!r}"
            )
        yield i, int(cell)


def estimate_check(
    check: Check, *, method: Method = "bootstrap", level: float = 0.95, most: float = math.inf
) -> dict[tuple[str, str], CheckedTotal]:
    """Estimate totals of each counted class, for the survey and for each image.

    Parameters
    ----------
    check : Check
        Filled in.
    method, level, most
        As of `tltool.points.checked.checked_total`.

    Returns
    -------
    dict from (image, class) to CheckedTotal
        The survey's image is the empty text. Images are estimated from the
        draws that fell into them, and so do not add up to the survey.
    """
    images = np.array(check.images)
    every = check.expected.sum(axis=1)
    totals = {}
    for image in ("", *dict.fromkeys(check.images)):
        for name, counts in check.counts.items():
            known = every if name == ANY else check.expected[:, check.classes.index(name)]
            totals[image, name] = checked_total(
                counts,
                known,
                check.probability,
                check.draws,
                inside=images == image if image else None,
                method=method,
                level=level,
                most=most,
            )
    return totals


def write_estimate(totals: dict[tuple[str, str], CheckedTotal], path: str | Path) -> None:
    """Write totals as CSV: image (empty: the survey), class, estimate, ends, and their basis."""
    header = ["image", "class", "estimate", "lower", "upper", "level", "method"]
    header += ["draws", "occupied", "seen"]
    rows = []
    for (image, name), v in totals.items():
        numbers = [f"{value:.1f}" for value in (v.estimate, v.lower, v.upper)]
        rows.append([image, name, *numbers, v.level, v.method, v.draws, v.occupied, v.seen])
    _write(Path(path), header, rows)
