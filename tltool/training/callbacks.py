"""What happens beside the steps: best weights, history, TensorBoard, the progress bar."""

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tltool.files import atomic_path
from tltool.progress import Bar


class KeepBest(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the lowest loss, on disk and in memory, and stops early.

    One object serves all stages: a later stage that never gets better ends
    with the weights of an earlier one.

    Parameters
    ----------
    path : Path
        Checkpoint, replaced whole each time.
    """

    def __init__(self, path: Path):
        super().__init__()
        self._path = path
        self._best = np.inf
        self._weights: list[np.ndarray] | None = None
        self.patience = 0
        self._waited = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start counting anew."""
        self._waited = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep, or count towards stopping."""
        values = logs or {}
        loss = values.get("val_loss", values.get("loss", np.inf))
        if loss < self._best:
            self._best, self._waited = loss, 0
            self._weights = self.model.get_weights()
            with atomic_path(self._path) as partial:
                self.model.save(partial)
            return
        self._waited += 1
        if self._waited >= self.patience:
            self.model.stop_training = True

    def restore(self, model: keras.Model) -> None:
        """Give `model` the best weights."""
        if self._weights is not None:
            model.set_weights(self._weights)


class History(keras.callbacks.Callback):
    """Rows of numbers, one an epoch of any stage."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self.stage = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add a row."""
        row = {"stage": self.stage, "epoch": len(self.rows) + 1}
        self.rows.append({**row, **{k: float(v) for k, v in (logs or {}).items()}})

    def save(self, path: Path) -> None:
        """Write as CSV."""
        names = list(self.rows[0]) if self.rows else ["stage", "epoch"]
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
        with self._writer.as_default(step=len(self._history.rows)):
            for name, value in (logs or {}).items():
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
        values = logs or {}
        text = f"loss {values.get('loss', 0):.3f} accuracy {values.get('accuracy', 0):.3f}"
        self._bar.advance(1, f"{text} {self._last}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep showing what the validation said."""
        values = logs or {}
        if "val_accuracy" in values:
            self._last = (
                f"| valid loss {values['val_loss']:.3f} accuracy {values['val_accuracy']:.3f}"
            )
