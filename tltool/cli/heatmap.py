"""`tltool heatmap`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tltool.cli import options

if TYPE_CHECKING:
    from tltool.mapping.heatmap import HeatMap


@click.command(short_help="Map class probabilities over images of any size.")
@options.run
@options.images
@options.engine
@options.precision
@click.option(
    "--tta",
    metavar="none|d4",
    default="none",
    help="d4: the mean over the eight flips and rotations [none].",
)
@click.option(
    "--aoi",
    type=click.Path(path_type=Path),
    metavar="GEOJSON",
    help="Areas to map, in any CRS (in pixels, y down, where the image has none); no data outside.",
)
@options.scale
@options.bands
@options.resample
@click.option(
    "--scales",
    type=options.Numbers(float),
    metavar="X[,X...]",
    default=(),
    help="See every image at these enlargements, such as 0.8,1,1.25.",
)
@click.option(
    "--combine",
    metavar="mean|max",
    default="mean",
    help="How the probabilities of several --scales become one [mean].",
)
@click.option(
    "--tile",
    type=click.IntRange(min=1),
    metavar="PX",
    help="Longest side of a tile as the network sees it [from the network's size].",
)
@options.stride
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
@click.option(
    "--dtype",
    type=click.Choice(["float32", "uint8", "uint16"]),
    help="Of the map; integers carry their scale [float32; of a class map the smallest].",
)
@click.option(
    "--classes",
    type=options.Numbers(str),
    metavar="NAME,...",
    help="Write these classes only.",
)
@click.option(
    "--argmax",
    is_flag=True,
    help="Write the most probable class, with a colour table and the classes' names.",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["geotiff", "zarr"]),
    default="geotiff",
    show_default=True,
    help="zarr needs the extra: pip install 'tltool[zarr]'.",
)
@click.option("--cog", is_flag=True, help="Write a Cloud-Optimized GeoTIFF.")
@click.option(
    "--preview",
    is_flag=True,
    help="Write an HTML page to look into the map too; it needs nothing but a browser.",
)
@options.overwrite
@options.out("Folder for the maps, overlays and JSON files.")
def heatmap(
    run: Path,
    images: tuple[Path, ...],
    scale: str | None,
    tile: int | None,
    stride: float | None,
    shift_and_stitch: bool,
    mode: Literal["fcn", "patches"],
    full_resolution: bool,
    dtype: str | None,
    classes: tuple[str, ...] | None,
    argmax: bool,
    file_format: Literal["geotiff", "zarr"],
    cog: bool,
    preview: bool,
    overwrite: bool,
    out: Path,
    **seeing: Any,
) -> None:
    """Map the class probabilities of IMAGEs with the network of RUN.

    RUN is a run folder (its classifier is converted where that was not done)
    or an fcn.keras with its fcn.json; with --mode patches a classifier with its
    JSON file too. IMAGEs are files, folders or patterns.

    A map that was interrupted goes on where it was when the same command is
    given again. Of several images one that cannot be mapped does not stop the
    others.
    """
    import tltool
    from tltool.errors import MapsError
    from tltool.raster import parse_scale

    try:
        made = tltool.heatmap(
            run,
            images,
            out,
            tile=tile,
            stride=stride,
            shift_and_stitch=shift_and_stitch,
            mode=mode,
            full_resolution=full_resolution,
            dtype=dtype,
            classes=classes,
            argmax=argmax,
            format=file_format,
            cog=cog,
            preview=preview,
            overwrite=overwrite,
            scale=None if scale is None else parse_scale(scale),
            **seeing,
        )
    except MapsError as error:
        _show(error.made)
        raise
    _show(made)


def _show(made: "list[HeatMap]") -> None:
    from tltool.cli import show

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
    return f"{took} ({made.judged / made.seconds:.1f} Mpx/s)"
