"""`tltool heatmap`: maps of many images in one call."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tltool.errors import DataError, ImageError, MapsError, OutputError, TltoolError, UsageError
from tltool.inference.image_opening import Reading, check_size, open_image, warn_of_distance
from tltool.mapping.image_map import HeatMap, map_image
from tltool.mapping.mapper import Mapper, Mode, check_choices, load_mapper
from tltool.raster import Scale, images_of, load_area
from tltool.raster.geojson import read_polygons
from tltool.run.folder import FCN_NAME, MODEL_NAME, file_of
from tltool.run.sidecar import Sidecar, load_sidecar, sidecar_path
from tltool.tiling.outputs import Format, Output, check_outputs, name_files
from tltool.tiling.products import choose_product, nothing_here
from tltool.tiling.unfinished import forget

__all__ = [
    "HeatMap",
    "Mapper",
    "Output",
    "heatmap",
    "known_sidecar",
    "load_mapper",
    "map_image",
    "nothing_here",
]

logger = logging.getLogger("tltool")

Failed = dict[Path, TltoolError]


def model_path(run: Path, mode: Mode) -> Path:
    """The network that maps in a mode; of an FCN's file itself."""
    return file_of(run, MODEL_NAME if mode == "patches" else FCN_NAME)


def known_sidecar(run: Path, mode: Mode = "fcn") -> Sidecar | None:
    """That of the network, or of the classifier that is to be converted; None: there is none."""
    paths = (model_path(run, mode), run / MODEL_NAME)
    return next((load_sidecar(path) for path in paths if sidecar_path(path).exists()), None)


def _check_images(
    images: Sequence[Path], sidecar: Sidecar, reading: Reading, aoi: Path | None
) -> Failed:
    """Those that cannot be mapped, as far as that is told without reading their pixels."""
    failed: Failed = {}
    if reading.scale == "percentiles":
        # Of which pixels are read. Any numbers tell the same of the rest.
        reading = replace(reading, scale=(0.0, 1.0))
    for image in images:
        try:
            with open_image(image, sidecar, reading) as raster:
                check_size(raster, sidecar)
                warn_of_distance(raster, sidecar)
                if aoi is not None:
                    load_area(aoi, raster)
        except (DataError, ImageError) as error:
            failed[image] = error
    return failed


def _report(made: list[HeatMap], failed: Failed, count: int, folder: Path) -> None:
    if not failed:
        return
    if count == 1:
        raise next(iter(failed.values()))
    reasons = "; ".join(str(error) for error in failed.values())
    rest = f". The maps of the others are in {folder}" if made else ""
    message = f"{len(failed)} of {count} images could not be mapped: {reasons}{rest}"
    raise MapsError(message, made, failed)


def _measured(mapper: Mapper, images: Sequence[Path], failed: Failed) -> Mapper:
    """The mapper with its fidelity, measured on the first image that can be read."""
    for image in images:
        try:
            with mapper.open(image) as raster:
                return mapper.measured(raster)
        except ImageError as error:
            failed[image] = error
    return mapper


def _map_all(
    mapper: Mapper, images: Sequence[Path], failed: Failed, folder: Path, **options: Any
) -> list[HeatMap]:
    made = []
    for image in images:
        if image in failed:
            continue
        try:
            made.append(map_image(mapper, image, folder, **options))
        except (OutputError, UsageError):
            # The others would meet the same.
            raise
        except TltoolError as error:
            failed[image] = error
            if len(images) > 1:
                logger.warning("%s is left out: %s", image, error)
    return made


