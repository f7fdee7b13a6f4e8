"""Claim: a map's peak memory does not grow with the image: 20,000 px square within 15 % of 5,000.

Each raster is a tiled, JPEG-compressed GeoTIFF that repeats a photograph. Each map is made as
`tltool.heatmap` makes it, overlay included, in a process of its own that reports its largest
resident size.
"""

import resource
import statistics
import sys
import time
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from benchmarks.common import (
    build_run,
    find_source,
    in_fresh_process,
    options,
    print_claim,
    print_table,
    scratch,
)
from tltool.raster import Raster

BLOCK = 512
MOST = 1.15
SMALL, LARGE, LARGE_QUICK = 5_000, 20_000, 10_000


@dataclass(frozen=True)
class Peak:
    """What one map took.

    Attributes
    ----------
    side : int
        Of the raster, px.
    loaded, mapped : float
        Largest resident size with the FCN loaded, and after map and overlay, MiB.
    seconds, whole : float
        Wall time of the map, and with the overlay.
    """

    side: int
    loaded: float
    mapped: float
    seconds: float
    whole: float

    @property
    def pace(self) -> float:
        """Wall time of the map, ms for each megapixel."""
        return 1e9 * self.seconds / self.side**2


def peak_memory() -> float:
    """Largest resident size of this process so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def write_raster(photograph: Path, path: Path, side: int) -> None:
    """Write a square GeoTIFF that repeats a photograph, a row of blocks at a time."""
    profile = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32604",
        "transform": rasterio.Affine(0.03, 0, 500_000, 0, -0.03, 6_000_000),
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "jpeg",
        "photometric": "ycbcr",
    }
    with Raster(photograph) as source:
        pixels = source.read(0, 0, source.width, source.height).transpose(2, 0, 1)
    columns = np.arange(side) % pixels.shape[2]
    with rasterio.open(path, "w", **profile) as target:
        for top in range(0, side, BLOCK):
            rows = np.arange(top, min(top + BLOCK, side)) % pixels.shape[1]
            strip = pixels[:, rows].take(columns, 2)
            target.write(strip, window=Window(0, top, side, len(rows)))


def prepare(folder: Path, sides: tuple[int, ...]) -> None:
    """Write the run and the rasters; in a process of its own, which alone grows by it."""
    source = find_source(folder)
    build_run(folder / "run", source)
    for side in sides:
        write_raster(source.photograph, folder / f"{side}.tif", side)


def map_raster(folder: Path, side: int) -> Peak:
    """Map one raster and measure this process."""
    from tltool.maps.mapper import load_mapper, map_image

    mapper = load_mapper(folder / "run")
    loaded, started = peak_memory(), time.perf_counter()
    made = map_image(mapper, folder / f"{side}.tif", folder / "maps")
    return Peak(side, loaded, peak_memory(), made.seconds, time.perf_counter() - started)


def _middle(peaks: list[Peak]) -> Peak:
    """The median of each number."""
    return Peak(*(statistics.median(numbers) for numbers in zip(*map(astuple, peaks), strict=True)))


def _row(peak: Peak) -> tuple[str, ...]:
    return (
        f"{peak.side:,} x {peak.side:,}",
        f"{peak.loaded:.0f}",
        f"{peak.mapped:.0f}",
        f"{peak.seconds:.1f}",
        f"{peak.whole:.1f}",
        f"{peak.pace:.0f}",
    )


def main() -> None:
    """Measure and print."""
    quick = options(__doc__).quick
    sides, repeats = (SMALL, LARGE_QUICK if quick else LARGE), 1 if quick else 3
    with scratch() as name:
        folder = Path(name)
        in_fresh_process(prepare, folder, sides)
        pairs = [
            [in_fresh_process(map_raster, folder, side) for side in sides] for _ in range(repeats)
        ]
    small, large = (_middle([pair[i] for pair in pairs]) for i in range(2))
    print(f"medians of {repeats}")
    header = (
        "raster, px",
        "FCN loaded, MiB",
        "peak, MiB",
        "map, s",
        "with overlay, s",
        "map, ms/Mpx",
    )
    print_table(header, [_row(small), _row(large)])
    ratio = large.mapped / small.mapped
    print(f"large to small: peak {ratio:.2f}, time per megapixel {large.pace / small.pace:.2f}")
    print_claim(f"peak at most {MOST} times the small one's", f"{ratio:.2f}", ratio <= MOST)


if __name__ == "__main__":
    main()
