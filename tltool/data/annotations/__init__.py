"""Annotated points read from files and written to them, and the images they lie on."""

from tltool.data.annotations.files import WRITERS, read_points, write_points
from tltool.data.annotations.images import find_images, points_by_image
from tltool.data.annotations.point import Point, make_point, without_duplicates
from tltool.data.annotations.tables import COLUMNS

__all__ = [
    "COLUMNS",
    "WRITERS",
    "Point",
    "find_images",
    "make_point",
    "points_by_image",
    "read_points",
    "without_duplicates",
    "write_points",
]
