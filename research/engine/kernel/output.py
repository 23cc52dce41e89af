"""The records of a compiled run as the result of a backtest.

Belongs here: records out of rows, a result out of records. Does not belong here: tables (see `research.run_tables`),
the rules.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from research.clock import Clock
from research.compiled import machine
from research.engine.kernel.kernel import Kernel, KernelRun
from research.recorder import EndedOrder, FillRecord, OrderRecord, Recorder
from research.run_output import RunOutput
from research.run_tables import equity_table, fills_table, orders_table
from research.trades import trades_from_fills
from risk.states import HaltState

if TYPE_CHECKING:
    from research.engine.run import PreparedRun

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_AT_A_TIME: Final = 4096
_KINDS: Final = ("market", "stop", "limit")
_REASONS: Final = (None, "not enough cash at the price of the fill", "the position it protects is closed")


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """What is kept of a run for its tables, a hundredth of what running it takes.

    Attributes:
        recorder: what happened.
        clock: the ticks of the run.
        met: symbols in the order in which the broker met them.
        ready: index of each symbol's own first bar that could decide.
    """

    recorder: Recorder
    clock: Clock
    met: tuple[str, ...]
    ready: tuple[int, ...]


def records_of(kernel: Kernel, run: KernelRun, prepared: "PreparedRun") -> Records | None:
    """The records of a run; None where the risk guard acted, whose words are not kept."""
    if run.uncertain is not None or run.acted:
        return None
    met = tuple(kernel.symbols[symbol] for symbol in run.met.tolist())
    return Records(_recorder(kernel, run, prepared.experiment.cash), kernel.clock, met, run.ready)


def run_output(records: Records, prepared: "PreparedRun") -> RunOutput:
    """The result of a run, equal to the other engines'."""
    recorder, clock = records.recorder, records.clock
    fills = fills_table(recorder, clock)
    trades, open_trades = trades_from_fills(fills, prepared.bars)
    return RunOutput(
        starting_cash=prepared.experiment.cash,
        equity=equity_table(recorder, clock, [prepared.bars[symbol] for symbol in records.met], len(clock)),
        orders=orders_table(recorder, clock),
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
        warmed_up=_warmed_up(records.ready, prepared),
        deposits=0,
        engine="kernel",
    )


def _recorder(kernel: Kernel, run: KernelRun, cash: float) -> Recorder:
    recorder = Recorder(orders=[_order(kernel, number, row) for number, row in enumerate(_rows(run.orders), start=1)])
    changes = [(row["tick"], 0, row["cash"]) for row in _rows(run.bookings)]
    recorder.financing.extend((row["tick"], row["amount"]) for row in _rows(run.bookings))
    for row in _rows(run.fills):
        symbol = kernel.symbols[row["symbol"]]
        recorder.fills.append(
            FillRecord(
                row["tick"], symbol, row["quantity"], row["price"], row["commission"], row["slippage"], row["order"] + 1
            )
        )
        recorder.positions.setdefault(symbol, []).append((row["tick"], row["size"], row["average"]))
        changes.append((row["tick"], 1, row["cash"]))
    changes.sort(key=lambda change: change[:2])  # interest is booked before anything fills
    recorder.cash = [(-1, cash), *((tick, after) for tick, _, after in changes)]
    return recorder


def _order(kernel: Kernel, number: int, row: dict[str, Any]) -> OrderRecord:
    return OrderRecord(
        number=number,
        parent=None,
        bar=row["tick"],
        symbol=kernel.symbols[row["symbol"]],
        kind=_KINDS[row["kind"]],
        requested=row["requested"],
        approved=row["approved"],
        price=None if row["kind"] == machine.MARKET else row["price"],
        limit_price=None,
        protective=bool(row["protective"]),
        newest_bar=0.0,
        order=EndedOrder(row["requested"], row["status"]),
        filled=row["filled"],
        final_bar=row["final_tick"],
        reason=_REASONS[row["reason"]],
    )


def _rows(records: machine.Records) -> Iterator[dict[str, Any]]:
    """Rows by field; some at a time, because Python's numbers take several times the room."""
    names = records.dtype.names or ()
    for start in range(0, len(records), _AT_A_TIME):
        for row in records[start : start + _AT_A_TIME].tolist():
            yield dict(zip(names, row, strict=True))


def _warmed_up(first_ready: tuple[int, ...], prepared: "PreparedRun") -> datetime | None:
    """When every symbol had the bars that its declaration needs."""
    moments = []
    for ready, bars in zip(first_ready, prepared.bars.values(), strict=True):
        if ready >= len(bars):
            return None
        moments.append(int(bars.ts[ready]))
    return _EPOCH + timedelta(microseconds=max(moments))
