"""`tltool augment-preview`."""

from pathlib import Path
from typing import Any

import click

import tltool
from tltool.cli import options, show


@click.command("augment-preview", short_help="Show what a recipe's augmentation does to images.")
@click.argument("recipe", metavar="RECIPE")
@click.argument("data", type=click.Path(path_type=Path))
@options.whole("--images", "Rows, an image each [one for each class, 6 at most].", "N")
@options.whole("--variants", "Columns beside the originals.", "N", shown=16)
@options.whole(
    "--seed", "Seed of everything that is drawn by chance.", type=click.IntRange(min=0), shown=0
)
@options.overwrite
@options.out("PNG file to write.")
def augment_preview(recipe: str, data: Path, out: Path, **more: Any) -> None:
    """Draw a contact sheet: training images of DATA and variants of them.

    RECIPE is an installed recipe or a YAML file, whose augment list makes the
    variants. Mixup and cutmix mix the images of the sheet with each other.
    """
    show.line(f"{tltool.preview(recipe, data, out, **more)} written")
