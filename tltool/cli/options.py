"""Options that several commands share, each named once."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


def option(name: str, help_text: str, metavar: str | None = None, **more: Any) -> Decorator:
    """An option, perhaps with the name of its parameter behind its own; `shown` is a default."""
    if "shown" in more:
        more |= {"default": more.pop("shown"), "show_default": True}
    return click.option(*name.split(), help=help_text, metavar=metavar, **more)


flag = functools.partial(option, is_flag=True)
number = functools.partial(option, type=float)
whole = functools.partial(option, type=click.IntRange(min=1))
path = functools.partial(option, type=click.Path(path_type=Path))


def choice(name: str, values: str, help_text: str, **more: Any) -> Decorator:
    """An option with one of these values, written with | between them."""
    return option(name, help_text, type=click.Choice(values.split("|")), **more)


def together(*decorators: Decorator) -> Decorator:
    """Several options as one."""
    return lambda command: functools.reduce(lambda made, one: one(made), decorators[::-1], command)


overwrite = flag("--overwrite", "Replace what exists already.")
seed = whole("--seed", "Seed of everything that is drawn by chance.", type=click.IntRange(min=0))
context = whole(
    "--context",
    "Margin of real image around the patch that the network also sees.",
    "PX",
    type=click.IntRange(min=0),
)
strict = flag("--strict", "Stop at an unreadable image instead of leaving it out.")
batch_size = whole("--batch-size", "Images that the network sees at a time.", shown=32)
views = option(
    "--tta",
    "Test-time augmentation: the mean over the eight flips and rotations, or over N random"
    " draws of the recipe's augmentation.",
    "d4|N",
)
run = click.argument("run", type=click.Path(path_type=Path))
images = click.argument(
    "images", nargs=-1, required=True, metavar="IMAGE...", type=click.Path(path_type=Path)
)
points = click.argument("points", metavar="POINTS", type=click.Path(path_type=Path))

aoi = path(
    "--aoi",
    "The annotated areas, in any CRS (in pixels, y down, where the image has none): what lies"
    " outside is not known.",
    "GEOJSON",
)
ignore = path(
    "--ignore", "Areas that nothing is taken from, in coordinates as those of --aoi.", "GEOJSON"
)


def out(help_text: str) -> Decorator:
    """`-o/--out`, with what the command writes there."""
    return path("-o --out", help_text, required=True)


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
    "engine": option(
        "--engine",
        "auto, tensorflow or openvino (pip install 'tltool[openvino]') [openvino on a CPU"
        " where it is installed].",
        "NAME",
        default="auto",
    ),
    "precision": option(
        "--precision",
        "Numbers that the engine computes in: f32, or bf16 or f16, faster, less exact [f32].",
        "NAME",
        default="f32",
    ),
    "tta": option(
        "--tta",
        "d4: the mean over the eight flips and rotations [none].",
        "none|d4",
        default="none",
    ),
    "aoi": path(
        "--aoi",
        "Areas to map, in any CRS (in pixels, y down, where the image has none); no data outside.",
        "GEOJSON",
    ),
    "scale": option(
        "--scale",
        "Numbers that become 0 and 255, for images of other than 8 bits [of 16 the high byte].",
        "MIN:MAX|percentiles",
    ),
    "bands": option(
        "--bands",
        "Bands of the images to use, from 1 [as in training].",
        "N[,N...]",
        type=Numbers(int),
    ),
    "resample": flag(
        "--resample", "Resample images to the ground sample distance of the training."
    ),
    "scales": option(
        "--scales",
        "See every image at these enlargements, such as 0.8,1,1.25.",
        "X[,X...]",
        type=Numbers(float),
        default=(),
    ),
    "combine": option(
        "--combine",
        "Combination of the probabilities of several --scales [mean].",
        "mean|max",
        default="mean",
    ),
    "tile": whole(
        "--tile", "Longest side of a tile as the network sees it [from the network's size].", "PX"
    ),
    "stride": number(
        "--stride",
        "Between cells, px of the image: the network's own halved any number of times, by the"
        " à trous rewriting [the network's own].",
        "PX",
    ),
    "shift_and_stitch": flag(
        "--shift-and-stitch",
        "Make the map of --stride from runs on the shifted image: the reference, slower.",
    ),
    "mode": choice(
        "--mode",
        "fcn|patches",
        "patches: slide the untouched classifier; slower, always faithful, any --stride.",
        shown="fcn",
    ),
}


def map_options(*names: str) -> Decorator:
    """Options of how maps are made [all]; the command gets one `options`, a `MapOptions`."""
    names = names or tuple(_MAP_OPTIONS)

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def call(**values: Any) -> Any:
            from tltool.raster import parse_scale
            from tltool.run.map_options import MapOptions

            given = {name: values.pop(name) for name in names}
            if given.get("scale") is not None:
                given["scale"] = parse_scale(given["scale"])
            return command(options=MapOptions(**given), **values)

        return together(*(_MAP_OPTIONS[name] for name in names))(call)

    return decorate


maps = path(
    "--maps",
    "Use the maps that tltool heatmap, or an earlier count, made there of these images.",
    "FOLDER",
)


def _checked_columns(ctx: Any, param: Any, value: tuple[str, ...] | None) -> Any:
    if value is not None and len(value) not in (1, 2, 4):
        raise click.BadParameter(
            "expected IMAGE,X,Y,LABEL, or IMAGE,LABEL or LABEL of a map; received"
            f" {','.join(value)}"
        )
    return value


columns = option(
    "--columns",
    "Columns to take of a table; of GeoJSON or a GeoPackage the properties IMAGE,LABEL or"
    " LABEL [found by name].",
    "IMAGE,X,Y,LABEL",
    type=Numbers(str),
    callback=_checked_columns,
)


# Those that count, count tune and mine share: what points are compared with, in what maps.
counting = together(
    ignore,
    columns,
    number(
        "--radius",
        "Largest distance of a detection from the point it stands for [of a tuned run its"
        " tuning's; else, and for tuning, the patch's side].",
        "PX",
    ),
    map_options(
        "stride", "tta", "scales", "combine", "engine", "precision", "scale", "bands", "resample"
    ),
)
