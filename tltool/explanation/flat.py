"""A classifier's graph laid flat: every layer call with its path, shape and what it needs."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import layers, tree

from tltool.errors import ModelError, UsageError
from tltool.fcn.geometry import POOLS
from tltool.models.graph import Copier, is_model, replay, steps

# At inference these hand on the map they take, or a coarser or wider copy of it.
_NOISE = (layers.Dropout, layers.SpatialDropout2D, layers.GaussianDropout, layers.GaussianNoise)
HANDING_ON = (layers.ZeroPadding2D, *POOLS, *_NOISE, layers.Identity)


@dataclass(frozen=True)
class Call:
    """One call of a layer.

    Attributes
    ----------
    path : str
        The layer's name; inside a nested model ``model/layer``.
    layer : keras.Layer or keras.Operation
        The model's own.
    output : KerasTensor
        The first, where there are several.
    inputs : list of KerasTensor
    before : frozenset of int
        The calls, by index, that its result depends on, itself among them.
    """

    path: str
    layer: Any
    output: Any
    inputs: list[Any] = field(repr=False)
    before: frozenset[int] = field(repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output without the batch axis."""
        return tuple(self.output.shape[1:])

    @property
    def spatial(self) -> bool:
        """Whether the output is a map of more than one cell."""
        return len(self.shape) == 3 and None not in self.shape and self.shape[0] * self.shape[1] > 1


@dataclass(frozen=True)
class Flat:
    """A classifier's copy in which no layer is a model.

    Attributes
    ----------
    name : str
    inputs : KerasTensor
    calls : list of Call
        In an order in which they can be made.
    outputs : dict of str or int to KerasTensor
        Outputs by the names of a dict of outputs, else by index.
    """

    name: str
    inputs: Any
    calls: list[Call]
    outputs: dict[str | int, Any]

    def maker(self, tensor: Any) -> Call | None:
        """The call that made `tensor`; None: it is the input."""
        return next((call for call in self.calls if call.output is tensor), None)

    def leading_to(self, tensor: Any) -> list[Call]:
        """The calls that `tensor` depends on, in order."""
        made = self.maker(tensor)
        return [] if made is None else [self.calls[n] for n in sorted(made.before)]

    def output(self, task: str | int | None) -> Any:
        """The output of a task.

        Raises
        ------
        UsageError
            No such task, or none named and there are several.
        """
        if task is None and len(self.outputs) == 1:
            return next(iter(self.outputs.values()))
        if task not in self.outputs:
            known = ", ".join(map(str, self.outputs))
            raise UsageError(f"task: expected one of {known}; received {task}")
        return self.outputs[task]

    def maps(self, task: str | int | None = None) -> list[Call]:
        """The calls with a map that a task depends on, but pools, padding and dropout."""
        leading = [call for call in self.leading_to(self.output(task)) if call.spatial]
        return [call for call in leading if not isinstance(call.layer, HANDING_ON)]

    def last_map(self, task: str | int | None = None) -> Call:
        """The last map before the head.

        Raises
        ------
        UsageError
            There is none.
        """
        found = self.maps(task)
        if not found:
            raise UsageError(
                f"model {self.name}: expected a layer whose output is a map of more than one cell;"
                " it has none"
            )
        return found[-1]

    def find(self, layer: str, task: str | int | None = None) -> Call:
        """The call of a layer whose map is to be looked at.

        Parameters
        ----------
        layer : str
            A path, or a name that only one layer has.
        task : str, int or None

        Raises
        ------
        UsageError
            No such layer, two of that name, one without map, or one that the
            task does not depend on.
        """
        last, leading = self.last_map(task), self.leading_to(self.output(task))
        exact = [call for call in self.calls if call.path == layer]
        found = exact or [c for c in self.calls if c.path.rpartition("/")[2] == layer]
        paths = list(dict.fromkeys(call.path for call in found))
        if len(paths) > 1:
            names = " or ".join(paths)
            raise UsageError(f"`layer`: {layer} may be {names}; name one of them in full")
        if not found:
            near = difflib.get_close_matches(layer, [call.path for call in self.calls], 3, 0.4)
            hint = f" The nearest: {', '.join(near)}." if near else ""
            raise UsageError(
                f"`layer`: expected the name of a layer, received {layer}.{hint} `list_layers`"
                " shows all"
            )
        # A layer that is called several times tells most at the last.
        call = found[-1]
        if not call.spatial:
            raise UsageError(
                f"`layer`: expected a layer whose output is a map; {call.path} gives"
                f" {_shape(call.shape)}. The last one with a map is {last.path}"
                f" {_shape(last.shape)}"
            )
        if not any(call is each for each in leading):
            raise UsageError(
                f"`layer`: {call.path} has no part in the output {task}. The last one with a map"
                f" that has is {last.path}"
            )
        return call


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"


def _paths(model: keras.Model, prefix: str = "") -> Iterator[str]:
    """Names in the order in which `replay` calls."""
    for step in steps(model):
        path = f"{prefix}{step.layer.name}"
        if is_model(step.layer):
            yield from _paths(step.layer, f"{path}/")
        else:
            yield path


def lay_flat(model: keras.Model, shape: tuple[int, ...]) -> Flat:
    """Copy a classifier flat, remembering how its layers are called.

    Parameters
    ----------
    model : keras.Model
        Sequential or Functional, flat or with models as layers; with one
        input. It stays as it is.
    shape : (height, width, bands)
        Shape of the images.

    Raises
    ------
    ModelError
        Several inputs, or a model whose graph cannot be read.
    """
    paths = list(_paths(model))
    if len(model.inputs) > 1:
        raise ModelError(f"model {model.name}: expected one input, received {len(model.inputs)}")
    inputs, copy = keras.Input(shape, name="image"), Copier()
    calls: list[Call] = []
    makers: dict[int, int] = {}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        result, index = copy(layer, *args, **kwargs), len(calls)
        taken = [t for t in tree.flatten((args, kwargs)) if isinstance(t, keras.KerasTensor)]
        earlier = [calls[makers[id(t)]].before for t in taken if id(t) in makers]
        made = tree.flatten(result)
        makers.update((id(tensor), index) for tensor in made)
        before = frozenset({index}).union(*earlier)
        calls.append(Call(paths[index], layer, made[0], taken, before))
        return result

    outputs = replay(model, inputs, call)
    named = outputs if isinstance(outputs, dict) else dict(enumerate(tree.flatten(outputs)))
    return Flat(model.name, inputs, calls, named)
