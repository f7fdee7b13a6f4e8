"""Which patches are cut from an image, where its backgrounds lie, and what split each goes to."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from tltool.annotations import Point
from tltool.data.blocks import Blocks, cut_into_blocks
from tltool.data.coverage import Coverage
from tltool.data.dataset import PatchFacts
from tltool.data.splits import SPLITS, Fractions
from tltool.raster import Raster

logger = logging.getLogger("tltool")


@dataclass(frozen=True)
class CutSettings:
    """What holds for all images of a call.

    Attributes
    ----------
    size, context : int
        Of a patch, and the margin around it, px.
    background : str
        Class of patches away from every point.
    ratio : float
        Drawn backgrounds for each point.
    distance : float
        Least of a background from every point, px.
    shares : three floats
        Of train, valid and test.
    aoi, ignore : Path or None
        What is annotated, and what nothing is taken from.
    """

    size: int
    context: int
    background: str
    ratio: float
    distance: float
    shares: Fractions
    aoi: Path | None
    ignore: Path | None

    @property
    def window(self) -> int:
        """Side of what is cut, px."""
        return self.size + 2 * self.context

    @property
    def facts(self) -> PatchFacts:
        """As they are written beside the patches."""
        return PatchFacts(self.size, self.context, self.background)


@dataclass(frozen=True)
class AnnotatedImage:
    """An image with its points.

    Attributes
    ----------
    path : Path
    points : list of Point
        Those that patches are cut around.
    known : list of Point
        All of them, which backgrounds keep away from.
    """

    path: Path
    points: list[Point]
    known: list[Point]


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
        Of the rectangle that they are drawn in.
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


def _divide(coverage: Coverage, points: Sequence[Point], settings: CutSettings) -> Blocks:
    labels = [point.label for point in points]
    left, top, right, bottom = coverage.extent
    return cut_into_blocks(
        _centres(points),
        labels,
        (right - left, bottom - top),
        -(-settings.window // 2),
        settings.shares,
        origin=(left, top),
    )


def _draw_for_splits(
    image: AnnotatedImage,
    coverage: Coverage,
    splits: np.ndarray,
    splitter: Callable[[np.ndarray], np.ndarray],
    settings: CutSettings,
    rng: np.random.Generator,
) -> Iterator[tuple[Point, int]]:
    """Backgrounds for each split, as many as its animals times the ratio."""
    animals = np.array([point.label != settings.background for point in image.points], bool)
    away = _centres([point for point in image.known if point.label != settings.background])
    wanted = [round(settings.ratio * int((splits[animals] == s).sum())) for s in range(3)]
    left, top, right, bottom = coverage.extent
    size, origin = (right - left, bottom - top), (left, top)
    drawn = draw_backgrounds(away, size, 100 * sum(wanted), settings.distance, rng, origin)
    of_drawn: np.ndarray = splitter(drawn)
    for split, number in enumerate(wanted):
        chosen = _first_covered(drawn[of_drawn == split], number, coverage, settings)
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
        for x, y in chosen:
            place = float(x), float(y)
            yield Point(image.path.name, *place, settings.background, where="drawn"), split


def _first_covered(
    centres: np.ndarray, number: int, coverage: Coverage, settings: CutSettings
) -> np.ndarray:
    """The first `number` of (n, 2) centres whose patches lie on what is covered."""
    corner = settings.size // 2
    chosen = centres[:0]
    # Some at a time: far more are drawn than are needed.
    for start in range(0, len(centres), max(1, number)):
        part = centres[start : start + max(1, number)]
        lefts, tops = (part - corner).T
        held = coverage.holds(lefts, tops, settings.size)
        chosen = np.concatenate([chosen, part[held]])
        if len(chosen) >= number:
            break
    return chosen[:number]


def plan_image(
    raster: Raster,
    image: AnnotatedImage,
    group: int | None,
    settings: CutSettings,
    rng: np.random.Generator,
) -> tuple[list[tuple[Point, int]], Blocks | None]:
    """Choose the patches to cut from one image.

    Parameters
    ----------
    raster : Raster
        The image.
    image : AnnotatedImage
    group : int or None
        The split of the whole image; None: it is divided into blocks.
    settings : CutSettings
    rng : numpy Generator
        Of the backgrounds.

    Returns
    -------
    list of (Point, int)
        Each with its place in `SPLITS`, -1 in the gap; from top to bottom.
    Blocks or None
        How the image is divided, where it is.
    """
    coverage = Coverage.load(raster, settings.aoi, settings.ignore)
    blocks = _divide(coverage, image.points, settings) if group is None else None

    def splitter(centres: np.ndarray) -> np.ndarray:
        return np.full(len(centres), group) if blocks is None else blocks.assign(centres)

    splits = splitter(_centres(image.points))
    planned = list(zip(image.points, splits.tolist(), strict=True))
    planned += _draw_for_splits(image, coverage, splits, splitter, settings, rng)
    # A compressed image is decoded once that way.
    return sorted(planned, key=lambda plan: plan[0].y), blocks
