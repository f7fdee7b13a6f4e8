"""What of an image its annotation covers, by the polygons of `aoi` and `ignore`."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tltool.errors import DataError
from tltool.raster import AnyRaster, Area, load_area


@dataclass(frozen=True)
class Coverage:
    """Part of an image where points count and patches may lie.

    Attributes
    ----------
    width, height : int
        Sides of the image, px.
    aoi : Area or None
        What is annotated; None: all.
    ignored : Area or None
        What nothing is taken from.
    """

    width: int
    height: int
    aoi: Area | None = None
    ignored: Area | None = None

    @classmethod
    def load(
        cls,
        raster: AnyRaster,
        aoi: str | Path | None = None,
        ignore: str | Path | None = None,
        *,
        may_miss: bool = False,
    ) -> "Coverage":
        """Read the areas as those of an image.

        Parameters
        ----------
        raster : Raster
        aoi, ignore : str or Path, optional
            GeoJSON files, see `tltool.raster.load_area`.
        may_miss : bool
            An `aoi` that misses the image covers nothing of it, and is no error.

        Raises
        ------
        DataError
            Errors of `load_area`; an `ignore` that misses the image is no error.
        """
        return cls(
            raster.width,
            raster.height,
            None if aoi is None else load_area(aoi, raster, may_miss=may_miss),
            None if ignore is None else load_area(ignore, raster, may_miss=True),
        )

    @property
    def extent(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of what may be covered, whole px inside the image."""
        if self.aoi is None:
            return 0, 0, self.width, self.height
        left, top, right, bottom = self.aoi.bounds
        return (
            min(max(0, math.floor(left)), self.width),
            min(max(0, math.floor(top)), self.height),
            max(0, min(self.width, math.ceil(right))),
            max(0, min(self.height, math.ceil(bottom))),
        )

    @property
    def nothing(self) -> bool:
        """Whether it is certain that no pixel is covered."""
        return self.aoi is not None and not self.aoi.overlaps(0, 0, self.width, self.height)

    def covers(self, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        """Say whether (n,) positions are inside `aoi` and not ignored: (n,) bool array."""
        found = np.ones(np.shape(xs), bool)
        if self.aoi is not None:
            found &= self.aoi.covers(xs, ys)
        if self.ignored is not None:
            found &= ~self.ignored.covers(xs, ys)
        return found

    def holds(self, lefts: np.ndarray, tops: np.ndarray, size: int) -> np.ndarray:
        """Say whether squares lie on what is covered.

        Parameters
        ----------
        lefts, tops : (n,) int arrays
            First pixel of each.
        size : int
            Side, px.

        Returns
        -------
        (n,) bool array
            The four corners' pixels and the middle are inside `aoi`, and none
            of the square is ignored.
        """
        first, last, middle = 0.5, size - 0.5, size / 2
        tried = [(first, first), (last, first), (first, last), (last, last), (middle, middle)]
        found = np.ones(len(lefts), bool)
        for across, down in tried:
            found &= self.covers(lefts + across, tops + down)
        if self.ignored is not None:
            for index in np.flatnonzero(found):
                corner = float(lefts[index]), float(tops[index])
                found[index] = not self.ignored.overlaps(*corner, size, size)
        return found


def none_inside(path: str | Path, source: Path) -> DataError:
    """The error where no point lies inside the area."""
    return DataError(
        f"{path}: expected an area with points of {source} inside, found none there. Draw it around"
        " what is annotated, in the image's CRS or, where it has none, in pixels (y down)"
    )
