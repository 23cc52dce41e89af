"""What a declaration reads, what it returns, and how it drives a strategy."""

from pathlib import Path
from types import SimpleNamespace

import backtrader as bt
import numpy as np
import pytest

from strategies.base_strategy import BaseStrategy, is_declared
from strategies.declaration import Bars, Signals, declare
from strategies.errors import StrategyError
from strategies.indicators import sma
from tests.unit.strategies.markets import frame, run


def bars_of(closes, symbol="A"):
    columns = {name: np.array(closes, dtype=np.float64) for name in ("open", "high", "low", "close", "volume")}
    return Bars(symbol, **columns)


# ---------------------------------------------------------------------- bars


class Counting:
    """A formula that counts its calls."""

    calls = 0

    def __call__(self, values, factor=1.0):
        self.calls += 1
        return values * factor


def test_bars_are_read_only():
    bars = bars_of([1.0, 2.0])
    assert len(bars) == 2
    with pytest.raises(ValueError, match="read-only"):
        bars.close[0] = 3.0


def test_a_column_is_computed_once_for_each_input_and_parameter():
    bars, formula = bars_of([1.0, 2.0]), Counting()
    first = bars.compute(formula, bars.close, 2.0)
    assert first.tolist() == [2.0, 4.0]
    assert bars.compute(formula, bars.close, 2.0) is first
    assert bars.compute(formula, bars.close, 3.0).tolist() == [3.0, 6.0]
    assert bars.compute(formula, bars.open, 2.0) is not first
    assert formula.calls == 3


def test_a_parameter_may_be_named():
    bars, formula = bars_of([1.0, 2.0]), Counting()
    assert bars.compute(formula, bars.close, factor=3.0).tolist() == [3.0, 6.0]
    assert bars.compute(formula, bars.close, factor=2.0).tolist() == [2.0, 4.0]


def test_a_remembered_column_is_read_only():
    bars = bars_of([1.0, 2.0])
    with pytest.raises(ValueError, match="read-only"):
        bars.compute(Counting(), bars.close)[0] = 0.0


def test_a_column_of_a_column_that_was_forgotten_is_not_taken_for_another():
    bars, formula = bars_of([1.0, 2.0]), Counting()
    for factor in range(1, 50):
        passing = bars.close * factor  # may get the address of the one before
        assert bars.compute(formula, passing, 1.0).tolist() == [factor, 2.0 * factor]


def test_memory_is_bounded():
    bars, formula = bars_of(np.ones(100_000)), Counting()
    for factor in range(300):
        bars.compute(formula, bars.close, float(factor))
    assert sum(result.nbytes for _, result in bars._columns.values()) <= 64 * 2**20
    bars.compute(formula, bars.close, 299.0)
    assert formula.calls == 300
    bars.compute(formula, bars.close, 0.0)
    assert formula.calls == 301


# ---------------------------------------------------------------------- what is declared


def declaring(**fields):
    """A strategy class that declares these lists from its first bar on; what is left out is nowhere true."""

    class Declaring(BaseStrategy):
        @classmethod
        def signals(cls, bars, p):
            count = len(bars)
            given = {name: np.array(value)[:count] for name, value in fields.items() if isinstance(value, list)}
            none = {name: np.zeros(count, bool) for name in ("long_entry", "short_entry", "long_exit", "short_exit")}
            plain = {name: value for name, value in fields.items() if not isinstance(value, list)}
            return Signals(**{"ready": 0, **none, **given, **plain})

    return Declaring


def at(count, *bars):
    """Truth values that are true at these bar numbers, from 1."""
    return [bar + 1 in bars for bar in range(count)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"long_entry": [True]}, r"long_entry is bool of shape \(1,\) for A, not bool of shape \(3,\)"),
        ({"long_exit": [0.0, 1.0, 0.0]}, r"long_exit is float64 of shape \(3,\) for A, not bool of shape \(3,\)"),
        ({"stop": [1, 1, 1]}, r"stop is int64 of shape \(3,\) for A, not float64 of shape \(3,\)"),
    ],
)
def test_arrays_that_do_not_fit_the_bars_are_refused(fields, message):
    with pytest.raises(StrategyError, match=rf"^Declaring\.signals: {message}\.$"):
        declare(declaring(**fields), bars_of([1.0, 2.0, 3.0]), SimpleNamespace())


