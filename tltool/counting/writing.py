"""The files of a survey: points, counts and scores."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tltool.annotations import WRITERS, write_points
from tltool.counting.estimates import METHODS, Count
from tltool.counting.picture import write_picture
from tltool.counting.summary import SUMMARY_NAME, thumbnail_side, write_summary
from tltool.counting.survey import ImageCount, Survey
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
    folder: Path,
    formats: Sequence[str],
    overwrite: bool,
    inputs: Sequence[str | Path | None],
) -> None:
    """Raise where a file of a survey exists already, is one of the inputs, or has no format.

    Raises
    ------
    UsageError, OutputError
    """
    unknown = [name for name in formats if name not in MORE_FORMATS]
    if unknown:
        raise UsageError(
            f"--points-format: expected {' or '.join(MORE_FORMATS)} beside csv and geojson, which"
            f" are always written; received {', '.join(unknown)}"
        )
    points = [_points_path(folder, name) for name in ("csv", "geojson", *formats)]
    given = {Path(path).resolve() for path in inputs if path is not None}
    for path in [*points, *(folder / name for name in _NAMES)]:
        if path.resolve() in given:
            raise UsageError(
                f"{path}: expected another output folder than that of what is read. Choose another"
                " -o"
            )
        refuse_existing(path, overwrite)


def write_points_files(survey: Survey, formats: Sequence[str]) -> list[Path]:
    """Write all points in each format.

    A map holds one CRS, or none: images without one have their points in files
    of their own then.
    """
    groups = {"": survey.images, "-without-crs": list[ImageCount]()}
    placed = [_has_crs(each) for each in survey.images]
    if any(placed) and not all(placed):
        pairs = list(zip(survey.images, placed, strict=True))
        groups = {"": [e for e, crs in pairs if crs]}
        groups["-without-crs"] = [e for e, crs in pairs if not crs]
    written = [_points_path(survey.folder, "csv")]
    write_points(written[0], survey.points, overwrite=True)
    for format in ("geojson", *formats):
        for name, images in groups.items():
            if not images:
                continue
            path = _points_path(survey.folder, format)
            path = path.with_name(path.name.replace(POINTS_NAME, POINTS_NAME + name, 1))
            points = [point for each in images for point in each.as_points()]
            rasters = [each.image for each in images]
            write_points(path, points, rasters, format=format, overwrite=True)
            written.append(path)
    return written


def _has_crs(each: ImageCount) -> bool:
    with Raster(each.image, scale=(0, 1)) as raster:
        return raster.world_crs is not None


def bounds_of(count: Count) -> tuple[Any, Any, Any]:
    """Estimate, lower and upper end of a count, or `UNKNOWN`."""
    found = count.interval
    if found is None:
        return (UNKNOWN,) * 3
    return round(found.estimate, 2), found.lower, found.upper


def write_counts(survey: Survey) -> Path:
    """Write a row an image and label."""
    path = survey.folder / COUNTS_NAME
    with atomic_path(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COUNTS_COLUMNS)
        for each in survey.images:
            for count in each.counts:
                writer.writerow((each.image.name, count.label, count.detections, *bounds_of(count)))
    return path


def _count_facts(counts: Sequence[Count]) -> dict[str, Any]:
    keys = ("estimate", "lower", "upper")
    return {
        count.label: {
            "detections": count.detections,
            **dict(zip(keys, bounds_of(count) if count.interval else (None,) * 3, strict=True)),
        }
        for count in counts
    }


def _image_facts(each: ImageCount) -> dict[str, Any]:
    return {
        "image": str(each.image),
        "map": str(each.map.path),
        "width": each.map.size[0],
        "height": each.map.size[1],
        "gsd": each.map.gsd,
        "left_out_by_area": each.outside,
        "counts": _count_facts(each.counts),
    }


def survey_facts(survey: Survey) -> dict[str, Any]:
    """All that is known, as JSON has it; null where a number is unknown."""
    choice = survey.choice
    return {
        "format": 1,
        "run": str(survey.run),
        "classes": list(survey.classes),
        "parameters": choice.parameters.model_dump(mode="json"),
        "parameters_are": choice.origin,
        "level": survey.level,
        "interval": survey.interval,
        "method": METHODS[survey.interval],
        "unknown": survey.doubts,
        "totals": _count_facts(survey.totals),
        "images_without": {c.label: survey.without(c.label) for c in survey.totals},
        "images": [_image_facts(each) for each in survey.images],
        "left_out": [str(path) for path in survey.left_out],
        "failed": {str(path): str(error) for path, error in survey.failed.items()},
    }


def _write_json(path: Path, facts: dict[str, Any]) -> Path:
    write_text(path, json.dumps(facts, indent=2, allow_nan=False) + "\n")
    return path


def write_survey(survey: Survey, formats: Sequence[str]) -> list[Path]:
    """Write all files of a survey, ``counts.json`` last.

    Returns
    -------
    list of Path
    """
    radius = None if survey.score is None else survey.score.radius
    side = thumbnail_side(len(survey.images))
    pictures = [
        write_picture(each, survey.classes, survey.folder, radius, side) for each in survey.images
    ]
    written = [*write_points_files(survey, formats), write_counts(survey)]
    written.append(write_summary(survey, pictures))
    if survey.score is not None:
        written.append(_write_json(survey.folder / SCORES_NAME, asdict(survey.score)))
    written.append(_write_json(survey.folder / JSON_NAME, survey_facts(survey)))
    return written
