"""A network beside its baselines: scores of the same images, and what it has over each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tltool.metrics.baselines import Baseline
from tltool.metrics.bootstrap import Draws, interval, number_groups
from tltool.tasks.task import Task

_RESAMPLES = 1000

# Low and high end; None where there are too few groups to draw among.
Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Compared:
    """One method's numbers.

    Attributes
    ----------
    name, note : str
    images : int
        That it was evaluated on.
    score, other : float
        The two numbers of the task's `scoring`.
    interval : (float, float) or None
        95 % of the score.
    gain : float or None
        What the network's score is above it, on the same images; None for
        the network itself.
    gain_interval : (float, float) or None
    seconds : float or None
    """

    name: str
    note: str
    images: int
    score: float
    other: float
    interval: Interval
    gain: float | None = None
    gain_interval: Interval = None
    seconds: float | None = None


def mean_interval(values: np.ndarray, groups: Sequence[str] = (), seed: int = 0) -> Interval:
    """95 % of the bootstrap of a mean; groups as of `tltool.metrics.bootstrap`.

    Parameters
    ----------
    values : (n,) array
    groups : (n,) sequence of str
        Empty: every value is drawn on its own.
    seed : int
    """
    draws = Draws(number_groups(groups, len(values)), _RESAMPLES, seed)
    means = draws.numbers(1, lambda weights: {"mean": weights @ values / weights.sum(axis=1)})
    found = interval(means["mean"], draws)
    return None if found is None else (found[0], found[1])


def compare(
    task: Task,
    outputs: np.ndarray,
    targets: np.ndarray,
    places: np.ndarray,
    baselines: Sequence[Baseline],
    groups: Sequence[str] = (),
    seed: int = 0,
) -> list[Compared]:
    """Compare baselines and the network on the same images.

    Parameters
    ----------
    task : Task
    outputs, targets : (n, outputs) arrays
        The network's, of all evaluated images, and what is so.
    places : (m,) int array
        Which of the labelled images the baselines were asked about.
    baselines : sequence of Baseline
    groups : sequence of str
        Of the labelled images, as of `LabelledPredictions`; empty: none.
    seed : int
        Of the bootstrap.

    Returns
    -------
    list of Compared
        The network comes last.
    """
    labelled = task.labelled(targets)
    truth, own = task.decide(targets[labelled]), task.decide(outputs[labelled])
    found = []
    for baseline in baselines:
        rows = places[baseline.places]
        scores = task.score_images(truth[rows], baseline.answers)
        gain = task.score_images(truth[rows], own[rows]) - scores
        parts = [groups[row] for row in rows] if groups else ()
        found.append(
            Compared(
                baseline.name,
                baseline.note,
                len(rows),
                float(scores.mean()),
                task.score_all(truth[rows], baseline.answers),
                mean_interval(scores, parts, seed),
                float(gain.mean()),
                mean_interval(gain, parts, seed),
                baseline.seconds,
            )
        )
    scores, other = task.score_images(truth, own), task.score_all(truth, own)
    sure = mean_interval(scores, groups, seed)
    return [*found, Compared("this network", "", len(truth), float(scores.mean()), other, sure)]
