"""`tltool convert`."""

from pathlib import Path

import click

from tltool.cli import options


@click.command(short_help="Turn a run's classifier into a fully convolutional network.")
@options.run
@click.option(
    "--check-image",
    type=click.Path(path_type=Path),
    help="Real image to measure the fidelity on [a source of the patches, or the patches].",
)
@click.option(
    "--windows",
    type=click.IntRange(min=1),
    default=1024,
    show_default=True,
    help="Windows to compare for the fidelity.",
)
@click.option(
    "--stride",
    type=float,
    metavar="PX",
    help="Between cells, px of the image: the network's own halved any number of times. Written"
    " as fcn-stridePX.keras [the network's own, as fcn.keras].",
)
@options.overwrite
def convert(
    run: Path, check_image: Path | None, windows: int, stride: float | None, overwrite: bool
) -> None:
    """Turn the classifier of RUN into fcn.keras and measure how far it can be trusted.

    Nothing is written where the network differs from the classifier at the
    classifier's own input size.
    """
    import tltool

    done = tltool.convert(
        run, check_image=check_image, windows=windows, stride=stride, overwrite=overwrite
    )

    from tltool.cli import show
    from tltool.fcn.fidelity import describe_fidelity

    sidecar = done.sidecar
    field = sidecar.receptive_field
    show.line(f"{done.path}: a cell every {sidecar.stride:g} px, receptive field {field} px")
    show.line(f"difference at the classifier's own size: {done.difference:.1g}")
    show.line(f"fidelity: {describe_fidelity(sidecar)}")
    if sidecar.fidelity:
        show.line(f"why: {done.advice}")
