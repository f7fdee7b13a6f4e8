"""What lies in a file: known by its content, never by its name alone; nothing is executed.

Keras wrote three kinds: HDF5 with `model_config` and weights by layer name
(all of Keras 2, `.h5` of Keras 3, and `.keras` of TensorFlow 2.12 and before),
a zip archive with `config.json`, `metadata.json` and `model.weights.h5`
(`.keras` since 2.12), and HDF5 with weights only.
"""

import contextlib
import json
import os
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import keras

from tltool.errors import ModelError

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"

# A member that is larger than this and was packed more than so many times is no model.
_LARGE, _PACKED = 1 << 32, 100

_WANTED = "expected a Keras model (.keras, .h5 or another HDF5 file)"
_OTHERS = {
    ".tflite": "a TensorFlow Lite model, from which the weights cannot be had back",
    ".onnx": "an ONNX model",
    ".pb": "a TensorFlow graph",
    **dict.fromkeys((".pt", ".pth"), "a PyTorch file"),
    ".safetensors": "a file of weights without a network",
    ".npz": "a file of arrays without a network",
    ".json": "an architecture without weights: pass the weights file, and this one as"
    " `architecture`",
}


@dataclass(frozen=True)
class Stored:
    """A file that Keras wrote.

    Attributes
    ----------
    path : Path
    hdf5 : bool
        HDF5, or else a zip archive.
    config : dict or None
        Configuration of the model; None: the file has weights only.
    version : str
        Version of Keras; empty where the file does not tell.
    """

    path: Path
    hdf5: bool
    config: dict[str, Any] | None
    version: str


def unreadable(path: Path, reason: str) -> ModelError:
    """The error for a file that is none of Keras's."""
    return ModelError(f"{path} cannot be read as a Keras model: {reason}")


def _refuse_other(path: Path) -> None:
    """The files that can be told apart from a damaged model."""
    with path.open("rb") as file:
        start = file.read(8)
    kind = _OTHERS.get(path.suffix.lower())
    if path.suffix.lower() in (".pkl", ".pickle", ".joblib", ".sav") or start[:1] == b"\x80":
        reason = "it may be a Python pickle, which is never opened. Save the model with model.save"
        raise unreadable(path, f"{reason}; {_WANTED}")
    if kind or start[4:8] == b"TFL3":
        raise unreadable(path, f"it is {kind or _OTHERS['.tflite']}; {_WANTED}")
    if start[:4] == b"PK\x03\x04" and not zipfile.is_zipfile(path):
        raise unreadable(path, "its archive breaks off. Copy or download it again")
    if not zipfile.is_zipfile(path):
        raise unreadable(path, f"it is neither HDF5 nor a zip archive; {_WANTED}")


def _parse(path: Path, text: Any, what: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, TypeError) as error:
        raise unreadable(path, f"{what} is not JSON ({error})") from error
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise unreadable(path, f"{what} is not the configuration of a Keras model")
    return config


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


@contextlib.contextmanager
def _hdf5(path: Path, named: Path) -> Iterator[h5py.File]:
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        reason = " ".join(str(error).split())
        reason = f"the HDF5 file is damaged or incomplete ({reason}). Copy or download it again"
        raise unreadable(named, reason) from error
    with file:
        yield file


def _read_hdf5(path: Path) -> Stored:
    with _hdf5(path, path) as file:
        config = file.attrs.get("model_config")
        version = file.attrs.get("keras_version", "")
        if config is None:
            return Stored(path, True, None, _text(version))
        if not isinstance(file.get("model_weights"), h5py.Group):
            raise unreadable(path, "it has a model_config, but the group model_weights is missing")
        version = version or file["model_weights"].attrs.get("keras_version", "")
    return Stored(path, True, _parse(path, _text(config), "its model_config"), _text(version))


def _check_members(path: Path, archive: zipfile.ZipFile) -> None:
    for info in archive.infolist():
        name = PurePosixPath(info.filename.replace("\\", "/"))
        link = stat.S_ISLNK(info.external_attr >> 16)
        if ".." in name.parts or name.is_absolute() or ":" in name.parts[0] or link:
            raise unreadable(path, f"its member {info.filename} points outside of the archive")
        if info.file_size > _LARGE and info.file_size > _PACKED * info.compress_size:
            raise unreadable(path, f"its member {info.filename} unpacks to {info.file_size} bytes")
    names = archive.namelist()
    for wanted in (CONFIG, WEIGHTS):
        if wanted not in names:
            raise unreadable(path, f"the archive has no {wanted}, so it is no model of Keras")


