"""Every error tltool raises on purpose.

Each message says what was expected, what was received and what to do. The
children are also a `ValueError` or an `OSError` where that is what they are,
so that a script can catch them without knowing tltool.
"""

from pathlib import Path
from typing import Any


class TltoolError(Exception):
    """The work could not be done.

    Attributes
    ----------
    exit_status : int
        What the command line exits with: 1 for work that could not be done,
        2 for wrong usage.
    """

    exit_status = 1


class UsageError(TltoolError, ValueError):
    """An option or argument whose value cannot be meant."""

    exit_status = 2


class RecipeError(TltoolError, ValueError):
    """A recipe that is not one: unknown key, wrong type, value out of range."""

    exit_status = 2


class DataError(TltoolError, ValueError):
    """Folders, manifests or points that cannot be trained on or judged."""


class ImageError(TltoolError, OSError):
    """An image that cannot be read."""


class WeightsError(TltoolError, ValueError):
    """Weights that do not fit the backbone."""


class DownloadError(TltoolError, OSError):
    """Weights that could not be downloaded."""


class TrainingError(TltoolError, ArithmeticError):
    """A training run that cannot go on: its loss is no number any more."""


class ModelError(TltoolError, ValueError):
    """A file that does not hold the model it should."""


class ConversionError(TltoolError, ValueError):
    """A model that cannot become a fully convolutional network."""


class RequirementError(TltoolError, AssertionError):
    """A number of an evaluation that is not what was required of it."""


class OutputError(TltoolError, OSError):
    """An output that exists already or cannot be written."""


class MapsError(TltoolError, RuntimeError):
    """Some of several images could not be mapped.

    Attributes
    ----------
    made : list of tltool.mapping.image_map.HeatMap
        Of the others.
    failed : dict of Path to TltoolError
    """

    def __init__(self, message: str, made: list[Any], failed: dict[Path, TltoolError]):
        super().__init__(message)
        self.made, self.failed = made, failed


class CountError(TltoolError, RuntimeError):
    """Some of several images could not be counted.

    Attributes
    ----------
    survey : tltool.counting.survey.Survey
        Of the others.
    failed : dict of Path to TltoolError
    """

    def __init__(self, message: str, survey: Any, failed: dict[Path, TltoolError]):
        super().__init__(message)
        self.survey, self.failed = survey, failed
