"""`tltool export`: an FCN in the formats of other tools, each checked against Keras."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tltool.conversion.deepness import choose_type, expected_map, to_onnx
from tltool.conversion.plugin_tiles import plan_tile, smallest_exact
from tltool.errors import ConversionError, ModelError, OutputError, UsageError
from tltool.files import atomic_path, refuse_existing, write_text
from tltool.inference.network import Openable, open_network
from tltool.models.loading import load_network
from tltool.run.folder import FCN_NAME, file_of
from tltool.run.sidecar import Sidecar, load_sidecar
from tltool.tiling.engines import import_openvino, to_openvino
from tltool.tiling.tiles import make_grid

logger = logging.getLogger(__name__)

# Largest difference from Keras of any probability.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Export:
    """An exported FCN.

    Attributes
    ----------
    path : Path
        The ONNX file, or the folder of the others.
    format : str
    difference : float
        From Keras on a tile, largest of any output.
    description : str
        What goes in and comes out, in one line.
    """

    path: Path
    format: str
    difference: float
    description: str


@dataclass(frozen=True)
class _Source:
    fcn: keras.Model
    sidecar: Sidecar
    tile: int | None
    model_type: str | None

    def pixels(self, side: int) -> np.ndarray:
        """An image of blobs, 0..255: (side, side, bands) uint8."""
        rng = np.random.default_rng(0)
        blobs = rng.integers(0, 256, (-(-side // 8), -(-side // 8), self.sidecar.bands), np.uint8)
        return blobs.repeat(8, 0).repeat(8, 1)[:side, :side]

    def probe(self) -> tuple[np.ndarray, np.ndarray]:
        """A batch of one image that is not square, and Keras's output."""
        axis = make_grid(self.sidecar, 1, 1).y
        pixels = self.pixels(axis.side + 3 * axis.stride)[None, axis.stride :]
        return pixels, np.asarray(self.fcn(pixels.astype("float32"), training=False))


def _difference(received: Any, expected: np.ndarray, what: str) -> float:
    difference = float(np.abs(np.asarray(received) - expected).max())
    # Also where it is no number.
    if not difference <= TOLERANCE:
        raise ConversionError(
            f"the {what} model gives something else than Keras: expected a difference of at most"
            f" {TOLERANCE:g}, received {difference:.2g}. Nothing was written; take another `format`"
        )
    return difference


def _write_onnx(source: _Source, path: Path) -> tuple[float, str]:
    import onnxruntime

    model_type = choose_type(source.sidecar, source.model_type)
    plan = plan_tile(source.fcn, source.sidecar, source.tile)
    if source.sidecar.gsd is None:
        logger.warning(
            "the ground sample distance of the training images is unknown: set the resolution in"
            " the plugin by hand"
        )
    if not plan.exact:
        exact = smallest_exact(source.sidecar)
        logger.warning(
            "a cell sees up to %d px around it, more than tiles of %d px hold: the plugin's map"
            " differs from tltool's where tiles meet. `tile=%d` makes them equal and takes %d"
            " times the memory",
            plan.margin,
            plan.length,
            exact,
            round((exact / plan.length) ** 2),
        )
    proto = to_onnx(source.fcn, source.sidecar, plan, model_type)
    path.write_bytes(proto.SerializeToString())
    pixels = source.pixels(plan.length)
    tile = (pixels.transpose(2, 0, 1)[None] / 255).astype("float32")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        outputs = session.run(None, {"image": tile})
    except Exception as error:
        # It raises of every kind.
        reason = " ".join(str(error).split())[:300]
        raise ConversionError(f"onnxruntime cannot run the exported network: {reason}") from error
    expected = expected_map(source.fcn, source.sidecar, plan, pixels)
    difference = _difference(np.concatenate(outputs, 1)[0], expected, "ONNX")
    size = f"{plan.length} x {plan.length}"
    return difference, (
        f"a {model_type} for tiles of {size} px with {plan.overlap} % overlap;"
        f" (1, {source.sidecar.bands}, {size}) float32 in 0..1 to probabilities of the same size"
    )


def _write_openvino(source: _Source, path: Path) -> tuple[float, str]:
    path.mkdir()
    openvino = import_openvino()
    model = to_openvino(source.fcn, "float32", None)
    model.outputs[0].get_tensor().set_names({"probabilities"})
    # Where OpenVINO's own tools look for names; they split at spaces.
    labels = " ".join("_".join(name.split()) for name in source.sidecar.classes)
    model.set_rt_info(labels, ["model_info", "labels"])
    model.set_rt_info(source.sidecar.model_dump_json(), ["tltool", "sidecar"])
    openvino.save_model(model, path / "fcn.xml", compress_to_fp16=False)
    pixels, expected = source.probe()
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path / "fcn.xml", "CPU", hints)
    difference = _difference(compiled(pixels.astype("float32"))[0], expected, "OpenVINO")
    return difference, (
        f"fcn.xml and fcn.bin; pixels (batch, height, width, {source.sidecar.bands}) float32 in"
        " 0..255 to probabilities (batch, rows, columns, classes)"
    )


