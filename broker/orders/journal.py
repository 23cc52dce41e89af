"""Changes as JSON documents and back, for a ledger.

Belongs here: the text form. Does not belong here: where it is stored.
"""

from functools import cache
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from broker.errors import OrderBookError
from broker.orders.changes import Change


def written(change: Change) -> dict[str, Any]:
    """A change as a JSON object; `kind` names it, quantities and money are texts, times ISO 8601."""
    kind = type(change).__name__
    return {"kind": kind, **_adapters()[kind].dump_python(change, mode="json")}


def read(document: dict[str, Any]) -> Change:
    """The change that a JSON object describes.

    Raises:
        OrderBookError: it describes none.
    """
    fields = dict(document)
    kind = fields.pop("kind", "")
    adapter = _adapters().get(kind)
    if adapter is None:
        raise OrderBookError(f"kind: {kind!r} is no change of an order book.")
    try:
        change: Change = adapter.validate_python(fields)
    except ValidationError as fault:
        where = ".".join(map(str, fault.errors()[0]["loc"]))
        raise OrderBookError(f"{kind}.{where}: {fault.errors()[0]['msg']}.") from None
    return change


@cache
def _adapters() -> dict[str, TypeAdapter[Any]]:
    return {kind.__name__: TypeAdapter(kind) for kind in get_args(Change)}
