"""Opening saved models, those of Keras 2 included, and saving them as Keras 3 does.

Keras 3 refuses many files of Keras 2 that hold a complete model. Their
configuration is mended and the model built anew; the weights are taken as
they are. Nothing in a file is executed.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import keras

from tltool.errors import ModelError, UsageError
from tltool.files import atomic_path, refuse_existing
from tltool.models.legacy.notes import Notes, one_line
from tltool.models.legacy.rebuild import Part, as_part, rebuild
from tltool.models.legacy.stored import (
    Stored,
    is_keras3,
    named,
    open_weights,
    read_architecture,
    read_stored,
    refuse_foreign,
    unreadable,
)
from tltool.models.legacy.weights import is_by_name, is_by_order, load_by_name, load_by_order


@dataclass(frozen=True)
class Opened:
    """A model out of a file.

    Attributes
    ----------
    model : keras.Model
        Not compiled.
    mended : list of str
        What was changed in the configuration, which Keras 3 would not have
        read so, in plain words; empty: nothing.
    """

    model: keras.Model
    mended: list[str] = field(default_factory=list)


def _reason(error: Exception) -> str:
    unknown = re.match(r"Unknown layer: '([^']+)'", str(error))
    if unknown:
        return (
            f"the class {unknown.group(1)} is unknown to Keras {keras.__version__}. Custom objects"
            " are not executed: rebuild the model from layers of Keras. An operation of Keras 3 is"
            " lost in HDF5: save the model as .keras"
        )
    return one_line(error, 300)


def _load(part: Part, stored: Stored, notes: Notes) -> None:
    with open_weights(stored) as file:
        if is_by_name(file):
            load_by_name(part, file)
        elif is_by_order(file):
            load_by_order(part, file, notes)
        else:
            raise ModelError("it holds no weights that Keras wrote")


def _open(stored: Stored, architecture: Path | None) -> Opened:
    if stored.config is not None:
        config, new = stored.config, is_keras3(stored.version)
    elif architecture is not None:
        config, new = read_architecture(architecture)
    else:
        raise ModelError(
            "it has weights only (no model_config), so the architecture is needed. Pass the JSON"
            " that model.to_json() wrote as `architecture`, or save the whole model with model.save"
        )
    refuse_foreign(config)
    if not new:
        notes = Notes(stored.hdf5)
        part = rebuild(config, notes)
        _load(part, stored, notes)
        return Opened(part.layer, notes.lines())
    # Keras raises of every kind.
    if stored.config is not None:
        try:
            with named(stored.path, ".h5" if stored.hdf5 else ".keras") as path:
                return Opened(keras.saving.load_model(path, compile=False, safe_mode=True))
        except Exception as error:
            raise unreadable(stored.path, _reason(error)) from error
    try:
        plain = {**config, "compile_config": None}
        model = keras.saving.deserialize_keras_object(plain, safe_mode=True)
    except Exception as error:
        raise ModelError(f"its architecture cannot be built: {_reason(error)}") from error
    with open_weights(stored) as file:
        by_name = is_by_name(file)
    if by_name:
        _load(as_part(model), stored, Notes(True))
        return Opened(model)
    try:
        with named(stored.path, ".weights.h5") as path:
            model.load_weights(path)
    except Exception as error:
        raise ModelError(f"its weights do not fit {architecture}: {_reason(error)}") from error
    return Opened(model)


def open_model(path: str | Path, *, architecture: str | Path | None = None) -> Opened:
    """Open a saved model of Keras 2 or 3.

    The file may be called as it likes: HDF5 and the archives of Keras are
    known by their content. Optimizer, losses and metrics are left.

    Parameters
    ----------
    path : str or Path
    architecture : str or Path, optional
        JSON of ``model.to_json()``, of Keras 2 or 3, for a file that has
        weights only.

    Returns
    -------
    Opened

    Raises
    ------
    ModelError
        The file is missing, damaged or none of Keras's; it holds a Lambda
        layer, a custom object or something that Keras 3 cannot compute alike,
        which is named.
    UsageError
        `architecture` for a file that has its own.
    """
    path = Path(path)
    stored = read_stored(path)
    if stored.config is not None and architecture is not None:
        raise UsageError(f"`architecture`: {path} holds its architecture itself; leave it out")
    try:
        return _open(stored, None if architecture is None else Path(architecture))
    except ModelError as error:
        if str(path) in str(error):
            raise
        raise unreadable(path, str(error)) from error
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, OSError) as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise unreadable(path, f"its configuration is not one of Keras's ({reason})") from error


def load_network(path: Path) -> keras.Model:
    """Load a saved Keras model; nothing in the file is executed.

    Raises
    ------
    ModelError
        Where the file holds no model Keras can read.
    """
    return open_model(path).model


def upgrade(
    model_path: str | Path,
    out: str | Path,
    *,
    architecture: str | Path | None = None,
    overwrite: bool = False,
) -> Opened:
    """Save a model of any Keras as a current `.keras` file, which needs nothing but Keras.

    Parameters
    ----------
    model_path : str or Path
        File of any Keras: ``.keras``, ``.h5`` or HDF5 of another name.
    out : str or Path
        File to write, which ends in ``.keras``.
    architecture : str or Path, optional
        See `open_model`.
    overwrite : bool
        Replace an earlier file.

    Returns
    -------
    Opened
        The model that was written, and what was mended.

    Raises
    ------
    UsageError
        `out` has another ending.
    ModelError
        The file holds no model that Keras 3 can have.
    OutputError
        `out` exists already or cannot be written.

    Examples
    --------
    >>> import keras
    >>> import tltool
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((16, 16, 3)),
    ...         keras.layers.Conv2D(4, 3, activation="relu"),
    ...         keras.layers.GlobalAveragePooling2D(),
    ...         keras.layers.Dense(2, activation="softmax"),
    ...     ]
    ... )
    >>> model.save("old.h5")
    >>> opened = tltool.upgrade("old.h5", "new.keras")
    >>> keras.models.load_model("new.keras").output_shape
    (None, 2)
    """
    out = Path(out)
    if out.suffix != ".keras":
        raise UsageError(f"`out`: expected a name that ends in .keras, received {out}")
    refuse_existing(out, overwrite)
    opened = open_model(model_path, architecture=architecture)
    with atomic_path(out) as partial:
        opened.model.save(partial)
    return opened
