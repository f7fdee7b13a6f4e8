"""Claim: counting adds at most 10 % to the time of the heatmap.

`tltool.count` against `tltool.heatmap` of the same photograph in one process, in turn: wall and CPU
time of both calls, all files of both included. Once with patches of 96 px, once with 32 px enlarged
threefold, as sea lions are counted. The network is untrained; the threshold lets about as many
points through as a colony has animals.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.common import (
    Source,
    build_run,
    find_source,
    in_fresh_process,
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

MOST, POINTS = 1.1, 500
# Patch, context, zoom.
NETWORKS = ((96, 0, 1), (32, 64, 3))


def _threshold(run: Path, image: Path) -> float:
    """That about `POINTS` peaks reach."""
    import tltool

    (counted,) = tltool.count(run, image, threshold=0.05, distance=0).images
    score = counted.points.score
    return float(score[min(POINTS, len(score) - 1)])


def measure(folder: Path, source: Source, network: tuple[int, int, int], repeats: int) -> dict:
    """Seconds of both calls, repeat by repeat."""
    import tltool

    patch, context, zoom = network
    run = build_run(folder / "run", source, context, patch=patch, zoom=zoom)
    threshold = _threshold(run, source.photograph)

    def timed(name: str, call: Callable[[Path], object]) -> Callable[[], dict[str, float]]:
        def once() -> dict[str, float]:
            shutil.rmtree(folder / name, ignore_errors=True)
            started = time.process_time()
            wall = seconds_of(lambda: call(folder / name))
            return {name: wall, f"{name}, CPU": time.process_time() - started}

        return once

    images = [source.photograph]
    calls = [
        timed("heatmap", lambda out: tltool.heatmap(run, images, out)),
        timed("count", lambda out: tltool.count(run, images, out, threshold=threshold)),
    ]
    # Modules are imported by the first call.
    for call in calls:
        call()
    return interleave(calls, repeats)


def main() -> None:
    """Measure and print."""
    repeats = 2 if options(__doc__).quick else 7
    rows, claims = [], []
    for network in NETWORKS:
        with scratch() as name:
            folder = Path(name)
            taken = in_fresh_process(measure, folder, find_source(folder), network, repeats)
        middle, title = medians(taken), f"patch {network[0]} px, zoom {network[2]}"
        for kind in ("", ", CPU"):
            keys = [f"{name}{kind}" for name in ("heatmap", "count")]
            seconds = (f"{middle[key]:.2f} ({spread(taken[key])})" for key in keys)
            ratio = median_ratio(taken, *reversed(keys))
            rows.append((f"{title}{kind or ', wall'}", *seconds, f"{ratio:.2f}"))
            print(*rows[-1], flush=True)
        claims.append((title, median_ratio(taken, "count", "heatmap")))
    print_table(("network", "heatmap, s", "count, s", "ratio"), rows)
    for title, ratio in claims:
        print_claim(f"{title}: at most {MOST} times", f"{ratio:.2f}", ratio <= MOST)


if __name__ == "__main__":
    main()
