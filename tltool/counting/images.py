"""Images to count on, files or arrays, and where on each points count."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from tltool.data.coverage import Coverage
from tltool.errors import ImageError, UsageError
from tltool.files import atomic_path, images_of, refuse_existing
from tltool.inference.image_opening import open_image
from tltool.raster import AnyRaster, Raster
from tltool.raster.geojson import read_polygons
from tltool.raster.source import without_georeference_warning
from tltool.run.map_options import MapOptions
from tltool.run.sidecar import Sidecar

logger = logging.getLogger(__name__)


class Images:
    """Images in their order, each by a path; for one in memory it is a name alone.

    Parameters
    ----------
    given : str, Path, array, PIL image or an iterable of these
        Files, folders or patterns; arrays (height, width, bands), a batch of
        them (n, height, width, bands).
    sidecar : Sidecar
        What is known of the network that is to see them.
    options : MapOptions
        Its `scale` and `bands` are those of images in memory too.

    Attributes
    ----------
    paths : list of Path
    left_out : list of Path
        Images that an area has no part of.
    rasters : dict of Path to AnyRaster
        Images in memory, as the network wants them.

    Raises
    ------
    ImageError, UsageError
        No image is given, or something that is none.
    """

    def __init__(self, given: Any, sidecar: Sidecar, options: MapOptions):
        self.sidecar = sidecar
        every = list(_each(given))
        files = [one for one in every if isinstance(one, str | Path)]
        self._memory: dict[Path, Any] = {}
        for one in (one for one in every if not isinstance(one, str | Path)):
            number = f"_{len(self._memory)}" if len(every) - len(files) > 1 else ""
            name = Path(getattr(one, "filename", "") or f"image{number}").name
            name = f"{number[1:]}_{name}" if Path(name) in self._memory else name
            self._memory[Path(name)] = one
        if not every:
            raise UsageError("`images`: expected one image or more, received none")
        scale, bands = options.scale, options.bands
        self.rasters: dict[Path, AnyRaster] = {
            name: open_image(one, sidecar, scale=scale, bands=bands, name=str(name))
            for name, one in self._memory.items()
        }
        self.paths = [*(images_of(files) if files else ()), *self.rasters]
        self.left_out: list[Path] = []

    def save(self, folder: Path, overwrite: bool) -> None:
        """Write what is in memory as GeoTIFFs into a folder, which take its place."""
        for name, image in self._memory.items():
            path, values = folder / f"{name.stem}.tif", np.atleast_3d(np.asarray(image))
            refuse_existing(path, overwrite)
            values = values.astype(np.float32) if values.dtype == np.float64 else values
            size = dict(zip(("height", "width", "count"), values.shape, strict=True))
            how = {"dtype": values.dtype, "compress": "deflate", **size}
            with (
                atomic_path(path) as partial,
                without_georeference_warning(),
                rasterio.open(partial, "w", "GTiff", **how) as file,
            ):
                file.write(np.moveaxis(values, -1, 0))
            self.paths[self.paths.index(name)] = path
            del self.rasters[name]

    def open(self, path: Path) -> AnyRaster:
        """Open an image to ask for its size and place; an `ImageError` where it cannot be read."""
        return self.rasters.get(path) or Raster(path, scale=(0, 1))


def _each(given: Any) -> Iterator[Any]:
    """Single images, whatever they are nested in."""
    if (
        isinstance(given, str | Path)
        or hasattr(given, "getbands")
        or (hasattr(given, "shape") and len(given.shape) < 4)
    ):
        yield given
    elif hasattr(given, "__iter__"):
        for one in given:
            yield from _each(one)
    else:
        raise UsageError(
            "`images`: expected paths, arrays (height, width, bands), PIL images or an iterable of"
            f" these; received {type(given).__name__}"
        )


def find_areas(
    images: Images, aoi: str | Path | None = None, ignore: str | Path | None = None
) -> dict[Path, Coverage]:
    """Place the areas on each image.

    Parameters
    ----------
    images : Images
        Those that the area has no part of are taken out, which is logged;
        those that cannot be read are passed over.
    aoi, ignore : str or Path, optional
        GeoJSON, see `tltool.data.coverage.Coverage.load`.

    Returns
    -------
    dict of Path to Coverage
        Coverage of each image that is left and can be read.

    Raises
    ------
    DataError
        An area cannot be read, or `aoi` has no part of any image.
    """
    for area in (aoi, ignore):
        if area is not None:
            read_polygons(Path(area))
    covered: dict[Path, Coverage] = {}
    for image in images.paths:
        try:
            with images.open(image) as raster:
                covered[image] = Coverage.load(raster, aoi, ignore, may_miss=True)
        except ImageError:
            continue
    missed = [image for image, coverage in covered.items() if coverage.nothing]
    if missed and len(missed) == len(covered):
        with images.open(missed[0]) as raster:
            # It says where both lie.
            Coverage.load(raster, aoi)
    for image in missed:
        logger.warning("%s: %s has no part of it and is left out", aoi, image.name)
        images.paths.remove(image)
        images.left_out.append(image)
    return covered
