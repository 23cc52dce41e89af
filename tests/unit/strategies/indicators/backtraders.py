"""What Backtrader's own indicators say about a few bars.

Belongs here: bars to compute on, running an indicator in a real Cerebro. Does not belong here: tests.
"""

import math
from dataclasses import dataclass

import backtrader as bt
import numpy as np
from hypothesis import strategies as st


@dataclass(frozen=True)
class Prices:
    """Bars of any numbers at all; a test of arithmetic needs no market."""

    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]

    def array(self, name):
        return np.array(getattr(self, name))

    def __len__(self):
        return len(self.close)


class LockedPrices(Prices):
    """The same, as arrays that nobody may write to."""

    def array(self, name):
        found = super().array(name)
        found.flags.writeable = False
        return found


def bars_of(close):
    """Bars that close at these prices and range one up and down."""
    return Prices(close, [value + 1.0 for value in close], [value - 1.0 for value in close], close)


class Feed(bt.feed.DataBase):
    params = (("prices", None),)

    def start(self):
        super().start()
        self._next_row = 0

    def _load(self):
        row, prices = self._next_row, self.p.prices
        if row >= len(prices):
            return False
        self.lines.datetime[0] = 737000.0 + row
        for name in ("open", "high", "low", "close"):
            getattr(self.lines, name)[0] = getattr(prices, name)[row]
        self.lines.volume[0] = self.lines.openinterest[0] = 0.0
        self._next_row += 1
        return True


def lines_of(make, prices):
    """The lines of the indicator that `make(data)` returns after a run of Backtrader's; None where the run ends badly.

    Backtrader itself fails where there are fewer bars than an indicator needs, and where it divides by zero.
    """
    made = []

    class Watching(bt.Strategy):
        def __init__(self):
            made.append(make(self.data))

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(Feed(prices=prices))
    cerebro.addstrategy(Watching)
    try:
        cerebro.run()
    except (ZeroDivisionError, OverflowError, ValueError, IndexError, TypeError):
        return None
    thing = made[0]
    lines = [thing] if isinstance(thing, bt.LineBuffer) else thing.lines.lines
    return [list(line.array) for line in lines]


def bits(values):
    """The exact numbers, in a form that a failure can be read in; all NaN are one."""
    return [f"{value.hex()} = {value!r}" if not math.isnan(value) else "nan" for value in map(float, values)]


def first_known(values):
    return next((at for at, value in enumerate(values) if not math.isnan(value)), None)


def column_of_any_numbers(least=0, most=40):
    """Random, tied, flat, huge, tiny and NaN-holding columns; the first number is one."""
    kinds = st.one_of(
        st.just(st.floats(-1e6, 1e6)),
        st.just(st.integers(1, 40000).map(lambda cents: cents / 100)),
        st.just(st.sampled_from([1.0, 2.0, 1.0 + 2.0**-52, 2.0**53, 2.0**-53, 0.0, -0.0])),
        st.just(st.floats(allow_nan=False, allow_infinity=False, width=64)),
        st.just(st.floats(1e-310, 1e-290)),
        st.just(st.one_of(st.floats(1.0, 100.0), st.sampled_from([math.nan, math.inf, 3.0]))),
        st.floats(1.0, 100.0).map(st.just),
    )
    column = kinds.flatmap(lambda numbers: st.lists(numbers, min_size=least, max_size=most))
    return column.map(begun)


def begun(values):
    """The column without leading NaN: those would be warm-up."""
    return [0.5, *values[1:]] if values and math.isnan(values[0]) else values


@st.composite
def prices(draw, least=0, most=40):
    """Bars whose range holds open and close, or bars of four unrelated columns."""
    close = draw(column_of_any_numbers(least, most))
    if draw(st.booleans()):
        others = st.permutations(close).map(begun)
        return Prices(draw(others), draw(others), draw(others), close)
    size = draw(st.sampled_from([0.0, 0.01, 1.5]))
    return Prices(close, [value + size for value in close], [value - size for value in close], close)
