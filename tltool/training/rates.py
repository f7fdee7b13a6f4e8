"""Rate curves: the learning rate as a function of the step."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tltool.recipe import StageRecipe

# share of the rate at (steps done, steps in all, steps in an epoch, the curve's parameters)
_Share = Callable[[Any, float, float, Any], Any]


def _constant(step: Any, total: float, epoch: float, curve: Any) -> Any:
    return ops.ones_like(step)


def _half_cosine(share: Any, start: float, end: float) -> Any:
    return end + (start - end) * 0.5 * (1 + ops.cos(math.pi * ops.clip(share, 0, 1)))


def _cosine(step: Any, total: float, epoch: float, curve: Any) -> Any:
    warm = curve.warmup * epoch
    return _half_cosine((step - warm) / max(1.0, total - warm), 1, curve.end)


def _one_cycle(step: Any, total: float, epoch: float, curve: Any) -> Any:
    top = max(1.0, curve.peak * total)
    up = _half_cosine(step / top, curve.start, 1)
    down = _half_cosine((step - top) / max(1.0, total - top), 1, curve.end)
    return ops.where(step < top, up, down)


def _step(step: Any, total: float, epoch: float, curve: Any) -> Any:
    return curve.factor ** ops.floor(step / max(1.0, curve.every * epoch))


# One table for dispatch; `plateau` falls by what the validation says, not by the step.
CURVES: dict[str, _Share] = {
    "constant": _constant,
    "cosine": _cosine,
    "one-cycle": _one_cycle,
    "step": _step,
}


class RateCurve(keras.optimizers.schedules.LearningRateSchedule):
    """The rate of a stage at each step.

    Parameters
    ----------
    stage : StageRecipe
    steps : int
        In an epoch.
    """

    def __init__(self, stage: StageRecipe, steps: int):
        super().__init__()
        self._stage = stage
        self._epoch = float(steps)
        self._total = max(1.0, stage.epochs * self._epoch)

    def __call__(self, step: Any) -> Any:
        """The rate when `step` steps are done."""
        curve = self._stage.curve
        done = ops.cast(step, "float32")
        share = CURVES[curve.name](done, self._total, self._epoch, curve)
        warm = getattr(curve, "warmup", 0) * self._epoch
        if warm > 0:
            share = share * ops.clip((done + 1) / (warm + 1), 0, 1)
        return self._stage.rate * share

    def get_config(self) -> dict[str, Any]:
        """What it was made of."""
        return {"stage": self._stage.model_dump(), "steps": self._epoch}


def make_rate(stage: StageRecipe, steps: int) -> Any:
    """A number or a schedule for an optimizer; see `RateCurve`."""
    return stage.rate if stage.curve.name == "plateau" else RateCurve(stage, steps)
