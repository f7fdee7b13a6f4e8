"""Weights out of the files of Keras 2, each to the layer that the file names.

By name or by the place among layers of its class, never by the mere order
over a model, which versions of Keras differ in. Every weight of the model
must be found, and every weight of the file be used.
"""

import math
import re
from typing import Any

import h5py
import keras
import numpy as np

from tltool.errors import ModelError
from tltool.models.graph import give_weights, to_snake_case
from tltool.models.legacy.notes import Notes
from tltool.models.legacy.rebuild import Part
from tltool.models.stored_names import stored_names

CONTAINERS = ("layers", "_layer_checkpoint_dependencies")

# State of random number generators: drawn anew.
_STATES = ("StateVar", "seed_generator_state")

# Larger than this, at less than a thousandth of it on disk: a trap, not weights.
_LARGE, _EXPANSION = 1 << 32, 1000

Tree = dict[str, Any]


def _datasets(group: h5py.Group) -> dict[str, h5py.Dataset]:
    """All arrays below a group; links to elsewhere are not followed."""
    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:
            raise ModelError(f"weights {name}: data outside of the file are not read")
        declared = math.prod(item.shape) * item.dtype.itemsize
        if declared > _LARGE and declared > _EXPANSION * item.id.get_storage_size():
            raise ModelError(f"weights {name}: {declared} bytes are declared and hardly any stored")
        found[name] = item

    group.visititems(visit)
    return found


def _assign(part: Part, values: list[h5py.Dataset]) -> None:
    layer = part.layer
    weights = list(layer.weights)
    if isinstance(layer, keras.layers.Normalization):
        # Mean and variance; the count is for adapt() alone and not stored by every version.
        weights, values = weights[:2], values[:2]
    wanted = [tuple(weight.shape) for weight in weights]
    found = [tuple(value.shape) for value in values]
    if found != wanted:
        raise ModelError(
            f"layer {part.name} ({part.kind}): expected weights of the shapes {_shown(wanted)}, the"
            f" file has {_shown(found)}"
        )
    rest = [np.asarray(weight) for weight in layer.weights[len(weights) :]]
    give_weights(layer, [*map(np.asarray, values), *rest])


