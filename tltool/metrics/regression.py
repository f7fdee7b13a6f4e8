"""Numbers that evaluate predicted values: arrays in, numbers out."""

from typing import Any

import numpy as np

from tltool.metrics.bootstrap import Drawn, Draws
from tltool.metrics.measures import divide, number


def regression_metrics(truth: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Errors of predicted values.

    Parameters
    ----------
    truth, predicted : (n,) or (n, m) arrays
        Of m numbers an image all count alike.

    Returns
    -------
    dict
        ``samples``; in the unit of the values ``mean_absolute_error``,
        ``rmse`` (root mean squared error), ``bias`` (mean of predicted minus
        true), ``median_absolute_error``, ``p90_absolute_error`` (90 % of the
        errors are at most this), ``mean_true``, ``mean_predicted``; and
        ``r2``, 1 - sum((true - predicted)^2) / sum((true - mean)^2). None
        where undefined.
    """
    truth, predicted = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    names: tuple[str, ...] = ("mean_absolute_error", "rmse", "bias", "r2")
    names += ("median_absolute_error", "p90_absolute_error", "mean_true", "mean_predicted")
    if not truth.size:
        return {"samples": 0, **dict.fromkeys(names)}
    error = predicted - truth
    spread = ((truth - truth.mean(axis=0)) ** 2).sum()
    values = (
        np.abs(error).mean(),
        np.sqrt((error**2).mean()),
        error.mean(),
        1 - (error**2).sum() / spread if spread > 0 else np.nan,
        np.median(np.abs(error)),
        np.quantile(np.abs(error), 0.9),
        truth.mean(),
        predicted.mean(),
    )
    return {"samples": len(truth), **dict(zip(names, map(number, values), strict=True))}


def draw_regression(truth: np.ndarray, predicted: np.ndarray, draws: Draws) -> Drawn:
    """Mean absolute error, RMSE, bias and R2 of each drawn sample, by their paths.

    Parameters
    ----------
    truth, predicted : (n,) or (n, m) arrays
    draws : Draws
        Of n images.
    """
    truth = np.asarray(truth, np.float64).reshape(len(truth), -1)
    error = np.asarray(predicted, np.float64).reshape(truth.shape) - truth
    # Centred first: R2 does not change by it, and digits are not lost.
    centred = truth - truth.mean(axis=0)
    squared = (error**2).mean(axis=1)

    def numbers(counts: np.ndarray) -> Drawn:
        weights = counts.astype(np.float64)
        total = weights.sum(axis=1)
        variance = weights @ (centred**2).mean(axis=1) / total
        variance -= ((weights @ centred / total[:, None]) ** 2).mean(axis=1)
        mean_square = weights @ squared / total
        return {
            "mean_absolute_error": weights @ np.abs(error).mean(axis=1) / total,
            "rmse": np.sqrt(mean_square),
            "bias": weights @ error.mean(axis=1) / total,
            "r2": 1 - divide(mean_square, np.where(variance > 1e-12 * squared.max(), variance, 0)),
        }

    return draws.numbers(truth.shape[1] + 4, numbers)
