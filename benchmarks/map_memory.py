"""Claim: a map's peak memory is below 2 GiB and does not grow: 100,000 px square within 10 %.

Each raster is a VRT that repeats one photograph, which is kept as a tiled GeoTIFF. Each map is made
as `tltool.heatmap` makes it, overlay included, in a process of its own that reports its largest
resident size. 10,000 and 30,000 px; with --largest 100,000 (10 gigapixels) too.
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
# Side of the repeated GeoTIFF, px.
TILE = 4096
MOST, MOST_MEMORY = 1.10, 2048
SIDES, QUICK, LARGEST = (10_000, 30_000), (5_000, 10_000), 100_000


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


def write_vrt(tile: Path, path: Path, side: int) -> None:
    """Write a square VRT that repeats a GeoTIFF."""
    with rasterio.open(tile) as source:
        width, height = source.width, source.height
    parts = []
    for band in (1, 2, 3):
        sources = [
            f"<SimpleSource><SourceFilename>{tile}</SourceFilename><SourceBand>{band}</SourceBand>"
            f'<SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{height}"/>'
            f'<DstRect xOff="{x}" yOff="{y}" xSize="{width}" ySize="{height}"/></SimpleSource>'
            for y in range(0, side, height)
            for x in range(0, side, width)
        ]
        colour = ("Red", "Green", "Blue")[band - 1]
        parts.append(
            f'<VRTRasterBand dataType="Byte" band="{band}"><ColorInterp>{colour}</ColorInterp>'
            f"{''.join(sources)}</VRTRasterBand>"
        )
    place = "500000, 0.03, 0, 6000000, 0, -0.03"
    path.write_text(
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>EPSG:32604</SRS>'
        f"<GeoTransform>{place}</GeoTransform>{''.join(parts)}</VRTDataset>"
    )


def prepare(folder: Path, sides: tuple[int, ...]) -> None:
    """Write the run and the rasters; in a process of its own, which alone grows by it."""
    source, tile = find_source(folder), folder / "tile.tif"
    build_run(folder / "run", source)
    write_raster(source.photograph, tile, TILE)
    for side in sides:
        write_vrt(tile, folder / f"{side}.vrt", side)


def map_raster(folder: Path, side: int) -> Peak:
    """Map one raster and measure this process."""
    from tltool.mapping.image_map import write_map
    from tltool.mapping.mapper import load_mapper

    mapper = load_mapper(folder / "run")
    loaded, started = peak_memory(), time.perf_counter()
    made = write_map(mapper, folder / f"{side}.vrt", folder / "maps")
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
    given = options(__doc__, largest=f"a raster of {LARGEST:,} px too")
    sides, repeats = (QUICK if given.quick else SIDES), 1 if given.quick or given.largest else 3
    sides = (*sides, LARGEST) if given.largest else sides
    with scratch() as name:
        folder = Path(name)
        in_fresh_process(prepare, folder, sides)
        pairs = [
            [in_fresh_process(map_raster, folder, side) for side in sides] for _ in range(repeats)
        ]
    peaks = [_middle([pair[i] for pair in pairs]) for i in range(len(sides))]
    print(f"medians of {repeats}")
    header = (
        "raster, px",
        "FCN loaded, MiB",
        "peak, MiB",
        "map, s",
        "with overlay, s",
        "map, ms/Mpx",
    )
    print_table(header, [_row(peak) for peak in peaks])
    small, large = peaks[0], peaks[-1]
    ratio = large.mapped / small.mapped
    print(f"large to small: peak {ratio:.2f}, time per megapixel {large.pace / small.pace:.2f}")
    holds = ratio <= MOST and large.mapped < MOST_MEMORY
    measured = f"{ratio:.2f}, {large.mapped:.0f} MiB"
    print_claim(f"peak at most {MOST} times the small one's, below 2 GiB", measured, holds)


if __name__ == "__main__":
    main()
