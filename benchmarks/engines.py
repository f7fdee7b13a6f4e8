"""Claims: OpenVINO in bf16 is 4 times TensorFlow for MobileNet 0.25, and 1.8 times for VGG16.

One tile in memory, as the engines of `tltool.tiling.engines` get it, after two warm-up runs; all
engines take turns. TensorFlow in f32 is what the others are compared to, in time (ratio of the
medians) and in the largest difference of a probability. Wants a processor with AVX-512 BF16 or
AMX: others compute in f32, which is printed.
"""

# ruff: noqa: E402, Keras goes first: it is noisy where another module imports it

import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.common import (
    CLASSES,
    PATCH,
    Source,
    find_source,
    interleave,
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

import tltool
from tltool.fcn.surgery import to_fcn
from tltool.raster import Raster
from tltool.recipe import BackboneRecipe
from tltool.tiling.engines import Engine, make_engine

BASE = "tensorflow f32"
CASES = (
    ("tensorflow", "f32"),
    ("tensorflow", "bf16"),
    ("openvino", "f32"),
    ("openvino", "bf16"),
)
# Backbone, its width, side of the tile in px, repeats, and how often OpenVINO bf16 is faster.
NETWORKS = (("MobileNet", 0.25, 1024, 41, 4.0), ("VGG16", None, 512, 9, 1.8))


def _network(name: str, alpha: float | None, source: Source) -> keras.Model:
    """An untrained head on the shared weights, where there are some."""
    keras.utils.set_random_seed(1)
    weights = source.weights if name == "MobileNet" else "none"
    backbone = BackboneRecipe(name=name, alpha=alpha, weights=weights)
    return to_fcn(tltool.build_classifier(len(CLASSES), PATCH, backbone=backbone).model)


def _tile(source: Source, side: int) -> np.ndarray:
    with Raster(source.photograph) as raster:
        return raster.read(raster.width // 4, raster.height // 4, side, side)


def _measure(label: str, engine: Engine, pixels: np.ndarray) -> Callable[[], dict[str, float]]:
    def run() -> dict[str, float]:
        cpu = time.process_time()
        seconds = seconds_of(lambda: engine(pixels))
        return {label: seconds, f"cpu {label}": time.process_time() - cpu}

    run(), run()
    return run


def _compare(fcn: keras.Model, pixels: np.ndarray, repeats: int) -> float:
    """Print the engines side by side; how often OpenVINO bf16 is faster than the base."""
    engines = {f"{n} {p}": make_engine(n, fcn, precision=p) for n, p in CASES}
    expected = engines[BASE](pixels)
    taken = interleave([_measure(n, engine, pixels) for n, engine in engines.items()], repeats)
    middle, rows = medians(taken), []
    for label, engine in engines.items():
        busy = middle[f"cpu {label}"] / middle[label] / (os.cpu_count() or 1)
        rows.append(
            (
                label,
                engine.precision,
                f"{1e3 * middle[label]:.1f}",
                spread([1e3 * seconds for seconds in taken[label]]),
                f"{middle[BASE] / middle[label]:.2f}",
                f"{min(taken[BASE]) / min(taken[label]):.2f}",
                f"{100 * busy:.0f} %",
                f"{np.abs(engine(pixels) - expected).max():.1g}",
            )
        )
    header = (
        "",
        "really",
        "median, ms",
        "range, ms",
        "faster",
        "least to least",
        "cores",
        "max diff",
    )
    print_table(header, rows)
    return middle[BASE] / middle["openvino bf16"]


def main() -> None:
    """Measure and print."""
    quick = options(__doc__).quick
    print(f"OpenVINO {version('openvino')}")
    with scratch() as name:
        source = find_source(Path(name))
        for backbone, alpha, side, repeats, wanted in NETWORKS:
            fcn, pixels = _network(backbone, alpha, source), _tile(source, side)
            title = f"{backbone} {alpha or ''}".strip()
            print(f"\n{title}, a tile of {side} px")
            ratio = _compare(fcn, pixels, 3 if quick else repeats)
            claim = f"OpenVINO bf16 at least {wanted} x TensorFlow f32, {title}"
            print_claim(claim, f"{ratio:.2f}", ratio >= wanted)


if __name__ == "__main__":
    main()