def _shown(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join("x".join(map(str, shape)) or "1" for shape in shapes) or "none"


def _leaves(part: Part) -> list[Part]:
    """The layers with weights inside of a part, models entered."""
    if isinstance(part.layer, keras.Model):
        return [leaf for inner in part.parts for leaf in _leaves(inner)]
    return [part] if part.layer is not None and part.layer.weights else []


def _matched(part: Part, leaves: list[Part], groups: dict[str, list[Any]]) -> list[list[Any]]:
    """The stored weights of each leaf, by its name in their paths."""
    if len(leaves) == 1:
        return [[dataset for group in groups.values() for dataset in group]]
    names = {leaf.name for leaf in leaves}
    # A model loaded again in TensorFlow 1 has _1 behind every name.
    for ending in ("", r"_\d+$"):
        found: dict[str | None, list[Any]] = {}
        for path, group in groups.items():
            # The layer that the path names: the longest of the names in it.
            clean = f"/{re.sub(ending, '', path)}/"
            owner = max((n for n in names if f"/{n}/" in clean), key=len, default=None)
            found.setdefault(owner, []).extend(group)
        if None not in found and len(names) == len(leaves) == len(found):
            return [found[leaf.name] for leaf in leaves]
    return _matched_by_rank(part, leaves, groups)


def _matched_by_rank(part: Part, leaves: list[Part], groups: dict[str, Any]) -> list[list[Any]]:
    """Layers of the same name in several nested models: the first has no number, then _1, _2."""
    ranked: dict[str, list[str]] = {}
    for path in sorted(groups, key=_number):
        ranked.setdefault(re.sub(r"_\d+$", "", path.rpartition("/")[2]), []).append(path)
    result = []
    for leaf in leaves:
        paths = ranked.get(leaf.name)
        if not paths:
            raise ModelError(
                f"model {part.layer.name}: the weights of its layer {leaf.name} are missing, or"
                " stored under a name that cannot be told from others"
            )
        result.append(groups[paths.pop(0)])
    if any(ranked.values()):
        raise ModelError(
            f"model {part.layer.name}: the file has weights for layers that it has not"
        )
    return result


def _number(path: str) -> int:
    match = re.search(r"_(\d+)$", path)
    return int(match.group(1)) if match else 0


def _stored_groups(group: h5py.Group) -> dict[str, dict[str, list[h5py.Dataset]]]:
    """Weights by the name of the layer and their owner inside of it."""
    datasets = _datasets(group)
    stored = {}
    for name in stored_names(group, "layer_names"):
        layer = group.get(name)
        keys = stored_names(layer, "weight_names") if isinstance(layer, h5py.Group) else []
        missing = [key for key in keys if f"{name}/{key}" not in datasets]
        if missing:
            raise ModelError(f"weights {missing[0]} of layer {name} are missing in the file")
        groups: dict[str, list[h5py.Dataset]] = {}
        for key in keys:
            owner, _, last = key.rpartition("/")
            if last.split(":")[0] not in _STATES:
                groups.setdefault(owner, []).append(datasets[f"{name}/{key}"])
        if groups:
            stored[name] = groups
    return stored


def load_by_name(model: Part, file: h5py.File) -> None:
    """Load weights that are stored by the names of layers (HDF5 of Keras 2, `.h5` of Keras 3).

    Raises
    ------
    ModelError
        Names the first layer whose weights are missing or do not fit.
    """
    stored = _stored_groups(_weights_group(file))
    parts = [part for part in model.parts if _leaves(part)]
    # What has no name in the configuration is known by its place.
    names = list(stored) if len(stored) == len(parts) else [""] * len(parts)
    for part, name in zip(parts, names, strict=True):
        groups = stored.pop(part.name or name, {})
        if not groups:
            raise ModelError(f"layer {part.layer.name}: its weights are missing in the file")
        leaves = _leaves(part)
        for leaf, values in zip(leaves, _matched(part, leaves, groups), strict=True):
            _assign(leaf, values)
    if stored:
        raise ModelError(f"the file has weights of {next(iter(stored))}, which the model has not")


def _load_layer(part: Part, tree: Tree) -> None:
    """A layer and the layers in it (of wrappers and attention), found by attribute."""
    inner = {key: value for key, value in tree.items() if key != "vars" and _has_arrays(value)}
    own = tree.get("vars", {})
    if not inner:
        _assign(part, [own[key] for key in sorted(own, key=int)])
        return
    for key, value in inner.items():
        child = getattr(part.layer, key, None)
        if not isinstance(child, keras.Layer):
            raise ModelError(f"layer {part.name} ({part.kind}): weights of {key} have no place")
        _load_layer(Part(f"{part.name}/{key}", type(child).__name__, child), value)
    if own:
        raise ModelError(f"layer {part.name} ({part.kind}): expected weights in its layers only")


def _has_arrays(tree: Any) -> bool:
    if not isinstance(tree, dict):
        return True
    return any(_has_arrays(value) for value in tree.values())


def _load_model(model: Part, tree: Tree) -> None:
    container: Tree = next((tree[name] for name in CONTAINERS if name in tree), {})
    by_kind: dict[str, list[Part]] = {}
    for part in model.parts:
        if _leaves(part):
            by_kind.setdefault(to_snake_case(part.kind), []).append(part)
    for kind, parts in by_kind.items():
        # Groups of the class, in order; Keras 2.13 counts only every other number.
        pattern = re.compile(rf"{re.escape(kind)}(_\d+)?")
        found = [n for n in container if pattern.fullmatch(n) and _has_arrays(container[n])]
        if len(found) != len(parts):
            raise ModelError(
                f"model {model.layer.name}: expected weights of {len(parts)} {parts[0].kind} layers"
                f" ({parts[0].name}, ...), the file has {len(found)}"
            )
        for part, name in zip(parts, sorted(found, key=_number), strict=True):
            load = _load_model if isinstance(part.layer, keras.Model) else _load_layer
            load(part, container[name])


def load_by_order(model: Part, file: h5py.File, notes: Notes) -> None:
    """Load weights that are stored by class and place (`.keras` and `.weights.h5` since 2.12).

    Raises
    ------
    ModelError
        Names the first layer whose weights are missing or do not fit.
    """
    tree: Tree = {}
    for path, dataset in _datasets(file).items():
        # A backslash parts names as a slash does.
        if "\\" in path:
            notes.add("backslashes in the names of weights, written on Windows, read as slashes")
        *folders, last = re.split(r"[\\/]", path)
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = dataset
    if CONTAINERS[1] in tree:
        notes.add(f"weights found under {CONTAINERS[1]}, where Keras 2.12 and 2.13 put them")
    _load_model(model, tree)


def _weights_group(file: h5py.File) -> h5py.Group:
    # A link would lead into another file.
    linked = isinstance(file.get("model_weights", getlink=True), h5py.HardLink)
    return file["model_weights"] if linked else file


def is_by_name(file: h5py.File) -> bool:
    """Whether a file has weights by the names of layers."""
    return bool(stored_names(_weights_group(file), "layer_names"))


def is_by_order(file: h5py.File) -> bool:
    """Whether a file has weights by class and place."""
    return any(re.split(r"[\\/]", name)[0] in CONTAINERS for name in file)
