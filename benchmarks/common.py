"""What the benchmarks share: their inputs, a run to map with, timing and tables."""

import argparse
import csv
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from tltool.runtime import quiet_import

T = TypeVar("T")

CLASSES = ["adult_females", "adult_males", "backgrounds", "juveniles", "pups", "subadult_males"]
PATCH = 96
WIDTH, HEIGHT = 4992, 3328
WEIGHTS = "weights/mobilenet_2_5_224_tf_no_top.h5"


@dataclass(frozen=True)
class Source:
    """What a benchmark runs on.

    Attributes
    ----------
    photograph : Path
    points : Path
        Annotated animals of the photograph.
    weights : str
        Of MobileNet 0.25: a path, or ``none``.
    """

    photograph: Path
    points: Path
    weights: str


def options(description: str | None, **more: str) -> argparse.Namespace:
    """Read the options that every benchmark has, and more flags by name and help."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="smaller images, fewer repeats")
    for name, text in more.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    return parser.parse_args()


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder that is gone afterwards."""
    return tempfile.TemporaryDirectory(prefix="tltool-bench-")


def find_source(folder: Path) -> Source:
    """The shared photograph and weights; where they are missing, painted ones in `folder`."""
    shared = Path(os.environ.get("TLTOOL_SHARED", "../shared"))
    photograph, weights = shared / "sealion/images/20.jpg", shared / WEIGHTS
    if photograph.exists() and weights.exists():
        return Source(photograph, shared / "sealion/points.csv", str(weights))
    print(f"{shared} has no photograph and weights: a painted photograph, random weights")
    return _paint(folder)


def _paint(folder: Path) -> Source:
    from tltool.demonstration.paint import paint_photograph

    pixels, animals = paint_photograph(20, WIDTH, HEIGHT)
    source = Source(folder / "painted.jpg", folder / "points.csv", "none")
    Image.fromarray(pixels).save(source.photograph, quality=90)
    with source.points.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "x", "y", "label"))
        writer.writerows((source.photograph.name, a.x, a.y, a.label) for a in animals)
    return source


def build_run(
    folder: Path,
    source: Source,
    context: int = 0,
    backbone: str = "MobileNet",
    patch: int = PATCH,
    zoom: float = 1,
) -> Path:
    """Write an untrained classifier of patches and its FCN; MobileNet of width 0.25."""
    keras = quiet_import("keras")

    import tltool
    from tltool.models.network import input_side
    from tltool.raster import as_zoom
    from tltool.recipe import BackboneRecipe
    from tltool.run.sidecar import Sidecar

    keras.utils.set_random_seed(1)
    recipe = BackboneRecipe(name=backbone, weights="none")
    if backbone == "MobileNet":
        recipe = BackboneRecipe(name=backbone, alpha=0.25, weights=source.weights)
    built = tltool.build_classifier(len(CLASSES), patch, context, zoom, backbone=recipe)
    sidecar = Sidecar(
        classes=CLASSES,
        background="backgrounds",
        patch=patch,
        context=context,
        zoom=zoom,
        input_side=input_side(patch, context, as_zoom(zoom)),
    )
    folder.mkdir(parents=True)
    built.model.save(folder / "model.keras")
    sidecar.save(folder / "model.keras")
    tltool.convert(folder, check_image=source.photograph, windows=64)
    return folder


def _call_with_keras(function: Callable[..., T], *args: Any) -> T:
    quiet_import("keras")
    return function(*args)


def in_fresh_process(function: Callable[..., T], *args: Any) -> T:
    """Call a module's function in a new process, where Keras is imported first."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_call_with_keras, function, *args).result()


def seconds_of(function: Callable[[], Any]) -> float:
    """Wall time of a call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def interleave(
    measures: Sequence[Callable[[], dict[str, float]]], repeats: int
) -> dict[str, list[float]]:
    """Take all measures in turn, `repeats` times: a slow spell of the machine hits each of them."""
    taken: dict[str, list[float]] = defaultdict(list)
    for _ in range(repeats):
        for measure in measures:
            for name, seconds in measure().items():
                taken[name].append(seconds)
    return dict(taken)


def medians(taken: dict[str, list[float]]) -> dict[str, float]:
    """The median of each measure."""
    return {name: statistics.median(values) for name, values in taken.items()}


def median_ratio(taken: dict[str, list[float]], over: str, under: str) -> float:
    """The median of the ratios of two measures within each repeat."""
    pairs = zip(taken[over], taken[under], strict=True)
    return statistics.median(a / b for a, b in pairs)


def spread(values: Sequence[float]) -> str:
    """Smallest and largest value."""
    return f"{min(values):.3g} .. {max(values):.3g}"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns: the first to the left, the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        first, *others = (
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join([first, *others]).rstrip())


def print_claim(claim: str, measured: str, holds: bool) -> None:
    """Print a claim and whether it holds in this run."""
    print(f"claim: {claim}; measured {measured}: {'holds' if holds else 'DOES NOT HOLD'}")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (AttributeError, OSError, ValueError):
        return "unknown"


def describe_machine() -> str:
    """Processor, cores, memory and the versions that matter, in two lines."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "tltool"))
    return (
        f"{_processor()}, {os.cpu_count()} cores, {_memory()} memory, {platform.system()}\n"
        f"Python {platform.python_version()}, {packages}"
    )
