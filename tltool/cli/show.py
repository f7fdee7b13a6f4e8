"""Results as short tables and lines on standard output."""

from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table


def table(
    header: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Sequence[int] = ()
) -> None:
    """Print a table; `numbers` are the columns to align right."""
    grid = Table(box=None, pad_edge=False, header_style="bold", show_header=any(header))
    for place, name in enumerate(header):
        # A path cut in two cannot be copied.
        grid.add_column(name, justify="right" if place in numbers else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(str(value) for value in row))
    Console().print(grid)


def percent(share: float | None) -> str:
    """A share as a percentage; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.1f} %"


def line(text: str) -> None:
    """Print one line."""
    click.echo(text)
