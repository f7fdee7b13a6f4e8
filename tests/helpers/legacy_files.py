"""Models of today's Keras written as the versions of Keras 2 wrote them.

The layouts are those that Keras 2.1.6, 2.2.4 and 2.3.1 and TensorFlow 2.4,
2.8, 2.12, 2.13 and 2.15 write.
"""

import io
import json
import zipfile

import h5py
import keras
import numpy as np

from tltool.models.graph import to_snake_case


def shaken(model, seed=0):
    """The model with weights away from their initial zeros, variances positive."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "int" not in str(weight.dtype):
            values = rng.normal(0, 0.4, weight.shape)
            weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def _old_value(value):
    if isinstance(value, dict) and "class_name" in value:
        return {"class_name": value["class_name"], "config": value["config"]}
    return value


def _layer(layer, zipped):
    own = {k: _old_value(v) for k, v in layer.get_config().items() if v is not None}
    own["dtype"] = "float32"
    if isinstance(layer, keras.layers.InputLayer):
        own = {"batch_input_shape": own["batch_shape"], "name": layer.name}
        own |= {"dtype": "float32", "sparse": False, "ragged": False}
    if isinstance(layer, keras.layers.BatchNormalization):
        own["axis"] = [3]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        own["groups"] = 1
    config = {"class_name": type(layer).__name__, "config": own}
    if zipped:
        config |= {"module": "keras.layers", "registered_name": None}
    return config


def _is_model(layer):
    return isinstance(layer, keras.Model)


def _node(node, models):
    found = []

    def visit(item):
        if isinstance(item, dict) and item.get("class_name") == "__keras_tensor__":
            name, call, tensor = item["config"]["keras_history"]
            found.append([name, call + (name in models), tensor, {}])
        elif isinstance(item, dict | list | tuple):
            for part in item.values() if isinstance(item, dict) else item:
                visit(part)

    visit(node["args"])
    return found


def _sequential(model, style, zipped):
    inner = [old_config(layer, style, zipped) for layer in model._layers]
    if style in ("2.1", "2.2"):
        first, *inner = inner
        if not _is_model(model.layers[0]):
            inner[0]["config"]["batch_input_shape"] = first["config"]["batch_input_shape"]
    own = inner if style == "2.1" else {"name": model.name, "layers": inner}
    return {"class_name": "Sequential", "config": own}


def _functional(model, style, zipped):
    now = model.get_config()
    # Nested Functional models count themselves today already.
    models = {x.name for x in model.layers if isinstance(x, keras.Sequential)}
    inner = []
    for layer, config in zip(model.layers, now["layers"], strict=True):
        old = old_config(layer, style, zipped)
        nodes = [_node(node, models) for node in config["inbound_nodes"]]
        inner.append({**old, "name": layer.name, "inbound_nodes": nodes})
    ends = {key: now[key] for key in ("input_layers", "output_layers")}
    ends = {k: [v] if isinstance(v[0], str) else v for k, v in ends.items()}
    for end in ends.values():
        for place in end:
            place[1] += place[0] in models
    kind = "Model" if style in ("2.1", "2.2") else "Functional"
    config = {"class_name": kind, "config": {"name": model.name, "layers": inner, **ends}}
    if zipped:
        config |= {"module": "keras.src.engine.functional", "registered_name": kind}
    return config


def old_config(layer, style="2.4", zipped=False):
    """The configuration of a layer or model as Keras 2 wrote it.

    `style`: 2.1 (Sequential is a list), 2.2 (Sequential without input layer),
    2.4 and later.
    """
    if isinstance(layer, keras.Sequential):
        return _sequential(layer, style, zipped)
    return _functional(layer, style, zipped) if _is_model(layer) else _layer(layer, zipped)


def _stored(layer):
    """(path, array) of the weights, trainable ones first as Keras 2.2 had them in models."""
    leaves = [layer]
    while any(map(_is_model, leaves)):
        leaves = [x for leaf in leaves for x in (leaf.layers if _is_model(leaf) else [leaf])]
    pairs = [(leaf, weight) for leaf in leaves for weight in leaf.weights]
    if _is_model(layer):
        pairs.sort(key=lambda pair: not pair[1].trainable)
    return [(f"{leaf.name}/{weight.name}:0", weight.numpy()) for leaf, weight in pairs]


def write_weights(group, model, version="2.4.0"):
    """Weights by the names of layers."""
    group.attrs["keras_version"] = version.encode()
    group.attrs["backend"] = b"tensorflow"
    group.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
    for layer in model.layers:
        inner = group.create_group(layer.name)
        stored = _stored(layer)
        inner.attrs["weight_names"] = np.array([name.encode() for name, _ in stored], "S")
        for name, values in stored:
            inner[name] = values


def write_hdf5(path, model, style="2.4", edit=None, version="2.4.0"):
    """A whole model in HDF5; `edit` may change the configuration."""
    config = old_config(model, style)
    for layer in _all_layers(config):
        (edit or (lambda _: None))(layer)
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["keras_version"] = version.encode()
        # Losses and metrics of one's own do not matter.
        file.attrs["training_config"] = json.dumps({"loss": "my_loss"}).encode()
        file.create_group("optimizer_weights")["iterations"] = 3
        write_weights(file.create_group("model_weights"), model, version)
    return path


def _all_layers(config):
    own = config["config"]
    for inner in own if isinstance(own, list) else own.get("layers", []):
        yield inner
        yield from _all_layers(inner)


def _by_place(model, container, step):
    """(path, array): numbered within a class, by one or, in Keras 2.13, by two."""
    used, found = {}, []
    for layer in model.layers:
        kind = to_snake_case(type(layer).__name__)
        number = used.get(kind, 0)
        used[kind] = number + (step if layer.weights else 1)
        place = f"{container}/{kind}_{number}" if number else f"{container}/{kind}"
        if _is_model(layer):
            found += [(f"{place}/{path}", v) for path, v in _by_place(layer, container, step)]
        else:
            found += [(f"{place}/vars/{i}", w.numpy()) for i, w in enumerate(layer.weights)]
    return found


def write_zip(path, model, version="2.15.0", windows=False, edit=None):
    """A whole model in an archive; `windows`: group names with backslashes."""
    early = version.startswith(("2.12", "2.13"))
    container = "_layer_checkpoint_dependencies" if early else "layers"
    config = old_config(model, "2.4", zipped=True)
    for layer in _all_layers(config):
        (edit or (lambda _: None))(layer)
    config["compile_config"] = {"loss": {"class_name": "Mine", "module": "mine", "config": {}}}
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for place, values in _by_place(model, container, 2 if early else 1):
            folder, _, last = place.partition("/vars/")
            folder = folder.replace("/", "\\") if windows else folder
            file[f"{folder}/vars/{last}"] = values
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", buffer.getvalue())
    return path
