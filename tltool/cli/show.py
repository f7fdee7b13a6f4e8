"""Results as short tables and lines on standard output."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tltool.counting.mine import MiningRound
    from tltool.counting.survey import Survey


def table(
    header: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Sequence[int] = ()
) -> None:
    """Print a table; `numbers` are the columns to align right."""
    # Not at once: help needs no tables.
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="bold", show_header=any(header))
    for index, name in enumerate(header):
        # A path cut in two cannot be copied.
        grid.add_column(name, justify="right" if index in numbers else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(str(value) for value in row))
    Console().print(grid)


def percent(share: float | None) -> str:
    """A share as a percentage; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.1f} %"


def by_task(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Task, or an empty name where there is one, to its numbers."""
    return numbers.get("tasks", {"": numbers})


def line(text: str) -> None:
    """Print one line."""
    click.echo(text)


def survey(counted: "Survey") -> None:
    """Print what `tltool.count` found: scores where there is a truth, counts, where all is."""
    from tltool.counting import tables

    for each in tables.survey_tables(counted):
        table(each.header, each.rows, each.numbers)
        line("")
    for text in tables.survey_lines(counted):
        line(text)


def mining_round(made: "MiningRound") -> None:
    """Print how good a network is, and what it took for animals."""
    f1 = "unknown" if made.f1 is None else f"{made.f1:.2f}"
    rates = f"precision {percent(made.precision)}, recall {percent(made.recall)}"
    line(f"round {made.number}: F1 {f1} ({rates})")
    if made.mined:
        scores = f"scores {made.highest:.2f} to {made.lowest:.2f}"
        drawn = f"{made.drawn} places drawn by chance"
        line(f"  {made.mined} false detections ({scores}) and {drawn} become background")
