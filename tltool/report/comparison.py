"""A network beside its baselines: accuracies of the same images, and what it has over each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tltool.metrics.answers import Answers
from tltool.metrics.bootstrap import Draws, interval, number_groups
from tltool.report.baselines import Baseline

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
        That it was judged on.
    accuracy, macro_f1 : float
        Accuracy of a multi-label task is the share of right labels; F1 of a
        class without image and prediction counts as 0.
    interval : (float, float) or None
        95 % of the accuracy.
    gain : float or None
        What the network's accuracy is above it, on the same images; None for
        the network itself.
    gain_interval : (float, float) or None
    seconds : float or None
    """

    name: str
    note: str
    images: int
    accuracy: float
    macro_f1: float
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
    parts = [weights @ values / weights.sum(axis=1) for weights in draws.weights(1)]
    found = interval(np.concatenate(parts), draws)
    return None if found is None else (found[0], found[1])


def _right(truth: np.ndarray, told: np.ndarray) -> np.ndarray:
    """Share of right answers of each image: of labels for a multi-label task, else 0 or 1."""
    same = truth == told
    return same.astype(float) if same.ndim == 1 else same.mean(axis=1)


def _macro_f1(truth: np.ndarray, told: np.ndarray, classes: int) -> float:
    from sklearn.metrics import f1_score

    names = None if truth.ndim == 2 else np.arange(classes)
    return float(f1_score(truth, told, labels=names, average="macro", zero_division=0))


def compare(
    answers: Answers,
    places: np.ndarray,
    baselines: Sequence[Baseline],
    groups: Sequence[str] = (),
    seed: int = 0,
) -> list[Compared]:
    """Compare baselines and the network on the same images.

    Parameters
    ----------
    answers : Answers
        The network's, of all judged images.
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
    truth = answers.labels if answers.exclusive else answers.truth.astype(int)
    own = answers.predicted if answers.exclusive else answers.told.astype(int)
    classes = answers.truth.shape[1]
    found = []
    for baseline in baselines:
        rows = places[baseline.places]
        right = _right(truth[rows], baseline.answers)
        gain = _right(truth[rows], own[rows]) - right
        parts = [groups[row] for row in rows] if groups else ()
        found.append(
            Compared(
                baseline.name,
                baseline.note,
                len(rows),
                float(right.mean()),
                _macro_f1(truth[rows], baseline.answers, classes),
                mean_interval(right, parts, seed),
                float(gain.mean()),
                mean_interval(gain, parts, seed),
                baseline.seconds,
            )
        )
    right, f1 = _right(truth, own), _macro_f1(truth, own, classes)
    sure = mean_interval(right, groups, seed)
    return [*found, Compared("this network", "", len(truth), float(right.mean()), f1, sure)]
