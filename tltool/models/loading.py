"""Opening saved models."""

from pathlib import Path

import keras

from tltool.errors import ModelError


def load_network(path: Path) -> keras.Model:
    """Load a saved Keras model; nothing in the file is executed.

    Raises
    ------
    ModelError
        Where the file holds no model Keras can read.
    """
    if not path.is_file():
        raise ModelError(f"{path} does not exist: expected a saved Keras model")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{path} cannot be read as a Keras model: {reason}") from error
