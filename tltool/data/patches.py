"""From annotated points on large images to labelled patches with context."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tltool.annotations import Point, points_by_image, read_points
from tltool.annotations.files import check_is_file
from tltool.data.coverage import Coverage, none_inside
from tltool.data.known_splits import blocks_as_facts
from tltool.data.patch_folder import MANIFEST_COLUMNS, MANIFEST_NAME, PatchSet, PatchWriter
from tltool.data.planning import AnnotatedImage, CutSettings, draw_backgrounds, plan_image
from tltool.data.splits import SPLITS, Fractions, split_by_group
from tltool.errors import DataError, OutputError, UsageError
from tltool.files import atomic_path, refuse_existing
from tltool.progress import Bar, progress_bar
from tltool.raster import Raster, find_images
from tltool.run.sidecar import load_sidecar

__all__ = [
    "MANIFEST_COLUMNS",
    "MANIFEST_NAME",
    "SPLIT_BY",
    "PatchSet",
    "PatchWriter",
    "draw_backgrounds",
    "patches",
]

logger = logging.getLogger("tltool")

SPLIT_BY = ("auto", "image", "block")


def check_inside(raster: Raster, points: Sequence[Point]) -> None:
    """Raise a `DataError` that names the first point outside its image."""
    for point in points:
        if not (0 <= point.x < raster.width and 0 <= point.y < raster.height):
            raise DataError(
                f"{point.where}: point ({point.x:.10g}, {point.y:.10g}) lies outside"
                f" {raster.path.name}, which is {raster.width} x {raster.height} px"
            )


def _check_known(points: Sequence[Point], classes: Sequence[str]) -> None:
    unknown = next((p for p in points if p.label not in classes), None)
    if unknown is not None:
        raise DataError(
            f"{unknown.where}: label {unknown.label!r} is unknown to the run."
            f" Known: {', '.join(classes)}"
        )


def _check_large_enough(raster: Raster, size: int) -> None:
    if min(raster.width, raster.height) < size:
        raise DataError(
            f"{raster.path.name} is {raster.width} x {raster.height} px, smaller than a patch of"
            f" {size} px. Choose a smaller --size"
        )


def _select(
    by_image: dict[Path, list[Point]], source: Path, settings: CutSettings, result: PatchSet
) -> list[AnnotatedImage]:
    """The images that have points inside the area, after a check of all points."""
    selected, missed = [], []
    for path, points in by_image.items():
        with Raster(path) as raster:
            check_inside(raster, points)
            _check_large_enough(raster, settings.size)
            coverage = Coverage.load(raster, settings.aoi, settings.ignore, may_miss=True)
        xs, ys = np.array([(point.x, point.y) for point in points]).T
        covered = coverage.covers(xs, ys)
        if coverage.nothing:
            missed.append(path)
        if covered.any():
            own = [point for point, taken in zip(points, covered, strict=True) if taken]
            selected.append(AnnotatedImage(path, own, points))
        result.outside += int((~covered).sum())
    if not selected:
        raise _nothing_inside(missed, source, settings)
    for path in missed:
        logger.warning("%s: %s has no part of it and is left out", settings.aoi, path.name)
    return selected


def _nothing_inside(missed: Sequence[Path], source: Path, settings: CutSettings) -> DataError:
    if settings.aoi is not None and missed:
        try:
            with Raster(missed[0]) as raster:
                Coverage.load(raster, settings.aoi)
        except DataError as error:
            # It says where both lie.
            return error
    return none_inside(settings.aoi or settings.ignore or source, source)


def _cut_images(
    images: Sequence[AnnotatedImage],
    settings: CutSettings,
    by_image: bool,
    seed: int,
    partial: Path,
    result: PatchSet,
    bar: Bar,
) -> None:
    groups = split_by_group([len(image.points) for image in images], settings.shares, seed)
    rng = np.random.default_rng(seed)
    writer = PatchWriter(partial, settings.facts, result)
    gsds: set[float | None] = set()
    for image, group in zip(images, groups.tolist(), strict=True):
        with Raster(image.path) as raster:
            gsds.add(raster.gsd)
            planned, blocks = plan_image(raster, image, group if by_image else None, settings, rng)
            if blocks is not None:
                writer.divided(raster, blocks_as_facts(blocks))
            for point, split in planned:
                bar.advance()
                if split < 0:
                    result.dropped += 1
                else:
                    writer.write(raster, point, SPLITS[split])
    writer.finish(gsds.pop() if len(gsds) == 1 else None)


def check_target(out: Path, overwrite: bool) -> None:
    """Raise `OutputError` where patches may not be written into `out`."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    refuse_existing(out, overwrite)
    if not (out / MANIFEST_NAME).exists():
        raise OutputError(
            f"{out} was not written by tltool patches (it has no {MANIFEST_NAME})"
            " and is not replaced. Name another output folder"
        )


