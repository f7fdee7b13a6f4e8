"""Losses and metrics of training for each kind of task; rows that are not labelled do not count.

Used in training only, never stored with a model.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tltool.errors import RecipeError, UsageError
from tltool.recipe import LossRecipe
from tltool.tasks.task import Task

# Where no label smoothing is given, for the cross-entropy of one class among several.
DEFAULT_SMOOTHING = 0.1


def class_weights(counts: np.ndarray, beta: float | None = None) -> np.ndarray:
    """Weights of classes by how often they are seen, 1 on average over the samples.

    Proportional to ``1 / n``, or to ``(1 - beta) / (1 - beta**n)`` (Cui et
    al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019,
    eq. 2); scaled such that ``sum(n * weight) == sum(n)``, so that a learning
    rate means the same with and without weights.

    Parameters
    ----------
    counts : (..., classes) array
        Training samples of each class, n.
    beta : float, optional
        0 to below 1: 0 weighs all classes alike, towards 1 the weights become
        inverse frequencies. None: inverse frequencies.

    Returns
    -------
    (..., classes) float64 array; 0 for a class without samples.
    """
    counts = np.asarray(counts, float)
    effective = counts
    if beta is not None:
        # 1 - beta**n, exact also where beta is nearly 1.
        effective = -np.expm1(counts * np.log(max(beta, np.finfo(float).tiny)))
    weights = _divide(np.ones_like(counts), effective)
    weighted = (counts * weights).sum(axis=-1, keepdims=True)
    return weights * _divide(counts.sum(axis=-1, keepdims=True), weighted)


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a / b``, 0 where `b` is."""
    return np.divide(a, b, out=np.zeros_like(b), where=b > 0)


def make_loss(
    recipe: LossRecipe, task: Task, targets: np.ndarray | None = None
) -> keras.losses.Loss:
    """Build the loss of a task: its mean over the labelled rows of a batch.

    With targets y, smoothed to y', and probabilities p of the network, clipped
    to ``keras.config.epsilon()`` from 0 and 1, a row of one class among
    several costs

        w * -sum_c y'_c log p_c                            cross-entropy
        w * -sum_c alpha_c y'_c (1 - p_c)**gamma log p_c   focal

    where ``y' = (1 - s) y + s / classes`` and ``w = sum_c w_c y_c``. A row of
    a binary or multi-label task costs the mean over its outputs o of

        w_o * -(a_o y'_o (1 - p_o)**gamma log p_o
                + b_o (1 - y'_o) p_o**gamma log(1 - p_o))

    with ``y' = (1 - s) y + s / 2``, a and b being alpha and 1 - alpha (both 1
    where no alpha is given, and gamma 0 in the cross-entropy), and w_o the
    weight of output o's positives or negatives, in between for a soft target
    (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, eq. 5).
    Targets may be soft, as mixup makes them. A row with a target below 0 is
    not labelled, costs nothing and has no gradient.

    Parameters
    ----------
    recipe : LossRecipe
        For several classes a single `alpha` is that of every class; for a
        binary task a list holds those of the negatives and the positives.
    task : Task
    targets : (n, outputs) array, optional
        All training samples as `Task.encode` gives them; the class weights
        (`class_weights`) are counted from its labelled rows.

    Returns
    -------
    keras.losses.Loss
        From (b, outputs) targets and probabilities to a number.

    Raises
    ------
    RecipeError
        A loss or an `alpha` that does not fit the task.
    UsageError
        Class weights without `targets`, or with some of another shape.
    """
    check_loss(task, recipe)
    # One class of several, or outputs by themselves: of negatives and positives.
    several = task.activation == "softmax"
    focal, smoothing = recipe.name == "focal", recipe.label_smoothing
    if smoothing is None:
        smoothing = DEFAULT_SMOOTHING if several and not focal else 0.0
    gamma = recipe.gamma if focal else 0.0
    alpha, weights = _alpha(recipe, task), _counted_weights(recipe, task, targets)

    def categorical(targets: Any, probabilities: Any) -> Any:
        soft = targets * (1 - smoothing) + smoothing / probabilities.shape[-1]
        if focal:
            each = ops.convert_to_tensor(alpha, probabilities.dtype)
            losses = ops.sum(each * soft * _focal(_clip(probabilities), gamma), axis=-1)
        else:
            losses = ops.categorical_crossentropy(soft, probabilities)
        if weights is None:
            return losses
        of_class = ops.convert_to_tensor(weights, probabilities.dtype)
        return losses * ops.sum(targets * of_class, axis=-1)

    def binary(targets: Any, probabilities: Any) -> Any:
        soft = targets * (1 - smoothing) + smoothing / 2
        if focal:
            clipped = _clip(probabilities)
            # One by one: a tensor in a graph cannot be unpacked.
            negative, positive = (ops.convert_to_tensor(a, probabilities.dtype) for a in alpha)
            losses = positive * soft * _focal(clipped, gamma)
            losses = losses + negative * (1 - soft) * _focal(1 - clipped, gamma)
        else:
            losses = ops.binary_crossentropy(soft, probabilities)
        if weights is not None:
            negative, positive = (ops.convert_to_tensor(w, probabilities.dtype) for w in weights)
            losses = losses * (targets * positive + (1 - targets) * negative)
        return ops.mean(losses, axis=-1)

    name = (recipe.name or task.losses[0]).replace("-", "_")
    return _LabelledMean(categorical if several else binary, _labelled, name)


