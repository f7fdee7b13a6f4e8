"""What is required of a run's numbers, such as ``accuracy>=0.6``, and whether it is so."""

import difflib
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tltool.errors import RequirementError, UsageError
from tltool.metrics.paths import find

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_FORM = re.compile(rf"\s*(.*[^<>=!\s])\s*({'|'.join(_COMPARISONS)})\s*([^<>=!]+?)\s*")


@dataclass(frozen=True)
class Requirement:
    """A number of ``metrics.json`` by its path, and what it is to be."""

    text: str
    path: str
    comparison: str
    value: float

    def unmet(self, metrics: Mapping[str, Any]) -> str | None:
        """Describe what was found instead; None where the requirement is met.

        Raises
        ------
        UsageError
            No number there.
        """
        try:
            found = find(metrics, self.path)
        except KeyError:
            found = metrics
        if found is None:
            return f"expected {self.text}, found it undefined"
        if not isinstance(found, int | float) or isinstance(found, bool):
            near = difflib.get_close_matches(self.path, list(_numbers(metrics)), 1)
            hint = f". Did you mean {near[0]}?" if near else ""
            raise UsageError(
                f"`required={self.text}`: metrics.json has no number called {self.path}{hint}"
            )
        if _COMPARISONS[self.comparison](found, self.value):
            return None
        return f"expected {self.text}, found {found:.6g}"


def _numbers(content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) or value is None:
            yield prefix + key


def parse_requirement(text: str) -> Requirement:
    """Read a text such as ``accuracy>=0.6`` or ``classes.pups.recall > 0.5``.

    Raises
    ------
    UsageError
        Where it is none.
    """
    match = _FORM.fullmatch(text)
    try:
        if match is not None:
            return Requirement(text, match[1], match[2], float(match[3]))
    except ValueError:
        pass
    raise UsageError(
        f"`required`: expected PATH, one of {' '.join(_COMPARISONS)}, and a number, such as"
        f" accuracy>=0.6; received {text}"
    )


def check_requirements(metrics: Mapping[str, Any], requirements: Sequence[Requirement]) -> None:
    """Check numbers of an evaluation.

    Raises
    ------
    RequirementError
        What was required and what was found, of all that are not met.
    UsageError
        A path that leads to no number.
    """
    unmet = [text for each in requirements if (text := each.unmet(metrics)) is not None]
    if unmet:
        raise RequirementError("; ".join(unmet))
