"""What can be traded: the warehouse's symbols as IB contracts.

Belongs here: contract ids, exchanges, ticks, and which contract a client means. Does not belong here: bars, orders.

A symbol's form says what it is (see `broker.ib.contracts`).
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from broker.ib.contracts import parse_contract

_STOCK_EXCHANGES: Final = ("SMART", "NASDAQ", "NYSE", "ARCA", "ISLAND", "BATS", "AMEX", "IEX", "EDGEA", "BYX", "PSX")
_ID_BASE: Final = 100_000_000

MARKET_RULES: Final[Mapping[int, tuple[tuple[Decimal, Decimal], ...]]] = {
    26: ((Decimal(0), Decimal("0.01")),),
    59: ((Decimal(0), Decimal("0.00005")),),
    67: ((Decimal(0), Decimal("0.25")),),
}
"""Price increments by rule: from which price on, how large."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """One contract; `key` is the warehouse's symbol."""

    key: str
    con_id: int
    symbol: str
    sec_type: str
    exchange: str
    primary: str
    currency: str
    local: str
    trading_class: str
    multiplier: str
    min_tick: Decimal
    market_rule: int
    size_increment: Decimal
    exchanges: tuple[str, ...]

    @property
    def shares(self) -> bool:
        """True for what is sold short only when it can be borrowed."""
        return self.sec_type == "STK"

    @property
    def wire(self) -> tuple[str | int | Decimal, ...]:
        """The eleven fields of a contract in answers."""
        return (
            self.con_id, self.symbol, self.sec_type, "", "0", "", self.multiplier, self.exchange, self.currency,
            self.local, self.trading_class,
        )  # fmt: skip

    def meant_by(self, query: Mapping[str, str]) -> bool:
        """Whether the fields of a contract in a request describe this one; empty fields ask for nothing."""
        con_id = query.get("con_id", "")
        if con_id not in {"", "0"}:
            return con_id == str(self.con_id) and query.get("exchange", "") in {"", *self.exchanges}
        if not query.get("symbol", "") and not query.get("local", ""):
            return False
        wanted = [
            (self.symbol.upper(), query.get("symbol", "").upper()),
            (self.local, query.get("local", "")),
            (self.currency, query.get("currency", "")),
        ]
        kinds = {"CONTFUT", "FUT"} if self.sec_type == "CONTFUT" else {self.sec_type, ""}
        return (
            query.get("sec_type", "") in kinds
            and query.get("exchange", "") in {"", *self.exchanges}
            and all(asked in {"", own} for own, asked in wanted)
        )


class InstrumentBook:
    """All contracts of one simulation."""

    def __init__(self, symbols: Iterable[str]) -> None:
        self.by_key: dict[str, Instrument] = {}
        taken: set[int] = set()
        for key in sorted(symbols):
            con_id = _ID_BASE + zlib.crc32(key.encode()) % (9 * _ID_BASE)
            while con_id in taken:
                con_id += 1
            taken.add(con_id)
            self.by_key[key] = instrument(key, con_id)

    def find(self, query: Mapping[str, str]) -> list[Instrument]:
        """Every contract that a request can mean."""
        return [known for known in self.by_key.values() if known.meant_by(query)]

    def one(self, query: Mapping[str, str]) -> Instrument | None:
        """The contract that a request means; None when there is none or more than one."""
        found = self.find(query)
        return found[0] if len(found) == 1 else None

    def with_id(self, con_id: int) -> Instrument | None:
        """The contract of an id."""
        return next((known for known in self.by_key.values() if known.con_id == con_id), None)

    def matching(self, pattern: str) -> list[Instrument]:
        """Contracts whose symbol begins with a text, in any case."""
        return [known for known in self.by_key.values() if known.symbol.upper().startswith(pattern.upper())]


def instrument(key: str, con_id: int) -> Instrument:
    """The contract that a warehouse symbol stands for."""
    named = parse_contract(key)
    name, venue = named.symbol, named.exchange
    if named.sec_type == "CASH":
        return Instrument(
            key, con_id, name, "CASH", venue, "", named.currency, key, key, "", Decimal("0.00005"), 59, Decimal("0.01"),
            (venue, "SMART"),
        )  # fmt: skip
    if named.sec_type == "IND":
        return Instrument(
            key, con_id, name, "IND", venue, "", "USD", name, name, "", Decimal("0.01"), 26, Decimal(1), (venue,)
        )
    if named.sec_type == "CONTFUT":
        return Instrument(
            key, con_id, name, "CONTFUT", venue, "", "USD", name, name, "1", Decimal("0.25"), 67, Decimal(1), (venue,)
        )
    return Instrument(
        key, con_id, key, "STK", "SMART", "NASDAQ", "USD", key, "NMS", "", Decimal("0.01"), 26, Decimal("0.0001"),
        _STOCK_EXCHANGES,
    )  # fmt: skip
