"""A strategy decides live what it decides in a backtest on the same bars."""

from datetime import UTC, date

import backtrader as bt
import pytest

from broker.closed_bars import microseconds
from broker.ib.messages import SessionState
from research.feed import arrow_feed, symbol_bars
from strategies.breakout import DonchianBreakout
from strategies.mean_reversion import RSIReversion
from strategies.pairs import PairsTrading
from strategies.sma_crossover import SMACrossover
from tests.unit.broker.live_market import SECOND, ScriptedGateway, at, bars_of, parts, playing, run, store_bars
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

MINUTE = 60 * SECOND
SPANS = ((at("2024-07-03 12:00"), at("2024-07-03 13:00")), (at("2024-07-05 09:30"), at("2024-07-05 10:00")))
BEGUN = at("2024-07-03 12:40") + 20 * SECOND


def recording(cls):
    """The strategy, whose `decided` holds what it was asked and what it said, and `filled` what it traded."""

    class Recorded(cls):
        def __init__(self):
            super().__init__()
            self.decided, self.filled, self.live = [], [], []

        def decide_all(self, ready):
            self.decided.append(tuple((data._name, stamp(data), data.close[0]) for data in ready))
            if any(getattr(data, "is_live", lambda: False)() for data in ready):
                self.live.append(stamp(ready[0]))
            super().decide_all(ready)

        def enter_long(self, data, **terms):
            self.decided.append(("long", data._name, *terms.values()))
            super().enter_long(data, **terms)

        def enter_short(self, data, **terms):
            self.decided.append(("short", data._name, *terms.values()))
            super().enter_short(data, **terms)

        def leave(self, data):
            self.decided.append(("leave", data._name))
            super().leave(data)

        def notify_order(self, order):
            super().notify_order(order)
            if order.status == bt.Order.Completed:
                self.filled.append((order.data._name, order.executed.dt, order.executed.price, order.executed.size))

    Recorded.__name__ = cls.__name__
    return Recorded


def stamp(data):
    return microseconds(data.num2date().replace(tzinfo=UTC))


def backtest(folder, symbols, strategy, params):
    """The same strategy over the same bars, all of them in the warehouse."""
    cerebro = bt.Cerebro(stdstats=False)
    for symbol in symbols:
        table = Warehouse(folder).read_bars(symbol, Resolution.MINUTE)
        cerebro.adddata(arrow_feed(symbol_bars(symbol, table, date(2024, 7, 3), date(2024, 7, 5)), Resolution.MINUTE))
    cerebro.addstrategy(strategy, **params)
    (ran,) = cerebro.run()
    return ran


def interruptions(gateway):
    """A connection that is lost, a minute of which the half was not heard, and history that is late."""
    return [
        (at("2024-07-03 12:45") + 25 * SECOND, lambda: gateway.enter(SessionState.DISCONNECTED)),
        (at("2024-07-03 12:49") + 25 * SECOND, lambda: gateway.enter(SessionState.READY)),
        (at("2024-07-05 09:40") + 25 * SECOND, lambda: setattr(gateway, "deaf", True)),
        (at("2024-07-05 09:40") + 45 * SECOND, lambda: setattr(gateway, "deaf", False)),
    ]


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (SMACrossover, {"sma_short": 3, "sma_long": 7, "allow_short": True}),
        (RSIReversion, {"rsi_period": 3}),
        (DonchianBreakout, {"entry_bars": 3, "exit_bars": 2, "atr_period": 2}),
        (PairsTrading, {"lookback": 10, "entry_z": 1.0, "allow_short": True}),
    ],
)
def test_decisions_over_a_live_session_are_those_of_a_backtest(tmp_path, cls, params):
    made = {
        "AAPL": parts(SPANS, skip={at("2024-07-03 12:31"), at("2024-07-05 09:33")}),
        "MSFT": parts(SPANS, price=20_000, skip={at("2024-07-03 12:52"), at("2024-07-05 09:34")}),
    }
    strategy = recording(cls)
    for symbol, of_symbol in made.items():
        bars = bars_of(of_symbol, Resolution.MINUTE)
        store_bars(tmp_path / "whole", symbol, Resolution.MINUTE, bars)
        store_bars(tmp_path / "known", symbol, Resolution.MINUTE, bars[:20])
    gateway = ScriptedGateway(made, now=BEGUN)
    script = playing(gateway, SPANS[1][1] + 2 * MINUTE, interruptions(gateway))
    live = run(
        gateway, Warehouse(tmp_path / "known"), script,
        symbols=tuple(made), strategy=strategy, params=params, hold=300.0,
    )  # fmt: skip
    tested = backtest(tmp_path / "whole", tuple(made), strategy, params)
    assert live.decided == tested.decided
    assert live.filled == tested.filled
    assert len(live.filled) > 3
    assert min(live.live) > BEGUN
    assert max(live.live) == SPANS[1][1]
