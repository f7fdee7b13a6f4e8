"""Claim: with 160 px of context map and classifier agree on 99.9 % of windows or more.

For each context a MobileNet 0.25 is fine-tuned for a few epochs on the same patches of the
photograph, cut once with the widest context, and converted. Then the probabilities of the map are
compared with the classifier's on the same windows of the photograph.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

import tltool
from benchmarks.common import (
    PATCH,
    Source,
    find_source,
    in_fresh_process,
    options,
    print_claim,
    print_table,
    scratch,
)

CONTEXTS = (0, 32, 64, 96, 160)
EPOCHS = 4
LEAST = 0.999


class Fidelity(NamedTuple):
    """How the map of one context compares.

    Attributes
    ----------
    commonest : float
        Share of the classifier's commonest class: what agreement by chance could reach.
    """

    context: int
    windows: int
    commonest: float
    agreement: float
    mean: float
    largest: float


def _finetune(data: Path, run: Path, source: Source, context: int) -> None:
    backbone = {"name": "MobileNet", "alpha": 0.25, "weights": source.weights}
    changes = {"backbone": backbone, "context": context}
    stages = len(tltool.load_recipe(changes=changes).training.stages)
    epochs = tuple(f"training.stages.{stage}.epochs={EPOCHS}" for stage in range(stages))
    tltool.finetune(data, run, tltool.load_recipe(changes=changes, assignments=epochs))
    tltool.convert(run, check_image=source.photograph, windows=64)


def _compare(run: Path, source: Source, context: int, windows: int) -> Fidelity:
    from tltool.conversion.agreement import compare
    from tltool.models.loading import load_network
    from tltool.raster import Raster
    from tltool.run.sidecar import load_sidecar

    fcn, classifier = load_network(run / "fcn.keras"), load_network(run / "model.keras")
    with Raster(source.photograph) as raster:
        sidecar = load_sidecar(run / "fcn.keras")
        compared = compare(fcn, classifier, sidecar, raster, windows)
    numbers = compared.numbers()
    return Fidelity(
        context,
        numbers["windows"],
        float(np.bincount(compared.expected.argmax(1)).max() / numbers["windows"]),
        numbers["argmax_agreement"],
        numbers["mean_difference"],
        numbers["max_difference"],
    )


def measure(data: Path, source: Source, context: int, windows: int) -> Fidelity:
    """Fine-tune, convert and compare with one context."""
    run = data.with_name(f"run{context}")
    _finetune(data, run, source, context)
    return _compare(run, source, context, windows)


def _row(found: Fidelity) -> tuple[str, ...]:
    return (
        str(found.context),
        str(found.windows),
        f"{100 * found.commonest:.1f} %",
        f"{100 * found.agreement:.2f} %",
        f"{found.mean:.2g}",
        f"{found.largest:.2g}",
    )


def main() -> None:
    """Measure and print."""
    windows = 512 if options(__doc__).quick else 2048
    with scratch() as name:
        source = find_source(Path(name))
        data = Path(name) / "patches"
        tltool.patches([source.photograph], source.points, data, size=PATCH, context=CONTEXTS[-1])
        found = [in_fresh_process(measure, data, source, c, windows) for c in CONTEXTS]
    header = ("context, px", "windows", "commonest class", "agree", "mean diff.", "max diff.")
    print_table(header, [_row(one) for one in found])
    if found[-1].commonest == 1:
        print("the classifier gives every window one class: only the differences say something")
        return
    widest = found[-1].agreement
    claim = f"agree on {100 * LEAST} % or more at context {CONTEXTS[-1]}"
    print_claim(claim, f"{100 * widest:.2f} %", widest >= LEAST)


if __name__ == "__main__":
    main()