def test_a_class_is_declared_when_nothing_but_its_declaration_decides():
    declared = declaring()

    class Inherits(declared):
        pass

    class Decides(declared):
        def decide(self, data):
            self.enter_long(data)

    class Compares(declared):
        def decide_all(self, ready):
            pass

    assert is_declared(declared)
    assert is_declared(Inherits)
    assert not any(is_declared(one) for one in (Decides, Compares, BaseStrategy, bt.Strategy))


def test_the_example_of_the_manual_runs():
    manual = (Path(__file__).parents[3] / "docs" / "strategies.md").read_text(encoding="utf-8")
    known = {}
    exec(manual.split("```python\n")[1].split("```")[0], known)  # noqa: S102
    declared = known["AboveAverage"]
    assert is_declared(declared)
    done = run(declared, [100.0] * 20 + [110.0, 110.0, 90.0], period=10, stop=3.0)
    # 10 above closes that never moved is an average true range of 1, so the stop lies at 107
    assert [(fill.decided, fill.filled, fill.price) for fill in done.fills] == [(21, 22, 110.0), (22, 23, 107.0)]


# ---------------------------------------------------------------------- how it drives


def fills(done):
    return [(fill.decided, fill.size) for fill in done.fills]


FLAT = [100.0] * 12


def test_entries_and_exits_are_followed_at_their_bars():
    declared = declaring(long_entry=at(12, 2, 7), long_exit=at(12, 5), short_exit=at(12, 3))
    assert fills(run(declared, FLAT)) == [(2, 950.0), (5, -950.0), (7, 950.0)]


def test_an_exit_of_the_other_side_is_none():
    declared = declaring(short_entry=at(12, 2), long_exit=at(12, 4), short_exit=at(12, 6))
    assert fills(run(declared, FLAT, allow_short=True)) == [(2, -950.0), (6, 950.0)]


def test_an_entry_of_the_other_side_beats_an_exit_unless_exits_are_first():
    fields = {"long_entry": at(12, 2), "short_entry": at(12, 5), "long_exit": at(12, 5)}
    assert fills(run(declaring(**fields), FLAT, allow_short=True)) == [(2, 950.0), (5, -1900.0)]
    first = declaring(**fields, exits_first=True)
    assert fills(run(first, FLAT, allow_short=True)) == [(2, 950.0), (5, -950.0)]


def test_a_long_entry_beats_a_short_one():
    declared = declaring(long_entry=at(12, 2), short_entry=at(12, 2))
    assert fills(run(declared, FLAT, allow_short=True)) == [(2, 950.0)]


def test_without_shorting_a_short_entry_ends_a_long_position():
    declared = declaring(long_entry=at(12, 2), short_entry=at(12, 4, 6))
    assert fills(run(declared, FLAT)) == [(2, 950.0), (4, -950.0)]


def test_nothing_is_decided_before_the_declaration_is_ready():
    declared = declaring(ready=4, long_entry=at(12, 2, 4, 5))
    assert fills(run(declared, FLAT)) == [(5, 950.0)]
    assert run(declaring(ready=12, long_entry=[True] * 12), FLAT).fills == []


def test_the_warm_up_of_a_symbol_is_its_own():
    class Averaged(BaseStrategy):
        @classmethod
        def signals(cls, bars, p):
            never = np.zeros(len(bars), bool)
            return Signals(2 if bars.symbol == "A" else 5, never, never, never, never)

    strategy = run(Averaged, {"A": FLAT, "B": FLAT}).strategy
    assert [strategy.warmup(data) for data in strategy.datas] == [3, 6]


def test_the_stop_lies_at_its_distance_from_the_close_of_the_entrys_bar():
    distances = [1.0, 4.0, *[1.0] * 10]
    bars = frame([100.0] * 4 + [90.0] * 8)
    done = run(declaring(long_entry=at(12, 2), stop=distances), bars)
    assert [(fill.filled, fill.price) for fill in done.fills] == [(3, 100.0), (5, 96.0)]


def test_the_stop_of_a_short_lies_above_and_its_profit_below():
    fields = {"short_entry": at(12, 2), "stop": [4.0] * 12, "take_profit": [5.0] * 12}
    up = run(declaring(**fields), [100.0] * 4 + [110.0] * 8, allow_short=True)
    down = run(declaring(**fields), [100.0] * 4 + [90.0] * 8, allow_short=True)
    assert [fill.price for fill in up.fills] == [100.0, 104.0]
    assert [fill.price for fill in down.fills] == [100.0, 95.0]


