"""From annotated points on large images to labelled patches with context."""

import csv
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial import cKDTree

from tltool.data.annotations import COLUMNS, Point, find_images, points_by_image, read_points
from tltool.data.dataset import PatchFacts
from tltool.data.splits import SPLITS, Fractions, cut_into_blocks, split_by_group
from tltool.errors import DataError, ImageError, OutputError, UsageError
from tltool.files import atomic_path, refuse_existing
from tltool.progress import Bar, progress_bar
from tltool.raster import Raster
from tltool.sidecar import load_sidecar

logger = logging.getLogger("tltool")

SPLIT_BY = ("auto", "image", "block")
MANIFEST_NAME = "manifest.csv"
MANIFEST_COLUMNS = ("path", "split", "label", "image", "x", "y", "size", "context", "reflected")


@dataclass
class PatchSet:
    """What `patches` wrote.

    Attributes
    ----------
    folder : Path
    counts : dict of split to dict of class to number of patches
    dropped : int
        Points whose window lies in the gap between two splits.
    reflected : int
        Patches that reach over an image's edge.
    split_by : str
        ``image`` or ``block``.
    """

    folder: Path
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    dropped: int = 0
    reflected: int = 0
    split_by: str = "image"

    def count(self, split: str, label: str, reflected: bool) -> None:
        """Add one patch."""
        of_split = self.counts.setdefault(split, {})
        of_split[label] = of_split.get(label, 0) + 1
        self.reflected += reflected


@dataclass(frozen=True)
class _Settings:
    """What holds for all images of a call."""

    size: int
    context: int
    background: str
    ratio: float
    distance: float
    shares: Fractions
    plan: str

    @property
    def window(self) -> int:
        return self.size + 2 * self.context


