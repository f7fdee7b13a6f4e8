"""The calls of layers as the graphs of Keras 2 have them: lists of names and numbers."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from keras import tree

from tltool.errors import ModelError

# They take a list, of one too.
_MERGES = ("Concatenate", "Add", "Average", "Maximum", "Minimum", "Multiply")


@dataclass(frozen=True)
class Reference:
    """Output `tensor` of call `call` of the layer `name`."""

    name: str
    call: int
    tensor: int


def _is_reference(item: Any) -> bool:
    return (
        isinstance(item, list)
        and 3 <= len(item) <= 4
        and isinstance(item[0], str)
        and isinstance(item[1], int)
    )


def read(item: Any, known: Collection[str]) -> Any:
    """The arguments of a call with references to layers in `known`; other values stay."""
    if _is_reference(item):
        if item[0] == "_CONSTANT_VALUE":
            return item[2]
        return Reference(*item[:3]) if item[0] in known else item
    if isinstance(item, list):
        return [read(part, known) for part in item]
    if isinstance(item, dict):
        return {key: read(part, known) for key, part in item.items()}
    return item


def _named_arguments(item: Any) -> dict[str, Any]:
    """The keyword arguments of a call, which every one of its inputs carries alike."""
    if _is_reference(item):
        return item[3] if len(item) == 4 else {}
    for part in item.values() if isinstance(item, dict) else item:
        if isinstance(part, list | dict):
            return _named_arguments(part)
    return {}


def single(item: Any) -> Any:
    """A list of one is the one."""
    return item[0] if isinstance(item, list) and len(item) == 1 else item


def references(item: Any) -> list[Reference]:
    """Find all references in arguments."""
    return [part for part in tree.flatten(item) if isinstance(part, Reference)]


def replace(item: Any, values: Callable[[Reference], Any]) -> Any:
    """The arguments with a value for every reference."""
    return tree.map_structure(lambda x: values(x) if isinstance(x, Reference) else x, item)


@dataclass(frozen=True)
class Call:
    """Call `number` of the layer `name`, with its first argument and those given by name."""

    name: str
    number: int
    first: Any
    more: dict[str, Any]

    @property
    def needs(self) -> list[Reference]:
        """Calls that must have been computed before."""
        return references([self.first, self.more])


def read_call(name: str, kind: str, number: int, node: Any, known: Collection[str]) -> Call:
    """Read an entry of `inbound_nodes` of the layer `name` of the class `kind`.

    One input is written as a list of one, except for operations; the named
    arguments follow every input.

    Raises
    ------
    ModelError
        The entry is written as Keras 3 does.
    """
    if isinstance(node, dict) and "args" in node:
        raise ModelError(f"layer {name}: its calls are written as Keras 3 does")
    first = single(read(node, known))
    if kind in _MERGES and not isinstance(first, list):
        first = [first]
    return Call(name, number, first, read(_named_arguments(node), known))
