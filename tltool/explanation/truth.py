"""Where things are in images, as a file tells: boxes or points."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tltool.annotations import read_points
from tltool.annotations.images import match_images
from tltool.annotations.table import Row, Table, read_table
from tltool.errors import DataError
from tltool.explanation.boxes import Box

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_IMAGE = ("image", "image_path", "images", "path", "file")
_LABEL = ("label", "labels", "class")


@dataclass(frozen=True)
class Truth:
    """A thing in an image.

    Attributes
    ----------
    box : Box
        px of the whole image; of a point without width and height.
    label : str or None
        Its class.
    """

    box: Box
    label: str | None

    @property
    def is_point(self) -> bool:
        """Whether only its place is known, not its size."""
        return self.box.area == 0


def read_truth(path: Path, images: Sequence[Path]) -> dict[Path, list[Truth]]:
    """Read boxes or points.

    Parameters
    ----------
    path : Path
        A CSV table with columns image, xmin, ymin, xmax, ymax and perhaps
        label: boxes, px of the whole image; or points in any format that
        `tltool.annotations.read_points` knows.
    images : sequence of Path

    Returns
    -------
    dict of Path to list of Truth
        Images without any are left out.

    Raises
    ------
    DataError
        The file is neither, a box has no inside, or nothing in it lies on any
        of the images.
    """
    corners: list[str | None] = []
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        table = read_table(path)
        corners = [table.find([name, name[0] + "_" + name[1:]]) for name in _CORNERS]
    if any(corners):
        named = _boxes(table, corners)
    else:
        points = read_points(path, images=list(images))
        named = [(p.image, Truth(Box(p.x, p.y, p.x, p.y), p.label)) for p in points]
    meant = match_images((name for name, _ in named), images, path)
    found: dict[Path, list[Truth]] = {}
    for name, truth in named:
        image = meant[name]
        if image is not None:
            found.setdefault(image, []).append(truth)
    if not found:
        raise DataError(
            f"{path}: nothing in it lies on {', '.join(p.name for p in images[:3])}; it names"
            f" {', '.join(sorted({name for name, _ in named})[:3])}"
        )
    return found


def _boxes(table: Table, corners: list[str | None]) -> list[tuple[str, Truth]]:
    image, label = table.find(_IMAGE), table.find(_LABEL)
    lacking = [n for n, found in zip(_CORNERS, corners, strict=True) if found is None]
    if lacking or image is None:
        raise DataError(
            f"{table.path}: expected columns image,xmin,ymin,xmax,ymax and perhaps label;"
            f" {', '.join(lacking if image else ['image', *lacking])} is missing, the file has"
            f" {', '.join(table.columns)}"
        )
    columns = [name for name in corners if name]
    return [
        (
            row.cells[image],
            Truth(_box(table, row, columns), (row.cells[label] if label else "") or None),
        )
        for row in table.rows
    ]


def _box(table: Table, row: Row, columns: list[str]) -> Box:
    try:
        box = Box(*(float(row.cells[name]) for name in columns))
    except ValueError:
        received = ", ".join(row.cells[name] for name in columns)
        raise table.error(
            row, columns[0], f"expected four numbers for a box, received {received}"
        ) from None
    # Not "<= 0": NaN must not pass either.
    if not (box.right > box.left and box.bottom > box.top):
        raise table.error(
            row,
            columns[0],
            "expected xmin below xmax and ymin below ymax, received"
            f" {box.left:g} to {box.right:g} and {box.top:g} to {box.bottom:g}",
        )
    return box
