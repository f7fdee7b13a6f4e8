"""Progress of long work on standard error, in a terminal only; elsewhere log lines say enough."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Bar:
    """One running progress bar."""

    def __init__(self, progress: Progress, task: TaskID):
        self._progress, self._task = progress, task

    def advance(self, amount: float = 1, note: str | None = None) -> None:
        """Add `amount` of done work; `note` replaces the text at the bar's end."""
        self._progress.update(self._task, advance=amount)
        if note is not None:
            self._progress.update(self._task, note=note)


@contextmanager
def progress_bar(
    description: str, total: float | None, unit: str, shown: bool = True
) -> Iterator[Bar]:
    """Show a bar while the block runs.

    Parameters
    ----------
    description : str
        What is done.
    total : float or None
        The whole work, in `unit`; None: not known.
    unit : str
        Printed behind the numbers, such as ``Mpx``.
    shown : bool
        Whether it is shown at all.
    """
    console = Console(stderr=True)
    whole = "" if total is None else "/{task.total:.0f}"
    number = "{task.completed:.0f}" + whole + " " + unit
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TextColumn(number),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    hidden = not (shown and console.is_terminal)
    with Progress(*columns, console=console, disable=hidden) as progress:
        yield Bar(progress, progress.add_task(description, total=total, note=""))
