"""Claim: judging costs next to nothing beside asking the network.

`tltool evaluate --no-report`, with all its numbers, 1000 resamples for the
intervals, the temperature and its files, takes at most 1.1 times as long as a bare forward
pass: the same run opened, the same image files read, the same batches given to
`keras.Model.predict_on_batch`. MobileNet 0.25 on 96 px is the smallest network
that there is a recipe for, so that the rest weighs most. Also printed: the
forward pass on images in memory alone, and what the numbers alone take.
"""

# ruff: noqa: E402, Keras goes first: it is noisy where another module imports it

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.common import (
    CLASSES,
    PATCH,
    interleave,
    median_ratio,
    medians,
    options,
    print_claim,
    print_table,
    scratch,
    seconds_of,
)
from tltool.runtime import quiet_import

keras = quiet_import("keras")

import tltool
from tltool.data.folders import read_folders
from tltool.data.stream import load_patches
from tltool.inference.network import open_network
from tltool.models.network import build_classifier
from tltool.recipe import BackboneRecipe
from tltool.report.evaluation import Evaluation
from tltool.run.sidecar import Sidecar

BATCH, MOST = 32, 1.1


def _write_run(folder: Path) -> Path:
    keras.utils.set_random_seed(1)
    recipe = BackboneRecipe(name="MobileNet", alpha=0.25, weights="none")
    folder.mkdir()
    build_classifier(len(CLASSES), PATCH, 0, backbone=recipe).model.save(folder / "model.keras")
    Sidecar(classes=CLASSES, patch=PATCH, input_side=PATCH).save(folder / "model.keras")
    return folder


def _write_images(folder: Path, split: str, number: int) -> None:
    rng = np.random.default_rng(len(split))
    for i in range(number):
        path = folder / split / CLASSES[i % len(CLASSES)] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(np.kron(coarse, np.ones((4, 4, 1), np.uint8))).save(path)


def _taken(name: str, function: Callable[[], Any]) -> dict[str, float]:
    """Wall time, and that of the processor, which other work on the machine lengthens less."""
    started = time.process_time()
    wall = seconds_of(function)
    return {name: wall, f"{name}, processor": time.process_time() - started}


class _Bench:
    """The same images judged and merely asked about."""

    def __init__(self, folder: Path, images: int):
        self._run = _write_run(folder / "run")
        self._data, self._out = folder / "data", folder / "out"
        # The validation images, for the temperature, are asked about too.
        for split, share in (("valid", 0.25), ("test", 0.75)):
            _write_images(self._data, split, round(images * share))
        known = open_network(self._run).tasks[0]
        samples = read_folders(self._data, known=known).samples
        self._samples = [*samples["valid"], *samples["test"]]
        self._memory = self._read()

    def _read(self) -> np.ndarray:
        return load_patches(self._samples, PATCH).images

    def _judge(self) -> Evaluation:
        return tltool.evaluate(self._run, self._data, self._out, overwrite=True)

    def _forward(self, images: np.ndarray) -> None:
        model = open_network(self._run).keras
        for start in range(0, len(images), BATCH):
            model.predict_on_batch(images[start : start + BATCH].astype(np.float32))

    def bare(self) -> dict[str, float]:
        """Read, then ask."""
        return _taken("bare", lambda: self._forward(self._read()))

    def memory(self) -> dict[str, float]:
        """Ask about images in memory."""
        return _taken("memory", lambda: self._forward(self._memory))

    def evaluate(self) -> dict[str, float]:
        """Evaluate, with everything."""
        return _taken("evaluate", self._judge)

    def numbers(self) -> dict[str, float]:
        """The numbers and intervals alone."""
        found = self._judge().predictions
        task = found.tasks[0]
        outputs, targets = found.probabilities[task.name], found.targets[task.name]
        return _taken("numbers", lambda: task.measure(outputs, targets, found.groups))


def main() -> None:
    """Measure and print."""
    quick = options(__doc__).quick
    # An untrained network has no temperature, and says so each time.
    logging.getLogger("tltool").setLevel(logging.ERROR)
    # Whole batches of both splits: a bare pass would make another graph for what is left over.
    images, repeats = (640, 3) if quick else (4096, 5)
    with scratch() as folder:
        bench = _Bench(Path(folder), images)
        measures = [bench.evaluate, bench.bare, bench.memory, bench.numbers]
        for warm in measures:
            warm()
        taken = interleave(measures, repeats)
    found = medians(taken)
    names = {
        "evaluate": "tltool evaluate",
        "bare": "forward pass, files read before it",
        "memory": "forward pass, images in memory",
        "numbers": "numbers and intervals alone",
    }
    kinds = ("", ", processor")
    rows = [
        (
            label,
            *(f"{found[name + kind]:.2f}" for kind in kinds),
            *(f"{median_ratio(taken, name + kind, 'bare' + kind):.2f}" for kind in kinds),
        )
        for name, label in names.items()
    ]
    header = (f"{images} images of {PATCH} px", "s", "processor s", "of forward pass", "processor")
    print_table(header, rows)
    ratio = median_ratio(taken, "evaluate", "bare")
    print_claim(f"at most {MOST} x a bare forward pass", f"{ratio:.2f}", ratio <= MOST)


if __name__ == "__main__":
    main()
