"""The files of a survey: points, counts and scores."""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tltool.annotations import WRITERS, write_points
from tltool.counting.picture import write_picture
from tltool.counting.summary import SUMMARY_NAME, render_summary, thumbnail_side
from tltool.counting.survey import METHODS, Count, ImageCount, Survey
from tltool.errors import UsageError
from tltool.files import atomic_path, refuse_existing, write_text
from tltool.raster import Raster

COUNTS_COLUMNS = ("image", "label", "detections", "estimate", "lower", "upper")
UNKNOWN = "unknown"

POINTS_NAME, COUNTS_NAME = "points", "counts.csv"
JSON_NAME, SCORES_NAME = "counts.json", "scores.json"

_NAMES = (COUNTS_NAME, SCORES_NAME, JSON_NAME, SUMMARY_NAME)

# Beside CSV and GeoJSON.
MORE_FORMATS = tuple(name for name in WRITERS if name not in ("csv", "geojson"))
_SUFFIXES = {"csv": ".csv", "geojson": ".geojson", "gpkg": ".gpkg", "coco": ".coco.json"}


def _points_path(folder: Path, format: str) -> Path:
    return folder / f"{POINTS_NAME}{_SUFFIXES[format]}"


def check_survey_files(
    folder: Path, formats: Sequence[str], overwrite: bool, inputs: Sequence[str | Path | None]
) -> None:
    """Raise where a file of a survey exists already, is one of the inputs, or has no format.

    Raises
    ------
    UsageError, OutputError
    """
    unknown = [name for name in formats if name not in MORE_FORMATS]
    if unknown:
        raise UsageError(
            f"`points_formats`: expected {' or '.join(MORE_FORMATS)} beside csv and geojson, which"
            f" are always written; received {', '.join(unknown)}"
        )
    points = [_points_path(folder, name) for name in ("csv", "geojson", *formats)]
    given = {Path(path).resolve() for path in inputs if path is not None}
    for path in [*points, *(folder / name for name in _NAMES)]:
        if path.resolve() in given:
            raise UsageError(
                f"{path}: expected another output folder than that of what is read. Choose another"
                " `out`"
            )
        refuse_existing(path, overwrite)


def write_points_files(survey: Survey, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write all points in each format.

    A map holds one CRS, or none: images without one have their points in files
    of their own then.
    """
    placed, others = list[ImageCount](), list[ImageCount]()
    for each in survey.images:
        with Raster(each.image, scale=(0, 1)) as raster:
            (others if raster.world_crs is None else placed).append(each)
    groups = {"": placed or others, "-without-crs": others if placed else []}
    written = [_points_path(folder, "csv")]
    write_points(written[0], survey.points, overwrite=True)
    for format in ("geojson", *formats):
        for name, images in groups.items():
            if not images:
                continue
            path = _points_path(folder, format)
            path = path.with_name(path.name.replace(POINTS_NAME, POINTS_NAME + name, 1))
            points = [point for each in images for point in each.as_points()]
            rasters = [each.image for each in images]
            write_points(path, points, rasters, format=format, overwrite=True)
            written.append(path)
    return written


def bounds_of(count: Count) -> tuple[Any, Any, Any]:
    """Estimate, lower and upper end of a count; None where they are unknown."""
    found = count.interval
    return (None,) * 3 if found is None else (round(found.estimate, 2), found.lower, found.upper)


def _count_facts(counts: Iterable[Count]) -> dict[str, Any]:
    numbers = {count.label: (count.detections, *bounds_of(count)) for count in counts}
    return {label: dict(zip(COUNTS_COLUMNS[2:], n, strict=True)) for label, n in numbers.items()}


def survey_facts(survey: Survey) -> dict[str, Any]:
    """Facts of a survey for its JSON; null where a number is unknown."""
    choice = survey.choice
    return {
        "format": 1,
        "run": survey.run,
        "classes": list(survey.classes),
        "parameters": choice.parameters.model_dump(mode="json"),
        "parameters_are": choice.origin,
        "level": survey.level,
        "interval": survey.interval,
        "method": METHODS[survey.interval],
        "unknown": survey.doubts,
        "totals": _count_facts(survey.totals),
        "images_without": {c.label: survey.without(c.label) for c in survey.totals},
        "images": [
            {
                "image": str(each.image),
                "map": str(each.map.path),
                "width": each.map.size[0],
                "height": each.map.size[1],
                "gsd": each.map.gsd,
                "left_out_by_area": each.outside,
                "counts": _count_facts(each.counts.values()),
            }
            for each in survey.images
        ],
        "left_out": [str(path) for path in survey.left_out],
        "failed": {str(path): str(error) for path, error in survey.failed.items()},
    }


def write_survey(survey: Survey, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write all files of a survey, ``counts.json`` last.

    Returns
    -------
    list of Path
    """

    def write_json(name: str, facts: dict[str, Any]) -> None:
        write_text(folder / name, json.dumps(facts, indent=2, allow_nan=False) + "\n")
        written.append(folder / name)

    side = thumbnail_side(len(survey.images))
    pictures = [write_picture(each, folder, side) for each in survey.images]
    written = write_points_files(survey, folder, formats)
    with (
        atomic_path(folder / COUNTS_NAME) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COUNTS_COLUMNS)
        for each in survey.images:
            for count in each.counts.values():
                bounds = (UNKNOWN if end is None else end for end in bounds_of(count))
                writer.writerow((each.image.name, count.label, count.detections, *bounds))
    write_text(folder / SUMMARY_NAME, render_summary(survey, pictures))
    written += [folder / COUNTS_NAME, folder / SUMMARY_NAME]
    if survey.score is not None:
        write_json(SCORES_NAME, asdict(survey.score))
    write_json(JSON_NAME, survey_facts(survey))
    return written
