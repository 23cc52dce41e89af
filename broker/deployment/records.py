"""From what happens in a session to records of the ledger, and back to what a restart needs.

Belongs here: the translation, one function a kind. Does not belong here: storing (see `warehouse.ledger`), what the
changes mean (see `broker.orders`).

Every change of the order book carries itself as a document, so that the book can be made again from the ledger alone.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from broker.ib.messages import Action, Alarm, Contract
from broker.live.exits import is_exit
from broker.orders import journal
from broker.orders.changes import (
    Change,
    CommissionBooked,
    ExecutionSkipped,
    FillBooked,
    FillCorrected,
    OrderAdopted,
    OrderIdentified,
    OrderIntended,
    OrderWarned,
    PositionAdopted,
    Question,
    StateChanged,
    TermsAsked,
    TermsConfirmed,
)
from broker.orders.fills import parted
from broker.orders.tracked import TrackedOrder
from risk.decision import Portfolio, RiskState
from risk.events import RiskEvent
from risk.headroom import Headroom
from risk.states import HaltState
from warehouse.ledger.records import (
    AlarmRaised,
    BookChanged,
    CommissionTold,
    Filled,
    HoldingValued,
    Intent,
    LimitMeasured,
    OrderChanged,
    PositionStated,
    Record,
    RiskDecided,
    RiskMeasured,
    RiskMemory,
    WorkingAtBegin,
)

_SIDES: dict[str, Action] = {"BOT": "BUY", "SLD": "SELL"}


def intent_of(change: OrderIntended, bar_ts: datetime, decision_price: Decimal | None) -> Intent:
    """The intent to commit before an order is sent; it was decided on the bar that closed at `bar_ts`, at a price."""
    ticket = change.ticket
    return Intent(
        ts=change.ts, order_ref=ticket.order_ref, symbol=change.contract.symbol, con_id=change.contract.con_id,
        side=ticket.action, quantity=ticket.quantity, order_type=ticket.order_type, bar_ts=bar_ts,
        limit_price=ticket.limit_price, stop_price=ticket.aux_price, tif=ticket.tif,
        document=journal.written(change), decision_price=decision_price,
    )  # fmt: skip


def record_of(change: Change) -> Record | None:
    """The record of a change that is no intent; None for a question, which lasts no longer than its answer.

    Raises:
        TypeError: the change is an intent, which has a door of its own.
    """
    if isinstance(change, Question):
        return None
    if isinstance(change, OrderIntended):
        raise TypeError("an intent is committed, not appended")
    return _RECORDS[type(change)](change)


def book_changes(documents: Iterable[dict[str, Any]]) -> tuple[Change, ...]:
    """The changes from which an order book is made again.

    Raises:
        OrderBookError: a document describes no change.
    """
    return tuple(journal.read(document) for document in documents)


def risk_record(event: RiskEvent) -> RiskDecided:
    """A refusal, a cut or a halt."""
    return RiskDecided(
        ts=event.ts, what=event.kind, symbol=event.symbol, limit=event.limit, limit_value=event.limit_value,
        measured=event.measured, quantity_requested=event.quantity_requested,
        quantity_allowed=event.quantity_allowed, state=event.state.value, reason=event.reason,
    )  # fmt: skip


def risk_memory(state: RiskState, now: datetime) -> RiskMemory:
    """What a guard remembers, for the next run."""
    return RiskMemory(ts=now, **asdict(state))


def risk_state(memory: RiskMemory) -> RiskState:
    """What a guard of an earlier run remembered."""
    told = {one.name: getattr(memory, one.name) for one in fields(RiskState)}
    halts = {name: HaltState(told[name]) for name in ("halt", "latched_halt", "session_halt")}
    return RiskState(**{**told, **halts, "recent_orders": tuple(told["recent_orders"])})


def working_record(order: TrackedOrder, symbol: str) -> WorkingAtBegin:
    """An order that worked when a run began to trade."""
    ticket = order.ticket
    return WorkingAtBegin(
        order.order_ref, symbol, ticket.action, order.remaining, ticket.order_type, ticket.limit_price,
        ticket.aux_price, reduces_only=is_exit(ticket) or ticket.parent_id != 0,
    )  # fmt: skip


def risk_measured(limits: Iterable[Headroom], portfolio: Portfolio, now: datetime) -> RiskMeasured:
    """How far an account is from its limits, and what it holds."""
    held = portfolio.holdings.items()
    return RiskMeasured(
        now,
        tuple(LimitMeasured(one.limit, one.most, one.used, one.symbol) for one in limits),
        tuple(HoldingValued(symbol, holding.quantity, holding.price) for symbol, holding in held),
    )


def alarm_record(alarm: Alarm) -> AlarmRaised:
    """Something that a human has to know."""
    return AlarmRaised(alarm.ts, alarm.code, alarm.text)


# -------------------------------------------------------------------- one function a kind


def _order(change: Any, name: str, **more: Any) -> OrderChanged:  # noqa: ANN401 (one of many kinds)
    return OrderChanged(change.ts, change.order_ref, name, document=journal.written(change), **more)


def _state(change: StateChanged) -> OrderChanged:
    return _order(
        change, "state", state=change.after.value, done=change.after.terminal, reason=change.reason, code=change.code
    )


def _fill(change: FillBooked | FillCorrected) -> Filled:
    execution = change.execution
    name, revision = parted(execution.exec_id)
    return Filled(
        ts=change.ts, executed=execution.ts, exec_id=execution.exec_id, execution=name, revision=revision,
        order_ref=change.order_ref, symbol=execution.contract.symbol, con_id=execution.contract.con_id,
        currency=execution.contract.currency, side=_SIDES[execution.side], quantity=execution.quantity,
        price=execution.price, exchange=execution.exchange, external=change.external,
        document=journal.written(change),
    )  # fmt: skip


def _commission(change: CommissionBooked) -> CommissionTold:
    told = change.commission
    name, revision = parted(told.exec_id)
    return CommissionTold(
        change.ts, told.exec_id, name, revision, told.amount, told.currency, told.realized, journal.written(change)
    )


def _position(change: PositionAdopted) -> PositionStated:
    contract: Contract = change.contract
    return PositionStated(
        change.ts, "ours", contract.symbol, contract.con_id, contract.currency, change.after,
        change.average_cost if change.after else Decimal(0), journal.written(change),
    )  # fmt: skip


_RECORDS: dict[type, Callable[[Any], Record]] = {
    OrderAdopted: lambda change: _order(change, "adopted", perm_id=change.perm_id),
    OrderIdentified: lambda change: _order(change, "identified", perm_id=change.perm_id),
    TermsAsked: lambda change: _order(change, "terms_asked"),
    TermsConfirmed: lambda change: _order(change, "terms_confirmed"),
    OrderWarned: lambda change: _order(change, "warned", code=change.code, reason=change.text),
    StateChanged: _state,
    FillBooked: _fill,
    FillCorrected: _fill,
    CommissionBooked: _commission,
    PositionAdopted: _position,
    ExecutionSkipped: lambda change: BookChanged(change.ts, "execution_skipped", journal.written(change)),
    Alarm: alarm_record,
}
