"""One layer as Keras 2 wrote it, made as a layer of Keras 3 that computes the same."""

import re
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from tltool.errors import ModelError
from tltool.models.legacy.notes import Notes, one_line
from tltool.models.legacy.stored import ACTIVATIONS, refuse_custom

Config = dict[str, Any]

_ANY = object()

# Key -> value at which it does nothing. Keras 3 knows none of them.
_EVERYWHERE: Config = {
    "dynamic": False,
    "stateful": False,
    "expects_training_arg": _ANY,
    "input_dtype": _ANY,
    "shared_object_id": _ANY,
    "ragged": False,
    # How a preprocessing layer draws; inference draws nothing.
    "rng_type": _ANY,
}
# Left over from Conv2D, of which these were subclasses; their kernels have other names.
_NO_KERNEL: Config = {
    "groups": 1,
    "filters": None,
    "kernel_initializer": _ANY,
    "kernel_regularizer": _ANY,
    "kernel_constraint": _ANY,
}
_RECURRENT: Config = {"time_major": False, "stateful": False, "implementation": _ANY}
# The shape follows from the layer's input, and there is nothing to train.
_SPATIAL_DROPOUT: Config = {"noise_shape": _ANY, "trainable": _ANY}
NEUTRAL: dict[str, Config] = {
    "DepthwiseConv1D": _NO_KERNEL,
    "DepthwiseConv2D": _NO_KERNEL,
    "SeparableConv1D": {key: _NO_KERNEL[key] for key in _NO_KERNEL if key != "filters"},
    "SeparableConv2D": {key: _NO_KERNEL[key] for key in _NO_KERNEL if key != "filters"},
    "Conv1DTranspose": {"groups": 1},
    "Conv2DTranspose": {"groups": 1},
    "Conv3DTranspose": {"groups": 1},
    # Renormalisation and how the sums are made; `adjustment` is for training.
    "BatchNormalization": {
        "renorm": False,
        "renorm_clipping": None,
        "renorm_momentum": _ANY,
        "virtual_batch_size": None,
        "fused": _ANY,
        "adjustment": None,
    },
    "SpatialDropout1D": _SPATIAL_DROPOUT,
    "SpatialDropout2D": _SPATIAL_DROPOUT,
    "SpatialDropout3D": _SPATIAL_DROPOUT,
    "Embedding": {"input_length": _ANY},
    # Known again from the inputs.
    "MultiHeadAttention": {
        "query_shape": _ANY,
        "key_shape": _ANY,
        "value_shape": _ANY,
        "softmax_robust_masking": False,
    },
    "LSTM": _RECURRENT,
    "GRU": _RECURRENT,
    "SimpleRNN": _RECURRENT,
    "RNN": _RECURRENT,
    "ConvLSTM2D": {"time_major": False},
}

_RENAMED = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
}

_WRAPPED = ("layer", "forward_layer", "backward_layer", "cell")

# Keras 2: clip(0.2 x + 0.5, 0, 1); Keras 3: clip(x / 6 + 0.5, 0, 1).
_HARD_SIGMOID_SCALE = 1.2


def plain(item: Any) -> Any:
    """The configuration with tuples and shapes as lists, and arrays as numbers."""
    if isinstance(item, list):
        return [plain(part) for part in item]
    if not isinstance(item, dict):
        return item
    if item.get("class_name") in ("__tuple__", "TensorShape") and "items" in item:
        return plain(item["items"])
    if item.get("class_name") == "__numpy__":
        return item["config"]["value"]
    return {key: plain(part) for key, part in item.items()}


def _drop_neutral(kind: str, own: Config, notes: Notes) -> None:
    for key, harmless in {**_EVERYWHERE, **NEUTRAL.get(kind, {})}.items():
        if key in own and (harmless is _ANY or own[key] == harmless):
            if key not in ("shared_object_id", "ragged", "stateful", "implementation"):
                notes.add(f"{key} dropped from {kind}, where it does nothing", own["name"])
            del own[key]


