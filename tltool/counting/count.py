"""`tltool count`: points and counts of images, with intervals, files and a summary."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tltool.counting.areas import Areas, find_areas
from tltool.counting.estimates import Count, check_interval, count_labels, why_unknown
from tltool.counting.maps import ImageMap, Maps, classes_of, countable_sidecar, maps_for
from tltool.counting.parameters import Choice, choose_parameters, default_radius
from tltool.counting.survey import ImageCount, Survey, labels_of
from tltool.counting.truth import ImageTruth, labels_with, read_truth, warn_of_blank
from tltool.counting.unannotated import warn_of_far
from tltool.counting.writing import check_survey_files, write_survey
from tltool.errors import CountError, DataError, ImageError, TltoolError, UsageError
from tltool.files import images_of
from tltool.points.scoring import score_points
from tltool.run.detection_parameters import DetectionParameters
from tltool.run.map_options import MapOptions, Output
from tltool.run.sidecar import Sidecar
from tltool.tiling.products import check_outputs

logger = logging.getLogger("tltool")

MAPS_NAME = "maps"


@dataclass(frozen=True)
class _Counter:
    """Counts points of images.

    Attributes
    ----------
    classes : tuple of str
    level, interval
        As of `count`.
    areas : Areas
    truth : dict of Path to ImageTruth
    """

    classes: tuple[str, ...]
    level: float
    interval: str
    areas: Areas
    truth: dict[Path, ImageTruth]

    def bound(self, labels: np.ndarray, parameters: DetectionParameters) -> list[Count]:
        """Counts with their intervals."""
        return count_labels(labels, self.classes, parameters, self.level, self.interval)

    def count(self, image_map: ImageMap, choice: Choice) -> ImageCount:
        """The points of an image."""
        parameters, coverage = choice.parameters, self.areas.covered[image_map.image]
        found = image_map.in_image(image_map.detect(parameters))
        inside = coverage.covers(found.x, found.y)
        points, truth = found.take(inside), self.truth.get(image_map.image)
        counts = self.bound(points.labels, parameters)
        known = None if truth is None else truth.within(coverage)
        return ImageCount(image_map, points, counts, coverage, int((~inside).sum()), known)

    def count_all(self, maps: Maps, choice: Choice) -> tuple[list[ImageCount], Choice]:
        """The images' counts, and the choice that holds for all of them; failures go to `maps`."""
        counted, together = [], choice
        for image_map in maps.maps:
            own = choice.for_map(image_map)
            if own.doubt and not choice.doubt:
                logger.warning("%s: %s", image_map.path, own.doubt)
                together = own
            try:
                counted.append(self.count(image_map, own))
            except (DataError, ImageError) as error:
                maps.failed[image_map.image] = error
        if not counted:
            raise next(iter(maps.failed.values()))
        return counted, together


