"""Claim: a map takes at most 1.5 times the bare network, and a tenth of going patch by patch.

(a) the map as `tltool.heatmap` makes it, from a freshly loaded FCN: reading, tracing the graph,
inference, writing. (b) the bare `tf.function` of that FCN over exactly the same tiles, held in
memory and warmed up. (c) `model.predict` of the classifier, warmed up, on windows of the same cells
held in memory, batches of 64; a sample of windows, scaled to all cells. Once for patches without
context, once with the context that makes the map exact.
"""

# ruff: noqa: E402, Keras goes first: it is noisy where another module imports it

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.common import (
    PATCH,
    build_run,
    find_source,
    interleave,
    median_ratio,
    medians,
    options,
    print_claim,
    print_table,
    scratch,
    seconds_of,
    spread,
)
from tltool.runtime import quiet_import

keras = quiet_import("keras")

import tensorflow as tf

from tltool.mapping.image_map import write_map
from tltool.mapping.mapper import Mapper, load_mapper
from tltool.raster import Raster, as_zoom
from tltool.tiling.pipeline import read_tile

BATCH = 64
SLOWER, FASTER = 1.5, 10
# Context, px, and how many batches of windows (c) is measured on.
CASES = ((0, 24), (160, 4))


@dataclass
class Bench:
    """The measures, and what they share.

    Attributes
    ----------
    run, photograph, out : Path
    sample : int
        Windows that (c) is measured on.
    """

    run: Path
    photograph: Path
    out: Path
    sample: int

    @cached_property
    def mapper(self) -> Mapper:
        """For all but (a), which loads its own."""
        return load_mapper(self.run, engine="tensorflow")

    @cached_property
    def cells(self) -> int:
        """How many cells the map has."""
        with Raster(self.photograph) as raster:
            grid = self.mapper.grid(raster)
        return grid.y.cells * grid.x.cells

    @cached_property
    def tiles(self) -> list[np.ndarray]:
        """Pixels of all tiles."""
        return self._read_tiles()

    def _read_tiles(self) -> list[np.ndarray]:
        zoom = as_zoom(self.mapper.sidecar.zoom)
        with Raster(self.photograph) as raster:
            tiles = self.mapper.grid(raster).tiles(self.mapper.tile)
            return [read_tile(raster, tile, zoom) for tile in tiles]

    def map(self) -> dict[str, float]:
        """(a), and what surrounds it in the call."""
        started = time.perf_counter()
        mapper = load_mapper(self.run, engine="tensorflow")
        loaded = time.perf_counter()
        first = write_map(mapper, self.photograph, self.out)
        whole = time.perf_counter() - loaded
        again = write_map(mapper, self.photograph, self.out)
        return {
            "loading": loaded - started,
            "map": first.seconds,
            "whole": whole,
            "again": again.seconds,
        }

    def bare(self) -> Callable[[], dict[str, float]]:
        """(b)."""
        fcn = keras.saving.load_model(self.run / "fcn.keras", compile=False)
        function = tf.function(lambda x: fcn(tf.cast(x, tf.float32), training=False))

        def over_all() -> None:
            for pixels in self.tiles:
                function(pixels[None]).numpy()

        over_all()
        return lambda: {"bare": seconds_of(over_all)}

    def patch_by_patch(self) -> Callable[[], dict[str, float]]:
        """(c), scaled to all cells."""
        classifier = keras.saving.load_model(self.run / "model.keras", compile=False)
        windows = self._windows()

        def over_sample() -> None:
            classifier.predict(windows, batch_size=BATCH, verbose=0)

        over_sample()
        scale = self.cells / len(windows)
        return lambda: {"patches": scale * seconds_of(over_sample)}

    def _windows(self) -> np.ndarray:
        side = self.mapper.sidecar.window
        with Raster(self.photograph) as raster:
            grid = self.mapper.grid(raster)
            cells = list(itertools.product(range(grid.y.cells), range(grid.x.cells)))
            chosen = np.random.default_rng(0).permutation(len(cells))[: self.sample]
            corners = [
                (int(grid.x.window_start(cells[i][1])), int(grid.y.window_start(cells[i][0])))
                for i in sorted(chosen)
            ]
            return np.stack([raster.read(left, top, side, side) for left, top in corners])

    def reading(self) -> dict[str, float]:
        """All tiles read, with nothing beside it."""
        return {"reading": seconds_of(self._read_tiles)}

    def tracing(self) -> dict[str, float]:
        """The first tile of a fresh FCN, less the same tile again."""
        engine, pixels = load_mapper(self.run, engine="tensorflow").engine, self.tiles[0]
        first = seconds_of(lambda: engine(pixels))
        return {"tracing": first - seconds_of(lambda: engine(pixels))}

    def take(self, repeats: int) -> dict[str, list[float]]:
        """All measures, interleaved."""
        self.map()  # libraries imported, files in the page cache
        prepared = [self.bare(), self.patch_by_patch()]
        return interleave([self.map, *prepared, self.reading, self.tracing], repeats)


