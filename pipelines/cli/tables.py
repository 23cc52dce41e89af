"""Tables and figures as a terminal shows them.

Belongs here: Arrow or rows -> rich tables, number formats. Does not belong here: computing any of the numbers.
"""

import csv
import io
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

_PIPE_WIDTH = 200
"""Columns where nobody's terminal sets a bound: a file, a pipe, a log."""

_NUMBER = re.compile(r"[+-]?[\d,]*\.?\d+( %| d)?|unknown|")


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """Print a table; numbers go right, everything else left."""
    from rich.measure import Measurement

    table = _rich_table(columns, [list(row) for row in rows], title)
    console = _console()
    wide = console.options.update(max_width=_PIPE_WIDTH)
    needed = Measurement.get(console, wide, table).minimum  # figures are never folded, a narrow terminal wraps the line
    console.print(table, width=max(console.width, needed), crop=False, no_wrap=True, overflow="ignore")


def print_arrow(table: "pa.Table") -> None:
    """Print an Arrow table whole."""
    print_rows(table.column_names, zip(*(column.to_pylist() for column in table.columns), strict=True))


def print_csv(table: "pa.Table") -> None:
    """Write an Arrow table to stdout as CSV with a header; null is an empty field."""
    sys.stdout.write(csv_text(table))


def csv_text(table: "pa.Table") -> str:
    """An Arrow table as CSV with a header; null is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return text.getvalue()


def print_json(document: object) -> None:
    """Write a JSON document to stdout; times are ISO 8601, NaN and infinities are null."""
    sys.stdout.write(json.dumps(_jsonable(document), indent=2) + "\n")


def say(text: str) -> None:
    """Print a line of prose, without mark-up."""
    _console().print(text, markup=False, highlight=False, soft_wrap=True)


def _console() -> Any:  # noqa: ANN401  # rich is imported late
    from rich.console import Console

    console = Console(file=sys.stdout)
    return console if console.is_terminal else Console(file=sys.stdout, width=_PIPE_WIDTH)


def _rich_table(columns: Sequence[str], rows: list[list[Any]], title: str | None) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        header_style="bold",
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for index, name in enumerate(columns):
        numeric = bool(rows) and all(_is_numeric(row[index]) for row in rows)
        table.add_column(
            Text(name),
            justify="right" if numeric else "left",
            no_wrap=numeric,
            overflow="fold",
            min_width=_min_width(rows, index),
        )
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    return table


def _min_width(rows: list[list[Any]], index: int) -> int:
    """A narrow terminal may fold a column, but not to less than a word."""
    return min(14, max((len(_cell(row[index])) for row in rows), default=0))


def _is_numeric(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float) or value is None:
        return True
    return isinstance(value, str) and _NUMBER.fullmatch(value) is not None


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)


def _jsonable(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
