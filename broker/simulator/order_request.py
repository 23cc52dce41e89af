"""The order message of a client and what the simulator reads in it.

Belongs here: the field table of message 3, and the terms of an order as typed values. Does not belong here: checks
against contract, market and account (see `admission`), an order's life (see `book`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from broker.simulator.requests import CONTRACT, Fields, decimal, number, whole

_HEAD: Final = (
    "order_id", *CONTRACT, "id_type", "security_id", "action", "quantity", "kind", "limit", "aux", "tif", "oca_group",
    "account", "open_close", "origin", "order_ref", "transmit", "parent_id", "block", "sweep", "display",
    "trigger_method", "outside_rth", "hidden",
)  # fmt: skip
_MIDDLE: Final = (
    "shares_allocation", "discretionary", "good_after", "good_till", "fa_group", "fa_method", "fa_percentage",
    "fa_profile", "model", "short_slot", "short_location", "exempt", "oca_type", "rule_80a", "settling_firm",
    "all_or_none", "min_quantity", "percent_offset", "e_trade", "firm_quote", "nbbo_cap", "auction", "starting_price",
    "stock_price", "delta", "range_low", "range_high", "override", "volatility", "volatility_type",
    "hedge_kind", "hedge_aux",
)  # fmt: skip
_TRAIL: Final = (
    "continuous", "reference_price", "trail_stop", "trail_percent", "scale_first", "scale_next", "scale_increment",
)  # fmt: skip
_CLEARING: Final = ("opt_out_smart", "clearing_account", "clearing_intent", "not_held")
_LATER: Final = ("algo_id", "what_if", "options", "solicited", "random_size", "random_price")
_ADJUSTED: Final = (
    "adjusted_kind", "trigger_price", "limit_offset", "adjusted_stop", "adjusted_stop_limit", "adjusted_trail",
    "adjusted_unit", "operator", "soft_name", "soft_value", "cash_quantity", "mifid_1", "mifid_2", "mifid_3", "mifid_4",
    "no_auto_hedge", "oms", "up_to_limit", "price_management",
)  # fmt: skip
_ADDED: Final = (
    (158, "duration"), (160, "post_to_ats"), (162, "auto_cancel_parent"), (166, "error_override"), (169, "manual_time"),
)  # fmt: skip

KINDS: Final = ("MKT", "LMT", "STP", "STP LMT", "TRAIL", "TRAIL LIMIT", "MOC")
"""Orders that the simulated market trades."""

_ALIASES: Final = {"TRAILLMT": "TRAIL LIMIT", "MARKET": "MKT", "LIMIT": "LMT"}


def read_order(fields: Sequence[str], version: int) -> Mapping[str, str]:
    """The fields of a message 3 by name, unset ones empty.

    Fields behind conditions are not read, because an order with conditions is never accepted.

    Raises:
        ProtocolError: a count is no number.
    """
    reader = Fields(fields[1:])
    values = reader.values
    reader.take(*_HEAD)
    if values["sec_type"] == "BAG":
        reader.skip(8 * reader.count("legs"))
        reader.skip(reader.count("leg_prices"))
        reader.skip(2 * reader.count("routing"))
    reader.take(*_MIDDLE)
    if values["hedge_kind"]:
        reader.skip(8)
    reader.take(*_TRAIL)
    if (number("scale_increment", values["scale_increment"]) or 0) > 0:
        reader.skip(7)
    reader.take("scale_table", "active_start", "active_stop", "hedge_type")
    if values["hedge_type"]:
        reader.skip(1)
    reader.take(*_CLEARING, "hedged")
    if values["hedged"] in {"1", "true"}:
        reader.skip(3)
    _read_tail(reader, version)
    return values


def _read_tail(reader: Fields, version: int) -> None:
    values = reader.values
    reader.take("algorithm")
    if values["algorithm"]:
        reader.skip(2 * reader.count("algorithm_values"))
    reader.take(*_LATER)
    if values["kind"] == "PEG BENCH":
        reader.skip(5)
    if reader.count("conditions"):
        return
    reader.take(*_ADJUSTED)
    reader.take(*(name for since, name in _ADDED if version >= since))


@dataclass(frozen=True, slots=True)
class Terms:
    """What an order asks for. Prices are floats as the market's are; quantities are exact."""

    side: int  # +1 buys, -1 sells
    quantity: Decimal
    kind: str
    limit: float | None
    aux: float | None  # stop price, or trailing amount
    trail_stop: float | None
    trail_percent: float | None
    limit_offset: float | None
    tif: str
    good_till: str
    good_after: str
    outside_rth: bool
    parent_id: int
    oca_group: str
    oca_type: int
    transmit: bool
    what_if: bool
    all_or_none: bool
    order_ref: str

    @property
    def waits_for_stop(self) -> bool:
        """True for what rests until the price has passed its stop."""
        return self.kind.startswith(("STP", "TRAIL"))


def terms_of(fields: Mapping[str, str]) -> Terms:
    """The terms in the fields of an order.

    Raises:
        ProtocolError: a number is none.
    """
    action = fields.get("action", "").upper()
    kind = fields.get("kind", "").upper()
    return Terms(
        side={"BUY": 1, "SELL": -1, "SSHORT": -1}.get(action, 0),
        quantity=decimal("totalQuantity", fields.get("quantity", "")),
        kind=_ALIASES.get(kind, kind),
        limit=number("lmtPrice", fields.get("limit", "")),
        aux=number("auxPrice", fields.get("aux", "")),
        trail_stop=number("trailStopPrice", fields.get("trail_stop", "")),
        trail_percent=number("trailingPercent", fields.get("trail_percent", "")),
        limit_offset=number("lmtPriceOffset", fields.get("limit_offset", "")),
        tif=fields.get("tif", "").upper() or "DAY",
        good_till=fields.get("good_till", ""),
        good_after=fields.get("good_after", ""),
        outside_rth=_flag(fields, "outside_rth"),
        parent_id=whole("parentId", fields.get("parent_id", "")),
        oca_group=fields.get("oca_group", ""),
        oca_type=whole("ocaType", fields.get("oca_type", "")),
        transmit=_flag(fields, "transmit"),
        what_if=_flag(fields, "what_if"),
        all_or_none=_flag(fields, "all_or_none"),
        order_ref=fields.get("order_ref", ""),
    )


def _flag(fields: Mapping[str, str], name: str) -> bool:
    return fields.get(name, "").lower() in {"1", "true"}
