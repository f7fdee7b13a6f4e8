"""Lists in messages."""

from collections.abc import Mapping, Sequence


def some_of(names: Sequence[str], most: int) -> str:
    """The first names, at most so many, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def with_numbers(numbers: Mapping[str, int]) -> str:
    """Names in order, each with its number in brackets."""
    return ", ".join(f"{name} ({number})" for name, number in sorted(numbers.items()))
