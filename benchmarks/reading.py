"""Claim: what a raster hides is not read: of 90 % no data about a tenth of the tiles.

Also printed: rows of a large JPEG and PNG decoded once and the memory that takes, masks and
percentiles of a large raster, and points in an area. Each image is read in a process of its own.
"""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.windows import Window

from benchmarks.common import (
    find_source,
    options,
    print_claim,
    print_table,
    scratch,
    seconds_of,
)
from benchmarks.map_memory import peak_memory
from tltool.raster import Area, Raster
from tltool.raster.areas import Polygon, Ring
from tltool.raster.source import without_georeference_warning

T = TypeVar("T")

BLOCK, TILE, HALO = 512, 832, 96
SIDE, SIDE_QUICK = 20_000, 10_000
MOST = 0.16
# How 90 % of no data is stored.
STORED = {
    "sparse deflate": {"compress": "deflate", "SPARSE_OK": True},
    "dense deflate": {"compress": "deflate"},
    "dense LZW": {"compress": "lzw"},
    "dense JPEG": {"compress": "jpeg"},
    "uncompressed, averaged overviews": {"overviews": "average"},
    "uncompressed, nearest overviews": {"overviews": "nearest"},
}


@dataclass(frozen=True)
class Reading:
    """What reading all tiles of an image took.

    Attributes
    ----------
    tiles, skipped, empty : int
        All, those known to be empty, and those whose mask told it.
    seconds, asking : float
        Wall time of all, and of asking which are known to be empty.
    peak : float
        Largest resident size, MiB.
    """

    tiles: int
    skipped: int
    empty: int
    seconds: float
    asking: float
    peak: float


def _alone(function: Callable[..., T], *args: Any) -> T:
    """Call in a new process, of which the memory is that of reading alone."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()


def read_tiles(path: Path) -> Reading:
    """Read an image as a map does: what is known to be empty unread, then the mask, then pixels."""
    tiles = skipped = empty = 0
    asking, started = 0.0, time.perf_counter()
    with Raster(path) as raster:
        for y in range(-HALO, raster.height - HALO, TILE):
            for x in range(-HALO, raster.width - HALO, TILE):
                window = (x, y, TILE + 2 * HALO, TILE + 2 * HALO)
                tiles += 1
                asked = time.perf_counter()
                known = raster.surely_empty(*window)
                asking += time.perf_counter() - asked
                if known:
                    skipped += 1
                elif raster.has_mask and not raster.valid(*window).any():
                    empty += 1
                else:
                    raster.read(*window)
    return Reading(tiles, skipped, empty, time.perf_counter() - started, asking, peak_memory())


def write_hidden(photograph: Path, path: Path, side: int, stored: dict[str, object]) -> None:
    """Write a square raster of which the upper tenth holds a photograph, the rest no data."""
    profile = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "count": 3,
        "dtype": "uint8",
        "nodata": 0,
        "photometric": "rgb",
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "BIGTIFF": "IF_SAFER",
        **{name: value for name, value in stored.items() if name != "overviews"},
    }
    _write(photograph, path, profile, side // 10)
    if "overviews" in stored:
        with without_georeference_warning(), rasterio.open(path, "r+") as file:
            resampling = rasterio.enums.Resampling[str(stored["overviews"])]
            file.build_overviews([2, 4, 8, 16], resampling)


def _write(photograph: Path, path: Path, profile: dict[str, object], filled: int) -> None:
    side = int(str(profile["width"]))
    with Raster(photograph) as source:
        pixels = source.read(0, 0, source.width, source.height).transpose(2, 0, 1).clip(1)
    columns = np.arange(side) % pixels.shape[2]
    with without_georeference_warning(), rasterio.open(path, "w", **profile) as target:
        for top in range(0, side, BLOCK):
            rows = np.arange(top, min(top + BLOCK, side))
            strip = pixels[:, rows % pixels.shape[1]].take(columns, 2)
            strip[:, rows >= filled] = 0
            target.write(strip, window=Window(0, top, side, len(rows)))


def write_picture(photograph: Path, path: Path, side: int) -> None:
    """Write a square JPEG or PNG that repeats a photograph."""
    whole = path.with_suffix(".tif")
    profile = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "count": 3,
        "dtype": "uint8",
        "photometric": "rgb",
    }
    _write(photograph, whole, profile, side)
    driver = {".jpg": {"driver": "JPEG"}, ".png": {"driver": "PNG", "zlevel": 1}}[path.suffix]
    with without_georeference_warning():
        rasterio.shutil.copy(whole, path, **driver)
    whole.unlink()


def _hidden(folder: Path, photograph: Path, side: int) -> None:
    rows, shares = [], []
    for name, stored in STORED.items():
        path = folder / "hidden.tif"
        _alone(write_hidden, photograph, path, side, stored)
        found = _alone(read_tiles, path)
        read = found.tiles - found.skipped - found.empty
        shares.append(read / found.tiles)
        numbers = (found.tiles, found.skipped, found.empty, read)
        times = (f"{found.seconds:.2f}", f"{1000 * found.asking:.0f}")
        rows.append((name, *map(str, numbers), *times))
        path.unlink()
    print(f"{side:,} x {side:,} px, 90 % no data, tiles of {TILE} px and {HALO} px around them")
    header = ("stored", "tiles", "unread", "mask only", "read", "seconds", "asking, ms")
    print_table(header, rows)
    worst = max(shares)
    print_claim(f"at most {MOST:.0%} of the tiles are read", f"{worst:.0%}", worst <= MOST)


def _pictures(folder: Path, photograph: Path, side: int) -> None:
    rows = []
    for suffix in (".jpg", ".png"):
        for size in (side // 2, side):
            path = folder / f"picture{suffix}"
            _alone(write_picture, photograph, path, size)
            found = _alone(read_tiles, path)
            speed = size**2 / 1e6 / found.seconds
            rows.append((f"{size:,} px {suffix}", f"{speed:.0f}", f"{found.peak:.0f}"))
            path.unlink()
    print_table(("picture, tile by tile", "Mpx/s", "peak, MiB"), rows)


def _points() -> None:
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 1001)[:-1]
    reach = rng.uniform(300, 500, 1000)
    star = 500 + np.stack([np.cos(angles) * reach, np.sin(angles) * reach], 1)
    area = Area([Polygon(Ring(star))])
    xs, ys = rng.uniform(0, 1000, (2, 1_000_000))
    points = seconds_of(lambda: area.covers(xs, ys))
    cells = seconds_of(lambda: area.on_cells(0, 0, 1, 1, 1000, 1000))
    print(f"a million points, 1000 edges: {points:.2f} s; as cells {cells:.2f} s")


def main() -> None:
    """Measure and print."""
    side = SIDE_QUICK if options(__doc__).quick else SIDE
    with scratch() as name:
        folder = Path(name)
        photograph = find_source(folder).photograph
        _hidden(folder, photograph, side)
        _pictures(folder, photograph, side)
    _points()


if __name__ == "__main__":
    main()
