"""The parity report of one session: every decision of the live session and of its backtests side by side.

Belongs here: putting session, replays, pairs and parts together. Does not belong here: each of them, files, pages.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from broker.costs import CostModel
from research.experiment import Experiment
from research.parity.live import LiveSession, charged, live_session
from research.parity.orders import DecidedOrder, Side, exactly
from research.parity.pairing import Pair, paired
from research.parity.parts import Parts, between, revised
from research.parity.replay import replayed
from research.parity.stored import stored_bars
from warehouse.calendar import TradingCalendar
from warehouse.ledger.store import Ledger
from warehouse.seen_bars import read_seen_bars
from warehouse.store import Warehouse

_NONE: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class TradeParity:
    """One decision: what became of it live and in the backtests, and what the difference is made of.

    `seen` is the backtest's order over the bars as the session saw them, `stored` over those of the warehouse; None
    where nothing was decided. `note` says why the signal or the fill differs.
    """

    symbol: str
    side: Side
    bar: datetime
    live: DecidedOrder | None
    seen: DecidedOrder | None
    stored: DecidedOrder | None
    parts: Parts
    note: str

    @property
    def signal_differs(self) -> bool:
        """Whether the decision is missing on one side, or came on another bar."""
        if self.live is not None and self.seen is not None:
            return self.live.bar != self.seen.bar and not (self.live.waits and self.seen.waits)
        alone = self.live or self.seen
        return alone is not None and bool(alone.filled)


@dataclass(frozen=True, slots=True)
class ParityReport:
    """A session held against the backtest of its day. Money in the account's currency.

    `seen_result` and `stored_result` are the backtests' profits over the bars as the session saw them and as the
    warehouse holds them; `missing` says in a sentence why the latter is None. Results leave out what the position of
    before the session earned, which is the same in all. `total` is the live result less that of the stored bars, or
    of those seen where there are no others, and the sum of `parts`. `marks` are the last closes, `equity` is of when
    trading began, `traded` the money of all live fills.
    """

    deployment: str
    session: date
    trades: tuple[TradeParity, ...]
    parts: Parts
    live_result: Decimal
    seen_result: Decimal
    stored_result: Decimal | None
    total: Decimal
    marks: Mapping[str, Decimal]
    equity: Decimal
    traded: Decimal
    missing: str | None
    remarks: tuple[str, ...]

    @property
    def signals(self) -> int:
        """Signals that were missed, late, or not the backtest's."""
        return sum(trade.signal_differs for trade in self.trades)

    @property
    def missed_fills(self) -> int:
        """Decisions of both sides of which one was filled less than the other."""
        return sum(trade.parts.missed_fill != 0 for trade in self.trades)

    @property
    def sentence(self) -> str:
        """The report in one line."""
        against = "the warehouse's bars" if self.stored_result is not None else "the bars as they were seen"
        named = ", ".join(f"{name.replace('_', ' ')} {amount:+,.2f}" for name, amount in self.parts.named() if amount)
        return (
            f"{self.deployment}, session {self.session}: live {self.live_result:+,.2f}, backtest over {against}"
            f" {self.live_result - self.total:+,.2f}, difference {self.total:+,.2f}"
            f" ({named or 'nothing differs'}); {self.signals} signals differ."
        )


def parity_report(
    ledger: Ledger,
    warehouse: Warehouse,
    deployment: str,
    session: date,
    *,
    experiment: Experiment,
    calendar: TradingCalendar,
) -> ParityReport:
    """Trade a session again over the bars that it saw, and over the warehouse's if it holds them, and compare.

    Args:
        ledger: of live trading.
        warehouse: bars, and what the session saw of them.
        deployment: whose session.
        session: the exchange date.
        experiment: as the deployment traded it.
        calendar: of the exchange.

    Raises:
        ParityError: no run of the session began to trade.
        NoDataError: no bars are recorded that the session saw.
        ResearchError: the strategy or its bars cannot be run.
        LedgerError: the ledger cannot be read.
    """
    table = read_seen_bars(warehouse.root, deployment, session)
    live = live_session(ledger, deployment, session, experiment=experiment, calendar=calendar, seen_bars=table)
    seen = replayed(experiment, live.bars, live.opening)
    held = stored_bars(warehouse, experiment, session, live.bars)
    stored = None if held.missing is not None else replayed(experiment, held.bars, live.opening)
    return compared(live, seen, stored, experiment=experiment, missing=held.missing)


def compared(
    live: LiveSession,
    seen: Sequence[DecidedOrder],
    stored: Sequence[DecidedOrder] | None,
    *,
    experiment: Experiment,
    missing: str | None = None,
) -> ParityReport:
    """The report from the orders of all three; `stored` is None where the warehouse lacks the session."""
    rows = _rows(live, seen, None if stored is None else _sent(stored), experiment)
    trades = tuple(sorted(rows, key=lambda row: (row.bar, row.symbol)))
    live_result, seen_result = _result(live.orders, live.marks), _result(seen, live.marks)
    stored_result = None if stored is None else _result(stored, live.marks)
    with exactly():
        total = live_result - (seen_result if stored_result is None else stored_result)
        traded = sum((order.value for order in live.orders), _NONE)
    return ParityReport(
        deployment=live.deployment,
        session=live.session,
        trades=trades,
        parts=Parts.sum_of(trade.parts for trade in trades),
        live_result=live_result,
        seen_result=seen_result,
        stored_result=stored_result,
        total=total,
        marks=live.marks,
        equity=live.equity,
        traded=traded,
        missing=missing,
        remarks=tuple(_remarks(live)),
    )


