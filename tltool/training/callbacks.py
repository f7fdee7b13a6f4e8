"""What happens beside the steps: best weights, history, TensorBoard, the progress bar.

Epochs are counted over all stages, from 0, as `fit` numbers them.
"""

import csv
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tltool.errors import TrainingError
from tltool.files import atomic_path
from tltool.progress import Bar
from tltool.recipe.stages import PlateauSchedule
from tltool.tasks.kinds import metric_names
from tltool.training.optimizers import averaged


def save_plain(model: keras.Model, path: Path) -> None:
    """Save a network without what it was trained with, so that it loads where tltool is not."""
    with atomic_path(path) as partial:
        keras.Model(model.input, model.output, name=model.name).save(partial)


def _moving_weights(network: keras.Model) -> dict[str, np.ndarray]:
    """Copies of the weights that training can change now: path to value."""
    return {
        weight.path: np.array(keras.ops.convert_to_numpy(weight))
        for layer in network.layers
        if layer.trainable
        for weight in layer.weights
    }


def _give_weights(network: keras.Model, values: dict[str, np.ndarray]) -> None:
    for weight in network.weights:
        if weight.path in values:
            weight.assign(values[weight.path])


def _validation_loss(logs: dict[str, Any] | None) -> float:
    """The validation loss; without validation images that of training."""
    values = logs or {}
    return float(values.get("val_loss", values.get("loss", math.inf)))


class KeepBest(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the lowest loss and stops early.

    One object serves all stages: a later stage that never gets better ends
    with the weights of an earlier one.

    Parameters
    ----------
    network : keras.Model
        Whose weights are kept; what is trained may be a part of it.
    last : bool
        Take the last epoch for the best one.

    Attributes
    ----------
    patience, waited : int
        Epochs without a lower loss that end the stage; how many there were.
    lowest : float
    weights : dict of str to array
        Weights of the best epoch, by path; empty before the first.
    """

    def __init__(self, network: keras.Model, last: bool = False):
        super().__init__()
        self._network, self._last = network, last
        self.lowest = math.inf
        self.weights: dict[str, np.ndarray] = {}
        self.patience = self.waited = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep, or count towards stopping."""
        loss = _validation_loss(logs)
        if self._last or loss < self.lowest:
            self.lowest, self.waited = loss, 0
            if not self.weights:
                self.weights = {w.path: np.array(w) for w in self._network.weights}
            with averaged(self.model):
                self.weights |= _moving_weights(self._network)
            return
        self.waited += 1
        if self.spent:
            self.model.stop_training = True

    @property
    def spent(self) -> bool:
        """Whether the stage's patience is at its end."""
        return self.waited >= self.patience

    def restore(self) -> None:
        """Give the network its best weights."""
        _give_weights(self._network, self.weights)


class StopAtNaN(keras.callbacks.Callback):
    """Stops training at the first loss that is no number, and keeps what was good.

    Parameters
    ----------
    network : keras.Model
    path : Path
        Where good weights go: those that began the last epoch whose first
        loss was finite, or the stage.

    Attributes
    ----------
    stage, first : int
        Number of the stage, from 1, and of the epochs before it.
    """

    def __init__(self, network: keras.Model, path: Path):
        super().__init__()
        self._network, self._path = network, path
        self.stage = self.first = self._epoch = 0
        self._good: dict[str, np.ndarray] = {}
        self._new: dict[str, np.ndarray] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Remember the weights that the stage starts from."""
        self._good = _moving_weights(self._network)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remember the weights; whether they are good, the first step tells."""
        self._epoch = epoch - self.first
        self._new = _moving_weights(self._network)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the loss."""
        loss = float((logs or {}).get("loss", 0.0))
        if math.isfinite(loss):
            # Only now: the update that made them may have spoilt them.
            self._good, self._new = self._new or self._good, {}
            return
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        _give_weights(self._network, self._good)
        save_plain(self._network, self._path)
        raise TrainingError(
            f"stage {self.stage}, epoch {self._epoch + 1}, step {batch + 1}: the loss is {loss} at"
            f" a rate of {rate:.3g}. The last good weights are in {self._path}; `weights` starts"
            " a run from them. Take a lower learning_rate, a warm-up or a smaller clipnorm"
        )


class StopAfter(keras.callbacks.Callback):
    """Ends a stage after so many steps, within an epoch if need be."""

    def __init__(self, steps: int):
        super().__init__()
        self._left = steps

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count."""
        self._left -= 1
        if self._left <= 0:
            self.model.stop_training = True


class Plateau(keras.callbacks.Callback):
    """Lowers the rate where the validation loss has not fallen for some epochs.

    Parameters
    ----------
    schedule : PlateauSchedule

    Attributes
    ----------
    lowest : float
    waited : int
    """

    def __init__(self, schedule: PlateauSchedule):
        super().__init__()
        self._factor, self._patience = schedule.factor, schedule.patience
        self.lowest, self.waited = math.inf, 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Count, and lower."""
        loss = _validation_loss(logs)
        if loss < self.lowest:
            self.lowest, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited >= self._patience:
            self.waited = 0
            optimizer = self.model.optimizer
            optimizer.learning_rate = optimizer.learning_rate * self._factor


class History(keras.callbacks.Callback):
    """Rows of numbers, one an epoch of any stage."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self.stage = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add a row."""
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"stage": self.stage, "epoch": len(self.rows) + 1, "rate": rate}
        self.rows.append({**row, **{k: float(v) for k, v in (logs or {}).items()}})

    def save(self, path: Path) -> None:
        """Write as CSV."""
        # A callback of the caller's may give numbers that come only in some epochs.
        names = list(dict.fromkeys(name for row in self.rows for name in row)) or ["stage", "epoch"]
        with atomic_path(path) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows)


class EventLog(keras.callbacks.Callback):
    """Scalars for TensorBoard, written without needing TensorBoard installed."""

    def __init__(self, folder: Path, history: History):
        super().__init__()
        self._folder, self._history = folder, history
        self._writer: Any = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the epoch's numbers."""
        import tensorflow as tf

        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self._folder))
        metadata = tf.compat.v1.SummaryMetadata()
        metadata.plugin_data.plugin_name = "scalars"
        row = self._history.rows[-1]
        with self._writer.as_default(step=row["epoch"]):
            for name, value in row.items():
                if name not in ("stage", "epoch"):
                    tf.summary.write(name, tf.constant(float(value)), metadata=metadata)
        self._writer.flush()


class ShowProgress(keras.callbacks.Callback):
    """Moves a bar a step at a time and shows the metrics."""

    def __init__(self, bar: Bar):
        super().__init__()
        self._bar = bar
        self._last = ""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Move by one step."""
        self._bar.advance(1, f"{_numbers(logs or {}, '')} {self._last}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep showing what the validation said."""
        if "val_loss" in (logs or {}):
            self._last = f"| valid {_numbers(logs or {}, 'val_')}"


def _numbers(logs: dict[str, Any], prefix: str) -> str:
    shown = [key for key in ("loss", *metric_names()) if prefix + key in logs]
    return " ".join(f"{key} {float(logs[prefix + key]):.3f}" for key in shown)
