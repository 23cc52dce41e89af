"""Changes as JSON documents and back, for a ledger.

Belongs here: the text form. Does not belong here: where it is stored.
"""

from functools import cache
from types import UnionType
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from broker.errors import OrderBookError
from broker.orders.changes import Change


def written(change: Change) -> dict[str, Any]:
    """A change as a JSON object; `kind` names it, quantities and money are texts, times ISO 8601."""
    kind = type(change)
    return {"kind": kind.__name__, **_adapter(kind).dump_python(change, mode="json")}


def read(document: dict[str, Any]) -> Change:
    """The change that a JSON object describes.

    Raises:
        OrderBookError: it describes none.
    """
    fields = dict(document)
    kind = _kinds().get(fields.pop("kind", ""))
    if kind is None:
        raise OrderBookError(f"kind: {document.get('kind')!r} is no change of an order book.")
    try:
        change: Change = _adapter(kind).validate_python(fields, strict=False)
    except ValidationError as fault:
        where = ".".join(map(str, fault.errors()[0]["loc"]))
        raise OrderBookError(f"{kind.__name__}.{where}: {fault.errors()[0]['msg']}.") from None
    return change


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def _kinds() -> dict[str, type]:
    return {kind.__name__: kind for kind in _members(Change)}


def _members(union: UnionType) -> tuple[type, ...]:
    return get_args(union)
