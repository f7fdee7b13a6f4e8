"""What runs a network over a tile: TensorFlow, OpenVINO, and engines that run another one."""

import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence
from threading import Lock
from types import ModuleType
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops
from numpy.lib.stride_tricks import sliding_window_view

from tltool.errors import ModelError
from tltool.fcn.atrous import shift_and_stitch
from tltool.fcn.single import in_order
from tltool.models.graph import Copier, is_layer, replay
from tltool.run import map_options
from tltool.run.map_options import check_engine
from tltool.runtime import quiet_import

logger = logging.getLogger(__name__)


class Engine(Protocol):
    """Runs a network over one tile at a time.

    Attributes
    ----------
    name : str
        One of `ENGINES`.
    precision : str
        What it really computes in, one of `tltool.run.map_options.PRECISIONS`.
    """

    name: str
    precision: str

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """From (height, width, bands) in 0..255 to (rows, columns, classes) float32."""
        ...


# Computation in the short type, weights in float32.
_POLICIES = {"bf16": "mixed_bfloat16", "f16": "mixed_float16"}


class _MixedCopier(Copier):
    """Copies layers under a policy; those that make the outputs stay in float32."""

    def __init__(self, model: keras.Model, policy: str):
        super().__init__(policy)
        self._last = {id(tensor._keras_history.operation) for tensor in model.outputs}

    def __call__(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the copy of `layer`."""
        if id(layer) not in self._last or not is_layer(layer):
            return super().__call__(layer, *args, **kwargs)
        policy, self.policy = self.policy, "float32"
        try:
            return super().__call__(layer, *args, **kwargs)
        finally:
            self.policy = policy


def in_precision(model: keras.Model, precision: str) -> keras.Model:
    """Copy a network to compute in another precision.

    Parameters
    ----------
    model : keras.Model
    precision : 'f32', 'bf16' or 'f16'
        f32: `model` itself.

    Returns
    -------
    keras.Model
        Its weights and outputs are float32.
    """
    if precision not in _POLICIES:
        return model
    inputs = keras.Input(tuple(model.inputs[0].shape[1:]), name="image")
    outputs = replay(model, inputs, _MixedCopier(model, _POLICIES[precision]))
    return keras.Model(inputs, outputs, name=model.name)


class TensorFlowEngine:
    """TensorFlow, on a GPU where there is one.

    The graph is made here, once, for tiles of any size.

    Parameters
    ----------
    model : keras.Model
        FCN.
    dtype : str
        Data type of the pixels: ``uint8``, or ``float32`` where they are enlarged.
    precision : str
        One of `tltool.run.map_options.PRECISIONS`; bf16 and f16 are Keras's mixed
        precision.
    """

    name = "tensorflow"

    def __init__(self, model: keras.Model, dtype: str = "uint8", precision: str = "f32"):
        import tensorflow as tf

        shape = (1, *model.inputs[0].shape[1:])
        network = in_precision(model, precision)

        def run(pixels: tf.Tensor) -> tf.Tensor:
            return tf.cast(network(tf.cast(pixels, tf.float32), training=False), tf.float32)

        # The concrete function lives only as long as its function.
        self._owner = tf.function(run)
        self._run = self._owner.get_concrete_function(tf.TensorSpec(shape, dtype))
        self._to_tensor, self._dtype = tf.convert_to_tensor, dtype
        self.precision = precision

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Run one tile."""
        return self._run(self._to_tensor(pixels[None], self._dtype)).numpy()[0]


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
        Data type of the pixels; they become float32 inside.
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
        Data type of the pixels: ``uint8``, or ``float32`` where they are enlarged.
    precision : str
        One of `tltool.run.map_options.PRECISIONS`. A processor takes another
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
            outputs = self._request.infer(batch, share_inputs=True, share_outputs=False)
        return outputs[0][0]


# By the name of `Engine.name`.
ENGINES: dict[str, type[TensorFlowEngine] | type[OpenVINOEngine]] = {
    "tensorflow": TensorFlowEngine,
    "openvino": OpenVINOEngine,
}


def resolve_engine(name: str, precision: str = "f32") -> str:
    """Check the choice of an engine, and choose where it is left open.

    Parameters
    ----------
    name : str
        One of `tltool.run.map_options.ENGINE_CHOICES`. ``auto``: OpenVINO where it is installed and
        TensorFlow sees no GPU, else TensorFlow.
    precision : str
        One of `tltool.run.map_options.PRECISIONS`.

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
    name: str, model: keras.Model, dtype: str = "uint8", precision: str = "f32"
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
        Data type of the pixels: ``uint8``, or ``float32`` where they are enlarged.
    precision : str
        One of `tltool.run.map_options.PRECISIONS`; what is really used is `Engine.precision`.

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


class AveragedEngine:
    """The mean of an engine's answers to the eight flips and rotations of a tile (the group D4).

    A tile's side is the classifier's and a whole number of strides, so that
    a turned tile has the same windows, and each answer is turned back to its
    cell exactly.

    Parameters
    ----------
    engine : Engine
    """

    def __init__(self, engine: Engine):
        self.name, self.precision = engine.name, engine.precision
        self.engine = engine

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Run one tile eight times."""
        total = np.zeros((), np.float32)
        for turns in range(4):
            turned = np.rot90(pixels, turns)
            for step in (1, -1):
                outputs = self.engine(np.ascontiguousarray(turned[:, ::step]))
                # A classifier has no cells to turn back.
                total = total + (
                    outputs if outputs.ndim == 1 else np.rot90(outputs[:, ::step], -turns)
                )
        return total / 8


class ShiftAndStitchEngine:
    """An FCN's engine run on a tile shifted to every cell between its own, and interleaved.

    Parameters
    ----------
    engine : Engine
    side, network_stride, stride : int
        As `tltool.fcn.atrous.shift_and_stitch`.

    Attributes
    ----------
    engine : Engine
        What runs the FCN on each shift.
    """

    def __init__(self, engine: Engine, side: int, network_stride: int, stride: int):
        self.name, self.precision = engine.name, engine.precision
        self.engine, self._geometry = engine, (side, network_stride, stride)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Run one tile."""
        return shift_and_stitch(self.engine, pixels, *self._geometry)


class SlidingEngine:
    """The untouched classifier on every window of a tile, in batches.

    Parameters
    ----------
    model : keras.Model
        Classifier.
    stride : int
        Between windows, px of the enlarged image.
    tasks : sequence of str
        As `tltool.fcn.single.in_order`.
    dtype : str
        Data type of the pixels.
    batch_size : int
        Windows at a time.
    """

    name, precision = "tensorflow", "f32"

    def __init__(
        self,
        model: keras.Model,
        stride: int,
        tasks: Sequence[str] = (),
        dtype: str = "uint8",
        batch_size: int = 64,
    ):
        import tensorflow as tf

        def run(pixels: tf.Tensor) -> tf.Tensor:
            outputs = model(tf.cast(pixels, tf.float32), training=False)
            vectors = [
                ops.reshape(t, (-1, t.shape[-1])) for t in in_order(model.name, outputs, tasks)
            ]
            return tf.cast(tf.concat(vectors, 1), tf.float32)

        shape = tuple(model.inputs[0].shape[1:])
        self._owner = tf.function(run)
        self._run = self._owner.get_concrete_function(tf.TensorSpec((None, *shape), dtype))
        self._to_tensor, self._dtype = tf.convert_to_tensor, dtype
        self._side, self._stride, self._batch = shape[0], stride, batch_size

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Run one tile."""
        views = sliding_window_view(pixels, (self._side, self._side), (0, 1))
        views = views[:: self._stride, :: self._stride].transpose(0, 1, 3, 4, 2)
        rows, columns = np.indices(views.shape[:2]).reshape(2, -1)
        outputs = []
        for start in range(0, len(rows), self._batch):
            chosen = slice(start, start + self._batch)
            windows = views[rows[chosen], columns[chosen]]
            outputs.append(self._run(self._to_tensor(windows, self._dtype)).numpy())
        return np.concatenate(outputs).reshape(*views.shape[:2], -1)


def _innermost(engine: Engine) -> Engine:
    """What runs the network, under engines that run another several times."""
    while isinstance(engine, ShiftAndStitchEngine | AveragedEngine):
        engine = engine.engine
    return engine


def is_reference(engine: Engine) -> bool:
    """Whether it is TensorFlow in float32 itself."""
    engine = _innermost(engine)
    return (engine.name, engine.precision) == ("tensorflow", "f32")


def difference_from_tensorflow(engine: Engine, model: keras.Model, pixels: np.ndarray) -> float:
    """Largest difference of any output of an engine from TensorFlow's in float32.

    Parameters
    ----------
    engine : Engine
        Of one that runs another several times that other is measured.
    model : keras.Model
        The FCN that the engine runs.
    pixels : (height, width, bands) array
        A tile.

    Returns
    -------
    float
        0 for TensorFlow in float32 itself.
    """
    if is_reference(engine):
        return 0.0
    engine = _innermost(engine)
    expected = TensorFlowEngine(model, str(pixels.dtype))(pixels)
    return float(np.abs(engine(pixels) - expected).max())