def count(
    run: str | Path,
    images: Sequence[str | Path],
    out: str | Path,
    *,
    maps: str | Path | None = None,
    threshold: float | None = None,
    distance: float | None = None,
    aoi: str | Path | None = None,
    ignore: str | Path | None = None,
    truth: str | Path | None = None,
    columns: Sequence[str] | None = None,
    radius: float | None = None,
    level: float = 0.95,
    interval: str = "beta-binomial",
    points_formats: Sequence[str] = (),
    options: MapOptions | None = None,
    overwrite: bool = False,
    **keywords: Any,
) -> Survey:
    """Count what a run's network finds on images.

    Parameters
    ----------
    run : str or Path
        A run folder, or the path of an FCN with its sidecar.
    images : sequence of str or Path
        Files, folders or patterns, as of `tltool.heatmap`.
    out : str or Path
        Folder for ``points.geojson`` (in the images' CRS, pixel coordinates as
        properties), ``points.csv`` (``image,x,y,label,score``), ``counts.csv``
        (a row an image and class), ``counts.json`` (all of it, with the method
        of the intervals and what it assumes), ``<stem>.points.png``,
        ``summary.html``, with `truth` ``scores.json``, and ``maps/``.
    maps : str or Path, optional
        A folder of maps that `tltool.heatmap` made of these images with this
        run, to use in place of new ones.
    threshold, distance : float, optional
        In place of the tuned ones: least score, 0..1, and least distance of
        two points in px. Intervals are unknown then.
    aoi, ignore : str or Path, optional
        GeoJSON of the areas to count in and to leave out (see
        `tltool.raster.load_area`), of detections and truth alike. Maps are
        made of whole images, so that an animal beside the area is none in it.
    truth : str or Path, optional
        Annotated points to score against, in any format of
        `tltool.annotations.read_points`.
    columns : sequence of str, optional
        Of `truth`, as of `read_points`.
    radius : float, optional
        Within which a detection can stand for a true point, px of the image.
        Default: that of the tuning, else the patch's side.
    level : float
        Of the intervals.
    interval : 'beta-binomial' or 'bootstrap'
        Their method: `tltool.points.intervals` or
        `tltool.points.block_bootstrap`, where assumptions are told.
    points_formats : sequence of str
        Beside CSV and GeoJSON: ``gpkg``, ``coco``.
    options : MapOptions, optional
        How maps are made. With `resample` distances are in px of the resampled
        image, points in those of the image.
    **keywords
        Single options of `MapOptions`, over these.
    overwrite : bool
        Replace earlier counts and maps.

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
        Truth that does not fit the images or the run, an area that cannot be
        read or misses all images, maps that do not fit.
    ModelError
        Maps of another model; a run that cannot count.
    OutputError, UsageError
    """
    options = MapOptions.of(options, **keywords)
    check_interval(interval, level)
    folder, paths = Path(out), images_of(images)
    sidecar = countable_sidecar(run)
    choice = choose_parameters(run, sidecar, threshold, distance)
    radius = _radius(radius, truth, choice, sidecar)
    check_outputs(folder / MAPS_NAME, paths, True, Output())
    check_survey_files(folder, points_formats, overwrite, [truth, aoi, ignore])
    areas = find_areas(paths, aoi, ignore)
    wanted = [path for path in paths if path in areas]
    classes = classes_of(sidecar)
    known = _known(truth, wanted, classes, sidecar, columns)
    ready = maps_for(run, wanted, folder / MAPS_NAME, maps, overwrite, options)
    counter = _Counter(classes, level, interval, areas, known)
    counted, choice = counter.count_all(ready, choice)
    totals = counter.bound(labels_of(counted), choice.parameters)
    survey = Survey(
        folder=folder,
        run=Path(run),
        classes=classes,
        images=counted,
        totals=totals,
        choice=choice,
        level=level,
        interval=interval,
        doubts=_doubts(totals, choice, interval),
        failed=ready.failed,
        left_out=areas.left_out,
    )
    if truth is not None:
        warn_of_blank(known, truth)
        names = labels_with(classes, known.values())
        scenes = [each.scene for each in counted]
        survey = replace(survey, score=score_points(scenes, radius, names))
        if aoi is None:
            warn_of_far(scenes, radius, truth)
    survey = replace(survey, files=write_survey(survey, points_formats))
    _report(survey, len(wanted))
    return survey


def _radius(
    radius: float | None, truth: str | Path | None, choice: Choice, sidecar: Sidecar
) -> float:
    if radius is not None and truth is None:
        raise UsageError("--radius: expected --truth beside it, whose points it matches")
    if radius is not None and not 0 < radius < float("inf"):
        raise UsageError(f"--radius: expected px above 0, received {radius:g}")
    return radius or choice.parameters.matching_radius or default_radius(sidecar)


def _known(
    truth: str | Path | None,
    images: Sequence[Path],
    classes: Sequence[str],
    sidecar: Sidecar,
    columns: Sequence[str] | None,
) -> dict[Path, ImageTruth]:
    if truth is None:
        return {}
    return read_truth(truth, images, classes, sidecar.background, columns)


def _doubts(totals: Sequence[Count], choice: Choice, interval: str) -> dict[str, str]:
    return {
        count.label: choice.doubt or why_unknown(count.label, choice.parameters, interval)
        for count in totals
        if count.interval is None
    }


def _report(survey: Survey, asked: int) -> None:
    if not any(len(each.points) for each in survey.images):
        logger.warning(
            "no point reaches the threshold in any image: is the run the one for these images? A"
            " lower --threshold shows what it doubts"
        )
    if not survey.failed:
        return
    failed: dict[Path, TltoolError] = survey.failed
    reasons = "; ".join(str(error) for error in failed.values())
    message = (
        f"{len(failed)} of {asked} images could not be counted: {reasons}. The counts of the others"
        f" are in {survey.folder}"
    )
    raise CountError(message, survey, failed)
