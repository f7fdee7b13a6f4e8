"""A number for each image, in a unit of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from tltool.tasks.task import Names, Task

# Different values from which on a column of numbers is one of measurements, not of classes.
_MANY = 20


@dataclass(frozen=True)
class Regression(Task):
    """A number for each image.

    Attributes
    ----------
    mean, deviation : float
        Of the training split's labels; the network learns standardised values,
        its last layer gives them back in their unit. Not part of what the task
        is: a saved network has them in itself.
    """

    mean: float = field(default=0.0, compare=False)
    deviation: float = field(default=1.0, compare=False)

    kind: ClassVar[str] = "regression"

    @classmethod
    def recognises(cls, cells: Sequence[str]) -> bool:
        """Many different numbers, not all of them whole."""
        try:
            numbers = {float(cell) for cell in cells if cell}
        except ValueError:
            return False
        return len(numbers) > _MANY and not all(number.is_integer() for number in numbers)

    @classmethod
    def learn(cls, name: str, column: Sequence[Names], background: str | None = None) -> "Task":
        """The task with mean and standard deviation of training rows."""
        values = np.array([float(names[0]) for names in column if names is not None])
        if not len(values):
            return cls(name)
        return cls(name, mean=float(values.mean()), deviation=float(values.std()) or 1.0)

    def finish(self, tensor: Any, name: str) -> Any:
        """Standardised values to those in the label's unit, by a `Rescaling` layer."""
        from keras import layers

        scaling = layers.Rescaling(self.deviation, self.mean, dtype="float32", name=name)
        return scaling(tensor)
