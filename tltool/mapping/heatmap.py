"""`tltool heatmap`: maps of many images in one call."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tltool.errors import DataError, ImageError, MapsError, OutputError, TltoolError, UsageError
from tltool.files import images_of
from tltool.inference.image_opening import check_size, open_image, warn_of_distance
from tltool.mapping.image_map import HeatMap, write_map
from tltool.mapping.mapper import load_mapper
from tltool.raster import load_area
from tltool.raster.geojson import read_polygons
from tltool.run.folder import FCN_NAME, MODEL_NAME, file_of
from tltool.run.map_options import MapOptions, Mode, Output, split_options
from tltool.run.sidecar import Sidecar, load_sidecar, sidecar_path
from tltool.tiling.products import check_outputs, choose_product, name_files
from tltool.tiling.unfinished import forget

logger = logging.getLogger(__name__)

Failed = dict[Path, TltoolError]


def model_path(run: Path, mode: Mode) -> Path:
    """The network that maps in a mode; of an FCN's file itself."""
    return file_of(run, MODEL_NAME if mode == "patches" else FCN_NAME)


def known_sidecar(run: Path, mode: Mode = "fcn") -> Sidecar | None:
    """The network's sidecar, or that of the classifier to be converted; None: there is none."""
    paths = (model_path(run, mode), run / MODEL_NAME)
    return next((load_sidecar(path) for path in paths if sidecar_path(path).exists()), None)


def heatmap(
    run: str | Path,
    images: Sequence[str | Path],
    out: str | Path,
    *,
    options: MapOptions | None = None,
    output: Output | None = None,
    overwrite: bool = False,
    **keywords: Any,
) -> list[HeatMap]:
    """Map the class probabilities of large images.

    A call that was stopped, by whatever, goes on where it was when it is made
    again, and ends in the same bytes.

    Parameters
    ----------
    run : str or Path
        A run folder (its classifier is converted where there is no FCN yet),
        or the path of an FCN, or with ``mode="patches"`` of a classifier, with
        its sidecar.
    images : sequence of str or Path
        Image files, folders of them, or patterns such as ``survey/*.tif``:
        JPEG, PNG, TIFF, GeoTIFF of any size.
    out : str or Path
        Folder for ``<stem>.heatmap.tif`` (a float32 band an output of the
        network, named by its class, ``task.class`` where there are several
        tasks, and of a binary task by its positive; NaN is no data; in the
        image's CRS, or in its pixels where it has none),
        ``<stem>.overlay.png`` and ``<stem>.json``.
    options : MapOptions, optional
        How the maps are made.
    output : Output, optional
        How they are written.
    overwrite : bool
        Replace earlier maps.
    **keywords
        Single options of `MapOptions` (``stride=8``) and `Output`
        (``cog=True``), over these.

    Returns
    -------
    list of HeatMap
        One an image.

    Raises
    ------
    ImageError
        The only image cannot be read, is smaller than a patch or has other
        bands than the network takes; names it.
    MapsError
        The same of some of several images: the others are mapped.
    DataError
        No area can be read from `aoi`, or it misses the only image.
    UsageError
        An option that cannot be meant or is not known.
    ConversionError, ModelError, OutputError
    """
    options, output = split_options(keywords, options, output)
    paths, folder = images_of(images), Path(out)
    check_outputs(folder, paths, overwrite, output)
    if options.aoi is not None:
        read_polygons(options.aoi)
    failed: Failed = {}
    # Before a conversion that may take long.
    sidecar = known_sidecar(Path(run), options.mode)
    for image in paths:
        if sidecar is None:
            break
        # Percentiles would read pixels, and any numbers open an image as well.
        scale = (0.0, 1.0) if options.scale == "percentiles" else options.scale
        try:
            with open_image(
                image, sidecar, scale=scale, bands=options.bands, resample=options.resample
            ) as raster:
                check_size(raster, sidecar)
                warn_of_distance(raster, sidecar)
                if options.aoi is not None:
                    load_area(options.aoi, raster)
        except (DataError, ImageError) as error:
            failed[image] = error
    made: list[HeatMap] = []
    if len(failed) < len(paths):
        mapper = load_mapper(run, options)
        choose_product(mapper.sidecar, output.dtype, output.classes, output.argmax)
        # On the first image that can be read.
        for image in (path for path in paths if path not in failed):
            try:
                with mapper.open(image) as raster:
                    mapper = mapper.measured(raster)
                break
            except ImageError as error:
                failed[image] = error
        model = model_path(Path(run), options.mode)
        for image in (path for path in paths if path not in failed):
            try:
                made.append(
                    write_map(mapper, image, folder, output, model=model, overwrite=overwrite)
                )
            except (OutputError, UsageError):
                # The others would meet the same.
                raise
            except TltoolError as error:
                failed[image] = error
                if len(paths) > 1:
                    logger.warning("%s is left out: %s", image, error)
    if failed and len(paths) == 1:
        raise next(iter(failed.values()))
    if failed:
        reasons = "; ".join(str(error) for error in failed.values())
        rest = f". The maps of the others are in {folder}" if made else ""
        message = f"{len(failed)} of {len(paths)} images could not be mapped: {reasons}{rest}"
        raise MapsError(message, made, failed)
    for image in paths:
        forget(name_files(folder, image, output).map)
    return made
