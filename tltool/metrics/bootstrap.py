"""How the numbers of a task vary between samples of its images: intervals by the bootstrap.

Images are drawn with replacement, as many as there are; images of one group
(of one photograph, say) together, for they are not independent. A drawn sample
is a weight for every image, so that the numbers of many samples are products
of matrices and cumulative sums. An interval of 95 % goes from the 2.5 % to the
97.5 % percentile of the samples where the number is defined; it is None where
that is fewer than half of them, or where there is but one group.

References
----------
B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, Chapman &
Hall, 1993, chapter 13: percentile intervals.
A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application,
Cambridge University Press, 1997, section 3.8: groups drawn whole.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tltool.metrics.answers import Answers
from tltool.metrics.calibration import BINS, bin_of, compared
from tltool.metrics.measures import MEASURES, divide, mean, quiet

LEVEL = 0.95

# Path of a number in the metrics of a task -> its values, one a drawn sample.
Drawn = dict[str, np.ndarray]

# Numbers held at a time for all images, classes and samples drawn.
_ROOM = 8_000_000
_TINY = np.finfo(np.float64).eps


@dataclass(frozen=True)
class Draws:
    """Samples of images, the same ones whenever they are drawn.

    Attributes
    ----------
    groups : (n,) int array
        Of each image, from 0.
    number : int
        Of samples.
    seed : int
    """

    groups: np.ndarray
    number: int
    seed: int

    def weights(self, width: int) -> Iterator[np.ndarray]:
        """Iterate over how often images are in samples: (b, n) int32 arrays, `number` rows in all.

        `width` : numbers that the caller needs for an image and a sample.
        """
        rng = np.random.default_rng(self.seed)
        groups = int(self.groups.max(initial=-1)) + 1
        rows = max(1, _ROOM // max(1, len(self.groups) * width))
        for start in range(0, self.number, rows):
            count = min(rows, self.number - start)
            drawn = rng.integers(groups, size=(count, groups))
            drawn += groups * np.arange(count)[:, None]
            times = np.bincount(drawn.ravel(), minlength=count * groups)
            yield _take(times.reshape(count, groups).astype(np.int32), self.groups)

    def numbers(self, width: int, *workers: Callable[[np.ndarray], Drawn]) -> Drawn:
        """Numbers that `workers` make of weights, of all samples; `width` as of `weights`."""
        parts = [[work(weights) for work in workers] for weights in self.weights(width)]
        return {
            key: np.concatenate([part[k][key] for part in parts])
            for k, found in enumerate(parts[0])
            for key in found
        }


def number_groups(names: Sequence[str], images: int) -> np.ndarray:
    """Groups by number; those without name are each a group of its own."""
    own = [name or f"\0{place}" for place, name in enumerate(names or [""] * images)]
    return np.unique(own, return_inverse=True)[1].reshape(-1) if images else np.zeros(0, int)


def _rates(
    hit: np.ndarray, true: np.ndarray, predicted: np.ndarray, images: np.ndarray, beta: float
) -> Drawn:
    """The rates of `tltool.metrics.measures` from counts of any shape."""
    return {
        "precision": divide(hit, predicted),
        "recall": divide(hit, true),
        "f1": divide(2 * hit, true + predicted),
        "f_beta": divide((1 + beta**2) * hit, beta**2 * true + predicted),
        "specificity": divide(images - true - predicted + hit, images - true),
    }


class _Ranking:
    """Areas under the curves of one question, for many samples at once.

    With images in the order of their scores, most probable first, the area
    under the ROC curve is the mean over true ones of the share of false ones
    behind them (those of the same score count half), and average precision
    the mean over true ones of the share of true ones down to them (and to
    those of the same score).
    """

    def __init__(self, truth: np.ndarray, scores: np.ndarray, image: np.ndarray):
        order = np.argsort(-scores, kind="stable")
        ordered, true = scores[order], np.flatnonzero(truth[order])
        self._image, self._true = image[order], image[order][true]
        # Before the first and behind the last of the same score, for each true one.
        self._before = np.searchsorted(-ordered, -ordered[true], "left")
        self._behind = np.searchsorted(-ordered, -ordered[true], "right")
        self._true_before = np.searchsorted(true, self._before)
        self._true_behind = np.searchsorted(true, self._behind)

    def __call__(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Area under the ROC curve and average precision, (b,) arrays, of (b, n) weights."""
        predicted, true = _sums(weights, self._image), _sums(weights, self._true)
        positive, negative = true[:, -1], predicted[:, -1] - true[:, -1]
        behind, true_behind = _take(predicted, self._behind), _take(true, self._true_behind)
        # Twice the false ones at the middle of those of the same score.
        false = (
            behind - true_behind + _take(predicted, self._before) - _take(true, self._true_before)
        )
        seen = _take(weights, self._true)
        area = _total(seen, negative[:, None] - false / 2)
        precision = np.divide(true_behind, behind, out=np.zeros(seen.shape), where=seen > 0)
        both = positive.astype(np.float64) * negative
        return divide(area, both), divide(_total(seen, precision), positive)


