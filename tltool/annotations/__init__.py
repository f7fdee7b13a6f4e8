"""Annotated points read from files and written to them, and the images they lie on."""

from tltool.annotations.files import WRITERS, read_points, write_points
from tltool.annotations.images import points_by_image
from tltool.annotations.point import Point, make_point, without_duplicates
from tltool.annotations.tables import COLUMNS

__all__ = [
    "COLUMNS",
    "WRITERS",
    "Point",
    "make_point",
    "points_by_image",
    "read_points",
    "without_duplicates",
    "write_points",
]
