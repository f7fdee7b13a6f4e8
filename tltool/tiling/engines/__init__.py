"""What runs the FCN over a tile: one table, one small interface. Importing this is light."""

import importlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from tltool.errors import ModelError
from tltool.run import map_options
from tltool.run.map_options import ENGINE_CHOICES, PRECISIONS, check_engine

if TYPE_CHECKING:
    import keras
    import numpy as np

    from tltool.tiling.engines.averaged import AveragedEngine
    from tltool.tiling.engines.openvino import OpenVINOEngine
    from tltool.tiling.engines.shifted import ShiftAndStitchEngine
    from tltool.tiling.engines.sliding import SlidingEngine
    from tltool.tiling.engines.tensorflow import TensorFlowEngine

logger = logging.getLogger("tltool")

__all__ = [
    "ENGINES",
    "ENGINE_CHOICES",
    "PRECISIONS",
    "AveragedEngine",
    "Engine",
    "OpenVINOEngine",
    "ShiftAndStitchEngine",
    "SlidingEngine",
    "TensorFlowEngine",
    "make_engine",
    "resolve_engine",
]

_CLASSES = {
    "AveragedEngine": "averaged",
    "OpenVINOEngine": "openvino",
    "ShiftAndStitchEngine": "shifted",
    "SlidingEngine": "sliding",
    "TensorFlowEngine": "tensorflow",
}


class Engine(Protocol):
    """Runs a network over one tile at a time.

    Attributes
    ----------
    name : str
        One of `ENGINES`.
    precision : str
        What it really computes in, one of `PRECISIONS`.
    """

    name: str
    precision: str

    def __call__(self, pixels: "np.ndarray") -> "np.ndarray":
        """From (height, width, bands) in 0..255 to (rows, columns, classes) float32."""
        ...


def __getattr__(name: str) -> Any:
    if name not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_CLASSES[name]}"), name)


def _tensorflow(model: "keras.Model", dtype: str, precision: str) -> Engine:
    from tltool.tiling.engines.tensorflow import TensorFlowEngine

    return TensorFlowEngine(model, dtype, precision)


def _openvino(model: "keras.Model", dtype: str, precision: str) -> Engine:
    from tltool.tiling.engines.openvino import OpenVINOEngine

    return OpenVINOEngine(model, dtype, precision)


ENGINES: dict[str, Callable[["keras.Model", str, str], Engine]] = {
    "tensorflow": _tensorflow,
    "openvino": _openvino,
}


def resolve_engine(name: str, precision: str = "f32") -> str:
    """Check the choice of an engine, and choose where it is left open.

    Parameters
    ----------
    name : str
        One of `ENGINE_CHOICES`. ``auto``: OpenVINO where it is installed and
        TensorFlow sees no GPU, else TensorFlow.
    precision : str
        One of `PRECISIONS`.

    Returns
    -------
    str
        One of `ENGINES`.

    Raises
    ------
    UsageError
        An unknown engine or precision; OpenVINO is not installed.
    """
    check_engine(name, precision)
    if name != "auto":
        return name
    if not map_options.has_openvino():
        return "tensorflow"
    import tensorflow as tf

    return "tensorflow" if tf.config.list_physical_devices("GPU") else "openvino"


def make_engine(
    name: str, model: "keras.Model", dtype: str = "uint8", precision: str = "f32"
) -> Engine:
    """Make what runs a network over tiles.

    Parameters
    ----------
    name : str
        As `resolve_engine`. ``auto`` takes TensorFlow too where OpenVINO
        cannot convert the network, and says so.
    model : keras.Model
        FCN with one input and one output.
    dtype : str
        Of the pixels: ``uint8``, or ``float32`` where they are enlarged.
    precision : str
        One of `PRECISIONS`; what is really used is `Engine.precision`.

    Raises
    ------
    UsageError
        As `resolve_engine`.
    ModelError
        OpenVINO was asked for and cannot convert the network.
    """
    chosen = resolve_engine(name, precision)
    try:
        engine = ENGINES[chosen](model, dtype, precision)
    except ModelError as error:
        if name != "auto" or chosen == "tensorflow":
            raise
        logger.warning("%s", error)
        engine = ENGINES["tensorflow"](model, dtype, precision)
    if engine.precision != precision:
        logger.warning(
            "`precision=%r`: this processor's %s computes in %s instead",
            precision,
            engine.name,
            engine.precision,
        )
    return engine
