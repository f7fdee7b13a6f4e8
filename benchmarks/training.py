"""Claims: frozen features are computed once, and batches do not keep the network waiting.

(a) A frozen stage of 20 epochs with one cached draw takes at most 1.5 times as long as one forward
pass over the images and 20 epochs of the head on features in memory. Keras's guide to transfer
learning runs the backbone in every epoch. (b) A step of a fine-tuning stage, augmented by two
workers, takes at most 1.1 times as long as one on a batch that is in memory already. (c) That step,
as `tltool.training.steps` makes it, is no slower than Keras's own on the same batch.
"""

# ruff: noqa: E402, Keras goes first: it is noisy where another module imports it

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import (
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

from tltool.augment import Augmenter
from tltool.data.dataset import Sample
from tltool.data.stream import Batches, Patches
from tltool.models.network import build_classifier
from tltool.recipe import BackboneRecipe, LossRecipe, Recipe, StageRecipe
from tltool.tasks.losses import make_loss
from tltool.tasks.task import Task
from tltool.training.features import halve
from tltool.training.fit import fit
from tltool.training.optimizers import make_optimizer
from tltool.training.stages import apply_stage
from tltool.training.steps import Objective, SupervisedStep

SIDE, BATCH, EPOCHS = 96, 32, 20
MOST_FROZEN, MOST_STEP, MOST_OWN = 1.5, 1.1, 1.02
TASK = Task("label", tuple("abcdef"))
AUGMENT = Recipe().augment


def _patches(number: int) -> Patches:
    images = np.random.default_rng(0).integers(0, 256, (number, SIDE, SIDE, 3), dtype=np.uint8)
    samples = [Sample(Path(f"{i}.png"), ((i % 6,),)) for i in range(number)]
    return Patches(images, samples, [])


def _batches(patches: Patches) -> Batches:
    return Batches(patches, [TASK], BATCH, Fraction(1), Augmenter(AUGMENT), workers=2)


class _Frozen:
    """A head trained on a frozen backbone, in several ways."""

    def __init__(self, images: int):
        self._patches = _patches(images)
        self._stage = StageRecipe(
            train="frozen", epochs=EPOCHS, learning_rate=1e-3, draws=1, patience=99
        )
        self._objective = Objective(
            [TASK], {"label": make_loss(LossRecipe(), TASK)}, {"label": 1.0}
        )
        backbone = BackboneRecipe(name="MobileNet", alpha=0.25, weights="none")
        self._classifier = build_classifier(TASK, SIDE, backbone=backbone)
        apply_stage(self._classifier, self._stage, 1)
        self._halves = halve(self._classifier)
        self._features = self._forward()

    def _forward(self) -> np.ndarray:
        images = self._patches.images
        steps = range(0, len(images), BATCH)
        parts = [images[i : i + BATCH].astype(np.float32) for i in steps]
        return np.concatenate([self._halves.frozen.predict_on_batch(part) for part in parts])

    def _compile(self, model: keras.Model) -> None:
        optimizer = make_optimizer(self._stage, 1e-3, {})
        model.compile(optimizer=optimizer, **self._objective.compiled())

    def _head(self) -> None:
        model = self._halves.head
        self._compile(model)
        targets = self._patches.targets([TASK])["label"]
        model.fit(self._features, targets, batch_size=BATCH, epochs=EPOCHS, verbose=0)

    def cached(self) -> dict[str, float]:
        """The stage as tltool runs it, checkpoints and all."""
        with scratch() as folder:
            stages = [self._stage]
            run = lambda: fit(  # noqa: E731
                self._classifier,
                _batches(self._patches),
                None,
                stages,
                self._objective,
                Path(folder),
            )
            return {"cached": seconds_of(run)}

    def parts(self) -> dict[str, float]:
        """One forward pass, and the head's epochs on what it gave."""
        return {"forward": seconds_of(self._forward), "head": seconds_of(self._head)}

    def guide(self) -> dict[str, float]:
        """The whole network in every epoch, its backbone frozen."""
        model = self._classifier.model
        self._compile(model)
        batches = _batches(self._patches)
        fitted = lambda: model.fit(batches, epochs=EPOCHS, verbose=0, shuffle=False)  # noqa: E731
        return {"guide": seconds_of(fitted)}


def _measure_frozen(images: int, repeats: int) -> None:
    bench = _Frozen(images)
    for warm in (bench.cached, bench.parts):
        warm()
    taken = interleave([bench.cached, bench.parts, bench.guide], repeats)
    pairs = zip(taken["forward"], taken["head"], strict=True)
    taken["least"] = [forward + head for forward, head in pairs]
    found = medians(taken)
    names = {
        "cached": f"frozen stage, {EPOCHS} epochs, 1 cached draw",
        "forward": "one forward pass",
        "head": f"{EPOCHS} epochs of the head on features in memory",
        "guide": f"backbone run in each of {EPOCHS} epochs (Keras guide)",
    }
    rows = [
        (label, f"{found[name]:.2f}", f"{median_ratio(taken, name, 'least'):.2f}")
        for name, label in names.items()
    ]
    print_table((f"{images} images of {SIDE} px", "s", "of pass + head"), rows)
    ratio = median_ratio(taken, "cached", "least")
    print_claim(f"at most {MOST_FROZEN} x pass + head", f"{ratio:.2f}", ratio <= MOST_FROZEN)


class _Same(keras.utils.PyDataset):
    """One batch, again and again."""

    def __init__(self, batch: Any, steps: int):
        super().__init__()
        self._batch, self._steps = batch, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> Any:
        return self._batch


def _measure_steps(images: int, repeats: int, alpha: float) -> None:
    patches, stage = _patches(images), StageRecipe(train={"top": 7}, epochs=1, learning_rate=1e-4)
    backbone = BackboneRecipe(name="MobileNet", alpha=alpha, weights="none")
    classifier = build_classifier(TASK, SIDE, backbone=backbone)
    factors = apply_stage(classifier, stage, 1)
    objective = Objective([TASK], {"label": make_loss(LossRecipe(), TASK)}, {"label": 1.0})
    step = SupervisedStep(classifier.model, objective, make_optimizer(stage, 1e-4, factors))
    bare = classifier.model
    bare.compile(optimizer=make_optimizer(stage, 1e-4, factors), **objective.compiled())
    batches = _batches(patches)
    same = _Same(batches[0], len(batches))

    def epoch(name: str, model: keras.Model, data: Any) -> dict[str, float]:
        taken = seconds_of(lambda: model.fit(data, epochs=3, verbose=0, shuffle=False))
        return {name: 1000 * taken / len(data) / 3}

    for model in (step, bare):
        epoch("warm", model, same)
    ways = [
        lambda: epoch("pipeline", step, batches),
        lambda: epoch("memory", step, same),
        lambda: epoch("bare", bare, same),
    ]
    taken = interleave(ways, repeats)
    found = medians(taken)
    ratio, own = median_ratio(taken, "pipeline", "memory"), median_ratio(taken, "memory", "bare")
    rows = [
        ("augmented by two workers", f"{found['pipeline']:.1f}", f"{ratio:.2f}"),
        ("one batch in memory", f"{found['memory']:.1f}", "1.00"),
        ("one batch in memory, Keras's own step", f"{found['bare']:.1f}", f"{1 / own:.2f}"),
    ]
    print_table((f"MobileNet {alpha:g}, top 7 blocks, {SIDE} px", "ms a step", "ratio"), rows)
    print_claim(f"at most {MOST_STEP} x", f"{ratio:.2f}", ratio <= MOST_STEP)
    print_claim(f"at most {MOST_OWN} x Keras's own", f"{own:.2f}", own <= MOST_OWN)


def main() -> None:
    """Measure and print."""
    quick = options(__doc__).quick
    _measure_frozen(640 if quick else 1920, 2 if quick else 3)
    for alpha in (0.25, 1.0):
        _measure_steps(640, 3 if quick else 7, alpha)


if __name__ == "__main__":
    main()
