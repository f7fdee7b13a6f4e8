"""Whether a probability of 0.8 is right 8 times in 10, and the temperature that mends it.

What is compared: of a task with one class of several the probability of the
class predicted, and whether it is right; of a binary task the probability of the
positive, and whether it is true; of a multi-label task the same for each pair
of image and label. Probabilities go into 15 bins of equal width, each with its
upper edge. The expected calibration error is the mean over the bins of the
difference between mean probability and share that was right, weighted by how
many lie in the bin.

A temperature T divides the scores before softmax or sigmoid: probabilities
become p**(1/T), over their sum. It changes no answer, only how sure it is.

References
----------
C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On calibration of modern neural
networks", ICML 2017, arXiv:1706.04599: equations 3 (expected calibration
error) and 9 (temperature).
"""

from dataclasses import replace
from typing import Any

import numpy as np

from tltool.metrics.answers import Answers

BINS = 15

# A temperature at an end of this range is not determined by the images.
_RANGE = (0.05, 20.0)
# Single precision gives exact zeros, which have no logarithm.
_LEAST = 1e-12


def _clipped(probabilities: np.ndarray) -> np.ndarray:
    return np.clip(probabilities.astype(np.float64), _LEAST, 1 - _LEAST)


def compared(answers: Answers) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and whether each came true.

    Returns
    -------
    (n, m) float64 array, (n, m) bool array
        m: 1, or the number of labels of a multi-label task.
    """
    chosen: Any = slice(None), answers.asked
    if not answers.asked:
        chosen = np.arange(len(answers))[:, None], answers.predicted[:, None]
    return answers.scores[chosen], answers.truth[chosen]


def bin_of(probabilities: np.ndarray) -> np.ndarray:
    """The bin of each probability, from 0; an edge is in the lower one."""
    return np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], probabilities)


def calibration(answers: Answers) -> tuple[float | None, list[dict[str, Any]]]:
    """Expected calibration error and the bins that are not empty, as `tltool.evaluate` has them."""
    probability, right = (values.ravel() for values in compared(answers))
    if not len(probability):
        return None, []
    of = bin_of(probability)
    number = np.bincount(of, minlength=BINS)
    sure = np.bincount(of, probability, BINS)
    came = np.bincount(of, right, BINS)
    curve = [
        {
            "low": b / BINS,
            "high": (b + 1) / BINS,
            "samples": int(number[b]),
            "confidence": float(sure[b] / number[b]),
            "frequency": float(came[b] / number[b]),
        }
        for b in np.flatnonzero(number).tolist()
    ]
    return float(np.abs(sure - came).sum() / number.sum()), curve


def soften(probabilities: np.ndarray, temperature: float, exclusive: bool) -> np.ndarray:
    """Probabilities at a temperature.

    Parameters
    ----------
    probabilities : (n, outputs) array
    temperature : float
        Above 0; 1 leaves them as they are, more makes them less sure.
    exclusive : bool
        Whether they add up to 1 (softmax), else each is by itself (sigmoid).
    """
    from scipy.special import expit, logit, softmax

    kept = _clipped(probabilities)
    if exclusive:
        return softmax(np.log(kept) / temperature, axis=1)
    return expit(logit(kept) / temperature)


def fit_temperature(answers: Answers) -> float | None:
    """The temperature of the lowest log loss.

    Parameters
    ----------
    answers : Answers
        Of images that neither trained the network nor evaluate it.

    Returns
    -------
    float; None where these images do not determine it: none is labelled, all
    answers are right (then it falls without end) or no better than chance
    (then it rises).
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax, logit

    if not len(answers):
        return None
    if answers.exclusive:
        scores = np.log(_clipped(answers.scores))
        row = np.arange(len(answers))

        def loss(log: float) -> float:
            return -float(log_softmax(scores / np.exp(log), axis=1)[row, answers.labels].mean())
    else:
        margin = np.where(answers.truth, 1, -1) * logit(_clipped(answers.scores))

        def loss(log: float) -> float:
            return float(np.logaddexp(0, -margin / np.exp(log)).mean())

    low, high = np.log(_RANGE)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded")
    # The loss has one valley; where it has none, an end of the range is as good.
    return float(np.exp(found.x)) if found.fun < min(loss(low), loss(high)) else None


def at_temperature(answers: Answers, temperature: float) -> Answers:
    """Apply a temperature to answers."""
    # With both columns a binary task is a softmax of two.
    return replace(answers, scores=soften(answers.scores, temperature, answers.exclusive))
