"""What simple methods make of the same images: by these a fine-tuned network is to be measured.

Arrays in, answers out; scikit-learn does the learning.
"""

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

# Images whose pixels are compared at most, to learn from and to evaluate; their side, px.
PIXEL_LIMITS, PIXEL_SIDE = (3000, 1000), 32
NEIGHBOURS = 5
# Inverse strengths of the logistic regression's penalty to choose among, and without a choice.
_STRENGTHS, _STRENGTH = (1e-3, 1e-2, 1e-1, 1.0), 1e-1
# Folds of the choice, and fewest images of every class for it.
_FOLDS = 3


@dataclass(frozen=True)
class Baseline:
    """Predictions of one simple method.

    Attributes
    ----------
    name : str
        Such as "majority class".
    note : str
        What it saw and how, in words.
    answers : (n,) or (n, classes) array
        A class's index for each image, 0 and 1 of a multi-label task, or
        numbers.
    places : (n,) int array
        Which of the evaluated images these are.
    seconds : float
        To learn and to answer; features are not counted.
    """

    name: str
    note: str
    answers: np.ndarray
    places: np.ndarray
    seconds: float


def _some(number: int, limit: int, rng: np.random.Generator) -> np.ndarray:
    """Places of all, or of `limit` that are drawn."""
    return np.arange(number) if number <= limit else np.sort(rng.permutation(number)[:limit])


def _answer(
    name: str,
    note: str,
    learner: Any,
    train: tuple[np.ndarray, np.ndarray],
    evaluated: np.ndarray,
    places: np.ndarray | None = None,
) -> Baseline:
    from threadpoolctl import threadpool_limits

    started = time.perf_counter()
    # More threads are slower for so little, and far slower beside other programs.
    with warnings.catch_warnings(), threadpool_limits(1):
        # Of a label that all images have, and of a fit that could go on.
        warnings.simplefilter("ignore")
        answers = learner.fit(*train).predict(evaluated)
    seconds = time.perf_counter() - started
    places = np.arange(len(evaluated)) if places is None else places
    answers = np.asarray(answers).astype(float if _are_numbers(train[1]) else int)
    return Baseline(name, note, answers, places, seconds)


def _are_numbers(labels: np.ndarray) -> bool:
    """Whether labels are numbers to come near, not classes to hit."""
    return labels.dtype.kind == "f"


def _neighbours(labels: np.ndarray) -> Any:
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    return KNeighborsRegressor if _are_numbers(labels) else KNeighborsClassifier


def majority(labels: np.ndarray, number: int) -> Baseline:
    """Predict the commonest class of the training images; of several labels each one's.

    Of numbers their mean.

    Parameters
    ----------
    labels : (n,) or (n, m) array
        Of the training images: indices, 0 and 1 of a multi-label task, or floats.
    number : int
        Of evaluated images.
    """
    from sklearn.dummy import DummyClassifier, DummyRegressor

    name, what = "majority class", "commonest class"
    learner: Any = DummyClassifier(strategy="most_frequent")
    if _are_numbers(labels):
        name, what, learner = "mean of training", "mean", DummyRegressor()
    train = np.zeros((len(labels), 1)), labels
    note = f"the {what} of the training images, whatever the image shows"
    return _answer(name, note, learner, train, np.zeros((number, 1)))