def _sent(orders: Iterable[DecidedOrder]) -> list[DecidedOrder]:
    """Without those that risk refused, which live are no orders either."""
    return [order for order in orders if order.ordered]


def _result(orders: Sequence[DecidedOrder], marks: Mapping[str, Decimal]) -> Decimal:
    with exactly():
        return sum((order.worth(marks[order.symbol]) for order in orders if order.filled), _NONE)


def _rows(
    live: LiveSession, seen: Sequence[DecidedOrder], stored: Sequence[DecidedOrder] | None, experiment: Experiment
) -> list[TradeParity]:
    costs, held = experiment.costs.build(), stored is not None
    sent = _sent(seen)
    refused = {(order.symbol, order.side, order.bar): order.reason for order in seen if not order.ordered}
    revisions = list(paired(sent, stored or ()))
    rows = []
    for pair in paired(live.orders, sent):
        revision = next((one for one in revisions if pair.other is not None and one.one is pair.other), None)
        if revision is not None:
            revisions.remove(revision)
        later = None if revision is None else revision.other
        row = _row(live, pair, later, expected=_expected(costs, pair.one, live.session), held=held)
        why = None if row.live is None else refused.get((row.symbol, row.side, row.live.bar))
        rows.append(replace(row, note=f"refused in the backtest: {why}") if row.seen is None and why else row)
    if held:
        rows += [_row(live, Pair(None, one.one), one.other, expected=_NONE, held=True) for one in revisions]
    return [
        row for row in rows if any(order is not None and order.filled for order in (row.live, row.seen, row.stored))
    ]


def _expected(costs: CostModel, order: DecidedOrder | None, session: date) -> Decimal:
    """What the cost model charges for the fills of a live order."""
    return _NONE if order is None else charged(costs, order.side, order.filled, order.value, session)


def _row(live: LiveSession, pair: Pair, stored: DecidedOrder | None, *, expected: Decimal, held: bool) -> TradeParity:
    ours, seen = pair.one, pair.other
    order = next(order for order in (ours, seen, stored) if order is not None)
    mark, parts = live.marks[order.symbol], []
    if ours is not None or seen is not None:
        parts.append(between(ours, seen, mark, expected=expected))
    if held:
        parts.append(revised(seen, stored, mark))
    bar = min(known.bar for known in (ours, seen, stored) if known is not None)
    note = _note(live, ours, seen, stored) or (_revision(seen, stored) if held else "")
    return TradeParity(order.symbol, order.side, bar, ours, seen, stored, Parts.sum_of(parts), note)


def _note(live: LiveSession, ours: DecidedOrder | None, seen: DecidedOrder | None, stored: DecidedOrder | None) -> str:
    """Why a decision or its fill differs; empty where only figures do."""
    if ours is None:
        return "only the warehouse's bars decide so" if seen is None else _why_not(live, seen)
    if seen is None:
        return ours.reason if ours.kind == "external" else "the backtest decided no such order"
    moved = _moved(ours, seen, "in the backtest")
    if moved:
        return moved
    if ours.filled != ours.ordered and seen.filled == seen.ordered:
        return f"live {ours.filled:f} of {ours.ordered:f} were filled{_because(ours)}"
    if seen.filled != seen.ordered and ours.filled == ours.ordered:
        return f"in the backtest {seen.filled:f} of {seen.ordered:f} were filled{_because(seen)}"
    return ""


def _revision(seen: DecidedOrder | None, stored: DecidedOrder | None) -> str:
    """How the warehouse's bars decide otherwise; empty where they decide the same."""
    if stored is None:
        return "not decided over the warehouse's bars"
    return _moved(stored, seen, "over the bars as they were seen") if seen is not None else ""


def _moved(order: DecidedOrder, other: DecidedOrder, where: str) -> str:
    """That an order was decided on another bar than the other one; empty where it was not."""
    if order.bar == other.bar or order.waits:
        return ""
    when = "later" if order.bar > other.bar else "earlier"
    return f"decided {abs(order.bar - other.bar)} {when} than {where}"


def _because(order: DecidedOrder) -> str:
    return f": {order.reason}" if order.reason else ""


def _why_not(live: LiveSession, missed: DecidedOrder) -> str:
    """Why an order of the backtest was not decided live."""
    bars = sorted(bar for symbol, bar in live.seen if symbol == missed.symbol)
    following = next((bar for bar in bars if bar > missed.bar), None)
    for ts, symbol, reason in live.refused:
        if symbol == missed.symbol and ts >= missed.bar and (following is None or ts < following):
            return f"refused live: {reason}"
    seen = live.seen.get((missed.symbol, missed.bar))
    if seen is None:
        return "no run saw the bar"
    when, tradable = seen
    if not tradable:
        return f"the bar was seen at {when:%H:%M:%S} UTC, when no order could be sent"
    return "no such order was decided live"


def _remarks(live: LiveSession) -> Iterator[str]:
    """What a reader of the figures has to know."""
    bars = {bar for _, bar in live.seen}
    if bars and max(bars) < live.closes:
        yield f"No run saw bars after {max(bars):%H:%M} UTC; what came after is not compared."
    late = sum(not tradable for _, tradable in live.seen.values())
    if late:
        yield f"On {late} of the session's {len(live.seen)} bars no order could be sent."
    if live.commissions_missing:
        yield f"{live.commissions_missing} fills have no commission from the broker; the cost model's is taken."