def _mend_dtype(own: Config, notes: Notes) -> None:
    dtype = own.get("dtype")
    if isinstance(dtype, dict):
        own["dtype"] = dtype = dtype["config"]["name"]
        notes.add("dtype policy given by its name", own["name"])
    if isinstance(dtype, str):
        # "infer" and "infer_float32" of TensorFlow 1.
        own["dtype"] = dtype.removeprefix("infer_").replace("infer", "float32")
    if own.get("dtype", "") is None:
        del own["dtype"]


def _mend_axis(kind: str, own: Config, notes: Notes) -> None:
    axis = own.get("axis")
    if isinstance(axis, list) and len(axis) == 1 and kind != "Normalization":
        own["axis"] = axis[0]
        notes.add(f"axis of {kind} as a number instead of a list", own["name"], native=True)


def _mend_objects(own: Config, notes: Notes) -> None:
    """Initializers, which have done their work, regularizers and constraints."""
    for key, value in list(own.items()):
        if key.endswith("_initializer"):
            own[key] = _named(value, drop=("dtype",))
            if not _is_initializer(own[key]):
                del own[key]
                notes.add(f"{key} dropped: the weights are stored", own["name"])
        elif key.endswith(("_regularizer", "_constraint")):
            own[key] = _named(value)


def _named(value: Any, drop: tuple[str, ...] = ()) -> Any:
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    inner = {k: v for k, v in (value.get("config") or {}).items() if k not in drop}
    return {"class_name": re.sub(r"V[12]$", "", value["class_name"]), "config": inner}


def _is_initializer(value: Any) -> bool:
    try:
        keras.initializers.get(value)
    except Exception:
        # Whatever Keras says: it is not needed.
        return False
    return True


def _unwrap(kind: str, own: Config, notes: Notes) -> None:
    """Layers inside of wrappers (TimeDistributed, Bidirectional)."""
    for key in _WRAPPED:
        if isinstance(own.get(key), dict):
            inner = own[key]
            inner_kind, inner_own, after = mend(inner["class_name"], inner["config"], notes)
            if after or not hasattr(layers, inner_kind):
                raise ModelError(
                    f"layer {own['name']} ({kind}): {inner['class_name']} inside of it cannot be"
                    " mended. Save the model again with Keras 3"
                )
            own[key] = {
                "module": "keras.layers",
                "class_name": inner_kind,
                "config": inner_own,
                "registered_name": None,
            }


def _threshold(own: Config, notes: Notes) -> str:
    own["threshold"] = own.pop("theta")
    notes.add("ThresholdedReLU as ReLU with a threshold", own["name"])
    return "ReLU"


def _untrained_size(own: Config, notes: Notes) -> str:
    for key in set(own) - {"name", "trainable", "dtype"}:
        del own[key]
    notes.add("RandomHeight and RandomWidth, unknown to Keras 3, as Identity", own["name"])
    return "Identity"


def _leaky(own: Config, notes: Notes) -> str:
    own["negative_slope"] = own.pop("alpha", own.get("negative_slope", 0.3))
    return "LeakyReLU"


def _masked_relu(own: Config, notes: Notes) -> str:
    # None stood for 0 in some versions.
    for key in ("negative_slope", "threshold"):
        if own.get(key, 0) is None:
            own[key] = 0.0
    return "ReLU"


_SPECIAL: dict[str, Callable[[Config, Notes], str]] = {
    "ThresholdedReLU": _threshold,
    "RandomHeight": _untrained_size,
    "RandomWidth": _untrained_size,
    "LeakyReLU": _leaky,
    "ReLU": _masked_relu,
}


def _function_name(value: Any, name: str) -> Any:
    """An activation as its name, or as the configuration of a layer that is called as one."""
    if isinstance(value, dict) and value.get("class_name") == "function":
        value = value["config"]
    if isinstance(value, str):
        value = value.removesuffix("_v2")
        if value not in ACTIVATIONS:
            raise refuse_custom(name, f"the activation {value}")
    return value


