"""One layer as Keras 2 wrote it, made as a layer of Keras 3 that computes the same."""

import re
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
_FEW_FILTERS = {key: harmless for key, harmless in _NO_KERNEL.items() if key != "filters"}
NEUTRAL: dict[str, Config] = {
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _NO_KERNEL),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _FEW_FILTERS),
    **{f"Conv{n}DTranspose": {"groups": 1} for n in (1, 2, 3)},
    # Renormalisation and how the sums are made; `adjustment` is for training.
    "BatchNormalization": {
        "renorm": False,
        "renorm_clipping": None,
        "renorm_momentum": _ANY,
        "virtual_batch_size": None,
        "fused": _ANY,
        "adjustment": None,
    },
    # The shape follows from the layer's input, and there is nothing to train.
    **{f"SpatialDropout{n}D": {"noise_shape": _ANY, "trainable": _ANY} for n in (1, 2, 3)},
    "Embedding": {"input_length": _ANY},
    # Known again from the inputs.
    "MultiHeadAttention": {
        "query_shape": _ANY,
        "key_shape": _ANY,
        "value_shape": _ANY,
        "softmax_robust_masking": False,
    },
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "RNN"), _RECURRENT),
    "ConvLSTM2D": {"time_major": False},
}

_BATCH_NORMALIZATIONS = ("BatchNormalizationV1", "BatchNormalizationV2", "SyncBatchNormalization")


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


def _mend_objects(own: Config, notes: Notes) -> None:
    """Initializers, which have done their work, regularizers and constraints."""
    for key, value in list(own.items()):
        if not key.endswith(("_initializer", "_regularizer", "_constraint")):
            continue
        initializer = key.endswith("_initializer")
        if isinstance(value, dict) and "class_name" in value:
            inner = dict(value.get("config") or {})
            if initializer:
                inner.pop("dtype", None)
            kind = re.sub(r"V[12]$", "", value["class_name"])
            own[key] = {"class_name": kind, "config": inner}
        if initializer:
            try:
                keras.initializers.get(own[key])
            except Exception:
                # Whatever Keras says: it is not needed.
                del own[key]
                notes.add(f"{key} dropped: the weights are stored", own["name"])


def _unwrap(kind: str, own: Config, notes: Notes) -> None:
    """Layers inside of wrappers (TimeDistributed, Bidirectional)."""
    for key in ("layer", "forward_layer", "backward_layer", "cell"):
        inner = own.get(key)
        if isinstance(inner, dict):
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


def _split_activation(kind: str, own: Config, notes: Notes) -> list[tuple[str, Config]]:
    """Take out an activation that Keras 3 has not under this name; the layers that make it."""
    # Whether it works inside of the layer, where nothing can be put behind.
    recurrent = kind.endswith("Cell") or kind in ("LSTM", "GRU", "SimpleRNN") or "ConvLSTM" in kind
    for key in ("activation", "recurrent_activation"):
        value = own.get(key)
        if isinstance(value, dict) and value.get("class_name") == "function":
            value = own[key] = value["config"]
        if isinstance(value, str):
            value = own[key] = value.removesuffix("_v2")
            if value not in ACTIVATIONS:
                raise refuse_custom(own["name"], f"the activation {value}")
        if recurrent and (value == "hard_sigmoid" or isinstance(value, dict)):
            shown = value.get("class_name", "") if isinstance(value, dict) else value
            raise ModelError(
                f"layer {own['name']} ({kind}): its {key} {shown} is another"
                " function in Keras 3. Save the model again with Keras 3 from its own script"
            )
    activation, name = own.get("activation"), f"{own['name']}_activation"
    if activation == "hard_sigmoid":
        own["activation"] = "linear"
        notes.add("hard_sigmoid, steeper in Keras 2, as Rescaling(1.2) and Keras 3's", own["name"])
        same = {"dtype": own["dtype"]} if "dtype" in own else {}
        # Keras 2: clip(0.2 x + 0.5, 0, 1); Keras 3: clip(x / 6 + 0.5, 0, 1).
        scale = {"name": f"{name}_scale", "scale": 1.2, "offset": 0.0, **same}
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
    if kind in _BATCH_NORMALIZATIONS:
        kind = "BatchNormalization"
    elif kind == "ThresholdedReLU":
        kind, own["threshold"] = "ReLU", own.pop("theta")
        notes.add("ThresholdedReLU as ReLU with a threshold", own["name"])
    elif kind in ("RandomHeight", "RandomWidth"):
        kind = "Identity"
        own = {key: own[key] for key in own if key in ("name", "trainable", "dtype")}
        notes.add("RandomHeight and RandomWidth, unknown to Keras 3, as Identity", own["name"])
    elif kind == "LeakyReLU":
        own["negative_slope"] = own.pop("alpha", own.get("negative_slope", 0.3))
    elif kind == "ReLU":
        # None stood for 0 in some versions.
        own |= {k: 0.0 for k in ("negative_slope", "threshold") if own.get(k, 0) is None}
    for key, harmless in {**_EVERYWHERE, **NEUTRAL.get(kind, {})}.items():
        if key in own and (harmless is _ANY or own[key] == harmless):
            if key not in ("shared_object_id", "ragged", "stateful", "implementation"):
                notes.add(f"{key} dropped from {kind}, where it does nothing", own["name"])
            del own[key]
    dtype, axis = own.pop("dtype", None), own.get("axis")
    if isinstance(dtype, dict):
        dtype = dtype["config"]["name"]
        notes.add("dtype policy given by its name", own["name"])
    if dtype is not None:
        # "infer" and "infer_float32" of TensorFlow 1.
        own["dtype"] = dtype.removeprefix("infer_").replace("infer", "float32")
    if isinstance(axis, list) and len(axis) == 1 and kind != "Normalization":
        own["axis"] = axis[0]
        notes.add(f"axis of {kind} as a number instead of a list", own["name"], native=True)
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