def heatmap(
    run: str | Path,
    images: Sequence[str | Path],
    out: str | Path,
    *,
    tile: int | None = None,
    stride: float | None = None,
    shift_and_stitch: bool = False,
    mode: Mode = "fcn",
    full_resolution: bool = False,
    dtype: str | None = None,
    classes: Sequence[str] | None = None,
    argmax: bool = False,
    format: Format = "geotiff",
    cog: bool = False,
    preview: bool = False,
    engine: str = "auto",
    precision: str = "f32",
    tta: str = "none",
    scale: Scale = None,
    bands: Sequence[int] | None = None,
    aoi: str | Path | None = None,
    resample: bool = False,
    scales: Sequence[float] = (),
    combine: str = "mean",
    overwrite: bool = False,
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
    tile : int, optional
        Longest side of a tile, px of the enlarged image.
    stride : float, optional
        px of the image between cells. A converted network can have those that
        divide its own, by the à trous rewriting; a sliding classifier any.
        Default: the network's own.
    shift_and_stitch : bool
        Make the denser map by running the network on the image shifted to
        each cell: the reference for `stride`, several times slower.
    mode : 'fcn' or 'patches'
        ``patches`` slides the untouched classifier in batches: slower, always
        faithful, and for classifiers that cannot be converted too.
    full_resolution : bool
        Write ``<stem>.full.tif`` too: the map enlarged bilinearly to a value
        a pixel of the image.
    dtype : 'float32', 'uint8' or 'uint16', optional
        Of the map. Integers carry a scale in the band's tags, 1/254 or
        1/65534, by which probability = stored * scale; the largest number is
        no data. Default: float32; of a class map the smallest integer.
    classes : sequence of str, optional
        Write these classes only.
    argmax : bool
        Write one band: the number of the most probable class, with a colour
        table and the classes' names.
    format : 'geotiff' or 'zarr'
        ``zarr`` writes a store ``<stem>.heatmap.zarr`` with one array
        (class, row, col).
    cog : bool
        Write a Cloud-Optimized GeoTIFF.
    preview : bool
        Write ``<stem>.preview.html`` too: a page to look into the map, which
        needs nothing but a browser.
    engine : 'auto', 'tensorflow' or 'openvino'
        What runs the network; ``auto`` is OpenVINO on a CPU where it is
        installed. A sliding classifier runs in TensorFlow.
    precision : 'f32', 'bf16' or 'f16'
        What it computes in.
    tta : 'none' or 'd4'
        Test-time augmentation: the mean over the eight flips and rotations.
    scale : (float, float) or 'percentiles', optional
        Of images with other numbers than 8 bits: those that become 0 and 255;
        or each band's 2nd and 98th percentile. Default: 8 bits as they are, of
        16 unsigned ones the high byte.
    bands : sequence of int, optional
        Of the images, from 1. Default: those of the training.
    aoi : str or Path, optional
        GeoJSON polygons, in any CRS; in pixels (x right, y down) for images
        without one. Cells outside are no data.
    resample : bool
        Resample images to the ground sample distance of the training.
    scales : sequence of float
        See every image at these enlargements.
    combine : 'mean' or 'max'
        Of the scales' probabilities.
    overwrite : bool
        Replace earlier maps.

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
    ConversionError, ModelError, OutputError, UsageError
    """
    output = Output(
        dtype,
        format,
        cog,
        None if classes is None else tuple(classes),
        argmax,
        full_resolution,
        preview,
    )
    output.check()
    check_choices(mode, engine, precision, tta, scales, combine)
    paths, folder = images_of(images), Path(out)
    check_outputs(folder, paths, overwrite, output)
    area = None if aoi is None else Path(aoi)
    if area is not None:
        read_polygons(area)
    reading = Reading(scale, None if bands is None else tuple(bands), resample)
    # Before a conversion that may take long.
    sidecar = known_sidecar(Path(run), mode)
    failed = _check_images(paths, sidecar, reading, area) if sidecar else {}
    if len(failed) == len(paths):
        _report([], failed, len(paths), folder)
    mapper = load_mapper(
        run,
        tile,
        engine,
        stride=stride,
        shift_and_stitch=shift_and_stitch,
        mode=mode,
        precision=precision,
        tta=tta,
        scales=scales,
        combine=combine,
        reading=reading,
    )
    choose_product(mapper.sidecar, output.dtype, output.classes, argmax)
    mapper = _measured(mapper, [path for path in paths if path not in failed], failed)
    model = model_path(Path(run), mode)
    options = {"output": output, "model": model, "overwrite": overwrite, "aoi": area}
    made = _map_all(mapper, paths, failed, folder, **options)
    _report(made, failed, len(paths), folder)
    for path in paths:
        forget(name_files(folder, path, output).map)
    return made
