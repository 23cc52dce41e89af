"""Messages of the gateway, except those of orders.

Belongs here: the fields of each answer, in order, by version. Does not belong here: orders (see `order_answers`),
when an answer is sent.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from broker.simulator.framing import Field
from broker.simulator.instruments import MARKET_RULES, Instrument
from broker.simulator.ledger import Position
from broker.simulator.orders import Execution

Message = tuple[Field, ...]

NO_VALUE: Final = "1.7976931348623157E308"
"""What IB writes for a number that does not exist."""

_SIZES_ARE_DECIMAL: Final = 163
_ORDER_TYPES: Final = "ACTIVETIM,DAY,GTC,GTD,LMT,MKT,MOC,OCA,STP,STPLMT,TRAIL,TRAILLMT,WHATIF"


def size(shares: float | Decimal, version: int) -> Field:
    """A size; older clients read whole numbers only."""
    return int(shares) if version < _SIZES_ARE_DECIMAL else shares


def error(req_id: int, code: int, text: str, version: int) -> Message:
    """An error or a notice; -1 stands for the connection itself."""
    return (4, 2, req_id, code, text, "") if version >= 166 else (4, 2, req_id, code, text)


def account_value(key: str, value: Field, currency: str, account: str) -> Message:
    """One figure of the account."""
    return 6, 2, key, value, currency, account


def portfolio(instrument: Instrument, position: Position, price: Decimal, account: str) -> Message:
    """A position at its present value."""
    value = position.quantity * price
    return (
        7, 8, instrument.con_id, instrument.symbol, instrument.sec_type, "", "0", "", instrument.multiplier,
        instrument.primary, instrument.currency, instrument.local, instrument.trading_class, position.quantity, price,
        value, position.average, value - position.cost, position.realised, account,
    )  # fmt: skip


def position(instrument: Instrument, held: Position, account: str) -> Message:
    """A position at its cost. The exchange is empty, as IB leaves it."""
    return 61, 3, account, *_without_exchange(instrument), held.quantity, held.average


def position_multi(req_id: int, instrument: Instrument, held: Position, account: str) -> Message:
    """The same for a request with an id."""
    return 71, 1, req_id, account, *_without_exchange(instrument), held.quantity, held.average, ""


def _without_exchange(instrument: Instrument) -> tuple[Field, ...]:
    head, tail = instrument.wire[:7], instrument.wire[8:]
    return (*head, "", *tail)


def execution(req_id: int, done: Execution, account: str, when: str) -> Message:
    """A fill; `req_id` is -1 for one that has just happened."""
    exchange = "ISLAND" if done.instrument.sec_type == "STK" else done.instrument.exchange
    return (
        11, req_id, done.order_id, *done.instrument.wire, done.exec_id, when, account, exchange,
        "BOT" if done.side > 0 else "SLD", done.quantity, done.price, done.perm_id, done.client_id, 0, done.cumulative,
        done.average, done.order_ref, "", "", "", 2 if done.took else 1,
    )  # fmt: skip


def commission(done: Execution) -> Message:
    """What a fill cost."""
    realised: Field = NO_VALUE if done.realised is None else done.realised
    return 59, 1, done.exec_id, done.fee, done.instrument.currency, realised, "", ""


def contract_details(req_id: int, found: Instrument, zone: str, hours: tuple[str, str], version: int) -> Message:
    """All about a contract; `hours` are trading and liquid hours."""
    rules = ",".join([str(found.market_rule)] * len(found.exchanges))
    parts: tuple[Field, ...] = (
        *((8,) if version < 164 else ()), req_id, found.symbol, found.sec_type, "", "0", "", found.exchange,
        found.currency, found.local, found.trading_class, found.trading_class, found.con_id, found.min_tick,
        *((1,) if version < 164 else ()),  # sizes are shares, whatever the version
        found.multiplier, _ORDER_TYPES,
        ",".join(found.exchanges), 1, 0, f"{found.symbol} (simulated)", found.primary, "", "", "", "", zone, *hours, "",
        "", 0, 1, "", "", rules, "", "COMMON" if found.shares else "",
    )  # fmt: skip
    if version == 163:
        parts = (*parts, found.size_increment)
    elif version >= 164:
        parts = (*parts, found.size_increment, found.size_increment, found.size_increment)
    return (10, *parts)


def symbol_samples(req_id: int, found: Sequence[Instrument], version: int) -> Message:
    """Contracts that match a pattern."""
    described = ("", "") if version >= 176 else ()
    rows = [
        (
            o.con_id,
            o.symbol,
            o.sec_type,
            o.primary,
            o.currency,
            0,
            *([f"{o.symbol} (simulated)", ""] if described else ()),
        )
        for o in found
    ]
    return 79, req_id, len(rows), *(cell for row in rows for cell in row)


def market_rule(rule: int) -> Message | None:
    """The price increments of a rule, None when there is no such rule."""
    found = MARKET_RULES.get(rule)
    if found is None:
        return None
    return 93, rule, len(found), *(cell for row in found for cell in row)


def historical_data(req_id: int, start: str, end: str, rows: Sequence[Sequence[Field]]) -> Message:
    """Bars: date, open, high, low, close, volume, average, count each."""
    return 17, req_id, start, end, len(rows), *(cell for row in rows for cell in row)


def historical_update(req_id: int, row: Sequence[Field]) -> Message:
    """A bar that is forming or has closed, in this message's own order."""
    date, open_, high, low, close, volume, average, count = row
    return 90, req_id, count, date, open_, close, high, low, average, volume


def schedule(req_id: int, start: str, end: str, zone: str, sessions: Iterable[tuple[str, str, str]]) -> Message:
    """Sessions: open, close, day each."""
    rows = list(sessions)
    return 106, req_id, start, end, zone, len(rows), *(cell for row in rows for cell in row)


def tick_price(req_id: int, kind: int, price: float, shares: Field) -> Message:
    """A price and its size."""
    return 1, 6, req_id, kind, price, shares, 0


def tick_size(req_id: int, kind: int, shares: Field) -> Message:
    """A size alone."""
    return 2, 6, req_id, kind, shares
