"""Options that several commands share, each named once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]

overwrite = click.option("--overwrite", is_flag=True, help="Replace what exists already.")
seed = click.option(
    "--seed", type=click.IntRange(min=0), help="Of everything that is drawn by chance."
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
batch = click.option(
    "--batch",
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
