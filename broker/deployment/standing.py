"""Where a deployment stands, from the ledger alone.

Belongs here: reading what one screen shows. Does not belong here: drawing it, asking a gateway.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TypeVar

from broker.deployment.supervision import SUPERVISOR, SUPERVISOR_SILENT
from broker.deployment.trading import COMPONENT
from risk.headroom import Headroom
from warehouse.errors import InvalidRequestError
from warehouse.ledger.locks import AccountLock
from warehouse.ledger.records import (
    AlarmRaised,
    DesiredState,
    EquitySnapshot,
    Heartbeat,
    HoldingValued,
    OpenIntent,
    PositionStated,
    RiskMeasured,
)
from warehouse.ledger.store import Ledger

Kept = TypeVar("Kept", AlarmRaised, RiskMeasured)


@dataclass(frozen=True, slots=True)
class Standing:
    """One deployment; money in `currency`, times aware UTC, None where nothing was recorded.

    Attributes:
        health: `ok`, `no sign of life` where a run should beat and does not, or that nobody would start its sessions.
        wanted: what its operator wants, in words.
        holder: the process that holds its account.
        state: what its run said of itself with its last heartbeat, `beaten` seconds ago.
        supervised: seconds since somebody looked whether a run has to be started.
        session, run, ended: the latest session, the number of its latest run, and how that ended.
        equity: of the account, after the last live bar.
        day_profit: since the session's first live bar; `profit` since it was first switched on.
        fills, commission: of the session.
        holdings: shares at their last price.
        orders: those that are not done.
        halt: the state of risk.
        room: distance to every limit that can be used up, after the last live bar.
        alarm: the last one.
    """

    deployment: str
    account: str
    mode: str
    experiment: str
    health: str
    wanted: str
    holder: str | None
    state: str | None
    beaten: float | None
    supervised: float | None
    session: date | None
    run: int | None
    ended: str | None
    equity: Decimal | None
    currency: str
    day_profit: Decimal | None
    profit: Decimal | None
    fills: int
    commission: Decimal
    holdings: tuple[HoldingValued, ...]
    orders: tuple[str, ...]
    halt: str | None
    room: tuple[Headroom, ...]
    alarm: AlarmRaised | None


def standing(ledger: Ledger, deployment: str, now: datetime, *, stale_seconds: float) -> Standing:
    """Where a deployment stands.

    Args:
        ledger: what is known.
        deployment: its name.
        now: the wall clock, aware UTC.
        stale_seconds: age from which on a heartbeat says that nothing beats.

    Raises:
        InvalidRequestError: there is no such deployment.
        LedgerError: the ledger cannot be read.
    """
    known = ledger.deployments()
    if deployment not in known:
        raise InvalidRequestError(f"deployment: {deployment!r} is not one of {', '.join(sorted(known)) or 'none'}.")
    scope, switched = known[deployment]
    state = ledger.current_state(deployment)
    beat = ledger.last_heartbeat(deployment, COMPONENT)
    holder = AccountLock(ledger, scope.account).holder()
    beaten = _seconds_since(beat, now)
    run = state.session
    session = None if run is None else run.scope.session
    lost = holder is None and run is not None and run.ended is None and state.desired.may_run
    silent = lost or (holder is not None and (beaten is None or beaten > stale_seconds))
    supervised = _seconds_since(ledger.last_heartbeat(deployment, SUPERVISOR), now)
    alone = state.desired.may_run and (supervised is None or supervised > SUPERVISOR_SILENT.total_seconds())
    equity, before = _equity(ledger, deployment, newest=True), _equity(ledger, deployment)
    opening = None if session is None else _equity(ledger, deployment, session)
    fills = (
        [one for one in ledger.fills(scope.account, session) if one.scope.deployment == deployment] if session else []
    )
    measured = _last(ledger, deployment, RiskMeasured)
    return Standing(
        deployment=deployment,
        account=scope.account,
        mode=switched.mode,
        experiment=switched.experiment,
        health="no sign of life" if silent else "nobody supervises it" if alone else "ok",
        wanted=_wanted(state.desired),
        holder=None if holder is None else str(holder),
        state=None if beat is None else beat.status,
        beaten=beaten,
        supervised=supervised,
        session=session,
        run=None if run is None else run.started.attempt,
        ended=None if run is None or run.ended is None else f"{run.ended.outcome}: {run.ended.reason}",
        equity=None if equity is None else equity.equity,
        currency="" if equity is None else equity.currency,
        day_profit=_change(opening, equity),
        profit=_change(before, equity),
        fills=len(fills),
        commission=sum((one.commission.amount for one in fills if one.commission is not None), Decimal(0)),
        holdings=_holdings(state.positions, measured),
        orders=tuple(_described(one) for one in state.open_intents),
        halt=None if state.risk is None else state.risk.halt,
        room=() if measured is None else tuple(Headroom(r.limit, r.most, r.used, r.symbol) for r in measured.limits),
        alarm=_last(ledger, deployment, AlarmRaised),
    )


def _seconds_since(beat: Heartbeat | None, now: datetime) -> float | None:
    return None if beat is None else (now - beat.ts).total_seconds()


def _last(ledger: Ledger, deployment: str, kind: type[Kept]) -> Kept | None:
    found = ledger.last(deployment, str(kind.kind))
    return found.record if found is not None and isinstance(found.record, kind) else None


def _equity(
    ledger: Ledger, deployment: str, session: date | None = None, *, newest: bool = False
) -> EquitySnapshot | None:
    look = ledger.last if newest else ledger.first
    found = look(deployment, EquitySnapshot.kind, session)
    return found.record if found is not None and isinstance(found.record, EquitySnapshot) else None


def _change(first: EquitySnapshot | None, last: EquitySnapshot | None) -> Decimal | None:
    return None if first is None or last is None else last.equity - first.equity


def _holdings(stated: Sequence[PositionStated], measured: RiskMeasured | None) -> tuple[HoldingValued, ...]:
    """What is held as recorded last, with the prices after the last live bar."""
    prices = {} if measured is None else {one.symbol: one.price for one in measured.holdings}
    return tuple(
        HoldingValued(one.symbol, float(one.quantity), prices.get(one.symbol, math.nan))
        for one in stated
        if one.quantity and one.source == "ours"
    )


def _described(open_intent: OpenIntent) -> str:
    intent = open_intent.intent
    price = intent.limit_price if intent.limit_price is not None else intent.stop_price
    at = "" if price is None else f" at {price:f}"
    state = (open_intent.state or "not known whether sent").lower()
    return f"{intent.side} {intent.quantity:f} {intent.symbol} {intent.order_type}{at}, {state}"


def _wanted(desired: DesiredState) -> str:
    if not desired.may_run:
        return f"off ({desired.reason or 'switched off'})"
    return "on" if desired.halt == "ACTIVE" else f"on, {desired.halt} ({desired.reason})"
