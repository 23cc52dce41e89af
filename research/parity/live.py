"""What a live session decided, filled, saw and began with, from the ledger and the bars that it recorded.

Belongs here: reading, and the shapes of a comparison. Does not belong here: replaying, comparing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from backtrader.order import Order

from broker.costs import CostModel
from broker.deployment.records import risk_state
from broker.live.tickets import KINDS, exectype
from research.errors import ParityError
from research.experiment import Experiment
from research.parity.orders import DecidedOrder, exactly
from research.parity.replay import CarriedOrder, Holding, Opening
from warehouse.calendar import TradingCalendar
from warehouse.ledger.records import (
    Fill,
    Intent,
    OrderChanged,
    RiskDecided,
    TradingBegan,
    WorkingAtBegin,
)
from warehouse.ledger.store import Ledger
from warehouse.schema import BARS_SCHEMA

_NONE: Final = Decimal(0)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LiveSession:
    """One session of a deployment as it was traded.

    Attributes:
        orders: decided in the session or carried into it, with the fills of the session.
        opening: what it began with.
        bars: BARS_SCHEMA by symbol, as the strategy saw them first: warm-up and session.
        seen: by symbol and close (aware UTC) of the session's bars, when they were seen, and whether orders could be
            sent on them.
        marks: the last close of each symbol.
        refused: entries that risk refused or made smaller: moment, symbol, reason.
        equity: when trading began, in the account's currency.
        closes: when the session closes, aware UTC.
        commissions_missing: fills whose commission the broker has not told.
    """

    deployment: str
    session: date
    orders: tuple[DecidedOrder, ...]
    opening: Opening
    bars: Mapping[str, pa.Table]
    seen: Mapping[tuple[str, datetime], tuple[datetime, bool]]
    marks: Mapping[str, Decimal]
    refused: tuple[tuple[datetime, str, str], ...]
    equity: Decimal
    closes: datetime
    commissions_missing: int


def live_session(
    ledger: Ledger,
    deployment: str,
    session: date,
    *,
    experiment: Experiment,
    calendar: TradingCalendar,
    seen_bars: pa.Table,
) -> LiveSession:
    """Read a session.

    Args:
        ledger: where it was recorded.
        deployment: whose.
        session: the exchange date.
        experiment: what was traded.
        calendar: of the exchange.
        seen_bars: SEEN_SCHEMA, of all runs of the session.

    Raises:
        ParityError: no run of the session began to trade, or the account's money was not told.
        LedgerError: the ledger cannot be read.
    """
    recorded = [one for one in ledger.events(deployment) if one.scope.session == session]
    records = [one.record for one in recorded]
    began = next((one for one in records if isinstance(one, TradingBegan)), None)
    if began is None:
        raise ParityError(f"session: no run of {deployment} had live data on {session}, there is nothing to compare.")
    if began.cash is None or began.equity is None:
        raise ParityError(f"session: the account of {deployment} had not told its money when {session} began.")
    account = recorded[0].scope.account
    names = {held.con_id: held.symbol for held in began.held if held.symbol in experiment.symbols}
    opens, until = calendar.open_utc(session), calendar.open_utc(calendar.next_session(session))
    fills = [  # by when they happened: what filled while nobody ran is recorded in a later session
        one
        for one in ledger.fills(account)
        if one.scope.deployment == deployment and one.filled.con_id in names and opens <= one.filled.executed < until
    ]
    bars = {symbol: _first_seen(seen_bars, symbol, experiment, calendar) for symbol in experiment.symbols}
    return LiveSession(
        deployment=deployment,
        session=session,
        orders=_orders(ledger, records, fills, names, experiment.costs.build()),
        opening=_opening(ledger, began, fills, bars, opens),
        bars=bars,
        seen=_seen_when(seen_bars, opens),
        marks={symbol: Decimal(repr(table["close"][-1].as_py())) for symbol, table in bars.items() if table.num_rows},
        refused=tuple(
            (one.ts, one.symbol or "", one.reason)
            for one in records
            if isinstance(one, RiskDecided) and one.what in {"refused", "shrunk"}
        ),
        equity=began.equity,
        closes=calendar.close_utc(session),
        commissions_missing=sum(one.commission is None for one in fills),
    )


# -------------------------------------------------------------------- orders


def _orders(
    ledger: Ledger, records: Sequence[object], fills: Sequence[Fill], names: Mapping[int, str], costs: CostModel
) -> tuple[DecidedOrder, ...]:
    intents = {one.order_ref: one for one in records if isinstance(one, Intent) and one.con_id in names}
    of_order: dict[str, list[Fill]] = {reference: [] for reference in intents}
    for fill in fills:
        of_order.setdefault(fill.filled.order_ref, []).append(fill)
    reasons = {
        one.order_ref: one.reason for one in records if isinstance(one, OrderChanged) and one.done and one.reason
    }
    made = []
    for reference, own in of_order.items():
        intent = intents.get(reference) or _of_earlier_session(ledger, reference)
        if intent is None:
            made.append(_external(own, names, costs))
        else:
            made.append(_ours(intent, own, names, costs, reasons.get(reference, "")))
    return tuple(made)


def _of_earlier_session(ledger: Ledger, reference: str) -> Intent | None:
    known = ledger.intent(reference)
    return None if known is None else known.intent


def _ours(
    intent: Intent, fills: Sequence[Fill], names: Mapping[int, str], costs: CostModel, reason: str
) -> DecidedOrder:
    filled, value, commission = _sums(fills, costs)
    return DecidedOrder(
        symbol=names[intent.con_id], bar=intent.bar_ts, side=intent.side, kind=KINDS[exectype(intent.order_type)],
        ordered=intent.quantity, filled=filled, value=value, commission=commission, reference=intent.order_ref,
        reason=reason,
    )  # fmt: skip


def _external(fills: Sequence[Fill], names: Mapping[int, str], costs: CostModel) -> DecidedOrder:
    """An order that was not decided by the deployment; it has the moment of its first fill for a bar."""
    filled, value, commission = _sums(fills, costs)
    told = fills[0].filled
    return DecidedOrder(
        symbol=names[told.con_id], bar=told.executed, side=told.side, kind="external", ordered=filled, filled=filled,
        value=value, commission=commission, reference=told.order_ref, reason="not decided by the strategy",
    )  # fmt: skip


def _sums(fills: Sequence[Fill], costs: CostModel) -> tuple[Decimal, Decimal, Decimal]:
    """Shares, money and commission; what the model charges where the broker has not told a fill's."""
    with exactly():
        filled = sum((one.filled.quantity for one in fills), _NONE)
        value = sum((one.filled.quantity * one.filled.price for one in fills), _NONE)
        paid = sum((one.commission.amount for one in fills if one.commission is not None), _NONE)
    if all(one.commission is not None for one in fills):
        return filled, value, paid
    return filled, value, charged(costs, fills[0].filled.side, filled, value, fills[0].filled.executed.date())


