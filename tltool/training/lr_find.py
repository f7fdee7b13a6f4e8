"""Which learning rate to take: train for a while at a rising one and look at the loss."""

import csv
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy.ndimage import gaussian_filter1d

from tltool.data.arrays import Classes, Scale
from tltool.data.stream import Batches
from tltool.errors import UsageError
from tltool.files import atomic_path, refuse_existing
from tltool.progress import Bar, progress_bar
from tltool.recipe import Recipe, override_recipe
from tltool.training.optimizers import make_optimizer
from tltool.training.prepare import prepare
from tltool.training.stages import apply_stage, steps_per_epoch
from tltool.training.steps import STEPS

logger = logging.getLogger(__name__)

# The level of the loss that counts as the start's: the median over this share of the rates.
_START = 0.2
# A loss so many times the start's has diverged.
_DIVERGED = 3.0


@dataclass(frozen=True)
class FoundRates:
    """Losses over rising rates, and the rate that is suggested.

    Attributes
    ----------
    rates, losses, smoothed : (n,) float arrays
        Training loss of each step at its rate, and its Gaussian mean over
        neighbouring rates.
    steepest : float
        Rate at which the smoothed loss falls fastest per decade: the
        suggestion.
    lowest : float
        Rate of the lowest smoothed loss: too high to train at.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    steepest: float
    lowest: float


def _start_level(losses: np.ndarray) -> float:
    return float(np.median(losses[: max(3, int(_START * len(losses)))]))


def smooth(losses: np.ndarray) -> np.ndarray:
    """Gaussian mean over neighbouring rates.

    Parameters
    ----------
    losses : (n,) array
        What has diverged counts as three times the start.
    """
    bounded = np.minimum(losses, _DIVERGED * _start_level(losses))
    return gaussian_filter1d(bounded, max(1.0, 0.04 * len(losses)), mode="nearest")


def suggest(rates: np.ndarray, smoothed: np.ndarray) -> tuple[float, float]:
    """The rate of the steepest fall, and the rate of the lowest loss.

    Looked for between the last rate at which the loss is as high as at the
    start, whose noise would mislead, and the lowest loss.

    Parameters
    ----------
    rates : (n,) array, rising by a constant factor
    smoothed : (n,) array of losses

    Raises
    ------
    UsageError
        Where the loss hardly falls at any rate.
    """
    start, end = _start_level(smoothed), int(np.argmin(smoothed))
    if smoothed[end] > 0.97 * start:
        raise UsageError(
            f"lr-find: the loss hardly falls at any rate from {rates[0]:.2g} to {rates[-1]:.2g}"
            f" ({start:.3g} to {smoothed[end]:.3g}). Take more `steps`, or other `low` and `high`"
        )
    before = np.flatnonzero(smoothed[: end + 1] >= start)
    first = int(before[-1]) if len(before) else 0
    slopes = np.gradient(smoothed)[first : end + 1]
    return float(rates[first + int(np.argmin(slopes))]), float(rates[end])


class _Rise(keras.callbacks.Callback):
    """Raises the rate after each step and notes the loss; ends at divergence."""

    def __init__(self, rates: np.ndarray, bar: Bar):
        super().__init__()
        self._rates, self._bar = rates, bar
        self.losses: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.model.optimizer.learning_rate.assign(self._rates[len(self.losses)])
        # Keras would report the mean over the epoch so far.
        self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = float((logs or {})["loss"])
        self._bar.advance(1, f"rate {self._rates[len(self.losses)]:.1e} loss {loss:.3f}")
        self.losses.append(loss)
        done, number = len(self.losses), len(self._rates)
        # Divergence is not one bad batch: the median of the last few.
        high = np.median(self.losses[-5:]) > _DIVERGED * _start_level(np.array(self.losses))
        if not math.isfinite(loss) or (done >= _START * number and high) or done == number:
            self.model.stop_training = True


def lr_find(
    data: Any,
    out: str | Path,
    recipe: Recipe | Mapping[str, Any] | str | Path | None = None,
    *,
    stage: int = 1,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    classes: Classes = None,
    scale: Scale = None,
    overwrite: bool = False,
    **keywords: Any,
) -> FoundRates:
    """Train for some steps at a rising rate and suggest one (Smith 2017).

    Parameters
    ----------
    data, recipe, classes, scale, **keywords
        See `tltool.finetune`.
    out : str or Path
        PNG of the curve; a CSV ``rate,loss,smoothed`` lies beside it.
    stage : int
        Stage of the recipe, from 1: which layers train, with which optimizer.
        Earlier stages are not run.
    low, high : float
        First and last rate, with constant factors between.
    steps : int
        Most steps; it ends where the loss diverges.
    overwrite : bool
        Replace existing files.

    Returns
    -------
    FoundRates
        The losses over the rates, and the rate that is suggested.

    Raises
    ------
    UsageError
        A stage that the recipe does not have; too few steps before the loss
        diverges.
    DataError, ImageError, RecipeError, WeightsError, OutputError
        As of `tltool.finetune`.
    """
    path = Path(out)
    if path.suffix.lower() != ".png":
        raise UsageError(f"lr-find: expected an output name that ends in .png, received {path}")
    for each in (path, path.with_suffix(".csv")):
        refuse_existing(each, overwrite)
    recipe = override_recipe(recipe, **keywords)
    stages = recipe.training.stages
    if not 1 <= stage <= len(stages):
        raise UsageError(f"`stage`: expected 1 to {len(stages)}, received {stage}")
    if not 0 < low < high or steps < 10:
        raise UsageError(
            f"lr-find: expected 0 < low < high and 10 steps or more, received {low:g}, {high:g},"
            f" {steps}"
        )
    prepared = prepare(data, recipe, classes=classes, scale=scale)
    chosen = stages[stage - 1].model_copy(
        update={"gradient_accumulation_steps": 1, "ema": None, "epochs": None, "steps": steps}
    )
    batches = prepared.train_batches()
    per_epoch = steps_per_epoch(batches, chosen)
    factors = apply_stage(prepared.classifier, chosen, per_epoch)
    rates = np.geomspace(low, high, steps)
    optimizer = make_optimizer(chosen, float(low), factors)
    step = STEPS[chosen.method](prepared.classifier.model, prepared.objective(), optimizer)
    with progress_bar("lr-find", steps, "steps") as bar:
        rise = _Rise(rates, bar)
        known = isinstance(batches, Batches)
        images: Any = batches if known else batches.batches_from(0, 0, per_epoch)
        step.fit(
            images,
            epochs=math.ceil(steps / per_epoch),
            steps_per_epoch=None if known else per_epoch,
            verbose=0,
            shuffle=False,
            callbacks=[rise],
        )
    found = _found(rates, np.array(rise.losses))
    rows = zip(found.rates, found.losses, found.smoothed, strict=True)
    with atomic_path(path.with_suffix(".csv")) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("rate", "loss", "smoothed"))
        writer.writerows([f"{number:.6g}" for number in row] for row in rows)
    with atomic_path(path) as partial:
        _draw(found, partial, f"{recipe.backbone.name}, stage {stage} of {len(stages)}")
    return found


def _found(rates: np.ndarray, losses: np.ndarray) -> FoundRates:
    finite = np.isfinite(losses)
    if not finite.any():
        raise UsageError(
            f"lr-find: expected a loss at the first rate, {rates[0]:.2g}, received {losses[0]}."
            " Take a lower `low`"
        )
    losses, rates = losses[finite], rates[: len(losses)][finite]
    smoothed = smooth(losses)
    return FoundRates(rates, losses, smoothed, *suggest(rates, smoothed))


def _draw(found: FoundRates, path: Path, title: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(found.rates, found.losses, color="0.75", linewidth=1, label="loss of a step")
    axes.plot(found.rates, found.smoothed, color="#1f5fa8", linewidth=2, label="smoothed")
    steepest = found.steepest, found.smoothed[np.argmin(np.abs(found.rates - found.steepest))]
    axes.plot(*steepest, "o", color="#c8451b", markersize=8)
    axes.annotate(
        f"steepest: {found.steepest:.1e}",
        steepest,
        xytext=(8, 12),
        textcoords="offset points",
        color="#c8451b",
        weight="bold",
    )
    axes.axvline(found.lowest, color="0.45", linestyle=":", linewidth=1.2)
    axes.annotate(
        f" lowest: {found.lowest:.1e}",
        (found.lowest, 0.02),
        xycoords=("data", "axes fraction"),
        color="0.35",
        fontsize=9,
    )
    top = float(np.max(found.smoothed[: int(np.argmin(found.smoothed)) + 1]))
    bottom = float(np.min(found.smoothed))
    axes.set_ylim(bottom - 0.15 * (top - bottom), top + 0.6 * (top - bottom))
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss")
    axes.set_title(title, loc="left")
    axes.grid(alpha=0.25, which="both", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, format="png")