def _take(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    # Several times as fast as an index.
    return np.take(values, places, axis=1)


def _sums(weights: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Weights of the first 0, 1 .. of some images, summed."""
    sums = np.zeros((len(weights), len(image) + 1), weights.dtype)
    np.cumsum(_take(weights, image), axis=1, out=sums[:, 1:])
    return sums


def _total(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.einsum("bn,bn->b", weights, values)


class _Measures:
    """The numbers of `tltool.metrics.measures`, but losses, for weights of the images."""

    def __init__(self, answers: Answers, beta: float, top_k: int):
        self._answers, self._beta = answers, beta
        number, classes = answers.truth.shape
        each = np.arange(number)
        self._hit = (answers.truth & answers.decided).astype(np.float32)
        self._true, self._yes = answers.truth.astype(np.float32), answers.decided.astype(np.float32)
        columns = zip(answers.truth.T, answers.scores.T, strict=True)
        self._ranks = [_Ranking(truth, scores, each) for truth, scores in columns]
        flat = answers.truth.ravel(), answers.scores.ravel()
        self._rank = _Ranking(*flat, np.repeat(each, classes))
        self._whole = self._of_images(top_k)

    def _of_images(self, top_k: int) -> dict[str, np.ndarray]:
        """Numbers that are a mean over images: of each image."""
        answers = self._answers
        right = answers.truth == answers.decided
        if not answers.exclusive:
            share = right.mean(axis=1)
            return {
                "accuracy": share,
                "hamming_loss": 1 - share,
                "subset_accuracy": right.all(axis=1),
            }
        found = {"accuracy": right.all(axis=1)}
        if not answers.asked:
            # Of equal scores the later class goes first, as in scikit-learn.
            best = np.argsort(answers.scores, axis=1, kind="stable")[:, ::-1]
            for k in range(2, min(top_k, answers.truth.shape[1] - 1) + 1):
                found[f"top_k.{k}"] = (best[:, :k] == answers.labels[:, None]).any(axis=1)
        return found

    def __call__(self, weights: np.ndarray) -> Drawn:
        parts = (self._hit, self._true, self._yes)
        floats = weights.astype(np.float32)
        hit, true, yes = ((floats @ part).astype(np.float64) for part in parts)
        total = floats.sum(axis=1, dtype=np.float64)
        found = {key: divide(floats @ part, total) for key, part in self._whole.items()}
        if self._answers.exclusive:
            found["balanced_accuracy"] = mean(divide(hit, true), np.ones_like(true))
            chance = (true * yes).sum(axis=1) / total**2
            found["kappa"] = divide(found["accuracy"] - chance, 1 - chance)
        classes = _rates(hit, true, yes, total[:, None], self._beta)
        areas = [rank(weights) for rank in self._ranks]
        classes["roc_auc"], classes["average_precision"] = (
            np.stack(columns, axis=1) for columns in zip(*areas, strict=True)
        )
        pairs = (hit.sum(axis=1), true.sum(axis=1), yes.sum(axis=1), total * true.shape[1])
        micro = _rates(*pairs, self._beta)
        micro["roc_auc"], micro["average_precision"] = self._rank(weights)
        for key in MEASURES:
            found[f"macro.{key}"] = mean(classes[key], np.ones_like(true))
            found[f"weighted.{key}"] = mean(classes[key], true)
            found[f"micro.{key}"] = micro[key]
        if not self._answers.exclusive:
            found["mean_average_precision"] = found["macro.average_precision"]
        for c, name in enumerate(self._answers.classes):
            found |= {f"classes.{name}.{key}": values[:, c] for key, values in classes.items()}
        return found


class _Losses:
    """Log loss, Brier score and expected calibration error for weights of the images."""

    def __init__(self, answers: Answers):
        scores, truth = answers.scores, answers.truth
        clipped = np.clip(scores, _TINY, 1 - _TINY)
        square = (scores - truth) ** 2
        if answers.exclusive:
            self._log = -np.log(clipped[truth])
            self._square = square.sum(axis=1) / (2 if truth.shape[1] == 2 else 1)
        else:
            self._log = -np.log(np.where(truth, clipped, 1 - clipped)).mean(axis=1)
            self._square = square.mean(axis=1)
        probability, right = compared(answers)
        self._outputs = probability.shape[1]
        self._gaps = np.zeros((len(answers), BINS))
        image = np.repeat(np.arange(len(answers)), self._outputs)
        gap = (probability - right).ravel()
        np.add.at(self._gaps, (image, bin_of(probability.ravel())), gap)

    def __call__(self, weights: np.ndarray) -> Drawn:
        weights = weights.astype(np.float64)
        total = weights.sum(axis=1)
        gaps = np.abs(weights @ self._gaps).sum(axis=1)
        return {
            "log_loss": divide(weights @ self._log, total),
            "brier": divide(weights @ self._square, total),
            "ece": divide(gaps, total * self._outputs),
        }


@quiet()
def _run(answers: Answers, draws: Draws, *workers: Callable[[np.ndarray], Drawn]) -> Drawn:
    width = max(answers.truth.shape[1], 1)
    return draws.numbers(width, *workers) if len(answers) else {}


def draw_measures(answers: Answers, draws: Draws, beta: float, top_k: int) -> Drawn:
    """Compute all headline numbers of a task for each drawn sample; none without an image."""
    return _run(answers, draws, _Measures(answers, beta, top_k), _Losses(answers))


def draw_losses(answers: Answers, draws: Draws) -> Drawn:
    """``log_loss``, ``brier`` and ``ece`` for each drawn sample."""
    return _run(answers, draws, _Losses(answers))


def interval(values: np.ndarray, draws: Draws, level: float = LEVEL) -> list[float] | None:
    """Percentile interval of the samples where a number is defined."""
    if draws.groups.max(initial=0) < 1:
        return None
    known = values[np.isfinite(values)]
    if 2 * len(known) < len(values):
        return None
    low, high = np.percentile(known, [50 * (1 - level), 50 * (1 + level)])
    return [float(low), float(high)]
