"""What must be set before TensorFlow, Keras and Albumentations are imported."""

import contextlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType

_ENVIRONMENT = {
    # Keras reads its backend once, on import.
    "KERAS_BACKEND": "tensorflow",
    # Nothing of what its C++ prints; what matters is raised.
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # Albumentations asks PyPI for a newer release on import otherwise.
    "NO_ALBUMENTATIONS_UPDATE": "1",
}


def prepare_environment() -> None:
    """Set the environment that the heavy libraries read when imported; a user's own values stay."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def _file_descriptor_to(target: int, file: int) -> Iterator[None]:
    saved = os.dup(target)
    os.dup2(file, target)
    try:
        yield
    finally:
        os.dup2(saved, target)
        os.close(saved)


def quiet_import(name: str) -> ModuleType:
    """Import a module without the lines that TensorFlow's C++ prints before its logging is set.

    Where the import fails, what was printed is shown after all.
    """
    if name in sys.modules:
        return sys.modules[name]
    sys.stderr.flush()
    with tempfile.TemporaryFile() as captured:
        try:
            with _file_descriptor_to(2, captured.fileno()):
                module = importlib.import_module(name)
        except BaseException:
            captured.seek(0)
            sys.stderr.write(captured.read().decode(errors="replace"))
            raise
    # It counts every stage and every tile size as a mistake ("retracing").
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return module