def check_loss(task: Task, recipe: LossRecipe) -> None:
    """Raise a `RecipeError` where a recipe's loss is not of the task's kind."""
    if recipe.name is not None and recipe.name not in task.losses:
        raise RecipeError(
            f"loss of task {task.name}: expected one of {', '.join(task.losses)} for a {task.kind}"
            f" task; received {recipe.name}"
        )


def number_loss(task: Task, recipe: LossRecipe) -> keras.losses.Loss:
    """Build the loss of numbers: its mean over outputs and the labelled rows of a batch.

    With e the difference of prediction and target in standard deviations d of
    the training split (`task.deviation`, else 1), an output costs e^2, or as
    ``huber`` e^2 / 2 up to 1 and |e| - 1/2 beyond (Huber, "Robust Estimation of
    a Location Parameter", Annals of Mathematical Statistics 1964).

    Parameters
    ----------
    task : Task
    recipe : LossRecipe

    Returns
    -------
    keras.losses.Loss
        From (b, outputs) targets, NaN: not labelled, and predictions.

    Raises
    ------
    RecipeError
        Another loss, or class weights.
    """
    check_loss(task, recipe)
    if recipe.class_weights != "none":
        raise RecipeError(
            f"loss of task {task.name}: expected class_weights: none for a {task.kind} task, which"
            f" has no classes; received {recipe.class_weights}"
        )
    scale, huber = 1 / getattr(task, "deviation", 1.0), recipe.name == "huber"

    def rows(targets: Any, predictions: Any) -> Any:
        error = scale * (predictions - targets)
        if huber:
            return keras.losses.huber(ops.zeros_like(error), error)
        return ops.mean(error**2, axis=-1)

    return _LabelledMean(rows, _known, (recipe.name or task.losses[0]).replace("-", "_"))


def _alpha(recipe: LossRecipe, task: Task) -> np.ndarray:
    """Focal weights: (classes,), or (2, outputs) for negatives and positives."""
    several, number = task.activation == "softmax", task.outputs
    if recipe.alpha is None:
        return np.ones(number if several else (2, number))
    alpha, expected = np.atleast_1d(recipe.alpha), ""
    if number < len(task.classes) and len(alpha) == 2:
        return alpha[:, None]
    if len(alpha) not in (1, number):
        expected = f"one weight or {len(task.classes)}"
    elif not several and alpha.max() >= 1:
        expected = "weights of the positives, below 1"
    if expected:
        raise RecipeError(
            f"loss of task {task.name}: alpha: expected {expected}; received {recipe.alpha}. Its"
            f" classes are {', '.join(task.classes)}"
        )
    alpha = np.broadcast_to(alpha, number)
    return alpha if several else np.stack([1 - alpha, alpha])


