"""Claim: 100,000 points of a 100,000 x 100,000 px map take less than 30 s and 1 GiB.

The map is written as `tltool.heatmap` writes one, at strides of 32 and 8 px, with a hill of
probability for each of 100,000 animals. Reading alone is what it takes to read every band of it
once, in the same windows; detection (its reading included), suppression and scoring against the
animals are measured beside it, each stride in a process of its own.
"""

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasterio.transform import Affine

from benchmarks.common import in_fresh_process, options, print_claim, print_table, scratch

MOST_SECONDS, MOST_MEMORY = 30, 1024
NAMES = ("backgrounds", "adult_females", "adult_males", "juveniles", "pups", "subadult_males")
SIDE, QUICK, POINTS = 100_000, 25_000, 100_000
STRIDES = (32, 8)
# Rows of cells that are painted at once, and cells that a hill reaches.
ROWS, REACH = 256, 3


@dataclass(frozen=True)
class Taken:
    """What counting one map took.

    Attributes
    ----------
    stride, cells, found, matched : int
    reading, detecting, scoring : float
        Wall time, s; detecting includes its own reading.
    before, peak : float
        Largest resident size after reading alone and at the end, MiB.
    """

    stride: int
    cells: int
    found: int
    matched: int
    reading: float
    detecting: float
    scoring: float
    before: float
    peak: float


def place_animals(side: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) positions x, y in px, no two closer than two cells of 32 px, and (n,) classes."""
    rng = np.random.default_rng(1)
    across = side // 96
    place = rng.choice(across * across, number, replace=False)
    corner = np.stack([place % across, place // across], axis=1) * 96.0
    return corner + rng.uniform(16, 80, (number, 2)), rng.integers(1, len(NAMES), number)


def _hills(
    row: int, rows: int, columns: int, stride: int, xy: np.ndarray, label: np.ndarray
) -> np.ndarray:
    """(bands, rows, columns) probabilities of a strip of cells."""
    rng = np.random.default_rng(row)
    animal = rng.uniform(0, 0.1, (rows, columns)).astype(np.float32)
    named = np.zeros((rows, columns), np.int8)
    at = xy / stride - 0.5
    near = np.flatnonzero((at[:, 1] > row - REACH - 1) & (at[:, 1] < row + rows + REACH))
    middle = np.rint(at[near]).astype(int)
    for down in range(-REACH, REACH + 1):
        for right in range(-REACH, REACH + 1):
            r, c = middle[:, 1] + down - row, middle[:, 0] + right
            inside = (r >= 0) & (r < rows) & (c >= 0) & (c < columns)
            apart = (at[near, 1] - r - row) ** 2 + (at[near, 0] - c) ** 2
            height = (0.9 * np.exp(-apart / 2))[inside].astype(np.float32)
            r, c = r[inside], c[inside]
            named[r, c] = np.where(height > animal[r, c], label[near][inside], named[r, c])
            animal[r, c] = np.maximum(animal[r, c], height)
    values = np.repeat(animal[None] * np.float32(0.02), len(NAMES), axis=0)
    np.put_along_axis(values, np.maximum(named, 1)[None].astype(int), 0.92 * animal[None], 0)
    values[0] = 1 - animal
    return values


def write_map(path: Path, side: int, stride: int, number: int) -> None:
    """Paint and write a map."""
    from tltool.raster import MapGeoreference, MapWriter
    from tltool.raster.writing import ENCODINGS, MapKind

    xy, label = place_animals(side, number)
    cells = -(-side // stride)
    kind, place = MapKind(NAMES, ENCODINGS["float32"]), MapGeoreference(None, Affine.scale(stride))
    with MapWriter(path, cells, cells, kind, place) as writer:
        for row in range(0, cells, ROWS):
            values = _hills(row, min(ROWS, cells - row), cells, stride, xy, label)
            writer.write(row, 0, values)


def _peak() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 2**10


def count_map(path: Path, side: int, stride: int, number: int) -> Taken:
    """Read, detect and score, and measure."""
    from tltool.counting.maps import RasterMap
    from tltool.points.cell_maps import MapGeometry, cut_windows
    from tltool.points.detections import find_candidates, suppress
    from tltool.points.scoring import Scene, score_points
    from tltool.run.detection_parameters import DetectionParameters, PeakRule

    parameters = DetectionParameters(rule=PeakRule(threshold=0.15, distance=24))
    xy, label = place_animals(side, number)
    with RasterMap(path) as cells:
        started = time.perf_counter()
        for row, column, rows, columns in cut_windows(cells, 0):
            for band in range(len(NAMES)):
                cells.read(band, row, column, rows, columns)
        reading, before = time.perf_counter() - started, _peak()
        started = time.perf_counter()
        geometry = MapGeometry(0, 0, stride, side, side)
        found = find_candidates(cells, geometry, background=NAMES[0], floor=parameters.floor)
        found = suppress(found, parameters)
        detecting = time.perf_counter() - started
    started = time.perf_counter()
    scene = Scene(found.xy, found.labels, found.score, xy, np.array(NAMES)[label])
    score = score_points([scene], 48.0, NAMES[1:])
    scoring = time.perf_counter() - started
    times = reading, detecting, scoring
    size = cells.rows * cells.columns
    return Taken(stride, size, len(found), score.any.tp, *times, before, _peak())


def _row(taken: Taken) -> tuple[str, ...]:
    return (
        f"{taken.stride} px, {taken.cells / 1e6:.1f} M cells",
        f"{taken.found:,}",
        f"{taken.matched:,}",
        f"{taken.reading:.1f}",
        f"{taken.detecting:.1f}",
        f"{taken.scoring:.1f}",
        f"{taken.before:.0f}",
        f"{taken.peak:.0f}",
    )


def main() -> None:
    """Measure and print."""
    given = options(__doc__)
    side = QUICK if given.quick else SIDE
    number = POINTS * side**2 // SIDE**2
    every = []
    with scratch() as name:
        for stride in STRIDES:
            path = Path(name) / f"{stride}.heatmap.tif"
            in_fresh_process(write_map, path, side, stride, number)
            every.append(in_fresh_process(count_map, path, side, stride, number))
            path.unlink()
    print(f"{number:,} animals on {side:,} x {side:,} px")
    header = (
        "stride",
        "points",
        "matched",
        "reading alone, s",
        "detect, s",
        "score, s",
        "read, MiB",
        "peak, MiB",
    )
    print_table(header, [_row(taken) for taken in every])
    for taken in every:
        seconds = taken.detecting + taken.scoring
        memory = taken.peak - taken.before
        print_claim(
            f"stride {taken.stride}: below {MOST_SECONDS} s, its reading included, and"
            f" {MOST_MEMORY} MiB beyond reading",
            f"{seconds:.1f} s, {memory:.0f} MiB",
            seconds < MOST_SECONDS and memory < MOST_MEMORY,
        )


if __name__ == "__main__":
    main()
