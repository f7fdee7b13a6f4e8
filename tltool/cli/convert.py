"""`tltool convert`."""

from pathlib import Path
from typing import Any

import click

import tltool
from tltool.cli import options, show
from tltool.cli.flags import to_flags
from tltool.cli.model_options import architecture, model_options


@click.command(short_help="Turn a classifier into a fully convolutional network.")
@click.argument("model", type=click.Path(path_type=Path), metavar="RUN|MODEL")
@options.path(
    "--check-image",
    "Real image to measure the fidelity on [a source of the patches, or the patches].",
)
@options.whole("--windows", "Windows to compare for the fidelity.", shown=1024)
@options.number(
    "--stride",
    "Between cells, px of the image: the network's own halved any number of times. Written"
    " as fcn-stridePX.keras [the network's own, as fcn.keras].",
    "PX",
)
@options.flag(
    "--adapt",
    "First train on for a few epochs with real surroundings of the patches in place of zeros;"
    " a new run folder is written.",
)
@options.path(
    "--data",
    "With --adapt: patches that tltool patches cut [the run's own, cut anew with context].",
)
@options.whole(
    "--context", "With --adapt: margin of real image [from where on the map is exact].", "PX"
)
@options.whole("--epochs", "With --adapt: how many of all layers [10].")
@model_options
@architecture
@options.overwrite
@options.path(
    "-o --out",
    "Folder to write into [RUN; of a MODEL file its name with -fcn, here; with --adapt the"
    " name with -adapted].",
)
def convert(model: Path, out: Path | None, stride: float | None, adapt: bool, **more: Any) -> None:
    """Turn a classifier into fcn.keras and measure how far it can be trusted.

    RUN is what tltool finetune wrote. MODEL is any Keras classifier: .keras,
    .h5, .hdf5 or HDF5 of another name, of Keras 2 too; the options about it
    say what such a file does not. Nothing is written where the network differs
    from the classifier at the classifier's own input size.
    """
    every = {name: more.pop(name) for name in ("data", "context", "epochs")}
    adapting = {name: value for name, value in every.items() if value is not None}
    if not adapt:
        for name in adapting:
            raise click.UsageError(f"--{name} goes with --adapt")
        _show(tltool.convert(model, out, stride=stride, **more))
        return
    if stride is not None:
        raise click.UsageError("--adapt: expected no --stride; convert the adapted run with it")
    adapted = tltool.adapt(model, out, **adapting, **more)
    _show(adapted.conversion)
    rows = [(f"accuracy ({adapted.split})", *map(show.percent, adapted.accuracy))]
    if adapted.before and adapted.after:
        key = "argmax_agreement" if "argmax_agreement" in adapted.after else "agreement"
        pair = (adapted.before, adapted.after)
        rows = [
            ("the classifier's own answer", *(f"{100 * each[key]:.2f} %" for each in pair)),
            ("mean difference", *(f"{each['mean_difference']:.2g}" for each in pair)),
            ("largest difference", *(f"{each['max_difference']:.2g}" for each in pair)),
            *rows,
        ]
    header = (f"context {adapted.context} px", "before", "after")
    show.table(header, rows, numbers=(1, 2))


def _show(done: Any) -> None:
    from tltool.conversion.agreement import describe_fidelity

    sidecar = done.sidecar
    field = sidecar.receptive_field
    for line in done.mended:
        show.line(f"mended: {line}")
    for note in done.notes:
        show.line(f"note: {to_flags(note)}")
    show.line(f"{done.path}: a cell every {sidecar.stride:g} px, receptive field {field} px")
    show.line(f"difference at the classifier's own size: {done.difference:.1g}")
    show.line(f"fidelity: {describe_fidelity(sidecar)}")
    show.line(f"{'why' if sidecar.fidelity else 'expect'}: {to_flags(done.advice)}")
    if done.picture:
        show.line(f"{done.picture}")
