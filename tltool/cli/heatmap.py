"""`tltool heatmap`."""

from pathlib import Path

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
@options.overwrite
@options.out("Folder for the maps, overlays and JSON files.")
def heatmap(
    run: Path, images: tuple[Path, ...], tile: int | None, overwrite: bool, out: Path
) -> None:
    """Map the class probabilities of IMAGEs with the network of RUN.

    RUN is a run folder (its classifier is converted where that was not done)
    or an fcn.keras with its fcn.json. IMAGEs are files or folders.
    """
    import tltool

    made = tltool.heatmap(run, images, out, tile=tile, overwrite=overwrite)

    from tltool.cli import show

    for each in made:
        speed = each.megapixels / each.seconds
        took = f"{each.megapixels:.1f} Mpx in {each.seconds:.1f} s ({speed:.1f} Mpx/s)"
        show.line(f"{each.map_path}: {took}")
        show.line(f"{each.overlay_path}")