def _pixels(images: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(n, numbers) float32, shrunk where the side is above `PIXEL_SIDE`."""
    side = min(images.shape[1], PIXEL_SIDE)
    shrunk = np.empty((len(places), side, side, images.shape[3]), np.float32)
    for row, place in enumerate(places):
        image = images[place]
        if side < image.shape[0]:
            bands = [Image.fromarray(image[..., b]) for b in range(image.shape[2])]
            box = Image.Resampling.BOX
            image = np.stack([np.asarray(b.resize((side, side), box)) for b in bands], axis=2)
        shrunk[row] = image
    return shrunk.reshape(len(places), -1)


def pixel_neighbour(
    images: np.ndarray,
    labels: np.ndarray,
    evaluated: np.ndarray,
    seed: int = 0,
    labelled: np.ndarray | None = None,
) -> Baseline:
    """The class of the training image that is nearest in its pixels: least sum of differences.

    Parameters
    ----------
    images, evaluated : (n, side, side, bands) uint8 arrays
        To learn from, and to answer for.
    labels : (n,) or (n, classes) array
        Indices of classes, 0 and 1 of a multi-label task, or floats.
    seed : int
        Of the draw where there are more images than `PIXEL_LIMITS`.
    labelled : (n,) int array, optional
        Places of the images that the labels are of; None: of all.
    """
    rng = np.random.default_rng(seed)
    labelled = np.arange(len(images)) if labelled is None else labelled
    known, asked = (
        _some(len(found), limit, rng)
        for found, limit in zip((labelled, evaluated), PIXEL_LIMITS, strict=True)
    )
    side = images.shape[1]
    notes = [
        "L1 distance of the pixels",
        f"shrunk from {side} to {PIXEL_SIDE} px" * (side > PIXEL_SIDE),
        f"to {len(known)} of {len(labelled)} training images" * (len(known) < len(labelled)),
        f"for {len(asked)} of {len(evaluated)} images" * (len(asked) < len(evaluated)),
    ]
    learner = _neighbours(labels)(1, metric="manhattan", algorithm="brute")
    train = _pixels(images, labelled[known]), labels[known]
    note = ", ".join(filter(None, notes))
    return _answer(
        "nearest neighbour on pixels", note, learner, train, _pixels(evaluated, asked), asked
    )


def feature_neighbours(train: np.ndarray, labels: np.ndarray, evaluated: np.ndarray) -> Baseline:
    """A vote of the `NEIGHBOURS` nearest training images, Euclidean in standardised features.

    Parameters
    ----------
    train, evaluated : (n, features) arrays
    labels : (n,) or (n, classes) array
        Indices of classes, 0 and 1 of a multi-label task, or floats.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    number = min(NEIGHBOURS, len(train))
    learner = make_pipeline(StandardScaler(), _neighbours(labels)(number))
    how = "mean" if _are_numbers(labels) else "vote"
    note = f"{how} of the {number} nearest of {len(train)} training images"
    return _answer("nearest neighbours on features", note, learner, (train, labels), evaluated)


def linear_probe(
    train: np.ndarray, labels: np.ndarray, evaluated: np.ndarray, seed: int = 0
) -> Baseline:
    """Logistic regression on standardised features; of numbers ridge regression.

    Its penalty is chosen by cross-validation on the training images, where
    every class has enough of them; of numbers by leaving one image out.

    Parameters
    ----------
    train, evaluated, labels
        As of `feature_neighbours`.
    seed : int
        Of the folds.
    """
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.model_selection import GridSearchCV, KFold
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    note = f"one linear layer, learnt on {len(train)} training images"
    if _are_numbers(labels):
        learner: Any = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 5, 13)))
        note += ", penalty chosen by them"
        return _answer("ridge regression on features", note, learner, (train, labels), evaluated)
    regression: Any = LogisticRegression(C=_STRENGTH, max_iter=300)
    key = "logisticregression__C"
    if labels.ndim == 2:
        regression, key = OneVsRestClassifier(regression), "onevsrestclassifier__estimator__C"
    elif len(np.unique(labels)) < 2:
        regression = DummyClassifier()
    learner = make_pipeline(StandardScaler(), regression)
    # Every class, or label and its absence, is to be there once for each fold or more.
    if labels.ndim == 2:
        counts = np.concatenate([labels.sum(0), len(labels) - labels.sum(0)])
    else:
        counts = np.unique(labels, return_counts=True)[1]
    if counts.min() >= _FOLDS and not isinstance(regression, DummyClassifier):
        folds = KFold(_FOLDS, shuffle=True, random_state=seed)
        learner = GridSearchCV(learner, {key: _STRENGTHS}, cv=folds)
        note += ", penalty chosen by cross-validation"
    return _answer("logistic regression on features", note, learner, (train, labels), evaluated)
