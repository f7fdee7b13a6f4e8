"""Models of Keras 2 built anew in Keras 3, layer by layer and call by call.

The graph is called again instead of being read by Keras 3, which counts the
calls of nested models otherwise and takes one tensor for a list of one.
"""

from dataclasses import dataclass, field
from typing import Any

import keras
from keras import tree

from tltool.errors import ModelError
from tltool.models.graph import UniqueNames
from tltool.models.legacy import calls, operations
from tltool.models.legacy import layer as one_layer
from tltool.models.legacy.notes import Notes, one_line
from tltool.models.legacy.stored import MODELS

Config = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A layer or model as the file has it, and as it was made.

    Attributes
    ----------
    name, kind : str
        In the file: by these its weights are found. Nested Sequential models
        of Keras 2.1 have no name there.
    layer : keras.Layer or None
        None for an operation, which is made where it is called.
    parts : list of Part
        The layers of a model, in the file's order.
    after : list of keras.Layer
        Called behind it: an activation of Keras 2.
    """

    name: str
    kind: str
    layer: Any
    parts: list["Part"] = field(default_factory=list)
    after: list[Any] = field(default_factory=list)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer and what comes behind it."""
        result = self.layer(*args, **kwargs)
        for layer in self.after:
            result = layer(result)
        return result


class _Names(UniqueNames):
    """Names for the layers of one model: none twice, none with a slash, which Keras 3 refuses."""

    def __init__(self, notes: Notes):
        super().__init__()
        self._notes = notes

    def __call__(self, name: str) -> str:
        if "/" in name:
            self._notes.add("/ in the layer's name became _", name)
        return super().__call__(name.replace("/", "_"))


def _is_model(config: Config) -> bool:
    return config.get("class_name") in MODELS


def _layer_configs(config: Config) -> list[Config]:
    own = config["config"]
    return own if isinstance(own, list) else own["layers"]


def _given_name(config: Config) -> str:
    own = config.get("config")
    return config.get("name") or (own.get("name") if isinstance(own, dict) else None) or ""


def _name_of(config: Config) -> str:
    return _given_name(config) or config["class_name"].lower()


def _make_part(config: Config, names: _Names, notes: Notes) -> Part:
    name, kind = _name_of(config), config["class_name"]
    if _is_model(config):
        return _build(config, names(name), notes)
    if kind in operations.KINDS:
        return Part(name, kind, None)
    new_kind, own, after = one_layer.mend(kind, {**config["config"], "name": name}, notes)
    own["name"] = names(name)
    made = one_layer.make(new_kind, own)
    behind = [one_layer.make(k, {**more, "name": names(more["name"])}) for k, more in after]
    return Part(name, kind, made, after=behind)


def _input(config: Config, notes: Notes) -> Any:
    """The input that an InputLayer describes."""
    own = config["config"]
    if own.get("ragged"):
        raise ModelError(f"layer {_name_of(config)}: ragged inputs are unknown to Keras 3")
    if "batch_input_shape" in own:
        notes.add("batch_input_shape of an input became batch_shape", _name_of(config), native=True)
    shape = own.get("batch_input_shape", own.get("batch_shape"))
    dtype = own.get("dtype")
    return keras.Input(
        batch_shape=tuple(shape),
        dtype=dtype if isinstance(dtype, str) else None,
        sparse=bool(own.get("sparse")),
        name=_name_of(config).replace("/", "_"),
    )


def _first_shape(config: Config) -> Any:
    """Batch shape of what a layer or model takes, where its configuration tells."""
    own = config["config"]
    if not _is_model(config):
        return own.get("batch_input_shape", own.get("batch_shape"))
    inner = _layer_configs(config)
    if isinstance(own, dict) and own.get("build_input_shape"):
        return own["build_input_shape"]
    return _first_shape(inner[0]) if inner else None


def _sequential(config: Config, name: str, notes: Notes) -> Part:
    if isinstance(config["config"], list):
        notes.add("Sequential model given as a list of layers, as before Keras 2.2.3", name)
    inner, names = _layer_configs(config), _Names(notes)
    if inner and inner[0]["class_name"] == "InputLayer":
        start = _input(inner[0], notes)
    else:
        shape = _first_shape(config)
        if shape is None:
            raise ModelError(
                f"model {name}: the file does not tell the shape of its input. Build the model once"
                " with keras.Input(shape) as its first layer and save it again"
            )
        notes.add("input layer of a Sequential model added", name)
        start = keras.Input(batch_shape=tuple(shape))
    parts = [_make_part(c, names, notes) for c in inner if c["class_name"] != "InputLayer"]
    for part in parts:
        if part.layer is None:
            raise ModelError(f"layer {part.name}: an operation in a Sequential model is unknown")
    chain = [layer for part in parts for layer in (part.layer, *part.after)]
    model = keras.Sequential([start, *chain], name=name)
    return Part(_given_name(config), "Sequential", model, parts)