def _counted_weights(
    recipe: LossRecipe, task: Task, targets: np.ndarray | None
) -> np.ndarray | None:
    """Class weights: (classes,), or (2, outputs) for negatives and positives."""
    if recipe.class_weights == "none":
        return None
    if targets is None or np.ndim(targets) != 2 or np.shape(targets)[1] != task.outputs:
        received = "none" if targets is None else f"shape {np.shape(targets)}"
        raise UsageError(
            f"loss of task {task.name}: expected the training split's (n, {task.outputs}) targets"
            f" to count class weights from; received {received}. Pass what Task.encode gives"
        )
    labelled = targets[(targets >= 0).all(axis=1)].astype(float)
    beta = recipe.beta if recipe.class_weights == "effective" else None
    positives = labelled.sum(axis=0)
    if task.activation == "softmax":
        return class_weights(positives, beta)
    return class_weights(np.stack([len(labelled) - positives, positives], axis=1), beta).T


def _clip(probabilities: Any) -> Any:
    epsilon = keras.config.epsilon()
    return ops.clip(probabilities, epsilon, 1 - epsilon)


def _focal(probabilities: Any, gamma: float) -> Any:
    """``-(1 - p)**gamma log p`` (Lin et al. 2017, eq. 4)."""
    return -ops.power(1 - probabilities, gamma) * ops.log(probabilities)


def _labelled(targets: Any) -> Any:
    """Which rows of (b, outputs) targets of classes are labelled: (b,) of bool."""
    return ops.all(targets >= 0, axis=-1)


def _known(targets: Any) -> Any:
    """Which rows of (b, outputs) targets of numbers are labelled: (b,) of bool."""
    return ops.logical_not(ops.any(ops.isnan(targets), axis=-1))


class _LabelledMean(keras.losses.Loss):
    """Mean over the labelled rows of a loss of rows."""

    def __init__(self, rows: Callable[[Any, Any], Any], labelled: Callable[[Any], Any], name: str):
        super().__init__(name=name)
        self._rows, self._labelled = rows, labelled

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each row, 0 where not labelled; scaled for Keras's mean over all rows."""
        labelled = self._labelled(y_true)
        counted = ops.cast(labelled, y_pred.dtype)
        targets = ops.where(labelled[:, None], y_true, ops.zeros_like(y_true))
        losses = counted * self._rows(targets, y_pred)
        rows = ops.cast(ops.shape(y_true)[0], y_pred.dtype)
        return losses * (rows / ops.maximum(ops.sum(counted), 1))


def labelled_accuracy(task: Task) -> keras.metrics.Metric:
    """Share of the labelled rows that are right, as the metric ``accuracy``.

    Several classes: the likeliest is the target's. Binary: probability and
    target are on the same side of 0.5 (which belongs to the positives);
    multi-label: the share of outputs for which they are. Soft targets count
    as their largest class, or as their side of 0.5. 0 where no row is
    labelled.
    """
    several = task.activation == "softmax"

    def right(y_true: Any, y_pred: Any) -> Any:
        if several:
            return ops.argmax(y_true, axis=-1) == ops.argmax(y_pred, axis=-1)
        return ops.mean(ops.cast((y_true >= 0.5) == (y_pred >= 0.5), y_pred.dtype), axis=-1)

    return _LabelledMetric(right, _labelled, "accuracy")


def labelled_error(name: str) -> keras.metrics.Metric:
    """Mean absolute error of numbers over the labelled rows, in their unit; 0 without any."""

    def error(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.abs(y_pred - ops.where(ops.isnan(y_true), y_pred, y_true)), axis=-1)

    return _LabelledMetric(error, _known, name)


class _LabelledMetric(keras.metrics.Mean):
    """Mean over the labelled rows of a number that each row has."""

    def __init__(self, rows: Callable[[Any, Any], Any], labelled: Callable[[Any], Any], name: str):
        super().__init__(name=name)
        self._rows, self._labelled = rows, labelled

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take (b, outputs) targets and predictions into account."""
        y_true, y_pred = (ops.cast(y, self.dtype) for y in (y_true, y_pred))
        weights = ops.cast(self._labelled(y_true), self.dtype)
        if sample_weight is not None:
            weights = weights * ops.reshape(ops.cast(sample_weight, self.dtype), (-1,))
        super().update_state(ops.cast(self._rows(y_true, y_pred), self.dtype), weights)
