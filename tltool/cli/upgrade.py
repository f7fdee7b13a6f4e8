"""`tltool upgrade`."""

from pathlib import Path
from typing import Any

import click

import tltool
from tltool.cli import options, show
from tltool.cli.model_options import architecture


@click.command(short_help="Save a model of an older Keras as a current .keras file.")
@click.argument("model", type=click.Path(path_type=Path))
@options.out("The new file, ending in .keras.")
@architecture
@options.overwrite
def upgrade(model: Path, out: Path, **more: Any) -> None:
    """Open MODEL (.keras, .h5, .hdf5 or HDF5 of any name) and save it for Keras 3.

    Where Keras 3 refuses the file, its configuration is mended and what was
    mended is printed; the weights stay as they are.
    """
    opened = tltool.upgrade(model, out, **more)
    for line in opened.mended:
        show.line(f"mended: {line}")
    if not opened.mended:
        show.line("nothing to mend")
    show.line(f"{out}: {opened.model.count_params():,} weights")
