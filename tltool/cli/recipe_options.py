"""The options that override a recipe, for every command that takes one."""

from typing import Any

import click

from tltool.cli import options
from tltool.cli.options import Command

_OPTIONS = (
    click.option(
        "--recipe", metavar="NAME|FILE", help="Installed recipe or YAML file to start from."
    ),
    click.option(
        "--backbone", metavar="NAME", help="A constructor of keras.applications [MobileNet]."
    ),
    click.option("--alpha", type=float, help="Width multiplier of the MobileNet families."),
    click.option(
        "--weights",
        metavar="imagenet|none|PATH",
        help="Weights of the backbone to start from; RUN/model.keras goes on from a run"
        " [imagenet].",
    ),
    click.option("--head", metavar="NAME", help="gap, gmp, fc, nin or cam [gap]."),
    click.option(
        "--task",
        metavar="KIND",
        help="multi-class, binary, multi-label or regression [as DATA is].",
    ),
    click.option(
        "--patch",
        type=click.IntRange(min=1),
        metavar="PX",
        help="Side of the patch [as DATA says].",
    ),
    options.context,
    click.option(
        "--zoom",
        type=float,
        metavar="FACTOR",
        help="Enlargement before the network sees the image [1].",
    ),
    click.option(
        "--bands",
        type=options.Numbers(int),
        metavar="N[,N...]",
        help="Bands of the images to use, from 1 [red, green, blue, or all].",
    ),
    click.option(
        "--epochs", type=options.Numbers(int), metavar="N[,N...]", help="Most epochs of each stage."
    ),
    click.option(
        "--learning-rate",
        type=options.Numbers(float),
        metavar="X[,X...]",
        help="Learning rate of each stage.",
    ),
    click.option("--batch-size", type=click.IntRange(min=1), help="Patches in a step [32]."),
    click.option(
        "--loss",
        metavar="NAME",
        help="cross-entropy or focal; squared-error or huber for numbers.",
    ),
    click.option(
        "--sampling", metavar="HOW", help="as-is, over, under or square-root, by class [as-is]."
    ),
    click.option(
        "--deterministic/--no-deterministic",
        default=None,
        help="The same weights bit for bit each time, somewhat slower.",
    ),
    options.seed,
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set any key of the recipe, such as training.stages.1.epochs=5.",
    ),
)


def recipe_options(command: Command) -> Command:
    """Add the options that `read_recipe` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_recipe(recipe: str | None, assignments: tuple[str, ...], **values: Any) -> Any:
    """The recipe that the options say, checked without importing TensorFlow."""
    from tltool.augment.entries import check_entries
    from tltool.recipe import override_recipe

    loaded = override_recipe(recipe, assignments, **values)
    # Only now: what the kinds need takes longer to import than a misspelt key to find.
    from tltool.tasks.kinds import check_kinds

    check_kinds(loaded)
    check_entries(loaded.augment)
    return loaded
