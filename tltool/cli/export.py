"""`tltool export`."""

from pathlib import Path
from typing import Any

import click

import tltool
from tltool.cli import options, show


@click.command(short_help="Write an FCN for other tools: ONNX, OpenVINO, SavedModel.")
@click.argument("fcn", type=click.Path(path_type=Path))
@options.choice(
    "--format",
    "onnx|openvino|saved_model",
    "onnx: a file for Deepness, the plugin of QGIS; the others: a folder.",
    required=True,
)
@options.whole(
    "--tile", "Side of the ONNX file's tiles, px of the image [from what the network sees].", "PX"
)
@options.choice(
    "--model-type",
    "segmentor|regressor",
    "Output of Deepness: the likeliest class of each pixel, or a raster of probabilities a"
    " class [segmentor where the classes exclude each other].",
)
@options.overwrite
@options.out("File that ends in .onnx, or folder.")
def export(fcn: Path, out: Path, **more: Any) -> None:
    """Write FCN in the format of another tool and check it against Keras.

    FCN is an fcn.keras with its fcn.json, or a run folder that has one. Its
    class names and geometry travel along as JSON. Nothing is written where the
    exported network differs.
    """
    done = tltool.export(fcn, out, **more)
    show.line(f"{done.path}: {done.description}")
    show.line(f"difference from Keras: {done.difference:.1g}")
