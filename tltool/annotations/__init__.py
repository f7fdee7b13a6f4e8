"""Annotated points read from files and written to them, and the images they lie on."""

from tltool.annotations.files import WRITERS, PointSource, read_points, source_of, write_points
from tltool.annotations.images import points_by_image
from tltool.annotations.layouts import COLUMNS
from tltool.annotations.point import Point, make_point, without_duplicates
