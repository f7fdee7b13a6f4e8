"""What is set for TensorFlow, Keras and Albumentations, most of it before they are imported."""

import contextlib
import ctypes
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

# Of glibc's mallopt, and the bytes that each of its heaps keeps free at its end.
_M_TOP_PAD, _KEPT = -2, 64 << 20
# With these users set glibc's memory themselves.
_OWN_SETTINGS = ("MALLOC_TOP_PAD_", "GLIBC_TUNABLES")


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


def keep_freed_memory() -> bool:
    """Let the heaps of glibc keep what is freed, up to 64 MiB each, for what is taken next.

    Each batch takes and frees the same arrays. Where every time their pages go
    back to the system and are fetched anew, empty, that can cost a third of a
    training's CPU time.

    Returns
    -------
    bool
        Whether it was set: not where the C library is another, nor over a
        user's own settings.
    """
    if any(name in os.environ for name in _OWN_SETTINGS):
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_TOP_PAD, _KEPT))
    except (OSError, AttributeError, TypeError):
        return False