def charged(costs: CostModel, side: str, filled: Decimal, value: Decimal, on: date) -> Decimal:
    """What the cost model charges for an order's fills of one session."""
    if not filled:
        return _NONE
    return costs.commission(filled if side == "BUY" else -filled, value / filled, on).total


# -------------------------------------------------------------------- what the session began with


def _opening(
    ledger: Ledger,
    began: TradingBegan,
    fills: Sequence[Fill],
    bars: Mapping[str, pa.Table],
    opens: datetime,
) -> Opening:
    """The account at the open: what was filled between then and the first live data is taken back."""
    cash, equity = began.cash or _NONE, began.equity or _NONE
    early = [one for one in fills if opens <= one.filled.executed <= began.ts]
    holdings, worth = {}, _NONE
    with exactly():
        for held in (one for one in began.held if one.symbol in bars):
            quantity = held.quantity - sum((_signed(f) for f in early if f.filled.con_id == held.con_id), _NONE)
            holdings[held.symbol] = Holding(quantity, held.average_cost)
            worth += held.quantity * _last_close(bars[held.symbol], began.ts)
        outside = equity - cash - worth
        cash += sum((_signed(one) * one.filled.price for one in early), _NONE)
        cash += sum((one.commission.amount for one in early if one.commission is not None), _NONE)
    return Opening(
        opens=opens,
        cash=cash,
        outside=outside,
        holdings=holdings,
        carried=tuple(_carried(ledger, order) for order in began.working if order.symbol in bars),
        risk=risk_state(began.risk),
        memory=began.variables,
    )


def _signed(fill: Fill) -> Decimal:
    return fill.filled.quantity if fill.filled.side == "BUY" else -fill.filled.quantity


def _last_close(bars: pa.Table, moment: datetime) -> Decimal:
    """The last close known at a moment; 0 before the first."""
    until = bars.filter(pc.less_equal(bars["ts"], pa.scalar(moment, bars.schema.field("ts").type)))
    return Decimal(repr(until["close"][-1].as_py())) if until.num_rows else _NONE


def _carried(ledger: Ledger, order: WorkingAtBegin) -> CarriedOrder:
    intent = _of_earlier_session(ledger, order.order_ref)
    number = exectype(order.order_type)
    stop = None if order.stop_price is None else float(order.stop_price)
    limit = None if order.limit_price is None else float(order.limit_price)
    return CarriedOrder(
        reference=order.order_ref, symbol=order.symbol, bar=_EPOCH if intent is None else intent.bar_ts,
        side=order.side, quantity=order.quantity, exectype=number, price=limit if number == Order.Limit else stop,
        limit_price=limit if number == Order.StopLimit else None, protective=order.reduces_only,
    )  # fmt: skip


# -------------------------------------------------------------------- bars


def _first_seen(seen: pa.Table, symbol: str, experiment: Experiment, calendar: TradingCalendar) -> pa.Table:
    """Each bar of a symbol as a strategy saw it first, with the columns of stored bars."""
    mine = seen.filter(pc.equal(seen["symbol"], symbol))
    stamps, first = np.unique(mine["ts"].cast(pa.int64()).to_numpy(), return_index=True)
    rows = mine.take(pa.array(first))
    days = calendar.days[np.searchsorted(calendar.closes, stamps)].astype(np.int32)
    made = {name: rows[name] for name in ("symbol", "ts", "open", "high", "low", "close", "volume")}
    made["resolution"] = pa.array([experiment.resolution.value] * len(stamps), pa.string())
    made["session"] = pa.array(days, pa.int32()).cast(pa.date32())
    made["regular"] = pa.array([True] * len(stamps), pa.bool_())
    return pa.table([made[name] for name in BARS_SCHEMA.names], schema=BARS_SCHEMA)


def _seen_when(seen: pa.Table, opens: datetime) -> dict[tuple[str, datetime], tuple[datetime, bool]]:
    """When each bar of the session was seen first; live where it was in any run."""
    found: dict[tuple[str, datetime], tuple[datetime, bool]] = {}
    late = seen.filter(pc.greater(seen["ts"], pa.scalar(opens, seen.schema.field("ts").type)))
    for row in late.select(["symbol", "ts", "seen", "live"]).to_pylist():
        key = row["symbol"], row["ts"]
        when, live = found.get(key, (row["seen"], False))
        found[key] = when, live or row["live"]
    return found
