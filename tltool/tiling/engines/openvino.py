"""OpenVINO as an engine: the network compiled for the processor it runs on."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from threading import Lock
from types import ModuleType
from typing import Any

import keras
import numpy as np

from tltool.errors import ModelError
from tltool.runtime import quiet_import


@contextlib.contextmanager
def _logging_kept() -> Iterator[None]:
    """Undo what OpenVINO does to the root logger, which silences everybody's warnings."""
    root = logging.getLogger()
    level, filters, handlers = root.level, root.filters[:], root.handlers[:]
    try:
        yield
    finally:
        root.setLevel(level)
        root.filters, root.handlers = filters, handlers


def import_openvino() -> ModuleType:
    """Import OpenVINO such that it reports nothing to its maker."""
    if "openvino" not in sys.modules:
        # It sends an event on import and on each conversion; without this package it does not.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    with _logging_kept():
        return quiet_import("openvino")


def to_openvino(model: keras.Model, dtype: str = "uint8", batch_size: int | None = 1) -> Any:
    """Convert a network to OpenVINO's representation, for images of any size.

    Parameters
    ----------
    model : keras.Model
        With one input and one output.
    dtype : str
        Of the pixels; they become float32 inside.
    batch_size : int, optional
        None: any.

    Returns
    -------
    openvino.Model
        Its input is called ``pixels``: (batch, height, width, bands).

    Raises
    ------
    ModelError
        OpenVINO does not know an operation; names it.
    """
    import tensorflow as tf

    openvino = import_openvino()

    def run(pixels: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(pixels, tf.float32), training=False)

    spec = tf.TensorSpec((batch_size, *model.inputs[0].shape[1:]), dtype, "pixels")
    function = tf.function(run)
    try:
        # Traced here: of a Keras model OpenVINO would lose the type of the pixels.
        traced = function.get_concrete_function(spec)
        with _logging_kept():
            return openvino.convert_model(traced)
    except Exception as error:
        # It raises of every kind.
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"OpenVINO cannot convert the network {model.name}: {reason}. Take"
            " `engine='tensorflow'`"
        ) from error


class OpenVINOEngine:
    """OpenVINO on the CPU, all cores on one tile.

    One tile at a time keeps all cores as busy as several streams would, with
    the memory of one.

    Parameters
    ----------
    model : keras.Model
        FCN.
    dtype : str
        Of the pixels: ``uint8``, or ``float32`` where they are enlarged.
    precision : str
        One of `tltool.tiling.engines.PRECISIONS`. A processor takes another
        where it has no instructions for this one.

    Attributes
    ----------
    precision : str
        What is really used.
    """

    name = "openvino"

    def __init__(self, model: keras.Model, dtype: str = "uint8", precision: str = "f32"):
        converted = to_openvino(model, dtype)
        hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        compiled = import_openvino().Core().compile_model(converted, "CPU", hints)
        self.precision: str = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        self._dtype, self._lock = np.dtype(dtype), Lock()
        self._request = compiled.create_infer_request()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Run one tile."""
        batch = np.ascontiguousarray(pixels[None], self._dtype)
        with self._lock:
            told = self._request.infer(batch, share_inputs=True, share_outputs=False)
        return told[0][0]
