"""Objects that Keras would have to execute code for, or that are not its own: refused by name."""

from collections.abc import Iterator
from typing import Any

import keras

from tltool.errors import ModelError

MODELS = ("Sequential", "Functional", "Model")

# Written by Keras for values, not for layers.
_VALUES = {
    "__keras_tensor__",
    "__tensor__",
    "__numpy__",
    "__ellipsis__",
    "__slice__",
    "__bytes__",
    "__tuple__",
    "TensorShape",
}

# Layers of Keras that hold a program of another library, read from a file or a pickle.
_PROGRAMS = {"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}

# Not read: the model is opened without its optimizer, losses and metrics.
_UNREAD = {"compile_config", "training_config", "build_config"}

# Functions of Keras 2 and of TensorFlow under these names are those of Keras 3.
ACTIVATIONS = {
    *("elu", "exponential", "gelu", "hard_sigmoid", "hard_swish", "leaky_relu", "linear"),
    *("log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softplus"),
    *("softsign", "swish", "tanh"),
}


def refuse_custom(name: str, what: str) -> ModelError:
    """The error for an object that is not one of Keras's own."""
    return ModelError(
        f"layer {name}: {what} is not one of Keras's own, and custom objects are not executed."
        " Rebuild the model from layers of Keras, copy the weights over and save it again"
    )


def _objects(item: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every serialised object in a configuration, with the name of the layer it belongs to."""
    if isinstance(item, list):
        for part in item:
            yield from _objects(part, name)
    if not isinstance(item, dict):
        return
    if isinstance(item.get("class_name"), str):
        inner = item.get("config")
        own = inner.get("name") if isinstance(inner, dict) else None
        name = own if isinstance(own, str) else item.get("name") or name
        yield name, item
    for key, part in item.items():
        if key not in _UNREAD:
            yield from _objects(part, name)


def _is_function(item: dict[str, Any]) -> bool:
    function = item.get("config")
    known = isinstance(function, str) and (
        function in ACTIVATIONS or hasattr(keras.activations, function)
    )
    return item["class_name"] == "function" and known


def _is_own(item: dict[str, Any]) -> bool:
    """Whether an object is one of Keras's; a registered custom one is written `package>Name`."""
    if ">" in item["class_name"] or ">" in str(item.get("registered_name")):
        return False
    if item["class_name"] in _VALUES or "module" not in item:
        return True
    module = str(item["module"])
    root, _, rest = module.partition(".")
    if module == "builtins":
        return _is_function(item)
    return root in ("keras", "tf_keras") or (root == "tensorflow" and "keras" in rest.split("."))


def _described(item: dict[str, Any]) -> str:
    if item["class_name"] == "function":
        return f"the function {item.get('config')}"
    registered = str(item.get("registered_name"))
    if ">" in registered:
        return f"the class {registered}"
    of = f" of {item['module']}" if item.get("module") else ""
    return f"the class {item['class_name']}{of}"


def refuse_foreign(config: dict[str, Any]) -> None:
    """Refuse Lambda layers and custom objects anywhere in a model's configuration.

    Raises
    ------
    ModelError
        Names the layer and its class.
    """
    for name, item in _objects(config):
        name = name or "(unnamed)"
        if item["class_name"] in ("Lambda", "__lambda__"):
            raise ModelError(
                f"layer {name} is a Lambda layer, and the Python code in it is not executed."
                " Replace it by a layer of Keras (Rescaling for a division, Activation for a"
                " function), copy the weights over and save the model again"
            )
        if item["class_name"] in _PROGRAMS:
            raise ModelError(
                f"layer {name} ({item['class_name']}) runs a program of another library, which is"
                " not executed. Rebuild the model from layers of Keras and save it again"
            )
        if not _is_own(item):
            raise refuse_custom(name, _described(item))
