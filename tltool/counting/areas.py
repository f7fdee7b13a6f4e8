"""Where on each image points count."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tltool.data.coverage import Coverage
from tltool.errors import ImageError
from tltool.raster import Raster
from tltool.raster.geojson import read_polygons

logger = logging.getLogger("tltool")


@dataclass(frozen=True)
class Areas:
    """What of the images counts.

    Attributes
    ----------
    covered : dict of Path to Coverage
        Of each image that can be read and that the area has a part of.
    left_out : list of Path
        Those the area has no part of.
    """

    covered: dict[Path, Coverage]
    left_out: list[Path]

    def __contains__(self, image: Path) -> bool:
        return image not in self.left_out


def find_areas(
    images: Sequence[Path], aoi: str | Path | None = None, ignore: str | Path | None = None
) -> Areas:
    """Place the areas on each image.

    Parameters
    ----------
    images : sequence of Path
        Those that cannot be read are passed over.
    aoi, ignore : str or Path, optional
        GeoJSON, see `tltool.data.coverage.Coverage.load`.

    Raises
    ------
    DataError
        An area cannot be read, or `aoi` has no part of any image.
    """
    for area in (aoi, ignore):
        if area is not None:
            read_polygons(Path(area))
    areas = Areas({}, [])
    for image in images:
        try:
            with Raster(image, scale=(0, 1)) as raster:
                found = Coverage.load(raster, aoi, ignore, may_miss=True)
        except ImageError:
            continue
        if found.nothing:
            areas.left_out.append(image)
        else:
            areas.covered[image] = found
    if areas.left_out and not areas.covered:
        with Raster(areas.left_out[0], scale=(0, 1)) as raster:
            # It says where both lie.
            Coverage.load(raster, aoi)
    for image in areas.left_out:
        logger.warning("%s: %s has no part of it and is left out", aoi, image.name)
    return areas