def draw_backgrounds(
    points: np.ndarray,
    size: tuple[int, int],
    number: int,
    distance: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw positions away from every point.

    Parameters
    ----------
    points : (n, 2) array of x, y, px
    size : (width, height), px
    number : int
        How many are drawn before those too near are left out.
    distance : float
        Least distance to any point along the farther axis (Chebyshev), px.
    rng : numpy Generator

    Returns
    -------
    (m, 2) int array of x, y with m <= number.
    """
    draws = np.stack([rng.integers(0, side, number) for side in size], axis=1)
    if not len(points):
        return draws
    nearest, _ = cKDTree(points).query(draws, p=np.inf)
    return draws[nearest >= distance]


def _centres(points: Sequence[Point]) -> np.ndarray:
    return np.array([(round(p.x), round(p.y)) for p in points], float).reshape(-1, 2)


def _splitter(
    raster: Raster, points: Sequence[Point], group: int, settings: _Settings
) -> Callable[[np.ndarray], np.ndarray]:
    """What tells the split of window centres on one image, -1 in the gap."""
    if settings.plan == "image":
        return lambda centres: np.full(len(centres), group)
    labels = [point.label for point in points]
    size, margin = (raster.width, raster.height), -(-settings.window // 2)
    return cut_into_blocks(_centres(points), labels, size, margin, settings.shares).assign


def _draw_for_splits(
    raster: Raster,
    points: Sequence[Point],
    splits: np.ndarray,
    splitter: Callable[[np.ndarray], np.ndarray],
    settings: _Settings,
    rng: np.random.Generator,
) -> Iterator[tuple[Point, int]]:
    """Backgrounds for each split, as many as its animals times the ratio."""
    animals = np.array([point.label != settings.background for point in points], bool)
    away = _centres(points)[animals]
    wanted = [round(settings.ratio * int((splits[animals] == s).sum())) for s in range(3)]
    size = (raster.width, raster.height)
    drawn = draw_backgrounds(away, size, 100 * sum(wanted), settings.distance, rng)
    of_drawn: np.ndarray = splitter(drawn)
    for split, number in enumerate(wanted):
        chosen = drawn[of_drawn == split][:number]
        if len(chosen) < number:
            logger.warning(
                "%s: only %d of %d backgrounds for %s found a place %g px away from every point",
                raster.path.name,
                len(chosen),
                number,
                SPLITS[split],
                settings.distance,
            )
        for x, y in chosen:
            yield Point(raster.path.name, float(x), float(y), settings.background), split


def _plan_image(
    raster: Raster,
    points: Sequence[Point],
    group: int,
    settings: _Settings,
    rng: np.random.Generator,
) -> list[tuple[Point, int]]:
    """Every patch to cut from one image with its split, -1 in the gap, from top to bottom."""
    splitter = _splitter(raster, points, group, settings)
    splits = splitter(_centres(points))
    planned = list(zip(points, splits.tolist(), strict=True))
    planned += _draw_for_splits(raster, points, splits, splitter, settings, rng)
    # A compressed image is decoded once that way.
    return sorted(planned, key=lambda plan: plan[0].y)


def _check_inside(raster: Raster, points: Sequence[Point], source: Path) -> None:
    for point in points:
        if not (0 <= point.x < raster.width and 0 <= point.y < raster.height):
            raise DataError(
                f"{source}, line {point.line}: point ({point.x:g}, {point.y:g}) lies outside"
                f" {raster.path.name}, which is {raster.width} x {raster.height} px"
            )


def _check_known(points: Sequence[Point], classes: Sequence[str], source: Path) -> None:
    unknown = next((p for p in points if p.label not in classes), None)
    if unknown is not None:
        raise DataError(
            f"{source}, line {unknown.line}: label {unknown.label!r} is unknown to the run."
            f" Known: {', '.join(classes)}"
        )


def _check_large_enough(raster: Raster, size: int) -> None:
    if min(raster.width, raster.height) < size:
        raise DataError(
            f"{raster.path.name} is {raster.width} x {raster.height} px, smaller than a patch of"
            f" {size} px. Choose a smaller --size"
        )


def _check_colours(raster: Raster) -> None:
    # Patches are written as PNG, which has no more.
    if raster.bands != 3:
        raise ImageError(
            f"{raster.path}: expected a grey or RGB image, received {raster.bands} bands with no"
            " red, green and blue among them. Write the wanted three to a file of their own, for"
            " example with gdal_translate -b 1 -b 2 -b 3"
        )


def _unused(path: Path) -> Path:
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return next(p for p in chain((path,), numbered) if not p.exists())


class PatchWriter:
    """Cuts windows and writes them into class folders; remembers where each came from.

    Parameters
    ----------
    folder : Path
    facts : PatchFacts
        Sizes of all patches.
    result : PatchSet
        Is told of every patch.
    """

    def __init__(self, folder: Path, facts: PatchFacts, result: PatchSet):
        self._folder, self._facts, self._result = folder, facts, result
        self._rows: list[tuple[object, ...]] = []

    def write(self, raster: Raster, point: Point, split: str) -> None:
        """Cut one patch."""
        facts, side = self._facts, self._facts.patch + 2 * self._facts.context
        left, top = facts.corner(point.x), facts.corner(point.y)
        over = left < 0 or top < 0 or left + side > raster.width or top + side > raster.height
        place = self._folder / split / point.label
        place.mkdir(parents=True, exist_ok=True)
        path = _unused(place / f"{raster.path.stem}_{round(point.x)}_{round(point.y)}.png")
        pixels = raster.read(left, top, side, side)
        Image.fromarray(pixels).save(path, compress_level=3)
        self._result.count(split, point.label, over)
        relative, image = path.relative_to(self._folder).as_posix(), raster.path.resolve()
        where = (image, f"{point.x:.10g}", f"{point.y:.10g}", facts.patch, facts.context, int(over))
        self._rows.append((relative, split, point.label, *where))

    def finish(self, gsd: float | None) -> None:
        """Write the manifest and the facts."""
        with (self._folder / MANIFEST_NAME).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(MANIFEST_COLUMNS)
            writer.writerows(sorted(self._rows, key=str))
        replace(self._facts, gsd=gsd).save(self._folder)


def _cut_images(
    by_image: dict[Path, list[Point]],
    source: Path,
    settings: _Settings,
    seed: int,
    partial: Path,
    result: PatchSet,
    bar: Bar,
) -> None:
    groups = split_by_group([len(own) for own in by_image.values()], settings.shares, seed)
    rng = np.random.default_rng(seed)
    facts = PatchFacts(settings.size, settings.context, settings.background)
    writer = PatchWriter(partial, facts, result)
    gsds: set[float | None] = set()
    for (path, points), group in zip(by_image.items(), groups.tolist(), strict=True):
        with Raster(path) as raster:
            _check_inside(raster, points, source)
            _check_colours(raster)
            _check_large_enough(raster, settings.size)
            gsds.add(raster.gsd)
            for point, split in _plan_image(raster, points, group, settings, rng):
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


def _split_plan(split_by: str, images: Sequence[Path], shares: Fractions) -> str:
    if split_by not in SPLIT_BY:
        raise UsageError(f"split_by: expected one of {', '.join(SPLIT_BY)}; received {split_by}")
    if min(shares) < 0 or shares[0] <= 0 or not abs(sum(shares) - 1) <= 1e-6:
        raise UsageError(
            f"split: expected three shares that add up to 1, the first above 0; received {shares}"
        )
    needed = sum(share > 0 for share in shares)
    if split_by == "auto":
        return "image" if len(images) >= needed else "block"
    if split_by == "image" and len(images) < needed:
        raise UsageError(
            f"--split-by image: expected {needed} annotated images or more, received {len(images)}."
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
    columns: Sequence[str] = COLUMNS,
    background: str = "backgrounds",
    backgrounds: float = 1.0,
    distance: float | None = None,
    split: Fractions = (0.6, 0.2, 0.2),
    split_by: str = "auto",
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
        CSV file with a row a point.
    out : str or Path
        Folder to write: ``<split>/<class>/*.png``, ``manifest.csv`` and
        ``patches.json``.
    size : int, optional
        Side of the patch, px; 96 where neither it nor `run` is given.
    context : int, optional
        Margin of real image around the patch, px; a file's side is
        ``size + 2 * context``. Default 0, or as `run` says.
    columns : four str
        Column names of image, x, y and label.
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
    all_points = read_points(source, columns)
    if run is not None:
        sidecar = load_sidecar(Path(run) / "model.keras")
        size, context = size or sidecar.patch, sidecar.context if context is None else context
        background = sidecar.background or background
        _check_known(all_points, sidecar.classes, source)
    size, context = size or 96, context or 0
    by_image = points_by_image(find_images(images), all_points, source)
    plan = _split_plan(split_by, list(by_image), split)
    away = size if distance is None else distance
    settings = _Settings(size, context, background, backgrounds, away, split, plan)
    result = PatchSet(out, split_by=plan)
    total = sum(map(len, by_image.values())) * (1 + backgrounds)
    with atomic_path(out) as partial, progress_bar("patches", total, "patches") as bar:
        partial.mkdir()
        _cut_images(by_image, source, settings, seed, partial, result, bar)
    return result