def _print_ratios(taken: dict[str, list[float]]) -> None:
    seconds = medians(taken)
    names = {
        "map": "(a) map: HeatMap.seconds",
        "again": "    the next photograph's, FCN traced",
        "whole": "    map, overlay and JSON",
        "loading": "    loading the FCN before it",
        "bare": "(b) bare tf.function, tiles in memory",
        "patches": "(c) model.predict, patch by patch",
    }
    rows = []
    for name, label in names.items():
        ratio = f"{median_ratio(taken, name, 'bare'):.2f}"
        rows.append((label, f"{seconds[name]:.2f}", spread(taken[name]), ratio))
    print_table(("", "median, s", "range, s", "ratio to (b)"), rows)


def _print_parts(taken: dict[str, list[float]]) -> None:
    seconds = medians(taken)
    names = {
        "reading": "reading alone (overlaps with inference)",
        "tracing": "tracing the graph, once a call",
        "bare": "inference alone",
    }
    rows = []
    for name, label in names.items():
        share = f"{100 * median_ratio(taken, name, 'map'):.0f} %"
        rows.append((label, f"{seconds[name]:.2f}", share))
    print_table(("where the time goes", "median, s", "of (a)"), rows)


def _print_sizes(bench: Bench) -> None:
    with Raster(bench.photograph) as raster:
        image = raster.width * raster.height / 1e6
    tiles = sum(pixels.size // 3 for pixels in bench.tiles) / 1e6
    windows = bench.cells * bench.mapper.sidecar.window**2 / 1e6
    print(
        f"{bench.cells} cells; the network sees {tiles:.0f} Mpx in {len(bench.tiles)} tiles (the"
        f" photograph's {image:.0f} Mpx and halos), patch by patch {windows:.0f} Mpx"
    )
    print(f"(c) on {bench.sample} windows of {bench.mapper.sidecar.window} px, scaled to all cells")


def _print_claims(taken: dict[str, list[float]]) -> None:
    slower, faster = median_ratio(taken, "map", "bare"), median_ratio(taken, "patches", "map")
    print_claim(f"(a) at most {SLOWER} x (b)", f"{slower:.2f}", slower <= SLOWER)
    print_claim(f"(a) at least {FASTER} x faster than (c)", f"{faster:.1f}", faster >= FASTER)


def main() -> None:
    """Measure and print."""
    repeats = 2 if options(__doc__).quick else 7
    with scratch() as name:
        folder = Path(name)
        source = find_source(folder)
        (folder / "maps").mkdir()
        print(f"{repeats} interleaved repeats; a ratio is the median of the repeats' ratios")
        for context, batches in CASES:
            run = build_run(folder / f"run{context}", source, context)
            bench = Bench(run, source.photograph, folder / "maps", BATCH * batches)
            taken = bench.take(repeats)
            print(f"\npatch {PATCH} px, context {context} px, {source.photograph.name}")
            _print_sizes(bench)
            _print_ratios(taken)
            _print_parts(taken)
            _print_claims(taken)


if __name__ == "__main__":
    main()
