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
    names = ("mean_absolute_error", "rmse", "bias", "r2", "median_absolute_error")
    if not truth.size:
        undefined = (*names, "p90_absolute_error", "mean_true", "mean_predicted")
        return {"samples": 0, **dict.fromkeys(undefined)}
    error = predicted - truth
    spread = ((truth - truth.mean(axis=0)) ** 2).sum()
    values = (
        np.abs(error).mean(),
        np.sqrt((error**2).mean()),
        error.mean(),
        1 - (error**2).sum() / spread if spread > 0 else np.nan,
        np.median(np.abs(error)),
    )
    return {
        "samples": len(truth),
        **{name: number(value) for name, value in zip(names, values, strict=True)},
        "p90_absolute_error": float(np.quantile(np.abs(error), 0.9)),
        "mean_true": float(truth.mean()),
        "mean_predicted": float(predicted.mean()),
    }


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
    found: dict[str, list[np.ndarray]] = {}
    for counts in draws.weights(truth.shape[1] + 4):
        weights = counts.astype(np.float64)
        total = weights.sum(axis=1)
        variance = weights @ (centred**2).mean(axis=1) / total
        variance -= ((weights @ centred / total[:, None]) ** 2).mean(axis=1)
        mean_square = weights @ squared / total
        values = {
            "mean_absolute_error": weights @ np.abs(error).mean(axis=1) / total,
            "rmse": np.sqrt(mean_square),
            "bias": weights @ error.mean(axis=1) / total,
            "r2": 1 - divide(mean_square, np.where(variance > 1e-12 * squared.max(), variance, 0)),
        }
        for name, each in values.items():
            found.setdefault(name, []).append(each)
    return {name: np.concatenate(parts) for name, parts in found.items()}
