"""`tltool lr-find`."""

from pathlib import Path
from typing import Any

import click

import tltool
from tltool.cli import options, show
from tltool.cli.recipe_options import read_recipe, recipe_options


@click.command("lr-find", short_help="Find the learning rate of a stage.")
@click.argument("data", type=click.Path(path_type=Path))
@recipe_options
@options.whole("--stage", "Stage of the recipe, from 1.", shown=1)
@options.number("--low", "First rate.", shown=1e-6)
@options.number("--high", "Last rate.", shown=1.0)
@options.whole(
    "--steps",
    "Most steps; it ends where the loss diverges.",
    type=click.IntRange(min=10),
    shown=100,
)
@options.overwrite
@options.out("PNG of the curve; a CSV of the same stem lies beside it.")
def lr_find(data: Path, out: Path, overwrite: bool, **choices: Any) -> None:
    """Train on DATA for some steps at a rising rate, and suggest one.

    The suggestion is where the loss falls fastest. Nothing is kept of the
    weights; stages before the one asked for are not run.
    """
    range_test = {name: choices.pop(name) for name in ("stage", "low", "high", "steps")}
    found = tltool.lr_find(data, out, read_recipe(**choices), overwrite=overwrite, **range_test)
    suggested = ("suggested: the loss falls fastest", f"{found.steepest:.1e}")
    too_high = ("too high: the loss is lowest", f"{found.lowest:.1e}")
    show.table(("", "rate"), (suggested, too_high), numbers=(1,))
    show.line(f"{out} and {out.with_suffix('.csv')} written after {len(found.rates)} steps")
