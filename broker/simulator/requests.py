"""Requests of a client, decoded by field tables.

Belongs here: which fields each request has, in which order and since which version. Does not belong here: the fields of
an order (see `order_request`), what a request does (see `session`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from broker.simulator.errors import ProtocolError

UNSET: Final = frozenset({"", "2147483647", "9223372036854775807", "1.7976931348623157e+308", "1.7976931348623157E308"})
"""What clients write for "no value"."""

_LARGEST: Final = 10**9  # prices and quantities beyond this would not be exact in 28 digits

CONTRACT: Final = (
    "con_id", "symbol", "sec_type", "expiry", "strike", "right", "multiplier", "exchange", "primary", "currency",
    "local", "trading_class",
)  # fmt: skip

_LEGS, _HEDGE = "*legs", "*hedge"  # blocks that only some requests carry


@dataclass(frozen=True, slots=True)
class Layout:
    """A request: its name, its fields after the id, and those that a version added at its end."""

    name: str
    fields: tuple[str, ...]
    added: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """A decoded request; fields are the client's text, unset ones empty."""

    id: int
    name: str
    fields: Mapping[str, str]

    def text(self, name: str) -> str:
        """A field as text."""
        return self.fields.get(name, "")

    def flag(self, name: str) -> bool:
        """A field as a flag."""
        return self.text(name).lower() in {"1", "true"}

    def whole(self, name: str, default: int = 0) -> int:
        """A field as a whole number.

        Raises:
            ProtocolError: it is none.
        """
        return whole(name, self.text(name), default)

    @property
    def req_id(self) -> int:
        """What an answer or an error refers to, -1 where the request has none."""
        return self.whole("req_id", -1)


def whole(name: str, text: str, default: int = 0) -> int:
    """Text as a whole number; `default` when unset.

    Raises:
        ProtocolError: it is none.
    """
    if text in UNSET:
        return default
    try:
        return int(text)
    except ValueError:
        raise ProtocolError(f"{name}: {text!r} is not a whole number.") from None


def number(name: str, text: str) -> float | None:
    """Text as a finite number; None when unset.

    Raises:
        ProtocolError: it is none.
    """
    if text in UNSET:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= _LARGEST:
        raise ProtocolError(f"{name}: {text!r} is not a number.")
    return value


