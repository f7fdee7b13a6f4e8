"""Tables that a person wrote: read tolerantly, complained of by file, line and column."""

import csv
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.errors import DataError, UsageError

_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Row:
    """A row of a table: the line of the file it ends on (in memory its index), cells by column."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table with a header.

    Attributes
    ----------
    path : Path
        The file; of a table in memory the parameter, in backticks.
    columns : list of str
        In the order of the file.
    rows : list of Row
        Rows without content are left out.
    counted : str
        What the rows' numbers count: lines of a file, rows in memory.
    """

    path: Path
    columns: list[str]
    rows: list[Row]
    counted: str = "line"

    def find(self, names: Sequence[str]) -> str | None:
        """The column called like the first of `names` that there is, in any case, or None."""
        lower = {column.lower(): column for column in reversed(self.columns)}
        return next((lower[name] for name in names if name in lower), None)

    def require(self, names: Sequence[str]) -> None:
        """Raise a `DataError` where one of the columns is missing, with the nearest there is."""
        for name in names:
            if name not in self.columns:
                near = difflib.get_close_matches(name, self.columns, 1)
                hint = f" Did you mean {near[0]}?" if near else ""
                raise DataError(
                    f"{self.path}: column {name} is missing; the {self.noun} has"
                    f" {', '.join(self.columns)}.{hint}"
                )

    @property
    def noun(self) -> str:
        """Word for it in messages: a file, or a table in memory."""
        return "file" if self.counted == "line" else "table"

    def where(self, row: Row) -> str:
        """File and line of a row, for messages."""
        return f"{self.path}, {self.counted} {row.line}"

    def error(self, row: Row, column: str, text: str) -> DataError:
        """An error at a cell."""
        return DataError(f"{self.where(row)}, column {column}: {text}")


def table_of(columns: Any, name: str) -> Table:
    """Take a table in memory, as `read_table` takes a file.

    Parameters
    ----------
    columns : mapping of str to sequence, or a pandas DataFrame
        None and NaN are empty cells.
    name : str
        The parameter, for messages.

    Raises
    ------
    UsageError
        Columns of different lengths.
    """
    cells = {
        str(key): ["" if value is None or value != value else str(value) for value in columns[key]]
        for key in columns.keys()  # noqa: SIM118 - a DataFrame has keys, and iterates over others
    }
    lengths = {key: len(values) for key, values in cells.items()}
    if len(set(lengths.values())) > 1:
        raise UsageError(
            f"`{name}`: expected columns of one length, received"
            f" {', '.join(f'{n} of {key}' for key, n in lengths.items())}"
        )
    rows = [
        Row(index, dict(zip(cells, values, strict=True)))
        for index, values in enumerate(zip(*cells.values(), strict=True))
    ]
    return Table(Path(f"`{name}`"), list(cells), rows, "row")


def read_table(path: Path, *, empty: bool = False) -> Table:
    """Read a table.

    The header shows whether commas, semicolons or tabs stand between cells;
    blanks around cells and a byte order mark are dropped.

    Parameters
    ----------
    path : Path
        Text in UTF-8, with a header line.
    empty : bool
        Whether a header without rows is no error.

    Raises
    ------
    DataError
        No such file, other encoding, no header, a column without name or
        twice, a row longer than the header, or no row.
    """
    if not path.is_file():
        raise DataError(f"{path}: expected a CSV file, found none")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=max(_DELIMITERS, key=file.readline().count))
            file.seek(0)
            columns = [cell.strip() for cell in next(reader, [])]
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected text in UTF-8: {error}. Save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: expected a CSV row: {error}") from error
    while columns and not columns[-1]:
        columns.pop()
    if not columns:
        raise DataError(f"{path}: expected a header with the names of the columns, found none")
    if "" in columns:
        raise DataError(
            f"{path}, line 1: expected a name for every column, received none for column"
            f" {columns.index('') + 1}"
        )
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise DataError(
            f"{path}, line 1: expected every column once, received {', '.join(twice)} more often."
            " Rename or remove the repeats"
        )
    rows = []
    for line, cells in lines:
        if any(cells[len(columns) :]):
            raise DataError(
                f"{path}, line {line}: expected {len(columns)} cells as in the header, received"
                f" {len(cells)}. Put cells that hold a delimiter into quotes"
            )
        if any(cells):
            filled = cells[: len(columns)] + [""] * (len(columns) - len(cells))
            rows.append(Row(line, dict(zip(columns, filled, strict=True))))
    if not rows and not empty:
        raise DataError(f"{path}: expected rows below the header, found none")
    return Table(path, columns, rows)
