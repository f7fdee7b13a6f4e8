"""Claim: image_data_generator in a recipe is 6 times as fast as Keras's ImageDataGenerator.

Theirs is `tf.keras.preprocessing.image.ImageDataGenerator.flow` over float arrays in memory, ours
the same parameters through the recipe's pipeline over the uint8 arrays it has, in batches of
float32 as well, by as many threads as training takes. Both give a batch at a time.
"""

# ruff: noqa: E402, Keras goes first: it is noisy where another module imports it

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.common import (
    interleave,
    median_ratio,
    options,
    print_claim,
    print_table,
    seconds_of,
    spread,
)
from tltool.runtime import quiet_import

keras = quiet_import("keras")

import tensorflow as tf

from tltool.augment import Augmenter, ImageDataGenerator
from tltool.prefetch import default_workers

FASTER = 6
BATCH, IMAGES = 32, 128
SIDES = (96, 224)
PARAMETERS: dict[str, Any] = {
    "rotation_range": 40,
    "width_shift_range": 0.2,
    "height_shift_range": 0.2,
    "shear_range": 0.2,
    "zoom_range": 0.2,
    "horizontal_flip": True,
}


def _take(batches: Iterator[Any], number: int) -> float:
    next(batches)
    return seconds_of(lambda: [next(batches) for _ in range(number)])


def _flow(generator: Any, images: np.ndarray) -> Iterator[np.ndarray]:
    return generator.flow(images.astype(np.float32), batch_size=BATCH)


def _in_pipeline(images: np.ndarray, workers: int) -> Iterator[np.ndarray]:
    augmenter = Augmenter([{"image_data_generator": PARAMETERS}])

    def batch(number: int) -> np.ndarray:
        made = np.empty((BATCH, *images.shape[1:]), np.float32)
        for row, place in enumerate(range(number * BATCH, (number + 1) * BATCH)):
            epoch, index = divmod(place, len(images))
            made[row] = augmenter(images[index], (0, epoch, index))
        return made

    with ThreadPoolExecutor(workers) as pool:
        # A few batches ahead, as Keras's queue has them.
        waiting = [pool.submit(batch, number) for number in range(workers + 1)]
        for number in itertools.count(len(waiting)):
            waiting.append(pool.submit(batch, number))
            yield waiting.pop(0).result()


def _measures(side: int, batches: int) -> list[Callable[[], dict[str, float]]]:
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, side, side, 3), dtype=np.uint8)
    legacy = tf.keras.preprocessing.image.ImageDataGenerator(**PARAMETERS)
    makers = {
        "legacy": lambda: _flow(legacy, images),
        "pipeline": lambda: _in_pipeline(images, default_workers()),
        "one thread": lambda: _in_pipeline(images, 1),
        "drop-in": lambda: _flow(ImageDataGenerator(**PARAMETERS), images),
    }
    return [
        lambda name=name, make=make: {name: _take(make(), batches)}  # type: ignore[misc]
        for name, make in makers.items()
    ]


def _print(side: int, taken: dict[str, list[float]], images: int) -> None:
    names = {
        "legacy": "tf.keras ImageDataGenerator.flow",
        "pipeline": f"image_data_generator in a recipe, {default_workers()} threads",
        "one thread": "    one thread",
        "drop-in": "tltool.augment.ImageDataGenerator.flow",
    }
    rows = []
    for name, label in names.items():
        rates = sorted(images / seconds for seconds in taken[name])
        ratio = f"{median_ratio(taken, 'legacy', name):.1f}"
        rows.append((label, f"{rates[len(rates) // 2]:.0f}", spread(rates), ratio))
    print_table((f"{side} px", "images/s", "range", "ratio"), rows)
    ratio = median_ratio(taken, "legacy", "pipeline")
    print_claim(f"at least {FASTER} x at {side} px", f"{ratio:.1f}", ratio >= FASTER)


def main() -> None:
    """Measure and print."""
    quick = options(__doc__).quick
    repeats, batches = (3, 8) if quick else (7, 24)
    for side in SIDES:
        taken = interleave(_measures(side, batches), repeats)
        _print(side, taken, BATCH * batches)


if __name__ == "__main__":
    main()
