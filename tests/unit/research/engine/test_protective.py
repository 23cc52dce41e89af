"""A stop and a limit that takes the profit beside it, on every engine: together they never go through zero."""

import numpy as np
import pytest

from research.engine import replay
from research.engine.choice import Engine
from strategies.base_strategy import BaseStrategy
from strategies.declaration import Signals
from tests.unit.research.scenarios import daily, flat, prepared

ENGINES = pytest.mark.parametrize("engine", [Engine.VANILLA, Engine.FAST, Engine.KERNEL])


class Protected(BaseStrategy):
    """Enters at the second bar, long for symbol A and short for any other, 5 from its stop and from its profit."""

    @classmethod
    def signals(cls, bars, p):
        entry, never = np.arange(len(bars)) == 1, np.zeros(len(bars), bool)
        long, short = (entry, never) if bars.symbol == "A" else (never, entry)
        away = np.full(len(bars), 5.0)
        return Signals(0, long, short, never, never, stop=away, take_profit=away)


def fills(engine, symbol, *rows):
    """Bar number from 1, signed quantity and price of each fill; 100 is the close until `rows` begin."""
    table = daily(symbol, [*flat(100, 4), *rows, *flat(100, 2)])
    params = Protected.space.defaults | {"allow_short": True, "target_fraction": 0.5}
    output = replay(prepared(Protected, table, params=params, cash=10_000.0), engine=engine)
    bar_of = {ts: number for number, ts in enumerate(table["ts"].to_pylist(), start=1)}
    signs = {"buy": 1.0, "sell": -1.0}
    found = output.fills.select(["ts", "side", "quantity", "price"]).to_pylist()
    return [(bar_of[fill["ts"]], signs[fill["side"]] * fill["quantity"], fill["price"]) for fill in found]


@ENGINES
@pytest.mark.parametrize(("symbol", "sign"), [("A", 1.0), ("B", -1.0)])
def test_a_bar_that_reaches_both_ends_the_position_at_its_stop_once(engine, symbol, sign):
    assert fills(engine, symbol, (100, 106, 94, 100)) == [
        (3, 50.0 * sign, 100.0),
        (5, -50.0 * sign, 100.0 - 5.0 * sign),
    ]


@ENGINES
@pytest.mark.parametrize(("symbol", "sign"), [("A", 1.0), ("B", -1.0)])
def test_one_of_them_that_executes_withdraws_the_other(engine, symbol, sign):
    up, down = (100, 106, 100, 100), (100, 100, 94, 100)
    profit, stop = (up, down) if sign > 0 else (down, up)
    assert fills(engine, symbol, profit, stop)[1:] == [(5, -50.0 * sign, 100.0 + 5.0 * sign)]
    assert fills(engine, symbol, stop, profit)[1:] == [(5, -50.0 * sign, 100.0 - 5.0 * sign)]


@ENGINES
def test_an_open_beyond_the_limit_is_taken(engine):
    assert fills(engine, "A", (108, 109, 107, 108))[1:] == [(5, -50.0, 108.0)]