def _write_saved_model(source: _Source, path: Path) -> tuple[float, str]:
    import tensorflow as tf

    fcn = source.fcn

    def run(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": fcn(tf.cast(pixels, tf.float32), training=False)}

    archive = keras.export.ExportArchive()
    archive.track(fcn)
    endpoints = (("serving_default", "float32"), ("uint8", "uint8"))
    for name, dtype in endpoints:
        spec = tf.TensorSpec((None, *fcn.inputs[0].shape[1:]), dtype, "pixels")
        archive.add_endpoint(name, run, input_signature=[spec])
    archive.write_out(str(path), verbose=False)
    pixels, expected = source.probe()
    signatures = tf.saved_model.load(str(path)).signatures
    answers = [
        signatures[name](pixels=tf.constant(pixels, dtype))["probabilities"]
        for name, dtype in endpoints
    ]
    difference = max(_difference(answer, expected, "SavedModel") for answer in answers)
    return difference, (
        "signatures serving_default (float32) and uint8: pixels (batch, height, width,"
        f" {source.sidecar.bands}) in 0..255 to probabilities (batch, rows, columns, classes)"
    )


@dataclass(frozen=True)
class _Format:
    """How a format is written.

    `write` writes to a path and checks what it wrote; `packages` and `extra`
    are what it needs; `marker` is a file in each folder of this format, None
    where it is a single file that ends in `ending`.
    """

    write: Callable[[_Source, Path], tuple[float, str]]
    packages: tuple[str, ...] = ()
    extra: str = ""
    ending: str = ""
    marker: str | None = None


FORMATS = {
    "onnx": _Format(_write_onnx, ("tf2onnx", "onnx", "onnxruntime"), "onnx", ".onnx"),
    "openvino": _Format(_write_openvino, ("openvino",), "openvino", marker="fcn.xml"),
    "saved_model": _Format(_write_saved_model, marker="saved_model.pb"),
}


def export(
    fcn: Openable,
    out: str | Path,
    *,
    format: str = "onnx",
    tile: int | None = None,
    model_type: str | None = None,
    overwrite: bool = False,
) -> Export:
    """Write an FCN in the format of another tool, checked against Keras.

    Parameters
    ----------
    fcn : str, Path, Network or keras.Model
        An FCN with its sidecar, a run folder with ``fcn.keras``, a network of
        `tltool.open` or a classifier in memory, which is converted.
    out : str or Path
        ``onnx``: a file that ends in ``.onnx``, with its sidecar as
        ``<out>.json`` beside it. ``openvino``: a folder for ``fcn.xml``,
        ``fcn.bin`` and ``fcn.json``. ``saved_model``: a folder for
        TensorFlow's SavedModel, with ``fcn.json``.
    format : 'onnx', 'openvino' or 'saved_model'
        The ONNX file is made for Deepness, the plugin of QGIS: see
        `tltool.conversion.deepness`.
    tile : int, optional
        Side of the ONNX file's tiles, px of the image. Default: from what the
        network sees around a cell.
    model_type : 'segmentor' or 'regressor', optional
        What the plugin shows of an ONNX file: the likeliest class, or the
        probabilities. Default: segmentor where the classes exclude each other.
    overwrite : bool
        Replace an earlier export.

    Returns
    -------
    Export

    Raises
    ------
    UsageError
        An unknown format, a library that is not installed (with the pip
        command), options of another format.
    ConversionError
        The exported network differs from Keras by more than 1e-4. Nothing is
        written then.
    ModelError, OutputError
    """
    out = Path(out)
    if format not in FORMATS:
        raise UsageError(f"`format`: expected one of {', '.join(FORMATS)}; received {format}")
    chosen = FORMATS[format]
    missing = [package for package in chosen.packages if find_spec(package) is None]
    if missing:
        raise UsageError(
            f"`format={format}`: {', '.join(missing)} is not installed. Install it with pip install"
            f" 'tltool[{chosen.extra}]'"
        )
    if out.suffix != chosen.ending and (chosen.ending or out.suffix in (".onnx", ".xml", ".pb")):
        expected = f"a name that ends in {chosen.ending}" if chosen.ending else "a folder's name"
        raise UsageError(f"`out`: expected {expected} for `format={format}`, received {out}")
    if format != "onnx" and (tile is not None or model_type is not None):
        raise UsageError("`tile` and `model_type`: expected `format='onnx'` beside them")
    beside = out.with_name(f"{out.name}.json")
    refuse_existing(out, overwrite)
    if chosen.marker is None:
        refuse_existing(beside, overwrite)
    elif out.exists() and not (out / chosen.marker).is_file():
        raise OutputError(
            f"{out} is no earlier export (no {chosen.marker} in it), so `overwrite=True` does not"
            " replace it. Name another output"
        )
    if isinstance(fcn, str | Path):
        path = file_of(Path(fcn), FCN_NAME)
        if not path.exists():
            raise ModelError(
                f"{path} does not exist: expected an FCN, or a run folder with {FCN_NAME}. Make it"
                " with `tltool.convert`"
            )
        source = _Source(load_network(path), load_sidecar(path), tile, model_type)
    else:
        network = open_network(fcn)
        source = _Source(network.fcn, network.fcn_sidecar, tile, model_type)
    make_grid(source.sidecar, 1, 1)  # complains of a classifier's
    text = source.sidecar.model_dump_json(indent=2) + "\n"
    with atomic_path(out) as partial:
        difference, description = chosen.write(source, partial)
        if chosen.marker is not None:
            (partial / "fcn.json").write_text(text, encoding="utf-8")
    if chosen.marker is None:
        write_text(beside, text)
    return Export(out, format, difference, description)
