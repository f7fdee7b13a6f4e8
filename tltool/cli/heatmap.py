"""`tltool heatmap`."""

from pathlib import Path
from typing import Literal

import click

from tltool.cli import options


@click.command(short_help="Map class probabilities over images of any size.")
@options.run
@options.images
@click.option(
    "--tile",
    type=click.IntRange(min=1),
    metavar="PX",
    help="Longest side of a tile as the network sees it [from the network's size].",
)
@click.option(
    "--stride",
    type=float,
    metavar="PX",
    help="Between cells, px of the image: the network's own halved any number of times, by the"
    " à trous rewriting [the network's own].",
)
@click.option(
    "--shift-and-stitch",
    is_flag=True,
    help="Make the map of --stride from runs on the shifted image: the reference, slower.",
)
@click.option(
    "--mode",
    type=click.Choice(["fcn", "patches"]),
    default="fcn",
    show_default=True,
    help="patches: slide the untouched classifier; slower, always faithful, any --stride.",
)
@click.option(
    "--full-resolution",
    is_flag=True,
    help="Write the map enlarged to a value a pixel of the image too.",
)
@options.overwrite
@options.out("Folder for the maps, overlays and JSON files.")
def heatmap(
    run: Path,
    images: tuple[Path, ...],
    tile: int | None,
    stride: float | None,
    shift_and_stitch: bool,
    mode: Literal["fcn", "patches"],
    full_resolution: bool,
    overwrite: bool,
    out: Path,
) -> None:
    """Map the class probabilities of IMAGEs with the network of RUN.

    RUN is a run folder (its classifier is converted where that was not done)
    or an fcn.keras with its fcn.json; with --mode patches a classifier with its
    JSON file too. IMAGEs are files or folders.
    """
    import tltool

    made = tltool.heatmap(
        run,
        images,
        out,
        tile=tile,
        stride=stride,
        shift_and_stitch=shift_and_stitch,
        mode=mode,
        full_resolution=full_resolution,
        overwrite=overwrite,
    )

    from tltool.cli import show

    for each in made:
        speed = each.megapixels / each.seconds
        took = f"{each.megapixels:.1f} Mpx in {each.seconds:.1f} s ({speed:.1f} Mpx/s)"
        show.line(f"{each.map_path}: {took}")
        show.line(f"{each.overlay_path}")
        if each.full_path:
            show.line(f"{each.full_path}")
