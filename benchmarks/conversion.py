"""Claim: a classifier on EfficientNetB0 is converted in under 20 s, its check included.

Random weights, 224 px; in a warm process, from the model in memory to the checked network. The peer
is what Keras takes to load the same classifier from its file.
"""

# ruff: noqa: E402, Keras goes first: it is noisy where another module imports it

from collections.abc import Callable
from pathlib import Path

from benchmarks.common import (
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

from tltool.fcn.geometry import trace
from tltool.fcn.surgery import check_equal, to_fcn
from tltool.models.network import build_classifier
from tltool.recipe import BackboneRecipe

LIMIT = 20
CONVERTING, LOADING = "to_fcn, trace and check_equal", "keras.saving.load_model"


def _measures(path: Path) -> list[Callable[[], dict[str, float]]]:
    model = build_classifier(
        6, 224, backbone=BackboneRecipe(name="EfficientNetB0", weights="none")
    ).model
    model.save(path)

    def convert() -> None:
        check_equal(model, to_fcn(model))
        trace(model)

    def load() -> None:
        keras.saving.load_model(path, compile=False)

    return [lambda: {CONVERTING: seconds_of(convert)}, lambda: {LOADING: seconds_of(load)}]


def main() -> None:
    """Measure and print."""
    repeats = 2 if options(__doc__).quick else 5
    with scratch() as folder:
        taken = interleave(_measures(Path(folder, "model.keras")), repeats)
    middle = medians(taken)
    rows = [
        (name, f"{middle[name]:.2f}", spread(s), f"{middle[name] / middle[LOADING]:.2f}")
        for name, s in taken.items()
    ]
    print_table((f"median of {repeats}", "s", "range, s", "ratio to loading"), rows)
    seconds = middle[CONVERTING]
    print_claim(f"under {LIMIT} s", f"{seconds:.1f} s", seconds < LIMIT)


if __name__ == "__main__":
    main()
