"""Scores of points: detections and truth in, counts, precision, recall and errors out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tltool.errors import DataError
from tltool.metrics.classification import confusion_matrix
from tltool.points.matching import Matches, average_precision, enlarging_matches, match_points


@dataclass(frozen=True)
class Scene:
    """Detections and true points of one image.

    Attributes
    ----------
    xy : (n, 2) array
        x and y of the detections, px.
    labels : (n,) array of str
    score : (n,) array
    truth : (m, 2) array
        x and y in px.
    truth_labels : (m,) array of str
    gsd : float or None
        Metres a px.
    """

    xy: np.ndarray
    labels: np.ndarray
    score: np.ndarray
    truth: np.ndarray
    truth_labels: np.ndarray
    gsd: float | None = None

    def of_class(self, label: str) -> "Scene":
        """Detections and true points of this label."""
        found, true = np.asarray(self.labels) == label, np.asarray(self.truth_labels) == label
        return Scene(
            np.asarray(self.xy).reshape(-1, 2)[found],
            np.asarray(self.labels)[found],
            np.asarray(self.score)[found],
            np.asarray(self.truth).reshape(-1, 2)[true],
            np.asarray(self.truth_labels)[true],
            self.gsd,
        )


@dataclass(frozen=True)
class PointScore:
    """Agreement of detections with true points.

    Attributes
    ----------
    tp, fp, fn : int
        Matched, false and missed.
    precision, recall, f1, average_precision : float or None
        None where undefined.
    """

    tp: int
    fp: int
    fn: int
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None


@dataclass(frozen=True)
class CountError:
    """Detected minus true number an image.

    Attributes
    ----------
    mae, rmse, bias : float
        Mean absolute error, root of the mean square, mean.
    """

    mae: float
    rmse: float
    bias: float


@dataclass(frozen=True)
class Localisation:
    """Distance of matched detections from their true points, of any label.

    Attributes
    ----------
    mean, median : float or None
        px; None where nothing is matched.
    mean_metres, median_metres : float or None
        Over images that know their metres a px; None where none does.
    """

    mean: float | None
    median: float | None
    mean_metres: float | None
    median_metres: float | None


@dataclass(frozen=True)
class Score:
    """Result of `score_points`.

    Attributes
    ----------
    radius : float
        px.
    images : int
    names : tuple of str
    any : PointScore
        Any label matched with any.
    classes : dict of str to PointScore
        The same label matched.
    confusion : list of list of int
        (true class, predicted class) of the pairs matched as any.
    localisation : Localisation
    any_count : CountError or None
        None without images.
    counts : dict of str to CountError
    mean_columnwise_rmse : float or None
        Mean over classes of the RMSE over images.
    """

    radius: float
    images: int
    names: tuple[str, ...]
    any: PointScore
    classes: dict[str, PointScore]
    confusion: list[list[int]]
    localisation: Localisation
    any_count: CountError | None
    counts: dict[str, CountError]
    mean_columnwise_rmse: float | None


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def match_score(scenes: Sequence[Scene], radius: float) -> PointScore:
    """Precision, recall, F1 and average precision, whatever the labels.

    Parameters
    ----------
    scenes : sequence of Scene
    radius : float
        px.
    """
    flags = [enlarging_matches(s.xy, s.truth, radius, s.score) for s in scenes]
    right = np.concatenate([np.zeros(0, bool), *flags])
    score = np.concatenate([np.zeros(0), *(np.asarray(s.score, float) for s in scenes)])
    truth, tp = sum(len(s.truth) for s in scenes), int(right.sum())
    return PointScore(
        tp,
        len(right) - tp,
        truth - tp,
        _ratio(tp, len(right)),
        _ratio(tp, truth),
        _ratio(2 * tp, len(right) + truth),
        average_precision(right, score, truth),
    )


def count_errors(detected: np.ndarray, true: np.ndarray) -> CountError | None:
    """Errors of (images,) detected counts against true ones; None without images."""
    error = np.asarray(detected, float) - np.asarray(true, float)
    if not len(error):
        return None
    squares = float(np.sqrt((error**2).mean()))
    return CountError(float(np.abs(error).mean()), squares, float(error.mean()))


def mean_columnwise_rmse(detected: np.ndarray, true: np.ndarray) -> float | None:
    """The sea-lion survey's error of (images, classes) counts.

    The root of the mean square over images of each class, averaged over the
    classes; None without images or classes.

    References
    ----------
    NOAA Fisheries Steller Sea Lion Population Count, Kaggle 2017, Evaluation.
    """
    error = np.asarray(detected, float) - np.asarray(true, float)
    return float(np.sqrt((error**2).mean(axis=0)).mean()) if error.size else None


def _localise(scenes: Sequence[Scene], matched: Sequence[Matches]) -> Localisation:
    pairs = zip(scenes, matched, strict=True)
    ground = [m.distance * s.gsd for s, m in pairs if s.gsd is not None]
    every = [np.concatenate([np.zeros(0), *v]) for v in ([m.distance for m in matched], ground)]
    numbers = [
        float(of(values)) if len(values) else None
        for values in every
        for of in (np.mean, np.median)
    ]
    return Localisation(*numbers)


def _codes(labels: np.ndarray, names: Sequence[str], what: str) -> np.ndarray:
    """Indices of labels in `names`."""
    known = {name: index for index, name in enumerate(names)}
    unknown = sorted({str(label) for label in labels} - set(known))
    if unknown:
        raise DataError(
            f"{what}: expected labels of {', '.join(names)}; received {', '.join(unknown)}."
            " Rename them or leave them out"
        )
    return np.array([known[str(label)] for label in labels], np.intp)


def score_points(scenes: Sequence[Scene], radius: float, names: Sequence[str]) -> Score:
    """Score the detections of images.

    Parameters
    ----------
    scenes : sequence of Scene
    radius : float
        Largest distance of a detection from the point it stands for, px.
    names : sequence of str
        Classes, without the background.

    Returns
    -------
    Score

    Raises
    ------
    DataError
        Where a label is none of the names, a position is not finite or the
        radius not above 0.
    """
    found = [_codes(s.labels, names, "detections") for s in scenes]
    true = [_codes(s.truth_labels, names, "truth") for s in scenes]
    matched = [match_points(s.xy, s.truth, radius) for s in scenes]
    size = len(names)
    confusion = np.zeros((size, size), int)
    for one, other, pairs in zip(found, true, matched, strict=True):
        confusion += confusion_matrix(other[pairs.truth], one[pairs.detection], size)
    numbers, expected = (
        np.array([np.bincount(codes, minlength=size) for codes in every]).reshape(-1, size)
        for every in (found, true)
    )
    errors = {name: count_errors(numbers[:, k], expected[:, k]) for k, name in enumerate(names)}
    return Score(
        radius,
        len(scenes),
        tuple(names),
        match_score(scenes, radius),
        {name: match_score([s.of_class(name) for s in scenes], radius) for name in names},
        confusion.tolist(),
        _localise(scenes, matched),
        count_errors(numbers.sum(axis=1), expected.sum(axis=1)),
        {name: error for name, error in errors.items() if error is not None},
        mean_columnwise_rmse(numbers, expected),
    )
