"""Learning-rate schedules: the learning rate of a stage as a function of the step."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tltool.recipe import StageRecipe

# share of the learning rate at (steps done, steps in all, steps in an epoch, the parameters)
_Share = Callable[[Any, float, float, Any], Any]


def _constant(step: Any, total: float, epoch: float, schedule: Any) -> Any:
    return ops.ones_like(step)


def _half_cosine(share: Any, start: float, end: float) -> Any:
    return end + (start - end) * 0.5 * (1 + ops.cos(math.pi * ops.clip(share, 0, 1)))


def _cosine(step: Any, total: float, epoch: float, schedule: Any) -> Any:
    warm = schedule.warmup * epoch
    return _half_cosine((step - warm) / max(1.0, total - warm), 1, schedule.end)


def _one_cycle(step: Any, total: float, epoch: float, schedule: Any) -> Any:
    top = max(1.0, schedule.peak * total)
    up = _half_cosine(step / top, schedule.start, 1)
    down = _half_cosine((step - top) / max(1.0, total - top), 1, schedule.end)
    return ops.where(step < top, up, down)


def _step(step: Any, total: float, epoch: float, schedule: Any) -> Any:
    return schedule.factor ** ops.floor(step / max(1.0, schedule.every * epoch))


# One table for dispatch; `plateau` falls by what the validation says, not by the step.
SCHEDULES: dict[str, _Share] = {
    "constant": _constant,
    "cosine": _cosine,
    "one-cycle": _one_cycle,
    "step": _step,
}


class StageSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of a stage at each step.

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
        self._total = max(1.0, stage.length(steps)[1])

    def __call__(self, step: Any) -> Any:
        """The learning rate when `step` steps are done."""
        schedule = self._stage.schedule
        done = ops.cast(step, "float32")
        share = SCHEDULES[schedule.name](done, self._total, self._epoch, schedule)
        warm = getattr(schedule, "warmup", 0) * self._epoch
        if warm > 0:
            share = share * ops.clip((done + 1) / (warm + 1), 0, 1)
        return self._stage.learning_rate * share

    def get_config(self) -> dict[str, Any]:
        """Return the arguments it was made with."""
        return {"stage": self._stage.model_dump(), "steps": self._epoch}


def make_schedule(stage: StageRecipe, steps: int) -> Any:
    """A number or a schedule for an optimizer; see `StageSchedule`."""
    if stage.schedule.name == "plateau":
        return stage.learning_rate
    return StageSchedule(stage, steps)
