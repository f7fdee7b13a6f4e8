"""Walking the graph of a Keras model, nested models included.

The one place that reads Keras's node structure; everything that analyses or
rewrites a network goes through it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
from keras import tree

from tltool.errors import ModelError

Call = Callable[..., Any]


def to_snake_case(name: str) -> str:
    """`DepthwiseConv2D` -> `depthwise_conv2d`, as Keras names layers."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


@dataclass(frozen=True)
class Step:
    """One call of a layer (or operation) in a flat graph.

    Attributes
    ----------
    layer : keras.Layer or keras.Operation
    inputs, outputs : list of KerasTensor
    args, kwargs
        As the layer was called; tensors among them are `inputs`.
    """

    layer: Any
    inputs: list[Any]
    outputs: list[Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def _functional(model: keras.Model) -> keras.Model:
    if isinstance(model, keras.Sequential):
        if not model.built:
            raise ModelError(
                f"model {model.name}: expected a built model, received a Sequential without input"
                " shape. Call it once, or add keras.Input(shape) as its first layer"
            )
        return model._functional
    if not hasattr(model, "_nodes_by_depth"):
        raise ModelError(
            f"model {model.name}: expected a Sequential or Functional model, received the class"
            f" {type(model).__name__}, whose call cannot be read"
        )
    return model


def steps(model: keras.Model) -> Iterator[Step]:
    """List the calls of `model` in an order in which they can be made, without inputs."""
    by_depth = _functional(model)._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            if not node.is_input:
                arguments = node.arguments
                yield Step(
                    node.operation,
                    list(node.input_tensors),
                    list(node.outputs),
                    arguments.args,
                    arguments.kwargs,
                )


def flat_steps(model: keras.Model) -> Iterator[Step]:
    """List the calls of `model` in order; a nested model's call is replaced by its layers'."""
    for step in steps(model):
        if is_model(step.layer):
            yield from flat_steps(step.layer)
        else:
            yield step


def is_layer(layer: Any) -> bool:
    """Whether it is a layer, not a bare operation such as an addition."""
    return isinstance(layer, keras.Layer)


def is_model(layer: Any) -> bool:
    """Whether a layer is a model of its own."""
    return isinstance(layer, keras.Model)


def replay(model: keras.Model, inputs: Any, call: Call) -> Any:
    """Run `model` on new inputs, every layer through `call`; nested models are entered.

    Parameters
    ----------
    model : keras.Model
        Sequential or Functional.
    inputs : tensor or list of tensors
    call : callable
        ``call(layer, *args, **kwargs)`` gives the layer's outputs.

    Returns
    -------
    The outputs in the model's own structure.
    """
    functional = _functional(model)
    values = dict(zip(map(id, functional.inputs), tree.flatten(inputs), strict=True))

    def value_of(item: Any) -> Any:
        return values[id(item)] if isinstance(item, keras.KerasTensor) else item

    for step in steps(functional):
        args, kwargs = tree.map_structure(value_of, (step.args, step.kwargs))
        if is_model(step.layer):
            result = replay(step.layer, args[0], call)
        else:
            result = call(step.layer, *args, **kwargs)
        values.update(zip(map(id, step.outputs), tree.flatten(result), strict=True))
    return tree.map_structure(value_of, functional._outputs_struct)


def _own_name(layer: Any) -> str:
    """The layer's name; without the number where Keras numbered it by the session's count."""
    kind = to_snake_case(type(layer).__name__)
    return kind if re.fullmatch(rf"{kind}_\d+", layer.name) else layer.name


def give_weights(layer: Any, weights: list[Any]) -> None:
    """Set a layer's weights, and what it works out of them.

    Keras does the second for a Normalization only where it fits or loads one.
    """
    layer.set_weights(weights)
    if isinstance(layer, keras.layers.Normalization):
        layer.finalize_state()


class UniqueNames:
    """Gives each name once: a second ``conv`` is ``conv_1``."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def __call__(self, name: str) -> str:
        """`name`, or the first numbered one that is free."""
        unique, number = name, 1
        while unique in self._given:
            unique, number = f"{name}_{number}", number + 1
        self._given.add(unique)
        return unique


class Copier:
    """Copies layers with their weights, each once, under names that are unique.

    Numbered names count from the start of each copy: the same network has the
    same names in every session.

    Parameters
    ----------
    policy : str, optional
        Keras's dtype policy of the copies, such as ``mixed_bfloat16``;
        default: that of each layer.

    Attributes
    ----------
    unique : UniqueNames
        Of this copy, for layers that are added to it.
    """

    def __init__(self, policy: str | None = None) -> None:
        self.policy = policy
        self._copies: dict[int, Any] = {}
        self.unique = UniqueNames()
        # The input of every copy is called so.
        self.unique("image")

    def __call__(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the copy of `layer`."""
        copy = self._copies.get(id(layer))
        if copy is None:
            config = layer.get_config()
            config["name"] = self.unique(_own_name(layer))
            if self.policy is not None and is_layer(layer):
                config["dtype"] = self.policy
            copy = self._copies[id(layer)] = type(layer).from_config(config)
        result = copy(*args, **kwargs)
        if getattr(layer, "weights", None):
            give_weights(copy, layer.get_weights())
        return result


def flatten(model: keras.Model, input_shape: tuple[int | None, ...] | None = None) -> keras.Model:
    """Copy a model so that no layer of it is a model, optionally at another input shape.

    Parameters
    ----------
    model : keras.Model
        With one input.
    input_shape : (height, width, bands), optional

    Returns
    -------
    keras.Model, Functional, with copied weights.
    """
    shape = tuple(model.inputs[0].shape[1:]) if input_shape is None else input_shape
    inputs = keras.Input(shape, name="image")
    return keras.Model(inputs, replay(model, inputs, Copier()), name=model.name)
