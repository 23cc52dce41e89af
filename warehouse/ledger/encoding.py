"""Records as JSON texts and rows, and back.

Belongs here: the two forms of a record in the database. Does not belong here: statements (see `store`).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from warehouse.errors import InvalidRequestError, LedgerError
from warehouse.ledger.records import Intent, Record, Scope
from warehouse.ledger.references import check_deployment
from warehouse.ledger.tables import BY_KIND

_LARGEST = 2**63
_REFERENCES = ("order_ref", "execution", "run_id", "command")  # what `events.ref` holds, the first that a record has


def check_scope(scope: Scope) -> None:
    """Refuse a scope that no row may have.

    Raises:
        InvalidRequestError: its deployment's name is malformed, or its account is empty.
    """
    check_deployment(scope.deployment)
    if not scope.account:
        raise InvalidRequestError("account: a name is expected, '' was given.")


def event_row(scope: Scope, record: Record | Intent) -> dict[str, Any]:
    """The row of `events`, without its number.

    Raises:
        InvalidRequestError: a time without a zone, a document that is not JSON, a value that no database keeps.
    """
    _check(record)
    references = [str(getattr(record, name)) for name in _REFERENCES if hasattr(record, name)]
    return {
        "ts": record.ts,
        "deployment": scope.deployment,
        "account": scope.account,
        "session": scope.session,
        "kind": record.kind,
        "ref": references[0] if references else None,
        "payload": _written(record),
    }


def table_row(number: int, scope: Scope, record: Record | Intent) -> dict[str, Any] | None:
    """The row that repeats a record in the table of its kind; None where there is none."""
    table = BY_KIND.get(record.kind)
    if table is None:
        return None
    row = {
        "event_id": number,
        "deployment": scope.deployment,
        "account": scope.account,
        "session": scope.session,
    }
    own = {column.name: getattr(record, column.name) for column in table.columns if column.name not in row}
    return row | {name: None if _is_nan(value) else value for name, value in own.items()}


def read_record(kind: str, payload: str) -> Record | Intent:
    """The record that a payload describes.

    Raises:
        LedgerError: it describes none of that kind.
    """
    adapter = _adapters().get(kind)
    if adapter is None:
        raise LedgerError(f"ledger: {kind!r} is no kind of event.")
    try:
        record: Record | Intent = adapter.validate_json(payload)
    except ValidationError as fault:
        where = ".".join(map(str, fault.errors()[0]["loc"]))
        raise LedgerError(f"ledger: an event of kind {kind!r} cannot be read at {where!r}.") from None
    return record


def record_of_row(kind: str, row: Mapping[str, Any]) -> Any:  # noqa: ANN401 (a record of that kind)
    """A record from the table of its kind, which holds all of its fields but documents."""
    record = _types()[kind]
    return record(**{part.name: row[part.name] for part in fields(record) if part.name != "document"})


def _written(record: Record | Intent) -> str:
    try:
        return _adapters()[record.kind].dump_json(record, warnings="error").decode()
    except ValueError as fault:  # pydantic's errors of serialisation are ValueErrors
        raise InvalidRequestError(f"{record.kind}: a value cannot be written: {' '.join(str(fault).split())}") from None


def _check(record: Record | Intent) -> None:
    for part in fields(record):
        fault = _fault(getattr(record, part.name))
        if fault:
            raise InvalidRequestError(f"{record.kind}.{part.name}: {fault}.")


def _fault(value: object) -> str | None:
    """Why a value cannot be stored, in every database alike."""
    match value:
        case datetime() if value.tzinfo is None:
            return f"{value.isoformat()} has no time zone"
        case Decimal() if not value.is_finite():
            return f"{value} is not a number"
        case str() if "\0" in value:
            return f"{value!r} holds a character that is no text"
        case int() if not -_LARGEST <= value < _LARGEST:
            return f"{value} has more than 64 bits"
        case dict():
            return _no_json(value)
        case _:
            return None


def _no_json(document: dict[str, Any]) -> str | None:
    try:
        json.dumps(document, allow_nan=False)
    except (ValueError, TypeError) as fault:
        return f"it cannot be written as JSON: {fault}"
    return None


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


@cache
def _types() -> dict[str, type[Any]]:
    return {kind.kind: kind for kind in (Intent, *get_args(Record))}


@cache
def _adapters() -> dict[str, TypeAdapter[Any]]:
    return {name: TypeAdapter(kind) for name, kind in _types().items()}
