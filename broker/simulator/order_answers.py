"""Messages about orders: open order, status, completed order.

Belongs here: their field tables by version. Does not belong here: when they are sent, an order's state.

A field shows what the client sent, so that it sees its own order again; what the simulator does not trade never gets
this far.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from broker.simulator.answers import NO_VALUE, Message
from broker.simulator.framing import Field
from broker.simulator.orders import Order, Status

_MARGIN: Final = (
    "initMarginBefore", "maintMarginBefore", "equityWithLoanBefore", "initMarginChange", "maintMarginChange",
    "equityWithLoanChange", "initMarginAfter", "maintMarginAfter", "equityWithLoanAfter",
)  # fmt: skip
_HEDGE: Final[tuple[Field, ...]] = ("None", NO_VALUE)  # "None" is what IB writes; eight fields follow it


def order_status(order: Order) -> Message:
    """How far an order is."""
    return (
        3, order.order_id, order.status.value, order.filled, order.remaining, order.average, order.perm_id,
        order.terms.parent_id, order.last_price, order.client_id, order.why_held, "0",
    )  # fmt: skip


def open_order(order: Order, account: str, version: int, figures: Mapping[str, Decimal] | None = None) -> Message:
    """An order as it stands; with `figures` the answer to an order that only asks."""
    f = order.fields
    return (
        5, order.order_id, *_head(order, account), order.client_id, order.perm_id, _flag(order, "outside_rth"),
        _flag(order, "hidden"), f.get("discretionary") or "0", f.get("good_after", ""), "", "", "", "", "",
        f.get("model", ""), f.get("good_till", ""), f.get("rule_80a", ""), "", "", "0", "", "-1", "0", "", "", "", "",
        "", f.get("display") or "0", _flag(order, "block"), _flag(order, "sweep"), _flag(order, "all_or_none"), "",
        f.get("oca_type") or "0", "0", "0", "", order.terms.parent_id, f.get("trigger_method") or "0", "", "0",
        *_HEDGE, "0", "", "", "", "?", "0", "0", "", "0", "0", *_trail(order), "", "", "", 0, 0, 0, "", "", "", "",
        "0", "", "IB", "0", "0", "", _flag(order, "solicited"), figures is not None, order.status.value,
        *_margins(figures), "", "0", "0", 0,
        "None", NO_VALUE, _stop(order), f.get("limit_offset") or NO_VALUE, NO_VALUE, NO_VALUE, NO_VALUE, "0", "", "",
        "", "0", "0", "0", "0", "0", *_added(f, version),
    )  # fmt: skip


def completed_order(order: Order, account: str, version: int, completed: str) -> Message:
    """An order that is done; IB leaves the order id out."""
    f = order.fields
    filled = order.status is Status.FILLED
    return (
        101, *_head(order, account), order.perm_id, _flag(order, "outside_rth"), _flag(order, "hidden"),
        f.get("discretionary") or "0", f.get("good_after", ""), "", "", "", "", f.get("model", ""),
        f.get("good_till", ""), f.get("rule_80a", ""), "", "", "0", "", "-1", "", "", "", "", "",
        f.get("display") or "0", _flag(order, "sweep"), _flag(order, "all_or_none"), "", f.get("oca_type") or "0",
        f.get("trigger_method") or "0", "", "0", *_HEDGE, "0", "0", "0", "", "0", "0", *_trail(order), "", 0, 0, 0,
        "", "", "", "", "", "IB", "0", "0", "", _flag(order, "solicited"), order.status.value, "0", "0", 0,
        _stop(order), f.get("limit_offset") or NO_VALUE, "0", "0", "0", "", order.filled, "0", "0", "", "0", "0",
        order.parent_perm_id or "9223372036854775807", completed,
        f"Filled Size: {order.filled.normalize():f}" if filled else f"Cancelled by Trader: {order.cancel_reason}",
        *(("", "", "", "", "") if version >= 170 else ()),
    )  # fmt: skip


def _head(order: Order, account: str) -> tuple[Field, ...]:
    """From the contract to the order reference."""
    f, terms = order.fields, order.terms
    contract = order.instrument.wire
    return (
        *contract[:5], contract[5] or "?", *contract[6:], "BUY" if terms.side > 0 else "SELL", order.total, terms.kind,
        f.get("limit") or "0.0", f.get("aux") or "0.0", terms.tif, terms.oca_group, account, f.get("open_close", ""),
        f.get("origin") or "0", terms.order_ref,
    )  # fmt: skip


def _trail(order: Order) -> tuple[Field, ...]:
    return _stop(order), order.fields.get("trail_percent") or NO_VALUE


def _stop(order: Order) -> Field:
    return order.working.stop if order.terms.kind.startswith("TRAIL") and order.working.stop else NO_VALUE


def _margins(figures: Mapping[str, Decimal] | None) -> tuple[Field, ...]:
    """Margin figures and commission: its value, minimum, maximum and currency."""
    if figures is None:
        return (*(NO_VALUE,) * len(_MARGIN), "", "", "", "")
    return (*(figures[name] for name in _MARGIN), figures["commission"], "", "", "USD")


def _flag(order: Order, name: str) -> bool:
    return order.fields.get(name, "").lower() in {"1", "true"}


def _added(f: Mapping[str, str], version: int) -> tuple[Field, ...]:
    """What versions have added at the end."""
    added: list[Field] = []
    if version >= 158:
        added.append(f.get("duration", ""))
    if version >= 160:
        added.append(f.get("post_to_ats", ""))
    if version >= 162:
        added.append(f.get("auto_cancel_parent") or "0")
    if version >= 170:
        added += ["", "", "", "", ""]
    return tuple(added)
