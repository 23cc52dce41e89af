"""Random experiments with our broker are equal on every engine: orders, fills, trades, values, words of the guard."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from research.engine import replay
from research.engine.choice import Engine
from research.errors import IneligibleError
from strategies.base_strategy import BaseStrategy
from strategies.declaration import Signals
from tests.unit.research.engine import account_cases
from tests.unit.research.engine.account_cases import account_case, carry_out, carry_out_numbers, write_output
from tests.unit.research.engine.recording import Recording, first_difference
from tests.unit.research.engine.shrinking import shrunk_by
from tests.unit.research.scenarios import daily, prepared

pytestmark = pytest.mark.usefixtures("loop")

few = settings(max_examples=25, derandomize=True, phases=[Phase.generate], database=None)
# hypothesis also tries numbers that it finds in the sources, which change with every module that is loaded
seeds = st.integers(0, 2**32 - 1).map(lambda number: number ^ 0x5A5A5A5A)
LIMITS_ACTED = "Limits acted, of which the kernel keeps no record."


def difference(case, engine):
    """How an engine's run of a case differs from Backtrader's, as a text; None where it does not or cannot run it."""
    expected, _ = carry_out(case, Engine.VANILLA)
    try:
        found, _ = carry_out(case, engine)
    except IneligibleError as error:
        pair = carry_out_numbers(case) if error.why == LIMITS_ACTED else None
        return None if pair is None else first_difference(*pair)
    return first_difference(expected, found)


def demand_equal(case, engine):
    """Fail with the smallest case that differs, as code."""
    if difference(case, engine) is not None:
        small = shrunk_by(account_cases.smaller, case, lambda candidate: difference(candidate, engine) is not None, 300)
        pytest.fail(f"{small!r}\n{difference(small, engine)}")


@pytest.mark.thorough
@pytest.mark.parametrize("block", range(4))
def test_random_declarations_trade_the_same_on_every_engine(block):
    @few
    @given(seeds)
    def compare(seed):
        case = account_case(seed + block * 2**32)
        demand_equal(case, Engine.FAST)
        demand_equal(case, Engine.KERNEL)

    compare()


@pytest.mark.thorough
@pytest.mark.parametrize("block", range(2))
def test_random_parameters_of_the_library_trade_the_same_on_every_engine(block):
    @settings(few, max_examples=12)
    @given(seeds)
    def compare(seed):
        case = account_case(seed + block * 2**32, "library")
        demand_equal(case, Engine.FAST)
        demand_equal(case, Engine.KERNEL)

    compare()


@pytest.mark.thorough
@pytest.mark.parametrize("block", range(3))
def test_random_scripts_get_the_same_from_our_broker_on_the_fast_loop(block):
    @few
    @given(seeds)
    def compare(seed):
        demand_equal(account_case(seed + block * 2**32, "scripted"), Engine.FAST)

    compare()


def test_most_random_declarations_run_on_the_kernel():
    """Else the comparison would prove little."""

    def runs(seed):
        try:
            return carry_out(account_case(seed), Engine.KERNEL)[1] == Engine.KERNEL
        except IneligibleError as error:
            return error.why == LIMITS_ACTED

    assert sum(runs(seed) for seed in range(50)) >= 40


class Told(BaseStrategy):
    """Buys where a bar's volume says 1, leaves where it says 2."""

    @classmethod
    def signals(cls, bars, p):
        never = np.zeros(len(bars), dtype=bool)
        return Signals(0, bars.volume == 1.0, never, bars.volume == 2.0, never)


def outcome(engine, *tables, **fields):
    recording = Recording()
    write_output(recording, replay(prepared(Told, *tables, params=Told.space.defaults, **fields), engine=engine))
    return recording


@pytest.mark.parametrize("engine", [Engine.FAST, Engine.KERNEL])
def test_positions_are_added_up_in_the_order_in_which_symbols_were_met(engine):
    """Once the fast loop met them in another order, because it had slept while the first one was met."""
    prices = [17.31, 17.43, 17.9, 18.07, 18.33, 18.6, 19.0, 19.3]
    later = [33.3, 33.7, 33.1, 33.9, 34.7, 35.1]
    first = daily("A", [(price, price, price, price, 0.0) for price in prices[:6]] + [(19, 19, 19, 19, 1.0)] * 2)
    second = daily("B", [(price, price, price, price, 1.0) for price in later], first="2024-01-04")
    holes = first.filter([bar != 2 for bar in range(8)])
    expected = outcome(Engine.VANILLA, holes, second, cash=54_321.98)
    assert first_difference(expected, outcome(engine, holes, second, cash=54_321.98)) is None