def _read_zip(path: Path) -> Stored:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive)
            config = archive.read(CONFIG)
            about = archive.read(METADATA) if METADATA in archive.namelist() else b"{}"
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError) as error:
        raise unreadable(path, f"its archive is damaged ({error})") from error
    match = re.search(rb'"keras_version"\s*:\s*"([^"]*)"', about)
    version = match.group(1).decode() if match else ""
    return Stored(path, False, _parse(path, config, CONFIG), version)


def read_stored(path: Path) -> Stored:
    """Read a file's configuration, not its weights.

    Raises
    ------
    ModelError
        The file is missing, damaged or of another kind; one line.
    """
    if (path / "saved_model.pb").is_file():
        raise unreadable(
            path,
            "it is a TensorFlow SavedModel, a graph without layers. Open it with the TensorFlow"
            " that wrote it (tf.keras.models.load_model) and save it with model.save('model.h5')",
        )
    if path.is_dir():
        raise unreadable(path, f"it is a folder; {_WANTED}")
    if not path.is_file():
        raise ModelError(f"{path} does not exist: expected a saved Keras model")
    if path.stat().st_size == 0:
        raise unreadable(path, "it is empty. Copy or download it again")
    if h5py.is_hdf5(path):
        return _read_hdf5(path)
    if not (zipfile.is_zipfile(path) and CONFIG in zipfile.ZipFile(path).namelist()):
        _refuse_other(path)
    return _read_zip(path)


def read_architecture(path: Path) -> tuple[dict[str, Any], bool]:
    """The configuration in a JSON file that `model.to_json` wrote, and whether Keras 3 did.

    Raises
    ------
    ModelError
    """
    if not path.is_file():
        raise ModelError(f"`architecture`: {path} does not exist: expected the JSON of to_json()")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise unreadable(path, "expected the JSON of to_json(), received binary data") from error
    config = _parse(path, text, "the file")
    version = str(config.get("keras_version", ""))
    return config, is_keras3(version) if version else '"batch_shape"' in text


def is_keras3(version: str) -> bool:
    """Whether a version of Keras is 3 or later; one that is not told is not."""
    match = re.match(r"\d+", version)
    return match is not None and int(match.group()) >= 3


@contextlib.contextmanager
def open_weights(stored: Stored) -> Iterator[h5py.File]:
    """The HDF5 file with the weights; out of an archive by way of a temporary file."""
    if stored.hdf5:
        with _hdf5(stored.path, stored.path) as file:
            yield file
        return
    with tempfile.TemporaryDirectory(prefix="tltool-") as folder:
        copy = Path(folder) / WEIGHTS
        try:
            with (
                zipfile.ZipFile(stored.path) as archive,
                archive.open(WEIGHTS) as source,
                copy.open("wb") as target,
            ):
                shutil.copyfileobj(source, target)
        except (zipfile.BadZipFile, EOFError) as error:
            raise unreadable(stored.path, f"its {WEIGHTS} is damaged ({error})") from error
        with _hdf5(copy, stored.path) as file:
            yield file


@contextlib.contextmanager
def named(path: Path, ending: str) -> Iterator[Path]:
    """The file under a name with the ending that Keras insists on."""
    if path.name.endswith(ending):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="tltool-") as folder:
        other = Path(folder) / f"model{ending}"
        try:
            os.symlink(path.resolve(), other)
        except OSError:
            # Windows allows links to few.
            shutil.copyfile(path, other)
        yield other


MODELS = ("Sequential", "Functional", "Model")

# Written by Keras for values, not for layers.
_VALUES = {
    *("__keras_tensor__", "__tensor__", "__numpy__", "__ellipsis__", "__slice__", "__bytes__"),
    *("__tuple__", "TensorShape"),
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


def _is_own(item: dict[str, Any]) -> bool:
    """Whether an object is one of Keras's; a registered custom one is written `package>Name`."""
    if ">" in item["class_name"] or ">" in str(item.get("registered_name")):
        return False
    if item["class_name"] in _VALUES or "module" not in item:
        return True
    module = str(item["module"])
    root, _, rest = module.partition(".")
    if module == "builtins":
        name = item.get("config")
        known = isinstance(name, str) and (name in ACTIVATIONS or hasattr(keras.activations, name))
        return item["class_name"] == "function" and known
    return root in ("keras", "tf_keras") or (root == "tensorflow" and "keras" in rest.split("."))


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
            registered = str(item.get("registered_name"))
            of = f" of {item['module']}" if item.get("module") else ""
            what = f"class {registered if '>' in registered else item['class_name'] + of}"
            if item["class_name"] == "function":
                what = f"function {item.get('config')}"
            raise refuse_custom(name, f"the {what}")
