"""What a symbol means at Interactive Brokers: its text form, and the one contract behind it.

Belongs here: reading the text form, finding the contract's number, remembering it. Does not belong here: questions on
the wire (see `session`), how symbols become file names (see `warehouse.symbols`).

| text | contract |
|---|---|
| `SPY`, `BRK B` | stock or ETF, SMART, USD |
| `EUR.USD` | currency pair at IDEALPRO |
| `VIX@CBOE` | index |
| `ES@CME` | continuous future: history, not orders |
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from broker.errors import ContractError, RequestRefusedError
from broker.ib.messages import Contract, ContractDetails
from broker.ib.requests import Gateway
from warehouse.files import write_bytes

_INDEX_EXCHANGES: Final = frozenset({"CBOE", "NASDAQ", "NYSE", "PHLX"})
_CURRENCIES: Final = frozenset({"AUD", "CAD", "CHF", "CNH", "EUR", "GBP", "HKD", "JPY", "NOK", "NZD", "SEK", "USD"})
_UNKNOWN: Final = 200
_SHOWN: Final = 6
_KEPT: Final = ("symbol", "sec_type", "exchange", "currency", "primary_exchange", "con_id", "local_symbol",
                "trading_class", "multiplier")  # fmt: skip


def parse_contract(text: str) -> Contract:
    """The contract that a symbol names, without its number.

    Raises:
        ContractError: the text has no such form.

    >>> parse_contract("EUR.USD").exchange, parse_contract("ES@CME").sec_type, parse_contract("BRK B").sec_type
    ('IDEALPRO', 'CONTFUT', 'STK')
    """
    if not text or text != text.strip() or not text.isprintable():
        raise ContractError(f"symbol: {text!r} is no symbol.")
    base, _, quote = text.partition(".")
    if base in _CURRENCIES and quote in _CURRENCIES:
        return Contract(base, "CASH", "IDEALPRO", quote)
    name, mark, venue = text.partition("@")
    if not mark:
        return Contract(text)
    if not name or not venue:
        raise ContractError(f"symbol: {text!r} must have a name before and an exchange behind the @, as VIX@CBOE.")
    return Contract(name, "IND" if venue in _INDEX_EXCHANGES else "CONTFUT", venue)


class ContractBook:
    """Contracts of one gateway by their symbol; each is asked for once, then known. Safe to use from any thread.

    What is in `path` is kept a trading account: a simulated gateway has other numbers than IB. Continuous futures are
    never kept there, because their number changes with every roll.
    """

    def __init__(self, gateway: Gateway, path: Path | None = None) -> None:
        self._gateway, self._path = gateway, path
        self._lock = threading.Lock()
        self._known: dict[str, Contract] | None = None

    def resolve(self, symbol: str) -> Contract:
        """The contract of a symbol, its `con_id` filled in.

        Raises:
            ContractError: the text is no symbol, the gateway knows no such contract, or more than one.
            GatewayError: the gateway did not answer.
        """
        wanted = parse_contract(symbol)
        with self._lock:
            known = self._read()
            if symbol not in known:
                known[symbol] = _the_one(symbol, wanted, self._ask(symbol, wanted))
                self._write(known)
            return known[symbol]

    def forget(self, symbol: str) -> None:
        """Ask again the next time: the gateway no longer knows the number."""
        with self._lock:
            known = self._read()
            if known.pop(symbol, None) is not None:
                self._write(known)

    def _ask(self, symbol: str, wanted: Contract) -> tuple[ContractDetails, ...]:
        try:
            return self._gateway.contract_details(wanted)
        except RequestRefusedError as error:
            if error.code != _UNKNOWN:
                raise
            return ()

    def _read(self) -> dict[str, Contract]:
        if self._known is None:
            self._known = {name: Contract(**fields) for name, fields in self._stored().get(self._account, {}).items()}
        return self._known

    def _write(self, known: Mapping[str, Contract]) -> None:
        if self._path is None:
            return
        kept = {
            name: {key: value for key, value in asdict(contract).items() if key in _KEPT}
            for name, contract in sorted(known.items())
            if contract.sec_type != "CONTFUT"
        }
        accounts = {**self._stored(), self._account: kept}
        write_bytes(self._path, json.dumps({"accounts": accounts}, indent=1).encode())

    def _stored(self) -> dict[str, Any]:
        if self._path is None or not self._path.exists():
            return {}
        try:
            accounts = json.loads(self._path.read_text(encoding="utf-8"))["accounts"]
            for contracts in accounts.values():
                for fields in contracts.values():
                    Contract(**fields)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ContractError(f"{self._path}: not a list of contracts; delete it, it is made again.") from None
        return dict(accounts)

    @property
    def _account(self) -> str:
        return self._gateway.account


def _the_one(symbol: str, wanted: Contract, found: tuple[ContractDetails, ...]) -> Contract:
    """The single contract among those that fit."""
    distinct = {details.contract.con_id: details for details in found}
    if not distinct:
        raise ContractError(
            f"symbol: {symbol!r} is not known at Interactive Brokers as {_described(wanted)}.{_hint(symbol)}"
        )
    if len(distinct) > 1:
        choices = [f"{d.long_name or d.contract.local_symbol} at {d.contract.primary_exchange or d.contract.exchange}"
                   f" in {d.contract.currency} ({d.contract.con_id})" for d in distinct.values()]  # fmt: skip
        rest = f" and {len(choices) - _SHOWN} more" if len(choices) > _SHOWN else ""
        raise ContractError(f"symbol: {symbol!r} can be {', '.join(choices[:_SHOWN])}{rest}.")
    (details,) = distinct.values()
    # what continues futures stays a continuous future, whatever month the gateway names today
    kept = replace(details.contract, exchange=wanted.exchange, sec_type=wanted.sec_type, expiry="")
    return replace(kept, local_symbol="") if wanted.sec_type == "CONTFUT" else kept


def _described(wanted: Contract) -> str:
    kinds = {"STK": "a US stock or ETF", "CASH": "a currency pair", "IND": "an index", "CONTFUT": "a future"}
    place = "" if wanted.exchange == "SMART" else f" at {wanted.exchange}"
    return f"{kinds[wanted.sec_type]}{place}"


def _hint(symbol: str) -> str:
    """What may have been meant."""
    if symbol != symbol.upper():
        return f" Did you mean {symbol.upper()!r}?"
    for mark in "./-":
        if mark in symbol:
            return f" IB writes share classes with a blank: {symbol.replace(mark, ' ')!r}."
    return ""
