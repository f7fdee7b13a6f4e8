"""From annotated points on large images to labelled patches with context."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from tltool.annotations import Point, PointSource, points_by_image, read_points, source_of
from tltool.annotations.files import check_is_file
from tltool.data.blocks import Blocks, cut_into_blocks
from tltool.data.coverage import Coverage, none_inside
from tltool.data.dataset import PatchFacts
from tltool.data.patch_folder import PatchSet, PatchWriter, check_target
from tltool.data.splits import SPLITS, Fractions, split_by_group
from tltool.errors import DataError, UsageError
from tltool.files import atomic_path, find_images
from tltool.progress import progress_bar
from tltool.raster import AnyRaster, Raster
from tltool.run.sidecar import load_sidecar

logger = logging.getLogger(__name__)

SPLIT_BY = ("auto", "image", "block")


@dataclass(frozen=True)
class _Settings:
    """What holds for all images of a call: parameters of `patches`."""

    size: int
    context: int
    background: str
    backgrounds: float
    distance: float
    split: Fractions
    aoi: Path | None
    ignore: Path | None


@dataclass(frozen=True)
class _AnnotatedImage:
    """An image, the points that patches are cut around, and all, which backgrounds avoid."""

    path: Path
    points: list[Point]
    known: list[Point]
    coverage: Coverage


def check_inside(raster: AnyRaster, points: Sequence[Point]) -> None:
    """Raise a `DataError` that names the first point outside its image."""
    for point in points:
        if not (0 <= point.x < raster.width and 0 <= point.y < raster.height):
            raise DataError(
                f"{point.where}: point ({point.x:.10g}, {point.y:.10g}) lies outside"
                f" {raster.name}, which is {raster.width} x {raster.height} px"
            )


def _select(
    by_image: dict[Path, list[Point]], source: Path, settings: _Settings, result: PatchSet
) -> list[_AnnotatedImage]:
    """The images that have points inside the area, after a check of all points."""
    selected, missed = [], []
    for path, points in by_image.items():
        with Raster(path) as raster:
            check_inside(raster, points)
            if min(raster.width, raster.height) < settings.size:
                raise DataError(
                    f"{raster.path.name} is {raster.width} x {raster.height} px, smaller than a"
                    f" patch of {settings.size} px. Choose a smaller `size`"
                )
            coverage = Coverage.load(raster, settings.aoi, settings.ignore, may_miss=True)
        xs, ys = np.array([(point.x, point.y) for point in points]).T
        covered = coverage.covers(xs, ys)
        if coverage.nothing:
            missed.append(path)
        if covered.any():
            own = [point for point, taken in zip(points, covered, strict=True) if taken]
            selected.append(_AnnotatedImage(path, own, points, coverage))
        result.outside += int((~covered).sum())
    if not selected:
        if settings.aoi is not None and missed:
            with Raster(missed[0]) as raster:
                # It says where both lie.
                Coverage.load(raster, settings.aoi)
        raise none_inside(settings.aoi or settings.ignore or source, source)
    for path in missed:
        logger.warning("%s: %s has no part of it and is left out", settings.aoi, path.name)
    return selected


def draw_backgrounds(
    points: np.ndarray,
    size: tuple[int, int],
    number: int,
    distance: float,
    rng: np.random.Generator,
    origin: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Draw positions away from every point.

    Parameters
    ----------
    points : (n, 2) array of x, y, px
    size : (width, height), px
        Sides of the rectangle that they are drawn in.
    number : int
        How many are drawn before those too near are left out.
    distance : float
        Least distance to any point along the farther axis (Chebyshev), px.
    rng : numpy Generator
    origin : (x, y)
        Where the rectangle begins, px.

    Returns
    -------
    (m, 2) int array of x, y with m <= number.
    """
    draws = np.stack([rng.integers(0, side, number) for side in size], axis=1) + origin
    if not len(points):
        return draws
    nearest, _ = cKDTree(points).query(draws, p=np.inf)
    return draws[nearest >= distance]


def _centres(points: Sequence[Point]) -> np.ndarray:
    return np.array([(round(p.x), round(p.y)) for p in points], float).reshape(-1, 2)


