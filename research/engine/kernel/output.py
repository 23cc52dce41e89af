"""The kernel's logs as the result of a backtest.

Belongs here: records out of rows. Does not belong here: tables (see `research.run_tables`), the rules.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backtrader.order import Order

from research.engine.kernel import rules
from research.engine.kernel.market import Kernel, KernelRun
from research.engine.run import PreparedRun
from research.recorder import FillRecord, OrderRecord, Recorder
from research.run_output import RunOutput
from research.run_tables import equity_table, fills_table, orders_table
from research.trades import trades_from_fills
from risk.states import HaltState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = ("market", "stop", "limit")
_REASONS = {
    rules.NO_REASON: None,
    rules.NOT_PAID: "not enough cash at the price of the fill",
    rules.POSITION_CLOSED: "the position it protects is closed",
}


@dataclass(frozen=True, slots=True)
class _Logged:
    """What the tables ask of an order."""

    size: float
    status: int

    def isbuy(self) -> bool:
        return self.size > 0

    def getstatusname(self) -> str:
        name: str = Order.Status[self.status]
        return name


def run_output(kernel: Kernel, run: KernelRun, prepared: PreparedRun) -> RunOutput | None:
    """The result of a run, equal to the other engines'; None where the risk guard acted, whose words are not kept."""
    if run.uncertain is not None or run.acted:
        return None
    recorder = _recorder(kernel, run, prepared.experiment.cash)
    met = [prepared.bars[kernel.symbols[symbol]] for symbol in run.met.tolist()]
    fills = fills_table(recorder, kernel.clock)
    trades, open_trades = trades_from_fills(fills, prepared.bars)
    return RunOutput(
        starting_cash=prepared.experiment.cash,
        equity=equity_table(recorder, kernel.clock, met, len(kernel.clock)),
        orders=orders_table(recorder, kernel.clock),
        fills=fills,
        trades=trades,
        open_trades=open_trades,
        risk_events=(),
        warnings=(),
        final_halt=HaltState.ACTIVE,
        open_profit=sum(open_trades["gross_profit"].to_pylist()),
        commission=sum(fills["commission"].to_pylist()),
        slippage=sum(fills["slippage"].to_pylist()),
        financing=sum(amount for _, amount in recorder.financing),
        warmed_up=_warmed_up(run, prepared),
        deposits=0,
        engine="kernel",
    )


def _recorder(kernel: Kernel, run: KernelRun, cash: float) -> Recorder:
    recorder = Recorder(cash=[(-1, cash)], orders=_orders(kernel, run))
    changes: list[tuple[int, int, float]] = []
    for bar, amount, after in run.interest.tolist():
        recorder.financing.append((int(bar), amount))
        changes.append((int(bar), 0, after))
    for (bar, symbol, order), row in zip(run.fill_i.tolist(), run.fill_f.tolist(), strict=True):
        name = kernel.symbols[symbol]
        size, price, fee, slippage, after, held, average = row
        recorder.fills.append(FillRecord(bar, name, size, price, fee, slippage, order + 1))
        recorder.positions.setdefault(name, []).append((bar, held, average))
        changes.append((bar, 1, after))
    changes.sort(key=lambda change: change[:2])  # interest is booked before anything fills
    recorder.cash.extend((bar, after) for bar, _, after in changes)
    return recorder


def _orders(kernel: Kernel, run: KernelRun) -> list[OrderRecord]:
    records = []
    for number, (row, money) in enumerate(zip(run.order_i.tolist(), run.order_f.tolist(), strict=True), start=1):
        kind = row[rules.KIND]
        records.append(
            OrderRecord(
                number=number,
                parent=None,
                bar=row[rules.BAR],
                symbol=kernel.symbols[row[rules.SYMBOL]],
                kind=_KINDS[kind],
                requested=money[rules.REQUESTED],
                approved=money[rules.APPROVED],
                price=None if kind == rules.MARKET else money[rules.PRICE],
                limit_price=None,
                protective=bool(row[rules.PROTECTIVE]),
                newest_bar=0.0,
                order=_Logged(money[rules.REQUESTED], row[rules.STATUS]),
                filled=money[rules.FILLED],
                final_bar=row[rules.FINAL_BAR],
                reason=_REASONS[row[rules.REASON]],
            )
        )
    return records


def _warmed_up(run: KernelRun, prepared: PreparedRun) -> datetime | None:
    moments = []
    for ready, bars in zip(run.ready, prepared.bars.values(), strict=True):
        if ready >= len(bars):
            return None
        moments.append(int(bars.ts[max(ready, 0)]))
    return _EPOCH + timedelta(microseconds=max(moments))
