"""How a task is shown: what a report is given to draw."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Form = Literal["share", "decimal", "value"]


@dataclass(frozen=True)
class Shown:
    """Display of a number of the metrics.

    Attributes
    ----------
    path : str
        In the metrics, such as ``macro.f1``.
    name, meaning : str
    form : 'share', 'decimal' or 'value'
        A percentage, three decimals, or three significant digits.
    """

    path: str
    name: str
    meaning: str = ""
    form: Form = "share"


def shown_table(text: str) -> list[Shown]:
    """Read a table of numbers to show: ``path | name | form | meaning``, one a line."""
    rows = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    forms: dict[str, Form] = {"share": "share", "decimal": "decimal", "value": "value"}
    return [Shown(path, name, meaning, forms[form]) for path, name, form, meaning in rows]


@dataclass(frozen=True)
class Scoring:
    """The two numbers by which a network is put beside its baselines.

    Attributes
    ----------
    name, other : str
        The first is a mean over images and has an interval.
    share : bool
        Whether they are shares, shown as percentages.
    higher : bool
        Whether more is better.
    """

    name: str
    other: str
    share: bool = True
    higher: bool = True


@dataclass(frozen=True)
class Scatter:
    """Points of a chart.

    Attributes
    ----------
    title : str
    labels : (str, str)
        Of the axes.
    x, y : (n,) arrays
    line : 'same' or 'zero'
        Where the points should lie: on x = y, or on y = 0.
    """

    title: str
    labels: tuple[str, str]
    x: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)
    line: Literal["same", "zero"] = "same"


@dataclass(frozen=True)
class Example:
    """An image and what was said of it.

    Attributes
    ----------
    index : int
        Among the evaluated images.
    said, true : str
        What was answered, and what is so; of a multi-label task about one
        label: "seal" or "not seal".
    note : str
        How sure, or how far off.
    right : bool
    target : int
        The network's output that the answer is about, ~output where it speaks
        against it, as `tltool.explanation.methods.maps_of` takes it.
    """

    index: int
    said: str
    true: str
    note: str
    right: bool
    target: int


@dataclass(frozen=True)
class ExampleGroup:
    """Examples under a title."""

    title: str
    examples: list[Example]
