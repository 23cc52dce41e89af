"""Tables and figures as a terminal shows them.

Belongs here: Arrow or rows -> rich tables, number formats. Does not belong here: computing any of the numbers.
"""

import csv
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

UNKNOWN = "unknown"
"""What is shown for a value that was not measured."""


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """Print a table; numbers go right, everything else left."""
    _console().print(_rich_table(columns, [list(row) for row in rows], title))


def print_arrow(table: "pa.Table") -> None:
    """Print an Arrow table whole."""
    print_rows(table.column_names, zip(*(column.to_pylist() for column in table.columns), strict=True))


def print_csv(table: "pa.Table") -> None:
    """Write an Arrow table to stdout as CSV with a header; null is an empty field."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))


def print_json(document: object) -> None:
    """Write a JSON document to stdout; times are ISO 8601, NaN and infinities are null."""
    sys.stdout.write(json.dumps(_jsonable(document), indent=2) + "\n")


def say(text: str) -> None:
    """Print a line of prose, without mark-up."""
    _console().print(text, markup=False, highlight=False, soft_wrap=True)


def percent(value: float | None) -> str:
    """A fraction as percent with sign.

    >>> percent(0.1234), percent(None)
    ('+12.34%', 'unknown')
    """
    return UNKNOWN if _missing(value) else f"{value:+.2%}"


def ratio(value: float | None) -> str:
    """A plain ratio with two decimals.

    >>> ratio(1.234), ratio(float("nan"))
    ('1.23', 'unknown')
    """
    return UNKNOWN if _missing(value) else f"{value:.2f}"


def money(value: float | None) -> str:
    """An amount with thousands separators and cents.

    >>> money(12345.678)
    '12,345.68'
    """
    return UNKNOWN if _missing(value) else f"{value:,.2f}"


def count(value: float | None) -> str:
    """A whole number with thousands separators.

    >>> count(1200)
    '1,200'
    """
    return UNKNOWN if _missing(value) else f"{value:,.0f}"


def _missing(value: float | None) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _console() -> Any:  # noqa: ANN401  # rich is imported late
    from rich.console import Console

    return Console(file=sys.stdout)


def _rich_table(columns: Sequence[str], rows: list[list[Any]], title: str | None) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, header_style="bold")
    for index, name in enumerate(columns):
        numeric = bool(rows) and all(_is_numeric(row[index]) for row in rows)
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    return table


def _is_numeric(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float) or value is None:
        return True
    return isinstance(value, str) and (value == UNKNOWN or value.lstrip("+-")[:1].isdigit())


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
