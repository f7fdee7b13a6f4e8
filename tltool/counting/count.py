"""`tltool count`: points and counts of images, with intervals, files and a summary."""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tltool.annotations import PointSource
from tltool.counting.images import Images, find_areas
from tltool.counting.maps import (
    choose_parameters,
    classes_of,
    countable_sidecar,
    default_radius,
    maps_for,
)
from tltool.counting.survey import ImageCount, Survey, check_interval, count_labels, why_unknown
from tltool.counting.truth import labels_with, read_truth, warn_of_blank, warn_of_far
from tltool.counting.writing import check_survey_files, write_survey
from tltool.errors import CountError, DataError, ImageError, UsageError
from tltool.inference.network import Openable
from tltool.points.scoring import score_points
from tltool.run.map_options import MapOptions, Output
from tltool.tiling.products import check_outputs

logger = logging.getLogger(__name__)

MAPS_NAME = "maps"


def count(
    network: Openable,
    images: Any,
    out: str | Path | None = None,
    *,
    maps: str | Path | None = None,
    threshold: float | None = None,
    distance: float | None = None,
    aoi: str | Path | None = None,
    ignore: str | Path | None = None,
    truth: PointSource | None = None,
    columns: Sequence[str] | None = None,
    radius: float | None = None,
    level: float = 0.95,
    interval: str = "beta-binomial",
    points_formats: Sequence[str] = (),
    options: MapOptions | None = None,
    overwrite: bool = False,
    **keywords: Any,
) -> Survey:
    """Count what a network finds on images.

    Parameters
    ----------
    network : str, Path, keras.Model or Network
        A run folder, the path of an FCN with its sidecar, a model, or what
        `tltool.open` gives.
    images : str, Path, array, PIL image or an iterable of these
        Files, folders or patterns; arrays (height, width, bands), the only one
        of which is called ``image``, several ``image_0``, ``image_1``, ...
    out : str or Path, optional
        Folder for ``points.geojson`` (in the images' CRS, pixel coordinates as
        properties), ``points.csv`` (``image,x,y,label,score``), ``counts.csv``
        (a row an image and class), ``counts.json`` (all of it, with the method
        of the intervals and what it assumes), ``<stem>.points.png``,
        ``summary.html``, with `truth` ``scores.json``, ``maps/``, and
        ``images/`` of those that were in memory. None: nothing is written.
    maps : str or Path, optional
        A folder of maps that `tltool.heatmap` made of these images with this
        network, to use in place of new ones.
    threshold, distance : float, optional
        In place of the tuned ones: least score, 0..1, and least distance of
        two points in px. Intervals are unknown then. Not tuned: 0.5, and half
        the patch's side.
    aoi, ignore : str or Path, optional
        GeoJSON of the areas to count in and to leave out (see
        `tltool.raster.load_area`), of detections and truth alike. Maps are
        made of whole images, so that an animal beside the area is none in it.
    truth : str, Path, sequence of Point, mapping of columns or DataFrame, optional
        Annotated points to score against, see `tltool.annotations.read_points`.
    columns : sequence of str, optional
        Columns of `truth`, see `read_points`.
    radius : float, optional
        Within which a detection can stand for a true point, px of the image.
        Default: that of the tuning, else the patch's side, at least a cell.
    level : float
        Probability that an interval holds the true number.
    interval : 'beta-binomial' or 'bootstrap'
        Method of the intervals: `tltool.points.intervals` or
        `tltool.points.block_bootstrap`, which say what it assumes.
    points_formats : sequence of str
        Beside CSV and GeoJSON: ``gpkg``, ``coco``.
    options : MapOptions, optional
        How maps are made. With `resample` distances are in px of the resampled
        image, points in those of the image.
    overwrite : bool
        Replace earlier counts and maps.
    **keywords
        Single options of `MapOptions`, over these.

    Returns
    -------
    Survey

    Raises
    ------
    CountError
        Some of several images could not be counted; the others are.
    ImageError
        The only image cannot be read.
    DataError
        Truth that does not fit the images or the network, an area that cannot
        be read or misses all images, maps that do not fit.
    ModelError
        Maps of another model; a network that cannot count.
    OutputError, UsageError

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
    >>> network = tltool.open(model, classes=["rock", "seal"], background="rock")
    >>> survey = tltool.count(network, image)
    >>> [count.label for count in survey.totals]
    ['seal']
    """
    options = MapOptions.of(options, **keywords)
    check_interval(interval, level)
    if radius is not None and truth is None:
        raise UsageError("`radius`: expected `truth` beside it, whose points it matches")
    if radius is not None and not 0 < radius < float("inf"):
        raise UsageError(f"`radius`: expected px above 0, received {radius:g}")
    if options.aoi is not None:
        aoi, options = aoi or options.aoi, replace(options, aoi=None)
    sidecar = countable_sidecar(network)
    classes, choice = classes_of(sidecar), choose_parameters(network, sidecar, threshold, distance)
    radius = radius or choice.parameters.matching_radius or default_radius(sidecar)
    given = Images(images, sidecar, options)
    folder = None if out is None else Path(out)
    if folder is not None:
        check_outputs(folder / MAPS_NAME, given.paths, True, Output())
        inputs = [truth if isinstance(truth, str | Path) else None, aoi, ignore]
        check_survey_files(folder, points_formats, overwrite, inputs)
        given.save(folder / "images", overwrite)
    areas = find_areas(given, aoi, ignore)
    known = {} if truth is None else read_truth(truth, given, classes, columns)
    with tempfile.TemporaryDirectory(prefix="tltool-count-") as scratch:
        place = Path(scratch) if folder is None else folder / MAPS_NAME
        ready = maps_for(network, given, place, maps, options, overwrite)
        counted, failed = list[ImageCount](), ready.failed
        for image_map in ready.maps:
            own = choice.for_map(image_map)
            if own.doubt and not choice.doubt:
                logger.warning("%s: %s", image_map.image, own.doubt)
                choice = own
            try:
                found = image_map.in_image(image_map.detect(own.parameters))
            except (DataError, ImageError) as error:
                failed[image_map.image] = error
                continue
            coverage, true = areas[image_map.image], known.get(image_map.image)
            inside = coverage.covers(found.x, found.y)
            points = found.take(inside)
            counts = count_labels(points.labels, classes, own.parameters, level, interval)
            by_label, outside = {each.label: each for each in counts}, int((~inside).sum())
            one = ImageCount(image_map, points, by_label, coverage, outside)
            if truth is not None:
                true = None if true is None else true.within(coverage)
                one = replace(one, truth=true, radius=radius)
            counted.append(one)
    if not counted:
        raise next(iter(failed.values()))
    labels = np.concatenate([each.detections.labels for each in counted])
    totals = count_labels(labels, classes, choice.parameters, level, interval)
    score = None
    if truth is not None:
        warn_of_blank(known, truth)
        scenes = [each.scene for each in counted]
        score = score_points(scenes, radius, labels_with(classes, known.values()))
        if aoi is None:
            warn_of_far(scenes, radius, truth)
    doubts = {
        each.label: choice.doubt or why_unknown(each.label, choice.parameters, interval)
        for each in totals
        if each.interval is None
    }
    name = str(network if isinstance(network, str | Path) else network.name)
    survey = Survey(folder, name, classes, counted, totals, choice, level, interval, doubts)
    survey = replace(survey, score=score, failed=failed, left_out=given.left_out)
    if folder is not None:
        survey = replace(survey, files=write_survey(survey, folder, points_formats))
    if not any(len(each.detections) for each in counted):
        logger.warning(
            "no point reaches the threshold in any image: is the run the one for these images? A"
            " lower `threshold` shows what it doubts"
        )
    if failed:
        reasons = "; ".join(str(error) for error in failed.values())
        kept = "" if folder is None else f". The counts of the others are in {folder}"
        raise CountError(
            f"{len(failed)} of {len(given.paths)} images could not be counted: {reasons}{kept}",
            survey,
            failed,
        )
    return survey


def count_image(network: Openable, image: Any, **options: Any) -> ImageCount:
    """Count what a network finds on one image; nothing is written.

    Parameters
    ----------
    network : str, Path, keras.Model or Network
    image : str, Path, array (height, width, bands) or PIL image
    **options
        Options of `count`.

    Returns
    -------
    ImageCount
        Points, and counts with their intervals. Not tuned: threshold 0.5,
        and no interval.

    Raises
    ------
    TltoolError
        See `count`.
    """
    return count(network, [image], **options).images[0]