def _is_recurrent(kind: str) -> bool:
    """Whether its activation works inside of it, where nothing can be put behind."""
    return kind.endswith("Cell") or kind in ("LSTM", "GRU", "SimpleRNN") or "ConvLSTM" in kind


def _shown(activation: Any) -> str:
    return activation if isinstance(activation, str) else activation.get("class_name", "")


def _split_activation(kind: str, own: Config, notes: Notes) -> list[tuple[str, Config]]:
    """Take out an activation that Keras 3 has not under this name; the layers that make it."""
    for key in ("activation", "recurrent_activation"):
        if key in own:
            own[key] = _function_name(own[key], own["name"])
            if _is_recurrent(kind) and (own[key] == "hard_sigmoid" or isinstance(own[key], dict)):
                raise ModelError(
                    f"layer {own['name']} ({kind}): its {key} {_shown(own[key])} is another"
                    " function in Keras 3. Save the model again with Keras 3 from its own script"
                )
    activation, name = own.get("activation"), f"{own['name']}_activation"
    if activation == "hard_sigmoid":
        own["activation"] = "linear"
        notes.add("hard_sigmoid, steeper in Keras 2, as Rescaling(1.2) and Keras 3's", own["name"])
        same = {"dtype": own["dtype"]} if "dtype" in own else {}
        scale = {"name": f"{name}_scale", "scale": _HARD_SIGMOID_SCALE, "offset": 0.0, **same}
        after = {"name": name, "activation": activation, **same}
        return [("Rescaling", scale), ("Activation", after)]
    if isinstance(activation, dict) and "class_name" in activation:
        own["activation"] = "linear"
        inner = {**activation["config"], "name": name}
        notes.add("a layer given as activation became a layer of its own", own["name"])
        after_kind, after_own, more = mend(activation["class_name"], inner, notes)
        return [(after_kind, after_own), *more]
    return []


def mend(kind: str, config: Config, notes: Notes) -> tuple[str, Config, list[tuple[str, Config]]]:
    """Mend the configuration of a layer.

    Parameters
    ----------
    kind : str
        Its class in Keras 2.
    config : dict
        As `get_config` of Keras 2 gave it; left as it is.
    notes : Notes

    Returns
    -------
    kind, config : str and dict
        For Keras 3.
    after : list of (kind, config)
        Layers to be called behind it.
    """
    own = {"name": kind.lower(), **config}
    if own.pop("batch_input_shape", None):
        notes.add("batch_input_shape dropped: the input layer has it", own["name"], native=True)
    kind = _RENAMED.get(kind, kind)
    if kind in _SPECIAL:
        kind = _SPECIAL[kind](own, notes)
    _drop_neutral(kind, own, notes)
    _mend_dtype(own, notes)
    _mend_axis(kind, own, notes)
    _mend_objects(own, notes)
    _unwrap(kind, own, notes)
    return kind, own, _split_activation(kind, own, notes)


def make(kind: str, own: Config) -> keras.Layer:
    """Make a layer of Keras 3.

    Raises
    ------
    ModelError
        Names the layer, and the class or key that Keras 3 does not know.
    """
    name = own["name"]
    if not isinstance(getattr(layers, kind, None), type) or kind == "Layer":
        raise refuse_custom(name, f"the class {kind}")
    try:
        return getattr(layers, kind).from_config(own)
    except Exception as error:
        keys = re.search(
            r"[Uu]n(?:recognized|expected) keyword arguments?.*?(\{.*?\}|'\w+')", str(error)
        )
        if keys:
            raise ModelError(
                f"layer {name} ({kind}): Keras {keras.__version__} does not know {keys.group(1)},"
                " which may change what it computes. Save the model again with Keras 3"
            ) from error
        reason = one_line(error)
        raise ModelError(f"layer {name} ({kind}) cannot be made by Keras 3: {reason}") from error
