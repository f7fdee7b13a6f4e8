"""Claim: keeping tiles so that a map can be resumed takes at most 5 % of the map's time.

A map is made as `tltool.heatmap` makes it, at the network's stride and at a quarter of it, with
what the keeping takes measured inside: writing each tile to the store and the journal, and the one
pass from the store to the GeoTIFF, next to which a writer without a store would have to compress
as much. Beside it, why the file is not written tile by tile: the size of a GeoTIFF whose blocks
are shared by several tiles, under a block cache that is too small for them.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.transform import Affine

from benchmarks.common import (
    build_run,
    find_source,
    in_fresh_process,
    options,
    print_claim,
    print_table,
    scratch,
)

MOST = 0.05
TILE = 48


@dataclass(frozen=True)
class Parts:
    """Seconds of one map: as a whole, keeping tiles, flushing them, writing the file.

    Attributes
    ----------
    stride : float
    map, keep, flush, file : float
    """

    stride: float
    map: float
    keep: float
    flush: float
    file: float

    @property
    def added(self) -> float:
        """Share of the map's time that is spent on being able to go on."""
        return (self.keep + self.flush) / self.map


@contextmanager
def timed(owner: Any, name: str, taken: dict[str, float]) -> Iterator[None]:
    """Add up the wall time of all calls of a method."""
    plain: Callable[..., Any] = getattr(owner, name)

    def measured(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return plain(*args, **kwargs)
        finally:
            taken[name] = taken.get(name, 0) + time.perf_counter() - started

    setattr(owner, name, measured)
    try:
        yield
    finally:
        setattr(owner, name, plain)


def map_parts(run: Path, photograph: Path, folder: Path, stride: float | None) -> Parts:
    """Make one map and measure its parts."""
    from tltool.mapping.image_map import write_map
    from tltool.mapping.mapper import load_mapper
    from tltool.raster.writing import MapWriter
    from tltool.tiling.unfinished import UnfinishedMap

    mapper, taken = load_mapper(run, stride=stride), {}
    with (
        timed(UnfinishedMap, "put", taken),
        timed(UnfinishedMap, "writing", taken),
        timed(UnfinishedMap, "write", taken),
        timed(MapWriter, "__exit__", taken),
    ):
        made = write_map(mapper, photograph, folder)
    file = taken["write"] + taken["__exit__"]
    return Parts(float(mapper.sidecar.stride), made.seconds, taken["put"], taken["writing"], file)


def size_written(path: Path, values: np.ndarray, side: int, cache: int) -> tuple[int, float]:
    """Bytes of a GeoTIFF that is written in squares of `side` cells, and the seconds it took."""
    from tltool.raster import MapGeoreference, MapWriter

    os.environ["GDAL_CACHEMAX"] = str(cache)
    started = time.perf_counter()
    with MapWriter(
        path, *values.shape[1:], list("abc"), MapGeoreference(None, Affine.scale(32))
    ) as writer:
        for row in range(0, values.shape[1], side):
            for column in range(0, values.shape[2], side):
                part = values[:, row : row + side, column : column + side]
                writer.write(row, column, part)
    return path.stat().st_size, time.perf_counter() - started


def compare_sizes(folder: Path, cells: int) -> list[tuple[int, float]]:
    """The same map in tiles and in whole blocks; the cache is set before GDAL is first used."""
    import tltool.raster.writing as writing

    cache = 4 << 20
    writing.ENVIRONMENT = {**writing.ENVIRONMENT, "GDAL_CACHEMAX": cache}
    rng = np.random.default_rng(0)
    blobs = np.kron(rng.random((3, cells // 8, cells // 8)), np.ones((1, 8, 8)))
    values = (blobs + 0.01 * rng.random((3, cells, cells))).astype(np.float32)
    return [size_written(folder / f"{s}.tif", values, s, cache) for s in (TILE, writing.BLOCK)]


def main() -> None:
    """Measure and print."""
    quick = options(__doc__).quick
    with scratch() as name:
        folder = Path(name)
        source = find_source(folder)
        run = in_fresh_process(build_run, folder / "run", source)
        strides = (None,) if quick else (None, 8.0)
        parts = [
            in_fresh_process(map_parts, run, source.photograph, folder / "maps", stride)
            for stride in strides
        ]
        sizes = in_fresh_process(compare_sizes, folder, 1024 if quick else 3072)
    header = ("stride, px", "map, s", "keep tiles, s", "flush, s", "write the file, s", "added")
    rows = [
        (
            f"{p.stride:g}",
            f"{p.map:.2f}",
            f"{p.keep:.3f}",
            f"{p.flush:.3f}",
            f"{p.file:.2f}",
            f"{p.added:.1%}",
        )
        for p in parts
    ]
    print_table(header, rows)
    (tiles, slow), (blocks, fast) = sizes
    print(
        f"GeoTIFF in tiles of {TILE} cells {tiles / 1e6:.0f} MB in {slow:.1f} s, in whole blocks"
        f" {blocks / 1e6:.0f} MB in {fast:.1f} s, block cache 4 MiB"
    )
    added = max(p.added for p in parts)
    print_claim(f"keeping tiles takes at most {MOST:.0%}", f"{added:.1%}", added <= MOST)


if __name__ == "__main__":
    main()
