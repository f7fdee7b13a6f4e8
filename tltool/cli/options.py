"""Options that several commands share, each named once."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]

overwrite = click.option("--overwrite", is_flag=True, help="Replace what exists already.")
seed = click.option(
    "--seed", type=click.IntRange(min=0), help="Seed of everything that is drawn by chance."
)
context = click.option(
    "--context",
    type=click.IntRange(min=0),
    metavar="PX",
    help="Margin of real image around the patch that the network also sees.",
)
strict = click.option(
    "--strict", is_flag=True, help="Stop at an unreadable image instead of leaving it out."
)
batch_size = click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Images that the network sees at a time.",
)
views = click.option(
    "--tta",
    metavar="d4|N",
    help="Test-time augmentation: the mean over the eight flips and rotations, or over N random"
    " draws of the recipe's augmentation.",
)
run = click.argument("run", type=click.Path(path_type=Path))
images = click.argument(
    "images", nargs=-1, required=True, metavar="IMAGE...", type=click.Path(path_type=Path)
)
points = click.argument("points", metavar="POINTS", type=click.Path(path_type=Path))

aoi = click.option(
    "--aoi",
    type=click.Path(path_type=Path),
    metavar="GEOJSON",
    help="The annotated areas, in any CRS (in pixels, y down, where the image has none): what lies"
    " outside is not known.",
)
ignore = click.option(
    "--ignore",
    type=click.Path(path_type=Path),
    metavar="GEOJSON",
    help="Areas that nothing is taken from, in coordinates as those of --aoi.",
)


def out(help_text: str) -> Callable[[Command], Command]:
    """`-o/--out`, with what the command writes there."""
    return click.option(
        "-o", "--out", required=True, type=click.Path(path_type=Path), help=help_text
    )


class Numbers(click.ParamType):
    """Comma-separated numbers of one kind."""

    name = "numbers"

    def __init__(self, kind: type, length: int | None = None):
        self._kind, self._length = kind, length

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[Any, ...]:
        """Split and convert."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(self._kind(part) for part in value.split(","))
        except ValueError:
            self.fail(f"expected {self._kind.__name__}s with commas between, received {value}")
        if self._length not in (None, len(numbers)):
            self.fail(f"expected {self._length} numbers, received {len(numbers)}")
        return numbers


# How maps are made: an option for each of `tltool.run.map_options.MapOptions`.
_MAP_OPTIONS = {
    "engine": click.option(
        "--engine",
        metavar="NAME",
        default="auto",
        help="auto, tensorflow or openvino (pip install 'tltool[openvino]') [openvino on a CPU"
        " where it is installed].",
    ),
    "precision": click.option(
        "--precision",
        metavar="NAME",
        default="f32",
        help="Numbers that the engine computes in: f32, or bf16 or f16, faster, less exact [f32].",
    ),
    "tta": click.option(
        "--tta",
        metavar="none|d4",
        default="none",
        help="d4: the mean over the eight flips and rotations [none].",
    ),
    "aoi": click.option(
        "--aoi",
        type=click.Path(path_type=Path),
        metavar="GEOJSON",
        help="Areas to map, in any CRS (in pixels, y down, where the image has none); no data"
        " outside.",
    ),
    "scale": click.option(
        "--scale",
        metavar="MIN:MAX|percentiles",
        help="Numbers that become 0 and 255, for images of other than 8 bits [of 16 the high"
        " byte].",
    ),
    "bands": click.option(
        "--bands",
        type=Numbers(int),
        metavar="N[,N...]",
        help="Bands of the images to use, from 1 [as in training].",
    ),
    "resample": click.option(
        "--resample",
        is_flag=True,
        help="Resample images to the ground sample distance of the training.",
    ),
    "scales": click.option(
        "--scales",
        type=Numbers(float),
        metavar="X[,X...]",
        default=(),
        help="See every image at these enlargements, such as 0.8,1,1.25.",
    ),
    "combine": click.option(
        "--combine",
        metavar="mean|max",
        default="mean",
        help="Combination of the probabilities of several --scales [mean].",
    ),
    "tile": click.option(
        "--tile",
        type=click.IntRange(min=1),
        metavar="PX",
        help="Longest side of a tile as the network sees it [from the network's size].",
    ),
    "stride": click.option(
        "--stride",
        type=float,
        metavar="PX",
        help="Between cells, px of the image: the network's own halved any number of times, by the"
        " à trous rewriting [the network's own].",
    ),
    "shift_and_stitch": click.option(
        "--shift-and-stitch",
        is_flag=True,
        help="Make the map of --stride from runs on the shifted image: the reference, slower.",
    ),
    "mode": click.option(
        "--mode",
        type=click.Choice(["fcn", "patches"]),
        default="fcn",
        show_default=True,
        help="patches: slide the untouched classifier; slower, always faithful, any --stride.",
    ),
}


def map_options(*names: str) -> Callable[[Command], Command]:
    """Options of how maps are made; the command gets them as one `options`, a `MapOptions`."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def call(**values: Any) -> Any:
            from tltool.raster import parse_scale
            from tltool.run.map_options import MapOptions

            given = {name: values.pop(name) for name in names}
            if given.get("scale") is not None:
                given["scale"] = parse_scale(given["scale"])
            return command(options=MapOptions(**given), **values)

        for name in reversed(names):
            call = _MAP_OPTIONS[name](call)
        return call

    return decorate


maps = click.option(
    "--maps",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Use the maps that tltool heatmap, or an earlier count, made there of these images.",
)


def _checked_columns(ctx: Any, param: Any, value: tuple[str, ...] | None) -> Any:
    if value is not None and len(value) not in (1, 2, 4):
        raise click.BadParameter(
            "expected IMAGE,X,Y,LABEL, or IMAGE,LABEL or LABEL of a map; received"
            f" {','.join(value)}"
        )
    return value


columns = click.option(
    "--columns",
    type=Numbers(str),
    metavar="IMAGE,X,Y,LABEL",
    callback=_checked_columns,
    help="Columns to take of a table; of GeoJSON or a GeoPackage the properties IMAGE,LABEL or"
    " LABEL [found by name].",
)


def counting(command: Command) -> Command:
    """Options that count, count tune and mine share: what points are compared with, in what maps.

    The command gets those of making maps as one `options`, a `MapOptions`.
    """
    names = ("stride", "tta", "scales", "combine", "engine", "precision")
    command = map_options(*names, "scale", "bands", "resample")(command)
    radius = click.option(
        "--radius",
        type=float,
        metavar="PX",
        help="Largest distance of a detection from the point it stands for [of a tuned run its"
        " tuning's; else, and for tuning, the patch's side].",
    )
    return ignore(columns(radius(command)))
