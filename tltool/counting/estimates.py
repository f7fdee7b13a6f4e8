"""Counts of a class in one image or many, with what is known of the true number."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tltool.errors import UsageError
from tltool.points import block_bootstrap, intervals
from tltool.points.block_bootstrap import LEAST_BLOCKS, bootstrap_interval
from tltool.points.intervals import CountInterval, count_interval
from tltool.run.detection_parameters import DetectionParameters, Validation

# What all classes together are called.
ANY = "(any)"


@dataclass(frozen=True)
class Count:
    """How many of a class were detected, and how many there may be.

    Attributes
    ----------
    label : str
        `ANY`: of all classes together.
    detections : int
    interval : CountInterval or None
        None: unknown.
    """

    label: str
    detections: int
    interval: CountInterval | None


def _beta_binomial(detections: int, validation: Validation, level: float) -> CountInterval | None:
    return count_interval(detections, validation, level)


def _bootstrap(detections: int, validation: Validation, level: float) -> CountInterval | None:
    return bootstrap_interval(detections, validation.blocks, level)


Method = Callable[[int, Validation, float], CountInterval | None]

INTERVALS: Mapping[str, Method] = {"beta-binomial": _beta_binomial, "bootstrap": _bootstrap}

METHODS = {"beta-binomial": intervals.METHOD, "bootstrap": block_bootstrap.METHOD}


def check_interval(method: str, level: float) -> None:
    """Raise a `UsageError` where there is no such method or level."""
    if method not in INTERVALS:
        raise UsageError(f"--interval: expected {' or '.join(INTERVALS)}; received {method}")
    if not 0 < level < 1:
        raise UsageError(f"--level: expected a probability between 0 and 1, received {level:g}")


def validation_of(parameters: DetectionParameters, label: str) -> Validation | None:
    """How detections of a class, or of any, agreed with the truth of validation images."""
    return parameters.validation_any if label == ANY else parameters.validation.get(label)


def shown_labels(classes: Sequence[str]) -> tuple[str, ...]:
    """The classes, and all of them together where there are several."""
    return tuple(classes) if len(classes) == 1 else (*classes, ANY)


def count_labels(
    labels: np.ndarray,
    classes: Sequence[str],
    parameters: DetectionParameters,
    level: float,
    method: str,
) -> list[Count]:
    """Count detections and bound the true numbers.

    Parameters
    ----------
    labels : (n,) array of str
        Of the detections of one image, or of several together: the interval
        of a sum is not the sum of intervals, since all images share what the
        validation does not know.
    classes : sequence of str
    parameters : DetectionParameters
        Those the points were found by; their validation bounds the numbers.
    level : float
    method : str
        One of `INTERVALS`.

    Returns
    -------
    list of Count
        By `shown_labels`.
    """
    counts = []
    for label in shown_labels(classes):
        number = len(labels) if label == ANY else int((labels == label).sum())
        validation = validation_of(parameters, label)
        known = None if validation is None else INTERVALS[method](number, validation, level)
        counts.append(Count(label, number, known))
    return counts


def why_unknown(label: str, parameters: DetectionParameters, method: str) -> str:
    """Why a tuned run gives no interval for a class; empty where it gives one."""
    validation = validation_of(parameters, label)
    if validation is None or not validation.tp:
        missed = 0 if validation is None else validation.fn
        if missed:
            return f"none of {missed} was found in validation"
        return "validation has no example"
    filled = sum(any(counts) for counts in validation.blocks)
    if method == "bootstrap" and filled < LEAST_BLOCKS:
        return f"validation has {filled} blocks with points, {LEAST_BLOCKS} are needed"
    return ""
