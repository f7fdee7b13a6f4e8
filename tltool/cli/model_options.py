"""The options that say of a model file what it does not say itself."""

from pathlib import Path

import click

from tltool.cli.options import Command

_OPTIONS = (
    click.option(
        "--classes",
        metavar="A,B,...|FILE",
        help="Class names in the order of the outputs, or a file with one a line"
        " [class_0, class_1, ...].",
    ),
    click.option("--background", metavar="NAME", help='The class that means "nothing here".'),
    click.option(
        "--input-size",
        type=click.IntRange(min=1),
        metavar="PX",
        help="Side of the images it was trained on, where it takes any.",
    ),
    click.option(
        "--zoom",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="Enlargement of images before its input [1].",
    ),
    click.option(
        "--pixels",
        metavar="RANGE",
        help="Pixels that it wants: 0..255, 0..1, -1..1, caffe or torch (as"
        " preprocess_input of keras.applications) [0..255].",
    ),
    click.option(
        "--activation",
        metavar="NAME",
        help="softmax or sigmoid, to put behind outputs that are scores.",
    ),
)


def model_options(command: Command) -> Command:
    """Add the options that say something of a model."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


architecture = click.option(
    "--architecture",
    type=click.Path(path_type=Path),
    metavar="JSON",
    help="Output of model.to_json(), where MODEL has weights only.",
)
