"""A test whose indicators have seen the bars before it, and which trades none of them.

Belongs here: keeping a strategy from deciding before a session, cutting the run to the test, what closing costs at its
end. Does not belong here: which sessions are tested (see `windows`), engines.

The strategy runs on bars from before the test. Indicators read them; decisions begin at the close of the last bar
before the test, so the first fill is at its first open and nothing is held before. A declared strategy is told to be
ready no sooner, which every engine understands. Any other strategy's `prenext`, `nextstart` and `next` are called from
that bar on; what it counts by itself there, it counts from there.
"""

from dataclasses import replace
from datetime import date
from typing import Any

import backtrader as bt
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research.engine import Engine, PreparedRun, replay
from research.errors import BarsError, StudyError
from research.feed import day_numbers
from research.run_output import RunOutput
from strategies.base_strategy import is_declared

_EPOCH = date(1970, 1, 1)


def run_from(prepared: PreparedRun, first: date, *, engine: Engine = Engine.AUTO) -> RunOutput:
    """Run on all bars, trade from a session on, and return what happened from that session on.

    `starting_cash` of the output is the equity before the session: idle cash may have earned interest until then.

    Raises:
        BarsError: no bar is left to trade on.
        StudyError: the strategy sends orders from somewhere that cannot be held back, such as a timer.
    """
    day = (first - _EPOCH).days
    if not any((bars.sessions >= day).any() for bars in prepared.bars.values()):
        raise BarsError(f"test from {first}: {prepared.experiment.name} has no bars from then on.")
    return _cut(replay(held_back(prepared, day), engine=engine), first, prepared.experiment.name)


def held_back(prepared: PreparedRun, day: int) -> PreparedRun:
    """The same run with a strategy that decides from the last bar before a session (a day number) on."""
    earlier = [int(bars.ts[at - 1]) for bars in prepared.bars.values() if (at := np.searchsorted(bars.sessions, day))]
    if not earlier:
        return prepared
    made = _late_declared if is_declared(prepared.strategy) else _late
    return replace(prepared, strategy=made(prepared, max(earlier)))


def _late_declared(prepared: PreparedRun, gate: int) -> type[bt.Strategy]:
    strategy: Any = prepared.strategy
    declared = strategy.signals.__func__
    begins = {name: int(np.searchsorted(bars.ts, gate)) for name, bars in prepared.bars.items()}

    def signals(cls: Any, bars: Any, p: Any) -> Any:  # noqa: ANN401 (as the base's)
        """What the strategy declares, ready no sooner than the test."""
        signals = declared(cls, bars, p)
        return replace(signals, ready=max(signals.ready, begins[bars.symbol]))

    return _derived(strategy, {"signals": classmethod(signals)})


def _late(prepared: PreparedRun, gate: int) -> type[bt.Strategy]:
    strategy: Any = prepared.strategy
    opens = float(day_numbers(np.array([gate]))[0])

    def is_open(self: Any) -> bool:  # noqa: ANN401
        return any(len(data) and data.datetime[0] >= opens for data in self.datas)

    def prenext(self: Any) -> None:  # noqa: ANN401
        if is_open(self):
            strategy.prenext(self)

    def nextstart(self: Any) -> None:  # noqa: ANN401
        if is_open(self):
            self.has_begun = True
            strategy.nextstart(self)

    def following(self: Any) -> None:  # noqa: ANN401
        if not is_open(self):
            return
        if getattr(self, "has_begun", False):
            strategy.next(self)
        else:
            nextstart(self)

    return _derived(strategy, {"prenext": prenext, "nextstart": nextstart, "next": following})


def _derived(strategy: Any, body: dict[str, Any]) -> type[bt.Strategy]:  # noqa: ANN401
    names = {"__module__": strategy.__module__, "__doc__": strategy.__doc__, "__qualname__": strategy.__qualname__}
    made: type[bt.Strategy] = type(strategy)(strategy.__name__, (strategy,), names | body)
    return made


def _cut(output: RunOutput, first: date, name: str) -> RunOutput:
    tested = pc.greater_equal(output.equity["session"], pa.scalar(first))
    before, equity = output.equity.filter(pc.invert(tested)), output.equity.filter(tested)
    if not before.num_rows:
        return output
    if output.orders.num_rows:
        sent, last = output.orders["ts"][0].as_py(), before["ts"][-1].as_py()
        if sent < last:
            raise StudyError(f"{name}: an order was sent at {sent}, before the test from {first} began.")
    start = before["equity"][-1].as_py() if before.num_rows else output.starting_cash
    return replace(output, starting_cash=start, equity=equity, financing=float(np.sum(equity["financing"].to_numpy())))


def closed(output: RunOutput, prepared: PreparedRun) -> tuple[RunOutput, float]:
    """The run with its last positions closed at the last close of each, and what that costs.

    They are closed by a market order: commission, fees and slippage of the last bar are taken from the last equity.
    The month's earlier shares are not counted, so a tiered schedule charges its first tier.
    """
    cost = sum(_closing_cost(name, held, prepared) for name, held in _held(output).items())
    if not cost:
        return output, 0.0
    columns = {name: output.equity[name].to_numpy().copy() for name in ("equity", "cash")}
    equity = output.equity
    for name, values in columns.items():
        values[-1] -= cost
        equity = equity.set_column(equity.schema.get_field_index(name), equity.schema.field(name), pa.array(values))
    return replace(output, equity=equity), cost


def _held(output: RunOutput) -> dict[str, float]:
    held: dict[str, float] = {}
    for fill in output.fills.select(["symbol", "side", "quantity"]).to_pylist():
        signed = fill["quantity"] if fill["side"] == "buy" else -fill["quantity"]
        held[fill["symbol"]] = held.get(fill["symbol"], 0.0) + signed
    return {name: size for name, size in held.items() if abs(size) > 1e-9}


def _closing_cost(name: str, held: float, prepared: PreparedRun) -> float:
    bars, costs = prepared.bars[name], prepared.costs
    side, close = (-1 if held > 0 else 1), float(bars.close[-1])
    price = costs.slippage.price(
        side,
        close,
        quantity=abs(held),
        bar_volume=float(bars.volume[-1]),
        high=float(bars.high[-1]),
        low=float(bars.low[-1]),
    )
    session = date.fromordinal(int(bars.sessions[-1]) + _EPOCH.toordinal())
    return float(costs.commission(-held, price, session).total) + abs(held) * abs(price - close)
