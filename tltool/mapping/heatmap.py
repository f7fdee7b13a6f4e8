"""`tltool heatmap`: maps of many images in one call."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tltool.errors import DataError, ImageError, MapsError, OutputError, TltoolError, UsageError
from tltool.files import images_of
from tltool.inference.image_opening import ImageSource, check_size, warn_of_distance
from tltool.inference.network import LoadedNetwork, Openable, open_network
from tltool.mapping.image_map import HeatMap, write_map
from tltool.mapping.mapper import load_mapper, network_file, open_as
from tltool.raster import load_area
from tltool.raster.geojson import read_polygons
from tltool.run.folder import MODEL_NAME
from tltool.run.map_options import MapOptions, Output, split_options
from tltool.run.sidecar import Sidecar, load_sidecar, sidecar_path
from tltool.tiling.products import check_outputs, choose_product, name_files
from tltool.tiling.unfinished import forget

logger = logging.getLogger(__name__)

Failed = dict[Path, TltoolError]


def known_sidecar(
    network: str | Path | LoadedNetwork, options: MapOptions | None = None
) -> Sidecar | None:
    """The network's sidecar, or that of the classifier to be converted; None: there is none."""
    if isinstance(network, LoadedNetwork):
        return network.sidecar
    run = Path(network)
    paths = (network_file(run, options or MapOptions()), run / MODEL_NAME)
    return next((load_sidecar(path) for path in paths if sidecar_path(path).exists()), None)


def named_images(images: ImageSource | Iterable[ImageSource]) -> dict[Path, ImageSource]:
    """Images by what their maps are called: a file by its path, one in memory by its index.

    Parameters
    ----------
    images : path, array, PIL image, raster, or iterable of these
        Paths may be folders and patterns. An array of four axes is a batch of
        images.

    Raises
    ------
    ImageError
        A path does not exist, or a folder or pattern holds no image.
    UsageError
        No image at all.
    """
    single = isinstance(images, str | Path) or not isinstance(images, Iterable)
    if single or getattr(images, "ndim", 4) < 4:
        images = [images]  # type: ignore[list-item]
    sources: list[Any] = list(images)  # type: ignore[arg-type]
    paths = [source for source in sources if isinstance(source, str | Path)]
    found: dict[Path, ImageSource] = {path: path for path in images_of(paths)}
    for index, source in enumerate(sources):
        if not isinstance(source, str | Path):
            known = getattr(source, "filename", None) or getattr(source, "path", None)
            name = "image" if len(sources) == 1 else f"image-{index}"
            found[Path(known or name)] = source
    if not found:
        raise UsageError("`images`: expected at least one image, received none")
    return found


def heatmap(
    network: Openable,
    images: ImageSource | Iterable[ImageSource],
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
    network : str, Path, keras.Model or LoadedNetwork
        A run folder (its classifier is converted where there is no FCN yet),
        or the path of an FCN, or with ``mode="patches"`` of a classifier, with
        its sidecar; or a classifier in memory.
    images : path, array, PIL image, or iterable of these
        Image files, folders of them, or patterns such as ``survey/*.tif``:
        JPEG, PNG, TIFF, GeoTIFF of any size; arrays (height, width, bands) as
        `tltool.map_image` takes them, which are called ``image-0``,
        ``image-1``, ... by their index, or ``image``.
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
        An option that cannot be meant or is not known; an array that is no
        image.
    ConversionError, ModelError, OutputError

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> import tltool
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((16, 16, 3)),
    ...         keras.layers.Conv2D(4, 3, activation="relu"),
    ...         keras.layers.GlobalAveragePooling2D(),
    ...         keras.layers.Dense(2, activation="softmax"),
    ...     ]
    ... )
    >>> image = np.full((48, 64, 3), 90, "uint8")
    >>> made = tltool.heatmap(model, image, "maps")
    >>> made[0].map_path.name
    'image.heatmap.tif'
    """
    options, output = split_options(keywords, options, output)
    sources, folder = named_images(images), Path(out)
    check_outputs(folder, list(sources), overwrite, output)
    if options.aoi is not None:
        read_polygons(options.aoi)
    if not isinstance(network, str | Path):
        network = open_network(network)
    failed: Failed = {}
    # Before a conversion that may take long.
    sidecar = known_sidecar(network, options)
    for key, image in sources.items():
        if sidecar is None:
            break
        # Percentiles would read pixels, and any numbers open an image as well.
        unread = replace(options, scale=(0.0, 1.0)) if options.scale == "percentiles" else options
        try:
            with open_as(image, sidecar, unread, key.name) as raster:
                check_size(raster, sidecar)
                warn_of_distance(raster, sidecar)
                if options.aoi is not None:
                    load_area(options.aoi, raster)
        except (DataError, ImageError) as error:
            failed[key] = error
    made: list[HeatMap] = []
    if len(failed) < len(sources):
        mapper = load_mapper(network, options)
        choose_product(mapper.sidecar, output.dtype, output.classes, output.argmax)
        # On the first image that can be read.
        for key in (key for key in sources if key not in failed):
            try:
                with mapper.open(sources[key], key.name) as raster:
                    mapper = mapper.measured(raster)
                break
            except ImageError as error:
                failed[key] = error
        for key in (key for key in sources if key not in failed):
            try:
                how: dict[str, Any] = {"model": mapper.file, "overwrite": overwrite}
                made.append(write_map(mapper, sources[key], folder, output, name=key.name, **how))
            except (OutputError, UsageError):
                # The others would meet the same.
                raise
            except TltoolError as error:
                failed[key] = error
                if len(sources) > 1:
                    logger.warning("%s is left out: %s", key, error)
    if failed and len(sources) == 1:
        raise next(iter(failed.values()))
    if failed:
        reasons = "; ".join(str(error) for error in failed.values())
        rest = f". The maps of the others are in {folder}" if made else ""
        message = f"{len(failed)} of {len(sources)} images could not be mapped: {reasons}{rest}"
        raise MapsError(message, made, failed)
    for key in sources:
        forget(name_files(folder, key, output).map)
    return made