def _plan(
    image: _AnnotatedImage, group: int | None, settings: _Settings, rng: np.random.Generator
) -> tuple[list[tuple[Point, int]], Blocks | None]:
    """Choose the patches to cut from one image, backgrounds for each split by its animals.

    Parameters
    ----------
    group : int or None
        The split of the whole image; None: it is divided into blocks.

    Returns
    -------
    list of (Point, int)
        Each with its index into `SPLITS`, -1 in the gap; from top to bottom.
    Blocks or None
        How the image is divided, where it is.
    """
    left, top, right, bottom = image.coverage.extent
    size, origin = (right - left, bottom - top), (left, top)
    centres, blocks = _centres(image.points), None
    if group is None:
        margin = -(-(settings.size + 2 * settings.context) // 2)
        labels = [point.label for point in image.points]
        blocks = cut_into_blocks(centres, labels, size, margin, settings.split, origin=origin)

    def assign(positions: np.ndarray) -> np.ndarray:
        return np.full(len(positions), group) if blocks is None else blocks.assign(positions)

    splits = assign(centres)
    planned = list(zip(image.points, splits.tolist(), strict=True))
    animals = np.array([point.label != settings.background for point in image.points], bool)
    away = _centres([point for point in image.known if point.label != settings.background])
    wanted = [round(settings.backgrounds * int((splits[animals] == s).sum())) for s in range(3)]
    drawn = draw_backgrounds(away, size, 100 * sum(wanted), settings.distance, rng, origin)
    of_drawn = assign(drawn)
    for split, number in enumerate(wanted):
        candidates, chosen = drawn[of_drawn == split], drawn[:0]
        # Some at a time: far more are drawn than are needed.
        for start in range(0, len(candidates), max(1, number)):
            part = candidates[start : start + max(1, number)]
            lefts, tops = (part - settings.size // 2).T
            chosen = np.concatenate(
                [chosen, part[image.coverage.holds(lefts, tops, settings.size)]]
            )
            if len(chosen) >= number:
                break
        if len(chosen) < number:
            logger.warning(
                "%s: only %d of %d backgrounds for %s found a place %g px away from every point%s",
                image.path.name,
                len(chosen),
                number,
                SPLITS[split],
                settings.distance,
                " and inside the area" if settings.aoi or settings.ignore else "",
            )
        planned += [
            (Point(image.path.name, x, y, settings.background, where="drawn"), split)
            for x, y in chosen[:number].astype(float).tolist()
        ]
    # A compressed image is decoded once that way.
    return sorted(planned, key=lambda plan: plan[0].y), blocks


def _split_plan(split_by: str, images: int, split: Fractions) -> str:
    if split_by not in SPLIT_BY:
        raise UsageError(f"`split_by`: expected one of {', '.join(SPLIT_BY)}; received {split_by}")
    if min(split) < 0 or split[0] <= 0 or not abs(sum(split) - 1) <= 1e-6:
        raise UsageError(
            f"`split`: expected three shares that add up to 1, the first above 0; received {split}"
        )
    needed = sum(share > 0 for share in split)
    if split_by == "auto":
        return "image" if images >= needed else "block"
    if split_by == "image" and images < needed:
        raise UsageError(
            f"`split_by='image'`: expected {needed} annotated images or more, received {images}."
            " Use `split_by='block'`"
        )
    return split_by


def patches(
    images: str | Path | Sequence[str | Path],
    points: PointSource,
    out: str | Path,
    *,
    size: int | None = None,
    context: int | None = None,
    columns: Sequence[str] | None = None,
    labels: str | Sequence[str] | None = None,
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
    images : str, Path or sequence of these
        Image files, or folders of them.
    points : str, Path, sequence of Point, mapping, DataFrame or (n, 2) array
        A CSV, COCO, GeoJSON or GeoPackage; or in memory `tltool.Point`s, a
        table with columns image, x, y and label, or an array of x and y, px of
        the one image. See `tltool.annotations.read_points`.
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
        Columns of a table that hold image, x, y and label; property of a map
        that holds the class, or those of image and class. Default: found by
        name.
    labels : str or sequence of str, optional
        Classes of an array's points, or the one class of all.
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
        Seeds the split and the backgrounds.
    overwrite : bool
        Replace a folder that this function wrote before.

    Returns
    -------
    PatchSet

    Raises
    ------
    DataError, ImageError, OutputError, UsageError

    Examples
    --------
    >>> import tltool
    >>> from PIL import Image
    >>> Image.new("RGB", (64, 64)).save("shore.png")
    >>> points = {"x": [12, 30, 50] * 2, "y": [10, 10, 10, 40, 40, 40], "label": ["seal"] * 6}
    >>> cut = tltool.patches("shore.png", points, "data", size=8, backgrounds=0)
    >>> sum(counts["seal"] for counts in cut.counts.values())
    6
    """
    out, source = Path(out), source_of(points)
    check_target(out, overwrite)
    if isinstance(points, str | os.PathLike):
        check_is_file(source)
    found = find_images([images] if isinstance(images, str | os.PathLike) else images)
    all_points = read_points(points, columns, found, labels=labels)
    if run is not None:
        sidecar = load_sidecar(Path(run) / "model.keras")
        size, context = size or sidecar.patch, sidecar.context if context is None else context
        background = sidecar.background or background
        unknown = next((p for p in all_points if p.label not in sidecar.classes), None)
        if unknown is not None:
            raise DataError(
                f"{unknown.where}: label {unknown.label!r} is unknown to the run."
                f" Known: {', '.join(sidecar.classes)}"
            )
    size, context = size or 96, context or 0
    away = size if distance is None else distance
    areas = [None if area is None else Path(area) for area in (aoi, ignore)]
    settings = _Settings(size, context, background, backgrounds, away, split, *areas)
    result = PatchSet(out)
    selected = _select(points_by_image(found, all_points, source), source, settings, result)
    result.split_by = _split_plan(split_by, len(selected), split)
    sizes, groups = [len(image.points) for image in selected], [None] * len(selected)
    if result.split_by == "image":
        groups = split_by_group(sizes, split, seed).tolist()
    total = sum(sizes) * (1 + backgrounds)
    rng, gsds = np.random.default_rng(seed), set()
    with atomic_path(out) as partial, progress_bar("patches", total, "patches") as bar:
        partial.mkdir()
        writer = PatchWriter(partial, PatchFacts(size, context, background), result)
        for image, group in zip(selected, groups, strict=True):
            with Raster(image.path) as raster:
                gsds.add(raster.gsd)
                planned, blocks = _plan(image, group, settings, rng)
                if blocks is not None:
                    writer.divided(raster, blocks.as_rectangles())
                for point, index in planned:
                    bar.advance()
                    if index < 0:
                        result.dropped += 1
                    else:
                        writer.write(raster, point, SPLITS[index])
        writer.finish(gsds.pop() if len(gsds) == 1 else None)
    return result
