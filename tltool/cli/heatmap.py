"""`tltool heatmap`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import tltool
from tltool.cli import options, show

if TYPE_CHECKING:
    from tltool.mapping.image_map import HeatMap
    from tltool.run.map_options import MapOptions


@click.command(short_help="Map class probabilities over images of any size.")
@options.run
@options.images
@options.map_options()
@options.flag("--full-resolution", "Write the map enlarged to a value a pixel of the image too.")
@options.choice(
    "--dtype",
    "float32|uint8|uint16",
    "Data type of the map; integers carry their scale [float32; of a class map the smallest].",
)
@options.option("--classes", "Write these classes only.", "NAME,...", type=options.Numbers(str))
@options.flag(
    "--argmax", "Write the most probable class, with a colour table and the classes' names."
)
@options.choice(
    "--format", "geotiff|zarr", "zarr needs the extra: pip install 'tltool[zarr]'.", shown="geotiff"
)
@options.flag("--cog", "Write a Cloud-Optimized GeoTIFF.")
@options.flag(
    "--preview", "Write an HTML page to look into the map too; it needs nothing but a browser."
)
@options.overwrite
@options.out("Folder for the maps, overlays and JSON files.")
def heatmap(
    run: Path,
    images: tuple[Path, ...],
    out: Path,
    options: "MapOptions",
    overwrite: bool,
    **written: Any,
) -> None:
    """Map the class probabilities of IMAGEs with the network of RUN.

    RUN is a run folder (its classifier is converted where that was not done)
    or an fcn.keras with its fcn.json; with --mode patches a classifier with its
    JSON file too. IMAGEs are files, folders or patterns.

    A map that was interrupted goes on where it was when the same command is
    given again. Of several images one that cannot be mapped does not stop the
    others.
    """
    from tltool.errors import MapsError
    from tltool.run.map_options import Output

    try:
        output = Output(**written)
        made = tltool.heatmap(run, images, out, options=options, output=output, overwrite=overwrite)
    except MapsError as error:
        _show(error.made)
        raise
    _show(made)


def _show(made: "list[HeatMap]") -> None:
    for each in made:
        show.line(f"{each.map_path}: {_work(each)}")
        for path in (each.overlay_path, each.preview_path, each.full_path):
            if path:
                show.line(f"{path}")


def _work(made: "HeatMap") -> str:
    if not made.seconds:
        return f"{made.megapixels:.1f} Mpx, finished before"
    took = f"{made.megapixels:.1f} Mpx in {made.seconds:.1f} s"
    # An interrupted call did a part of it, for which this one took no time.
    return f"{took} ({made.predicted / made.seconds:.1f} Mpx/s)"
