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
def lr_find(
    data: Path,
    out: Path,
    stage: int,
    low: float,
    high: float,
    steps: int,
    overwrite: bool,
    **choices: Any,
) -> None:
    """Train on DATA for some steps at a rising rate, and suggest one.

    The suggestion is where the loss falls fastest. Nothing is kept of the
    weights; stages before the one asked for are not run.
    """
    recipe = read_recipe(**choices)

    found = tltool.lr_find(
        data, out, recipe, stage=stage, low=low, high=high, steps=steps, overwrite=overwrite
    )
    show.table(
        ("", "rate"),
        [
            ("suggested: the loss falls fastest", f"{found.steepest:.1e}"),
            ("too high: the loss is lowest", f"{found.lowest:.1e}"),
        ],
        numbers=(1,),
    )
    show.line(f"{out} and {out.with_suffix('.csv')} written after {len(found.rates)} steps")