def _split_plan(split_by: str, images: int, shares: Fractions) -> str:
    if split_by not in SPLIT_BY:
        raise UsageError(f"split_by: expected one of {', '.join(SPLIT_BY)}; received {split_by}")
    if min(shares) < 0 or shares[0] <= 0 or not abs(sum(shares) - 1) <= 1e-6:
        raise UsageError(
            f"split: expected three shares that add up to 1, the first above 0; received {shares}"
        )
    needed = sum(share > 0 for share in shares)
    if split_by == "auto":
        return "image" if images >= needed else "block"
    if split_by == "image" and images < needed:
        raise UsageError(
            f"--split-by image: expected {needed} annotated images or more, received {images}."
            " Use --split-by block"
        )
    return split_by


def patches(
    images: Sequence[str | Path],
    points: str | Path,
    out: str | Path,
    *,
    size: int | None = None,
    context: int | None = None,
    columns: Sequence[str] | None = None,
    background: str = "backgrounds",
    backgrounds: float = 1.0,
    distance: float | None = None,
    split: Fractions = (0.6, 0.2, 0.2),
    split_by: str = "auto",
    aoi: str | Path | None = None,
    ignore: str | Path | None = None,
    run: str | Path | None = None,
    seed: int = 1,
    overwrite: bool = False,
) -> PatchSet:
    """Cut labelled patches around points, and backgrounds away from them.

    Parameters
    ----------
    images : sequence of str or Path
        Image files, or folders of them.
    points : str or Path
        CSV, COCO, GeoJSON or GeoPackage, see `tltool.annotations.read_points`.
    out : str or Path
        Folder to write: ``<split>/<class>/*.png`` (``*.tif`` with all bands of
        images that have other than grey or RGB of 8 bits), ``manifest.csv``
        and ``patches.json``.
    size : int, optional
        Side of the patch, px; 96 where neither it nor `run` is given.
    context : int, optional
        Margin of real image around the patch, px; a file's side is
        ``size + 2 * context``. Default 0, or as `run` says.
    columns : sequence of str, optional
        Of a table the columns of image, x, y and label; of a map the property
        of the class, or those of image and class. Default: found by name.
    background : str
        Class name of the drawn patches; points labelled so are used too.
    backgrounds : float
        Drawn backgrounds for each point.
    distance : float, optional
        Least distance of a background's centre from every point along the
        farther axis, px. Default: `size`.
    split : three floats
        Shares of train, valid and test.
    split_by : 'auto', 'image' or 'block'
        By whole image, or by blocks of each image with a gap between them;
        'auto' takes images where there are enough.
    aoi : str or Path, optional
        GeoJSON of the areas that are annotated (see `tltool.raster.load_area`):
        only points inside are used, and a background's patch lies inside with
        its corners and its middle, while its context may reach outside. Blocks
        divide the area's extent.
    ignore : str or Path, optional
        GeoJSON of areas in which no point is used, and that no background's
        patch touches.
    run : str or Path, optional
        A run folder: its size, context and classes are used, and a label it
        does not know is an error.
    seed : int
        Of the split and the backgrounds.
    overwrite : bool
        Replace a folder that this function wrote before.

    Returns
    -------
    PatchSet

    Raises
    ------
    DataError, ImageError, OutputError, UsageError
    """
    out, source = Path(out), Path(points)
    check_target(out, overwrite)
    check_is_file(source)
    found = find_images(images)
    all_points = read_points(source, columns, found)
    if run is not None:
        sidecar = load_sidecar(Path(run) / "model.keras")
        size, context = size or sidecar.patch, sidecar.context if context is None else context
        background = sidecar.background or background
        _check_known(all_points, sidecar.classes)
    size, context = size or 96, context or 0
    away = size if distance is None else distance
    areas = [None if area is None else Path(area) for area in (aoi, ignore)]
    settings = CutSettings(size, context, background, backgrounds, away, split, *areas)
    result = PatchSet(out)
    selected = _select(points_by_image(found, all_points, source), source, settings, result)
    result.split_by = _split_plan(split_by, len(selected), split)
    total = sum(len(image.points) for image in selected) * (1 + backgrounds)
    with atomic_path(out) as partial, progress_bar("patches", total, "patches") as bar:
        partial.mkdir()
        _cut_images(selected, settings, result.split_by == "image", seed, partial, result, bar)
    return result
