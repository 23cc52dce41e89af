"""What a deployment did in one session, from the ledger alone.

Belongs here: reading the session's records into one report. Does not belong here: drawing, sending, Dagster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from warehouse.ledger.records import (
    AlarmRaised,
    EquitySnapshot,
    Fill,
    PositionStated,
    RiskDecided,
    SessionEnded,
    SessionStarted,
)
from warehouse.ledger.store import Ledger

_NONE = Decimal(0)


@dataclass(frozen=True, slots=True)
class Traded:
    """What was traded of one symbol: shares, money (price times shares) and commissions."""

    symbol: str
    fills: int
    bought: Decimal
    sold: Decimal
    paid: Decimal
    received: Decimal
    commission: Decimal
    commissions_missing: int


@dataclass(frozen=True, slots=True)
class SessionReport:
    """One session of a deployment. Money in the account's currency; what was not recorded is None.

    `profit` is the change of the account's equity between the first and the last live bar, whoever traded.
    `refusals` and `alarms` as (moment, text); `timeline` holds everything that a person would want to see in order.
    """

    deployment: str
    account: str
    session: date
    runs: tuple[str, ...]
    outcome: str
    traded: tuple[Traded, ...]
    commission: Decimal
    equity_first: Decimal | None
    equity_last: Decimal | None
    positions: tuple[tuple[str, Decimal], ...]
    refusals: tuple[tuple[datetime, str], ...]
    alarms: tuple[tuple[datetime, str], ...]
    timeline: tuple[tuple[datetime, str], ...]

    @property
    def profit(self) -> Decimal | None:
        """Change of equity over the session."""
        if self.equity_first is None or self.equity_last is None:
            return None
        return self.equity_last - self.equity_first

    @property
    def sentence(self) -> str:
        """The report in one line."""
        profit = "unknown profit" if self.profit is None else f"profit {self.profit:+,.2f}"
        fills = sum(one.fills for one in self.traded)
        return (
            f"{self.deployment}, session {self.session}: {self.outcome}; {fills} fills, {profit}, commission"
            f" {self.commission:,.2f}, {len(self.refusals)} refusals, {len(self.alarms)} alarms."
        )


def session_report(ledger: Ledger, deployment: str, session: date) -> SessionReport:
    """The report of a session, as far as it was recorded.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    recorded = [one for one in ledger.events(deployment) if one.scope.session == session]
    account = recorded[0].scope.account if recorded else ""
    records = [one.record for one in recorded]
    fills = [one for one in ledger.fills(account, session) if one.scope.deployment == deployment]
    equity = [one.equity for one in records if isinstance(one, EquitySnapshot)]
    ends = [one for one in records if isinstance(one, SessionEnded)]
    refused = [one for one in records if isinstance(one, RiskDecided) and one.what in {"refused", "shrunk"}]
    alarms = [one for one in records if isinstance(one, AlarmRaised)]
    return SessionReport(
        deployment=deployment,
        account=account,
        session=session,
        runs=tuple(f"{run.attempt}: {run.run_id}" for run in records if isinstance(run, SessionStarted)),
        outcome=ends[-1].outcome if ends else "no run has ended",
        traded=_traded(fills),
        commission=sum((one.commission.amount for one in fills if one.commission is not None), _NONE),
        equity_first=equity[0] if equity else None,
        equity_last=equity[-1] if equity else None,
        positions=_positions([one for one in records if isinstance(one, PositionStated) and one.source == "ours"]),
        refusals=tuple((one.ts, f"{one.symbol}: {one.reason}") for one in refused),
        alarms=tuple((one.ts, f"{one.code}: {one.text}") for one in alarms),
        timeline=_timeline(records, fills),
    )


def _traded(fills: Sequence[Fill]) -> tuple[Traded, ...]:
    rows = []
    for symbol in sorted({one.filled.symbol for one in fills}):
        own = [one for one in fills if one.filled.symbol == symbol]
        buys = [one.filled for one in own if one.filled.side == "BUY"]
        sales = [one.filled for one in own if one.filled.side == "SELL"]
        rows.append(
            Traded(
                symbol,
                len(own),
                sum((one.quantity for one in buys), _NONE),
                sum((one.quantity for one in sales), _NONE),
                sum((one.quantity * one.price for one in buys), _NONE),
                sum((one.quantity * one.price for one in sales), _NONE),
                sum((one.commission.amount for one in own if one.commission is not None), _NONE),
                sum(one.commission is None for one in own),
            )
        )
    return tuple(rows)


def _positions(stated: Sequence[PositionStated]) -> tuple[tuple[str, Decimal], ...]:
    latest = {one.symbol: one.quantity for one in stated}
    return tuple((symbol, quantity) for symbol, quantity in sorted(latest.items()) if quantity)


def _timeline(records: Sequence[object], fills: Sequence[Fill]) -> tuple[tuple[datetime, str], ...]:
    lines: list[tuple[datetime, str]] = []
    for one in records:
        if isinstance(one, SessionStarted):
            lines.append((one.ts, f"run {one.attempt} begins"))
        elif isinstance(one, SessionEnded):
            lines.append((one.ts, f"run {one.attempt} ends: {one.outcome}, {one.reason}"))
        elif isinstance(one, RiskDecided):
            lines.append((one.ts, f"risk {one.what}: {one.reason}"))
        elif isinstance(one, AlarmRaised):
            lines.append((one.ts, f"alarm {one.code}: {one.text}"))
    for fill in fills:
        told = fill.filled
        lines.append((told.executed, f"{told.side} {told.quantity:f} {told.symbol} at {told.price:f}"))
    return tuple(sorted(lines))
