"""`tltool fidelity`."""

from pathlib import Path
from typing import Any

import click

import tltool
from tltool.cli import options, show
from tltool.cli.model_options import model_options


@click.command(short_help="Measure how far a map says what its classifier says.")
@click.argument("fcn", type=click.Path(path_type=Path))
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("image", type=click.Path(path_type=Path))
@options.whole("--windows", "Windows to compare at most.", shown=1024)
@model_options
@options.overwrite
@options.path("-o --out", "Picture of where they differ [IMAGE.fidelity.png beside FCN].")
def fidelity(fcn: Path, model: Path, image: Path, out: Path | None, **more: Any) -> None:
    """Compare the map of FCN with the classifier MODEL on the same windows of IMAGE.

    FCN is an fcn.keras or the folder that holds one; MODEL a run folder or any
    Keras classifier.
    """
    done = tltool.fidelity(fcn, model, image, out, **more)
    numbers = done.numbers
    share = numbers["argmax_agreement" if "argmax_agreement" in numbers else "agreement"]
    rows = [
        ("windows compared", f"{numbers['windows']}"),
        ("the same answer", f"{100 * share:.2f} %"),
        *((f"  {name}", f"{100 * part:.2f} %") for name, part in numbers.get("tasks", {}).items()),
        ("mean difference", f"{numbers['mean_difference']:.2g}"),
        ("99th percentile", f"{numbers['p99_difference']:.2g}"),
        ("largest difference", f"{numbers['max_difference']:.2g}"),
    ]
    show.table(("", numbers["image"]), rows, numbers=(1,))
    show.line(f"{done.picture}")
