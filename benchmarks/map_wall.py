"""Claim: a map takes at most 1.25 times the CPU time of its parts, shared among the cores.

Wall time of a map as `tltool.heatmap` makes it (reading, inference, keeping tiles, writing; no
overlay) against (CPU seconds of reading alone + CPU seconds of inference alone) / cores. Of the
JPEG photograph and of a tiled GeoTIFF that repeats it; for each engine, MobileNet 0.25 and VGG16
with random weights. Parts are measured on a sample of the tiles and scaled to all.
"""

# ruff: noqa: E402, Keras goes first: it is noisy where another module imports it

import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.common import (
    build_run,
    find_source,
    interleave,
    median_ratio,
    medians,
    options,
    print_claim,
    print_table,
    scratch,
)
from benchmarks.map_memory import write_raster
from tltool.runtime import quiet_import

quiet_import("keras")

from tltool.mapping.image_map import write_map
from tltool.mapping.mapper import Mapper, load_mapper
from tltool.raster import as_zoom
from tltool.tiling.pipeline import read_tile

MOST = 1.25
# Of the GeoTIFF, px, for each network: VGG16 takes half a second for a megapixel.
SIDES = {"MobileNet": 20_000, "VGG16": 5_000}
QUICK = {"MobileNet": 8_000, "VGG16": 2_000}
SAMPLE = 6
ENGINES = ("tensorflow", *(["openvino"] if find_spec("openvino") else []))


def _cpu(function: Callable[[], object]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started


def _parts(mapper: Mapper, image: Path) -> dict[str, float]:
    """CPU seconds of reading and of inference alone, scaled from a sample of tiles to all."""
    zoom = as_zoom(mapper.sidecar.zoom)
    with mapper.open(image) as raster:
        tiles = list(mapper.grid(raster).tiles(mapper.tile))
        first = list(islice(tiles, SAMPLE))
        scale = len(tiles) / len(first)
        pixels: list[np.ndarray] = []
        reading = _cpu(lambda: pixels.extend(read_tile(raster, tile, zoom) for tile in first))
    mapper.engine(pixels[0])
    inference = _cpu(lambda: [mapper.engine(each) for each in pixels])
    return {"reading": reading * scale, "inference": inference * scale}


def _measure(run: Path, image: Path, engine: str) -> Callable[[], dict[str, float]]:
    mapper = load_mapper(run, engine=engine)

    def measure() -> dict[str, float]:
        parts = _parts(mapper, image)
        wall = write_map(mapper, image, run / "maps").seconds
        share = sum(parts.values()) / len(os.sched_getaffinity(0))
        return {"wall": wall, "share": share, **parts}

    return measure


def main() -> None:
    """Measure and print."""
    quick = options(__doc__).quick
    rows, worst = [], 0.0
    with scratch() as name:
        folder = Path(name)
        source = find_source(folder)
        for backbone, side in (QUICK if quick else SIDES).items():
            run = build_run(folder / backbone, source, backbone=backbone)
            raster = folder / f"{side}.tif"
            write_raster(source.photograph, raster, side)
            images = [(raster, f"GeoTIFF {side:,} px"), (source.photograph, "JPEG")]
            # VGG16 takes minutes for the photograph.
            for image, title in images[:1] if quick and backbone == "VGG16" else images:
                for engine in ENGINES:
                    taken = interleave([_measure(run, image, engine)], 1 if quick else 3)
                    middle, ratio = medians(taken), median_ratio(taken, "wall", "share")
                    numbers = (middle[k] for k in ("reading", "inference", "share", "wall"))
                    rows.append((f"{backbone}, {title}, {engine}", *(f"{n:.2f}" for n in numbers)))
                    rows[-1] = (*rows[-1], f"{ratio:.2f}")
                    print(*rows[-1], flush=True)
                    worst = max(worst, ratio)
    header = ("map", "reading, CPU s", "inference, CPU s", "their share, s", "wall, s", "ratio")
    print_table(header, rows)
    print_claim(f"at most {MOST} times the share", f"{worst:.2f} at worst", worst <= MOST)


if __name__ == "__main__":
    main()
