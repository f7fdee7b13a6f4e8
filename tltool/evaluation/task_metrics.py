"""All numbers of one task, with their intervals, as ``metrics.json`` holds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tltool.errors import UsageError
from tltool.evaluation.temperature import Temperature
from tltool.metrics.answers import Answers
from tltool.metrics.bootstrap import (
    Drawn,
    Draws,
    draw_losses,
    draw_measures,
    interval,
    number_groups,
)
from tltool.metrics.calibration import at_temperature, calibration
from tltool.metrics.curves import curves, threshold_tables
from tltool.metrics.measures import losses, measures, quiet
from tltool.metrics.paths import find

# What test-time augmentation is asked about.
GAINS = ("accuracy", "balanced_accuracy", "subset_accuracy", "macro.f1", "log_loss")


@dataclass(frozen=True)
class Choices:
    """What the numbers of every task depend on, as of `tltool.evaluate`."""

    beta: float = 2.0
    top_k: int = 3
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("top_k", 1), ("resamples", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise UsageError(
                    f"{name}: expected a number from {least} on, received {getattr(self, name)}"
                )
        if not self.beta > 0:
            raise UsageError(f"beta: expected a number above 0, received {self.beta:g}")


def _intervals(drawn: Drawn, draws: Draws, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """None where the number itself is undefined."""
    return {
        path: None if find(numbers, path) is None else interval(values, draws)
        for path, values in drawn.items()
    }


def _calibration(told: Answers) -> dict[str, Any]:
    error, curve = calibration(told)
    return {"ece": error, "calibration": curve}


def _calibrated(told: Answers, temperature: Temperature) -> tuple[dict[str, Any], Answers]:
    softened = at_temperature(told, temperature.value)
    with quiet():
        lost = losses(softened)
    numbers = {
        "temperature": temperature.value,
        "fitted_on": temperature.fitted_on,
        **lost,
        **_calibration(softened),
    }
    return numbers, softened


def task_draws(told: Answers, groups: Sequence[str], choices: Choices) -> Draws:
    """Samples of the labelled images of a task."""
    own = number_groups(groups, len(told.labelled))[told.labelled]
    renumbered = np.unique(own, return_inverse=True)[1].reshape(-1)
    return Draws(renumbered, choices.resamples, choices.seed)


def task_metrics(
    told: Answers, draws: Draws, choices: Choices, temperature: Temperature | None = None
) -> tuple[dict[str, Any], Drawn]:
    """The numbers of a task, see `tltool.evaluate`, and those of every drawn sample.

    Parameters
    ----------
    told : Answers
    draws : Draws
        As of `task_draws`.
    choices : Choices
    temperature : Temperature, optional
        To tell the numbers at it too.
    """
    numbers: dict[str, Any] = {
        "kind": told.kind,
        "samples": len(told),
        **measures(told, choices.beta, choices.top_k),
        **_calibration(told),
        "calibrated": None,
        "curves": curves(told),
    }
    drawn = draw_measures(told, draws, choices.beta, choices.top_k) if len(told) else {}
    if temperature is not None:
        numbers["calibrated"], softened = _calibrated(told, temperature)
        after = draw_losses(softened, draws) if len(told) else {}
        drawn |= {f"calibrated.{path}": values for path, values in after.items()}
    if told.kind != "multi-class":
        numbers["thresholds"] = threshold_tables(told)
    numbers["intervals"] = _intervals(drawn, draws, numbers)
    return numbers, drawn


def gains(
    plain: tuple[dict[str, Any], Drawn], averaged: tuple[dict[str, Any], Drawn], draws: Draws
) -> dict[str, Any]:
    """What test-time augmentation changes: path -> ``value`` and ``interval`` of the difference.

    Both are judged on the same drawn samples, so that an interval is of the
    difference itself.
    """
    (before, drawn), (after, redrawn) = plain, averaged
    found = {}
    for path in GAINS:
        try:
            values = find(after, path), find(before, path)
        except KeyError:
            continue
        if None not in values:
            change = interval(redrawn[path] - drawn[path], draws)
            found[path] = {"value": values[0] - values[1], "interval": change}
    return found