def test_a_trail_follows_the_close_and_never_moves_back():
    closes = [100.0, 100.0, 104.0, 108.0, 106.0, 106.0, 90.0, 90.0]
    done = run(declaring(long_entry=at(8, 1), stop=[6.0] * 8, trail=[5.0] * 5 + [20.0] * 3), closes)
    assert [(fill.filled, fill.price) for fill in done.fills] == [(2, 100.0), (7, 103.0)]


def test_a_trail_without_a_stop_is_none():
    closes = [100.0, 100.0, 104.0, 108.0, 90.0, 90.0]
    done = run(declaring(long_entry=at(6, 1), trail=[5.0] * 6), closes)
    assert len(done.fills) == 1
    assert done.strategy.stop_price(done.strategy.data) is None


def test_a_profit_is_taken_at_its_distance():
    closes = [100.0, 100.0, 103.0, 107.0, 120.0, 120.0]
    done = run(declaring(long_entry=at(6, 1), stop=[9.0] * 6, take_profit=[6.0] * 6), closes)
    assert [(fill.filled, fill.price) for fill in done.fills] == [(2, 100.0), (4, 106.0)]
    assert done.strategy.resting


# ---------------------------------------------------------------------- at once, bar by bar, and left out


class Crossing(BaseStrategy):
    """Counts how often it declares."""

    times = 0

    @classmethod
    def signals(cls, bars, p):
        cls.times += 1
        average = bars.compute(sma, bars.close, 3)
        above, below = bars.close > average, bars.close < average
        return Signals(2, above, below, below, above, stop=0.1 * bars.close)


@pytest.mark.parametrize(("preload", "times"), [(True, 1), (False, 40)])
def test_bars_that_come_one_at_a_time_are_declared_again_at_each(monkeypatch, preload, times):
    monkeypatch.setattr(Crossing, "times", 0)
    closes = [100.0 + 9.0 * np.sin(bar / 3.0) for bar in range(40)]
    cerebro = bt.Cerebro(stdstats=False, preload=preload, runonce=preload)
    cerebro.adddata(bt.feeds.PandasData(dataname=frame(closes)), name="A")
    cerebro.addstrategy(Crossing, allow_short=True)
    cerebro.run()
    assert Crossing.times == times
    assert cerebro.broker.getvalue().hex() == run(Crossing, closes, cash=10_000.0, allow_short=True).value.hex()


def woken(strategy, bars, **params):
    """Numbers of the bars, from 1, that the strategy wants to see while it rests."""

    class Asked(strategy):
        def start(self):
            self.asked = self.wakes()

    asked = run(Asked, bars, **params).strategy.asked
    return None if asked is None else (np.flatnonzero(asked) + 1).tolist()


def test_it_wakes_where_it_is_first_ready_and_where_something_is_declared():
    declared = declaring(
        ready=2, long_entry=at(12, 5), short_entry=at(12, 6), long_exit=at(12, 8), short_exit=at(12, 11)
    )
    assert woken(declared, FLAT) == [3, 5, 6, 8, 11]


def test_it_wakes_at_the_bars_of_every_symbol_on_the_common_clock():
    class Late(BaseStrategy):
        @classmethod
        def signals(cls, bars, p):
            entry, never = np.zeros(len(bars), bool), np.zeros(len(bars), bool)
            entry[4] = True
            return Signals(0, entry, never, never, never)

    assert woken(Late, {"A": frame(FLAT), "B": frame(FLAT).iloc[3:]}) == [1, 4, 5, 8]


def test_a_strategy_that_decides_by_itself_may_need_every_bar():
    class Decides(declaring()):
        def decide(self, data):
            pass

    assert woken(Decides, FLAT) is None


def test_it_rests_while_nothing_is_on_its_way_or_protected():
    seen = []

    class Looking(declaring(long_entry=at(12, 3), long_exit=at(12, 7), stop=[5.0] * 12)):
        def next(self):
            super().next()
            seen.append(self.resting)

    run(Looking, FLAT)
    # wanted at 3, protected until the exit of 7 is known at 8
    assert seen == [True, True, *[False] * 5, *[True] * 5]