def decimal(name: str, text: str) -> Decimal:
    """Text as a decimal; zero when unset.

    Raises:
        ProtocolError: it is none.
    """
    try:
        value = Decimal("0" if text in UNSET else text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or abs(value) > _LARGEST:
        raise ProtocolError(f"{name}: {text!r} is not a number.")
    return value


class Fields:
    """The fields of one message, taken in order; absent ones are empty."""

    def __init__(self, fields: Sequence[str]) -> None:
        self._rest: Iterator[str] = iter(fields)
        self.values: dict[str, str] = {}

    def take(self, *names: str) -> None:
        """Name the next fields."""
        for name in names:
            text = next(self._rest, "")
            self.values[name] = "" if text in UNSET else text

    def count(self, name: str) -> int:
        """The next field as the number of what follows.

        Raises:
            ProtocolError: it is no small number.
        """
        self.take(name)
        found = whole(name, self.values[name])
        if not 0 <= found <= 1000:
            raise ProtocolError(f"{name}: {found} cannot be.")
        return found

    def skip(self, how_many: int) -> None:
        """Leave fields out."""
        for _ in range(how_many):
            next(self._rest, None)


def decode(fields: Sequence[str], version: int) -> Request | None:
    """The request in these fields, None when its id is not known.

    Raises:
        ProtocolError: the id or a count is no number.
    """
    message = whole("message id", fields[0], -1)
    layout = LAYOUTS.get(message)
    if layout is None:
        return None
    reader = Fields(fields[1:])
    for name in (*layout.fields, *(name for since, name in layout.added if version >= since)):
        if name == _LEGS:
            if reader.values["sec_type"] == "BAG":
                reader.skip(4 * reader.count("legs"))
        elif name == _HEDGE:
            reader.take("hedged")
            if reader.values["hedged"] in {"1", "true"}:
                reader.skip(3)
        else:
            reader.take(name)
    return Request(message, layout.name, reader.values)


PLACE_ORDER: Final = 3

_V = "version"
LAYOUTS: Final[Mapping[int, Layout]] = {
    1: Layout("mkt_data", (_V, "req_id", *CONTRACT, _LEGS, _HEDGE, "ticks", "snapshot", "regulatory", "options")),
    2: Layout("cancel_mkt_data", (_V, "req_id")),
    4: Layout("cancel_order", (_V, "order_id"), ((169, "manual_time"),)),
    5: Layout("open_orders", (_V,)),
    6: Layout("account_updates", (_V, "subscribe", "account")),
    7: Layout("executions", (_V, "req_id", "client_id", "account", "time", "symbol", "sec_type", "exchange", "side")),
    8: Layout("ids", (_V, "count")),
    9: Layout(
        "contract_details", (_V, "req_id", *CONTRACT, "expired", "id_type", "security_id"), ((176, "issuer_id"),)
    ),
    10: Layout("depth", (_V, "req_id")),
    11: Layout("cancel_depth", (_V, "req_id")),
    12: Layout("bulletins", (_V, "all")),
    13: Layout("cancel_bulletins", (_V,)),
    14: Layout("log_level", (_V, "level")),
    15: Layout("auto_open_orders", (_V, "bind")),
    16: Layout("all_open_orders", (_V,)),
    17: Layout("managed_accounts", (_V,)),
    18: Layout("advisor", (_V, "data")),
    20: Layout(
        "history",
        ("req_id", *CONTRACT, "expired", "end", "bar_size", "duration", "use_rth", "what", "format", _LEGS, "update"),
    ),
    21: Layout("exercise", (_V, "req_id")),
    22: Layout("scanner", ("req_id",)),
    23: Layout("cancel_scanner", (_V, "req_id")),
    24: Layout("scanner_parameters", (_V,)),
    25: Layout("cancel_history", (_V, "req_id")),
    49: Layout("current_time", (_V,)),
    50: Layout("real_time_bars", (_V, "req_id", *CONTRACT, "bar_size", "what", "use_rth", "options")),
    51: Layout("cancel_real_time_bars", (_V, "req_id")),
    52: Layout("fundamentals", (_V, "req_id")),
    53: Layout("cancel_fundamentals", (_V, "req_id")),
    54: Layout("implied_volatility", (_V, "req_id")),
    55: Layout("option_price", (_V, "req_id")),
    56: Layout("cancel_implied_volatility", (_V, "req_id")),
    57: Layout("cancel_option_price", (_V, "req_id")),
    58: Layout("global_cancel", (_V,)),
    59: Layout("market_data_type", (_V, "type")),
    61: Layout("positions", (_V,)),
    62: Layout("account_summary", (_V, "req_id", "group", "tags")),
    63: Layout("cancel_account_summary", (_V, "req_id")),
    64: Layout("cancel_positions", (_V,)),
    67: Layout("display_groups", (_V, "req_id")),
    71: Layout("start_api", (_V, "client_id", "capabilities")),
    74: Layout("positions_multi", (_V, "req_id", "account", "model")),
    75: Layout("cancel_positions_multi", (_V, "req_id")),
    76: Layout("account_updates_multi", (_V, "req_id", "account", "model", "ledger")),
    77: Layout("cancel_account_updates_multi", (_V, "req_id")),
    78: Layout("option_parameters", ("req_id", "symbol", "exchange", "sec_type", "con_id")),
    79: Layout("soft_dollar_tiers", ("req_id",)),
    80: Layout("family_codes", ()),
    81: Layout("matching_symbols", ("req_id", "pattern")),
    82: Layout("depth_exchanges", ()),
    83: Layout("smart_components", ("req_id", "exchange")),
    84: Layout("news_article", ("req_id",)),
    85: Layout("news_providers", ()),
    86: Layout("historical_news", ("req_id",)),
    87: Layout("head_timestamp", ("req_id", *CONTRACT, "expired", "use_rth", "what", "format")),
    88: Layout("histogram", ("req_id",)),
    89: Layout("cancel_histogram", ("req_id",)),
    90: Layout("cancel_head_timestamp", ("req_id",)),
    91: Layout("market_rule", ("rule",)),
    92: Layout("pnl", ("req_id", "account", "model")),
    93: Layout("cancel_pnl", ("req_id",)),
    94: Layout("pnl_single", ("req_id", "account", "model", "con_id")),
    95: Layout("cancel_pnl_single", ("req_id",)),
    96: Layout(
        "historical_ticks",
        ("req_id", *CONTRACT, "expired", "start", "end", "count", "what", "use_rth", "ignore_size", "options"),
    ),
    97: Layout("tick_by_tick", ("req_id", *CONTRACT, "kind", "count", "ignore_size")),
    98: Layout("cancel_tick_by_tick", ("req_id",)),
    99: Layout("completed_orders", ("api_only",)),
    100: Layout("event_metadata", ("req_id",)),
    101: Layout("cancel_event_metadata", ("req_id",)),
    102: Layout("event_data", ("req_id",)),
    103: Layout("cancel_event_data", ("req_id",)),
    104: Layout("user_info", ("req_id",)),
}
"""Requests by message id; 3, an order, is decoded by `order_request`."""