def _functional(config: Config, name: str, notes: Notes) -> Part:
    own = config["config"]
    if not isinstance(own, dict) or not {"layers", "input_layers", "output_layers"} <= {*own}:
        raise ModelError(f"model {name}: its configuration tells no graph of layers")
    names, configs = _Names(notes), {_name_of(c): c for c in _layer_configs(config)}
    waiting = [
        calls.read_call(layer, inner["class_name"], number, node, configs)
        for layer, inner in configs.items()
        for number, node in enumerate(inner.get("inbound_nodes") or [])
    ]
    ends = [calls.read(calls.single(own[f"{key}_layers"]), configs) for key in ("input", "output")]
    found = [*calls.references(ends), *(r for call in waiting for r in call.needs)]
    # Layers that something takes the first output of: nested models count their own graph as 0.
    zero = {r.name for r in found if r.call == 0}
    values: dict[tuple[str, int], list[Any]] = {}
    parts: dict[str, Part] = {}
    for layer, inner in configs.items():
        if inner["class_name"] == "InputLayer":
            names(layer)
            values[layer, 0] = [_input(inner, notes)]
        else:
            parts[layer] = _make_part(inner, names, notes)

    def value(reference: calls.Reference) -> Any:
        try:
            return values[reference.name, reference.call][reference.tensor]
        except (KeyError, IndexError) as error:
            raise ModelError(
                f"model {name}: {reference.name} has no output {reference.tensor} of call"
                f" {reference.call}, which its graph names"
            ) from error

    def run(call: calls.Call) -> Any:
        part = parts[call.name]
        first, more = calls.replace(call.first, value), calls.replace(call.more, value)
        if part.layer is None:
            function = configs[call.name]["config"]["function"]
            notes.add("TensorFlow operations became layers", call.name)
            return operations.call(names(call.name), function, first, more)
        # Keras 3 makes masks itself.
        more = {key: value for key, value in more.items() if (key, value) != ("mask", None)}
        try:
            return part(first, **more)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"layer {part.name} cannot be called: {one_line(error)}") from error

    while waiting:
        left = []
        for call in waiting:
            if all((r.name, r.call) in values for r in call.needs):
                later = _is_model(configs[call.name]) and call.name not in zero
                values[call.name, call.number + later] = tree.flatten(run(call))
            else:
                left.append(call)
        if len(left) == len(waiting):
            raise ModelError(f"model {name}: layer {left[0].name} has no complete input")
        waiting = left
    model = keras.Model(*calls.replace(ends, value), name=name)
    if own.get("trainable") is False:
        model.trainable = False
    return Part(_given_name(config), config["class_name"], model, list(parts.values()))


def _build(config: Config, name: str, notes: Notes) -> Part:
    build = _sequential if config["class_name"] == "Sequential" else _functional
    return build(config, name, notes)


def _models_inside(part: Part) -> list[str]:
    inside = [p for p in part.parts if isinstance(p.layer, keras.Model)]
    return [name for p in inside for name in (p.layer.name, *_models_inside(p))]


def rebuild(config: Config, notes: Notes) -> Part:
    """Build the model that a configuration of Keras 2 describes, with random weights.

    Raises
    ------
    ModelError
        Names the layer that cannot be made or called.
    """
    config = one_layer.plain(config)
    if not _is_model(config):
        raise ModelError(
            f"expected a Sequential or Functional model, received the class {config['class_name']}:"
            " custom objects are not executed. Rebuild the model from Keras's own and save it again"
        )
    part = _build(config, _name_of(config).replace("/", "_"), notes)
    for name in _models_inside(part):
        notes.add("nested models called anew, with one tensor for a list of one", name)
    return part


def as_part(layer: Any) -> Part:
    """A layer or model of Keras 3 as parts, by its own names."""
    inner = layer.layers if isinstance(layer, keras.Model) else []
    return Part(layer.name, type(layer).__name__, layer, [as_part(part) for part in inner])
