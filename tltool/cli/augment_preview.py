"""`tltool augment-preview`."""

from pathlib import Path

import click

from tltool.cli import options


@click.command("augment-preview", short_help="Show what a recipe's augmentation does to images.")
@click.argument("recipe", metavar="RECIPE")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--images",
    type=click.IntRange(min=1),
    metavar="N",
    help="Rows, an image each [one for each class, 6 at most].",
)
@click.option(
    "--variants",
    type=click.IntRange(min=1),
    metavar="N",
    default=16,
    show_default=True,
    help="Columns beside the originals.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of everything that is drawn by chance.",
)
@options.overwrite
@options.out("PNG file to write.")
def augment_preview(
    recipe: str,
    data: Path,
    images: int | None,
    variants: int,
    seed: int,
    overwrite: bool,
    out: Path,
) -> None:
    """Draw a contact sheet: training images of DATA and variants of them.

    RECIPE is an installed recipe or a YAML file, whose augment list makes the
    variants. Mixup and cutmix mix the images of the sheet with each other.
    """
    from tltool.augment.preview import preview

    made = preview(
        recipe, data, out, images=images, variants=variants, seed=seed, overwrite=overwrite
    )

    from tltool.cli import show

    show.line(f"{made} written")
