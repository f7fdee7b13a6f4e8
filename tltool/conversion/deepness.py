"""An FCN as the ONNX file that Deepness runs, the plugin of QGIS for neural networks.

Deepness (https://github.com/PUTvision/qgis-plugin-deepness) cuts a layer into
square tiles, gives the network (1, bands, side, side) float32 in 0..1 and
wants a map as large as the tile back; smaller ones leave gaps. It keeps of a
tile what is further from its border than half the overlap. So the exported
graph

- multiplies by 255, since the FCN takes 0..255,
- enlarges the tile where the network was trained on enlarged images,
- runs the FCN,
- enlarges its cells to pixels, bilinearly, as `tltool.heatmap` does with
  ``full_resolution=True``.

Tile and overlap are chosen in `tltool.conversion.plugin_tiles`.
"""

import json
from typing import Any

import keras
import numpy as np

from tltool.conversion.plugin_tiles import TilePlan
from tltool.errors import UsageError
from tltool.raster import enlarge
from tltool.run.sidecar import Sidecar
from tltool.tasks.kinds import tasks_of
from tltool.tiling.tiles import make_grid

MODEL_TYPES = ("segmentor", "regressor")

_OPSET = 17


def _interpolated(values: Any, position: np.ndarray, limit: int) -> Any:
    """Interpolate (batch, height, width, channels) values at the same positions on both axes."""
    position = np.clip(position, 0, limit - 1)
    low = np.minimum(position.astype(np.int64), max(0, limit - 2))
    high, weight = np.minimum(low + 1, limit - 1), (position - low).astype(np.float32)
    for axis, shape in ((1, (1, -1, 1, 1)), (2, (1, 1, -1, 1))):
        first, second = (keras.ops.take(values, which, axis) for which in (low, high))
        values = first + (second - first) * weight.reshape(shape)
    return values


def _in_pixels(cells: Any, plan: TilePlan) -> Any:
    """The cells of a tile interpolated at its pixels."""
    position = (np.arange(plan.length) + 0.5 - plan.first_centre) / plan.cell_size
    return _interpolated(cells, position, plan.cells)


def expected_map(fcn: keras.Model, sidecar: Sidecar, plan: TilePlan, pixels: np.ndarray) -> Any:
    """Compute by Keras what an exported network must give for a tile.

    Parameters
    ----------
    pixels : (length, length, bands) uint8 or float32 array
        In 0..255.

    Returns
    -------
    (classes, length, length) float32 array
    """
    zoom = make_grid(sidecar, 1, 1).y.zoom
    tile = enlarge(pixels, zoom)[None, : plan.size, : plan.size].astype("float32")
    return np.asarray(_in_pixels(fcn(tile, training=False), plan))[0].transpose(2, 0, 1)


def choose_type(sidecar: Sidecar, wanted: str | None) -> str:
    """The plugin's model type for a network: what of its map can be shown.

    A segmentor shows the likeliest class of each pixel, a regressor a raster
    of numbers for each output.

    Raises
    ------
    UsageError
        An unknown type, or a segmentor of outputs that do not exclude each
        other.
    """
    tasks = tasks_of(sidecar)
    exclusive = len(tasks) == 1 and tasks[0].exclusive
    if wanted is None:
        return "segmentor" if exclusive else "regressor"
    if wanted not in MODEL_TYPES:
        choices = ", ".join(MODEL_TYPES)
        raise UsageError(f"`model_type`: expected one of {choices}; received {wanted}")
    if wanted == "segmentor" and not exclusive:
        raise UsageError(
            "`model_type`: expected regressor, because the outputs of this network do not exclude"
            " each other (several tasks, or several labels at once); received segmentor"
        )
    return wanted


def metadata(sidecar: Sidecar, plan: TilePlan, model_type: str) -> dict[str, Any]:
    """Collect what the plugin reads of a network, by its keys; each goes into the file as JSON.

    Its documentation calls the tile's size ``tiles_size``, its code reads
    ``tile_size``.
    """
    facts: dict[str, Any] = {
        "model_type": model_type.capitalize(),
        "class_names": {str(n): name for n, name in enumerate(tasks_of(sidecar)[0].classes)},
        "tile_size": plan.length,
        "tiles_size": plan.length,
        "tiles_overlap": plan.overlap,
        "standardization_mean": [0.0] * sidecar.bands,
        "standardization_std": [1.0] * sidecar.bands,
        "tltool_sidecar": sidecar.model_dump(),
    }
    if sidecar.gsd is not None:
        facts["resolution"] = 100 * sidecar.gsd
    if model_type == "regressor":
        facts["class_names"] = [{"0": name} for name in sidecar.classes]
        facts["reg_output_scaling"] = 1.0
    else:
        # Of several classes the likeliest, however likely; and nothing is smoothed away.
        facts["seg_thresh"] = 0.5 if len(sidecar.classes) == 1 else 0.0
        facts["seg_small_segment"] = 0
    return facts


def _graph(fcn: keras.Model, sidecar: Sidecar, plan: TilePlan, model_type: str) -> Any:
    import tensorflow as tf

    zoom = float(sidecar.zoom)
    names = [f"output_{number}" for number in range(len(sidecar.classes))]

    def run(image: tf.Tensor) -> dict[str, tf.Tensor]:
        tile = tf.transpose(image * 255.0, (0, 2, 3, 1))
        if zoom == 1:
            tile = tile[:, : plan.size, : plan.size]
        else:
            tile = _interpolated(tile, (np.arange(plan.size) + 0.5) / zoom - 0.5, plan.length)
        found = tf.transpose(_in_pixels(fcn(tile, training=False), plan), (0, 3, 1, 2))
        if model_type == "segmentor":
            return {"probabilities": found}
        return dict(zip(names, tf.split(found, len(names), axis=1), strict=True))

    shape = (1, sidecar.bands, plan.length, plan.length)
    return tf.function(run, input_signature=[tf.TensorSpec(shape, "float32", "image")])


def to_onnx(fcn: keras.Model, sidecar: Sidecar, plan: TilePlan, model_type: str) -> Any:
    """Convert an FCN to an ONNX model with the plugin's metadata.

    Parameters
    ----------
    fcn : keras.Model
    sidecar : Sidecar
    plan : TilePlan
    model_type : 'segmentor' or 'regressor'

    Returns
    -------
    onnx.ModelProto
        ``image`` (1, bands, length, length) float32 in 0..1 to
        ``probabilities`` (1, classes, length, length); a regressor's are
        ``output_0``, ``output_1`` and so on, (1, 1, length, length) each.
    """
    import tf2onnx
    from onnx import numpy_helper

    function = _graph(fcn, sidecar, plan, model_type)
    proto, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=_OPSET)
    # The tensors that the function captured, which tf2onnx leaves as inputs, become constants.
    captures = function.get_concrete_function().graph.captures
    captured = {inner.name: outer for outer, inner in captures}
    for value in [x for x in proto.graph.input if x.name in captured]:
        array = np.asarray(captured[value.name])
        proto.graph.initializer.append(numpy_helper.from_array(array, value.name))
        proto.graph.input.remove(value)
    for key, value in metadata(sidecar, plan, model_type).items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value)
    return proto
