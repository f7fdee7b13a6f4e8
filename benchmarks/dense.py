"""Claims: à trous is 5 times faster than shift-and-stitch, a map 30 and 200 times than sliding.

Maps of 2000 x 2000 px of the photograph in memory, patches of 96 px with 64 px of context: read,
inferred and stitched as `tltool.heatmap` does, without writing, after one warm-up. Sliding is
`model.predict` of the same classifier on windows of the same cells held in memory, warmed up, in
batches of 64; measured on a sample of windows and scaled to all cells of the stride.
"""

# ruff: noqa: E402, Keras goes first: it is noisy where another module imports it

from collections.abc import Callable
from dataclasses import dataclass, field
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
    seconds_of,
    spread,
)
from tltool.runtime import quiet_import

keras = quiet_import("keras")

from tltool.mapping.mapper import Mapper, load_mapper
from tltool.raster import ArrayRaster, Raster
from tltool.tiling.pipeline import predict_tiles
from tltool.tiling.tiles import make_grid

SIDE, CONTEXT, BATCH, STRIDE = 2000, 64, 64, 8
OVER_STITCHING, OVER_SLIDING, OVER_SLIDING_DENSE = 5, 30, 200


@dataclass
class Bench:
    """The maps that are compared, and how many cells each has.

    Attributes
    ----------
    run : Path
    image : ArrayRaster
    sample : int
        Windows that sliding is measured on.
    """

    run: Path
    image: ArrayRaster
    sample: int
    cells: dict[str, int] = field(default_factory=dict)

    def map(self, name: str, **choice: object) -> Callable[[], dict[str, float]]:
        """A map of the whole image."""
        mapper = load_mapper(self.run, engine="tensorflow", **choice)
        grid = make_grid(mapper.sidecar, self.image.width, self.image.height)
        self.cells[name] = grid.y.cells * grid.x.cells
        tiles = list(grid.tiles(mapper.tile))

        def over_all() -> None:
            for _ in predict_tiles(self.image, tiles, mapper.predictor()):
                pass

        over_all()
        return lambda: {name: seconds_of(over_all)}

    def sliding(self) -> Callable[[], dict[str, float]]:
        """One window of `model.predict`, on average, scaled to the cells of both strides."""
        classifier = keras.saving.load_model(self.run / "model.keras", compile=False)
        windows = self._windows(load_mapper(self.run, engine="tensorflow"))

        def over_sample() -> None:
            classifier.predict(windows, batch_size=BATCH, verbose=0)

        over_sample()

        def measure() -> dict[str, float]:
            each = seconds_of(over_sample) / len(windows)
            return {
                "sliding": each * self.cells["map"],
                "sliding dense": each * self.cells["à trous"],
            }

        return measure

    def _windows(self, mapper: Mapper) -> np.ndarray:
        side = mapper.sidecar.window
        corners = np.random.default_rng(0).integers(0, SIDE - side, (self.sample, 2))
        return np.stack([self.image.read(int(x), int(y), side, side) for x, y in corners])

    def take(self, repeats: int) -> dict[str, list[float]]:
        """All measures, interleaved."""
        measures = [
            self.map("map"),
            self.map("à trous", stride=STRIDE),
            self.map("stitched", stride=STRIDE, shift_and_stitch=True),
            self.sliding(),
        ]
        return interleave(measures, repeats)


def _print_times(taken: dict[str, list[float]], cells: dict[str, int]) -> None:
    seconds = medians(taken)
    labels = {
        "map": ("map at the network's stride", "map"),
        "sliding": ("model.predict at that stride, scaled", "map"),
        "à trous": (f"map at stride {STRIDE}, à trous", "à trous"),
        "stitched": (f"map at stride {STRIDE}, shift-and-stitch", "stitched"),
        "sliding dense": (f"model.predict at stride {STRIDE}, scaled", "à trous"),
    }
    rows = [
        (label, str(cells[of]), f"{seconds[name]:.2f}", spread(taken[name]))
        for name, (label, of) in labels.items()
    ]
    print_table(("", "cells", "median, s", "range, s"), rows)


def _print_claims(taken: dict[str, list[float]]) -> None:
    claims = [
        ("à trous", "stitched", OVER_STITCHING, f"à trous, stride {STRIDE}, over stitching"),
        ("map", "sliding", OVER_SLIDING, "map over model.predict at the network's stride"),
        ("à trous", "sliding dense", OVER_SLIDING_DENSE, f"the same at stride {STRIDE}"),
    ]
    for fast, slow, wanted, claim in claims:
        ratio = median_ratio(taken, slow, fast)
        print_claim(f"{claim}: at least {wanted} x", f"{ratio:.1f}", ratio >= wanted)


def main() -> None:
    """Measure and print."""
    quick = options(__doc__).quick
    with scratch() as name:
        source = find_source(Path(name))
        run = build_run(Path(name) / "run", source, CONTEXT)
        with Raster(source.photograph) as raster:
            image = ArrayRaster(raster.read(400, 400, SIDE, SIDE))
        bench = Bench(run, image, BATCH * (2 if quick else 4))
        taken = bench.take(1 if quick else 5)
        print(f"{SIDE} x {SIDE} px, context {CONTEXT} px; predict on {bench.sample} windows")
        _print_times(taken, bench.cells)
        _print_claims(taken)


if __name__ == "__main__":
    main()
