"""Numbers in nested metrics, by their path."""

from collections.abc import Mapping
from typing import Any


def find(numbers: Mapping[str, Any], path: str) -> Any:
    """Find what lies at a path such as ``classes.NAME.recall``; names may have dots.

    Raises
    ------
    KeyError
        Where there is nothing.
    """
    if path in numbers:
        return numbers[path]
    for key, inner in numbers.items():
        if path.startswith(f"{key}.") and isinstance(inner, Mapping):
            try:
                return find(inner, path[len(key) + 1 :])
            except KeyError:
                continue
    raise KeyError(path)


def get(numbers: Mapping[str, Any], path: str) -> Any:
    """Number at a path as of `find`; None where there is nothing."""
    try:
        return find(numbers, path)
    except KeyError:
        return None
