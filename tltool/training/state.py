"""The state of a run between two epochs, so that a killed run goes on where it was."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from tltool.errors import ModelError
from tltool.files import atomic_path

STATE_NAME = "state.h5"


@dataclass
class State:
    """Everything that the next epoch depends on, beyond the recipe and the data.

    Attributes
    ----------
    stage, epoch : int
        The stage, from 0, and the epochs done in it.
    network, optimizer, best : list of arrays
        Of the network all variables, the state of dropout among them; of the
        optimizer all variables, or none where the stage has not begun; the
        weights of the best epoch, or none.
    numbers : dict
        What else is counted: history, lowest loss, patience.
    """

    stage: int = 0
    epoch: int = 0
    network: list[np.ndarray] = field(default_factory=list)
    optimizer: list[np.ndarray] = field(default_factory=list)
    best: list[np.ndarray] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write whole or not at all."""
        with atomic_path(path) as partial, h5py.File(partial, "w") as file:
            facts = {"stage": self.stage, "epoch": self.epoch, "numbers": self.numbers}
            file.attrs["facts"] = np.void(json.dumps(facts).encode())
            for name in ("network", "optimizer", "best"):
                group = file.create_group(name)
                for place, array in enumerate(getattr(self, name)):
                    group.create_dataset(str(place), data=array)


def load_state(path: Path) -> State:
    """Read what `State.save` wrote.

    Raises
    ------
    ModelError
        Where the file is none of its kind.
    """
    try:
        with h5py.File(path) as file:
            facts = json.loads(bytes(file.attrs["facts"]))
            arrays = {
                name: [file[name][str(place)][()] for place in range(len(file[name]))]
                for name in ("network", "optimizer", "best")
            }
    except (OSError, KeyError, ValueError) as error:
        raise ModelError(f"{path}: expected the state of a training run: {error}") from error
    return State(facts["stage"], facts["epoch"], numbers=facts["numbers"], **arrays)


def values_of(variables: list[Any]) -> list[np.ndarray]:
    """Copies of the variables as arrays."""
    return [np.asarray(keras.ops.convert_to_numpy(v)) for v in variables]


def assign(variables: list[Any], values: list[np.ndarray], path: Path) -> None:
    """Give `variables` what was saved.

    Raises
    ------
    ModelError
        Where number or shapes are not theirs.
    """
    shapes = [tuple(v.shape) for v in variables]
    if shapes != [value.shape for value in values]:
        raise ModelError(
            f"{path} does not fit: expected {len(shapes)} variables of this recipe's network, it"
            f" holds {len(values)} of other shapes. Start the run anew with `overwrite=True`"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


class SaveState(keras.callbacks.Callback):
    """Writes the state after an epoch, as often as costs little."""

    def __init__(self, path: Path, capture: Callable[[int], State]):
        super().__init__()
        self._path, self._capture = path, capture
        self._pause = 0.0
        self._written = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write, if the last write was long enough ago."""
        started = time.monotonic()
        if started - self._written < self._pause:
            return
        self._capture(epoch + 1).save(self._path)
        self._written = time.monotonic()
        # A write may take a tenth of the time.
        self._pause = (self._written - started) * 10
