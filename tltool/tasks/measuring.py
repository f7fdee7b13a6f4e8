"""What the numbers of every kind of task depend on, and their intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tltool.errors import UsageError
from tltool.metrics.bootstrap import Drawn, Draws, interval, number_groups
from tltool.metrics.paths import find, get


@dataclass(frozen=True)
class Choices:
    """Choices that the numbers of every task depend on, as in `tltool.evaluate`."""

    beta: float = 2.0
    top_k: int = 3
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("top_k", 1), ("resamples", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise UsageError(
                    f"`{name}`: expected a number from {least} on, received {getattr(self, name)}"
                )
        if not self.beta > 0:
            raise UsageError(f"`beta`: expected a number above 0, received {self.beta:g}")


@dataclass(frozen=True)
class Temperature:
    """The temperature of a task.

    Attributes
    ----------
    value : float
    fitted_on : int or None
        Images of the validation split; None: it was stored before.
    """

    value: float
    fitted_on: int | None


class Measured(NamedTuple):
    """Numbers of a task, those of every drawn sample by their paths, and the draws."""

    numbers: dict[str, Any]
    drawn: Drawn
    draws: Draws


def task_draws(labelled: np.ndarray, groups: Sequence[str], choices: Choices) -> Draws:
    """Samples of the labelled images of a task.

    Parameters
    ----------
    labelled : (n,) bool array
    groups : (n,) sequence of str
        As in `Task.measure`.
    choices : Choices
    """
    own = number_groups(groups, len(labelled))[labelled]
    renumbered = np.unique(own, return_inverse=True)[1].reshape(-1)
    return Draws(renumbered, choices.resamples, choices.seed)


def intervals(drawn: Drawn, draws: Draws, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Intervals of the drawn numbers by path; None where the number itself is undefined."""
    return {
        path: None if find(numbers, path) is None else interval(values, draws)
        for path, values in drawn.items()
    }


def gains(paths: Sequence[str], plain: Measured, averaged: Measured) -> dict[str, Any]:
    """Gains of test-time augmentation: path -> ``value`` and ``interval`` of the difference.

    Both are of the same drawn samples, so that an interval is of the difference
    itself.
    """
    found = {}
    for path in paths:
        values = get(averaged.numbers, path), get(plain.numbers, path)
        if None not in values:
            change = interval(averaged.drawn[path] - plain.drawn[path], plain.draws)
            found[path] = {"value": values[0] - values[1], "interval": change}
    return found
