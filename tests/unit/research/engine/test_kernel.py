"""The kernel gives what Backtrader's loop gives, bit for bit, or says why it gives nothing."""

import math
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.engine import Engine, prepare_run, replay
from research.engine.kernel import Kernel, ineligible, records_of, run_output
from research.engine.verify import first_difference
from research.errors import ResearchError
from research.experiment import Experiment
from research.study.trial import with_params
from strategies.base_strategy import BaseStrategy
from strategies.declaration import Signals
from strategies.sma_crossover import SMACrossover
from tests.unit.research.engine.declared_cases import Case, declaring, difference, on_kernel
from tests.unit.research.scenarios import daily, flat, prepared, walk
from warehouse.sources.sample import SAMPLE_FILE

COSTS = st.sampled_from(
    [
        "none",
        "ibkr_fixed",
        "ibkr_tiered",
        {"model": "ibkr_fixed", "slippage": {"kind": "none"}, "cash_rate": 0.05},
        {
            "model": "ibkr_tiered",
            "slippage": {"kind": "half_spread", "spread_bps": 7},
            "participation": 0.02,
            "borrow_rate": 0.1,
            "margin_rate": 0.1,
            "cash_rate": 0.03,
        },
        {"model": "ibkr_fixed", "slippage": {"kind": "volume_share", "impact": 0.5}, "participation": 0.5},
    ]
)
STATES = st.sampled_from(["HALT_ENTRIES", "REDUCE_ONLY", "FLATTEN"])
LIMITS = st.fixed_dictionaries(
    {"on_daily_loss": STATES, "on_drawdown": STATES, "cooldown_minutes": st.sampled_from([1.0, 3.0, 60.0, 1_500.0])},
    optional={
        "max_position_shares": st.sampled_from([50, 300.5]),
        "max_position_value": st.sampled_from([500.0, 5_000.0]),
        "max_position_fraction": st.sampled_from([0.2, 1.0]),
        "max_gross_exposure": st.sampled_from([0.5, 1.0, 2.0]),
        "max_net_exposure": st.sampled_from([0.3, 1.0]),
        "max_order_value": st.just(900.0),
        "max_orders_per_minute": st.sampled_from([1, 3]),
        "max_orders_per_session": st.sampled_from([1, 2]),
        "max_open_orders": st.sampled_from([1, 2]),
        "allow_shorting": st.just(False),
        "max_daily_loss": st.sampled_from([50.0, 500.0]),
        "max_daily_loss_fraction": st.sampled_from([0.005, 0.02]),
        "max_drawdown": st.sampled_from([0.02, 0.1]),
        "max_consecutive_losses": st.sampled_from([1, 2]),
        "flat_before_close_minutes": st.sampled_from([2.0, 2.5, 5.0]),
    },
)


def cases(limits):
    return st.builds(
        Case,
        st.integers(0, 2**32),
        symbols=st.sampled_from([1, 1, 2, 3]),
        minute=st.booleans(),
        gaps=st.booleans(),
        shorts=st.booleans(),
        exits=st.booleans(),
        thin=st.booleans(),
        costs=COSTS,
        limits=limits,
        busy=st.sampled_from([0.05, 0.15, 0.5, 0.9]),
    )


@given(cases(st.sampled_from(["none", "default"])))
@settings(max_examples=60)
def test_any_declaration_runs_as_on_backtrader(case):
    found, _ = difference(case.prepared)
    assert found is None


@given(cases(LIMITS))
@settings(max_examples=60)
def test_any_limit_acts_as_on_backtrader(case):
    found, _ = difference(case.prepared)
    assert found is None


def test_the_comparison_sees_fills_halts_and_orders():
    """Of many cases most run to the end on the kernel, and limits act in many."""
    runs = [
        on_kernel(Case(seed, symbols=2, exits=True, costs="ibkr_fixed", limits={"max_drawdown": 0.02}).prepared)[0]
        for seed in range(40)
    ]
    assert sum(run.uncertain is None for run in runs) == 40
    assert sum(run.halt == 3 for run in runs) > 10
    assert sum(len(run.fills) for run in runs) > 200
    assert {kind for run in runs for kind in run.orders["kind"]} == {0, 1, 2}


@pytest.fixture(scope="module")
def sample():
    experiment = Experiment.build(
        strategy="strategies.sma_crossover.SMACrossover", symbols=["AAPL"], start="2000-03-01", end="2013-03-01"
    )
    return prepare_run(experiment, {"AAPL": sample_bars("AAPL")})


def sample_bars(symbol):
    """The sample's daily bars as they come, unadjusted."""
    rows = pq.read_table(SAMPLE_FILE, filters=[("symbol", "=", symbol)])
    columns = [rows[name].to_numpy() for name in ("open", "high", "low", "close", "volume")]
    return daily(symbol, list(zip(*columns, strict=True)), "2000-03-01")


def test_the_crossover_on_the_sample_is_backtraders(sample):
    output = replay(sample, engine=Engine.KERNEL)
    assert (output.engine, output.fills.num_rows > 20) == ("kernel", True)
    assert first_difference(replay(sample, engine=Engine.VANILLA), output) is None


def test_a_kernel_runs_any_number_of_parameters(sample):
    kernel = Kernel.prepare(sample)
    first = kernel.run(sample.params)
    for short, long in ((5, 20), (10, 100), (30, 31)):
        params = {**sample.params, "sma_short": short, "sma_long": long, "allow_short": long == 100}
        ready = with_params(sample, params)
        output = run_output(records_of(kernel, kernel.run(params), ready), ready)
        assert first_difference(replay(ready, engine=Engine.FAST), output) is None
    again = kernel.run(sample.params)
    assert again.fills.tobytes() == first.fills.tobytes()
    assert again.orders.tobytes() == first.orders.tobytes()


def test_a_run_may_send_any_number_of_orders():
    class Restless(BaseStrategy):
        @classmethod
        def signals(cls, bars, p):
            odd = np.arange(len(bars)) % 2 == 1
            distance = 0.05 * bars.close
            return Signals(0, odd, ~odd, ~odd, odd, stop=distance, trail=distance, take_profit=distance)

    ready = prepared(Restless, walk("A", 600, 3), walk("B", 600, 4))
    ready = with_params(ready, Restless.space.defaults | {"allow_short": True})
    found, run = difference(ready)
    assert found is None
    assert len(run.orders) > 1_024  # more than there is room for at first


def test_a_run_of_many_bars_has_room_for_its_orders_from_the_start():
    class InAndOut(BaseStrategy):
        @classmethod
        def signals(cls, bars, p):
            turn = np.arange(len(bars)) // 5 % 2 == 1
            return Signals(0, turn, ~turn, ~turn, turn)

    ready = prepared(InAndOut, *(walk(symbol, 1_500, seed) for seed, symbol in enumerate("ABCDEF")))
    ready = with_params(ready, InAndOut.space.defaults)
    kernel = Kernel.prepare(ready)
    begun = kernel._memory
    run = kernel.run(ready.params)
    assert len(run.orders) > 1_024
    assert kernel._memory is begun


def test_symbols_meet_the_broker_in_the_order_of_their_first_decisions():
    class Later(BaseStrategy):
        @classmethod
        def signals(cls, bars, p):
            always = np.ones(len(bars), np.bool_)
            never = ~always
            ready = 8 if bars.symbol == "A" else 2
            return Signals(ready, always, never, never, never)

    tables = [walk(symbol, 30, seed) for seed, symbol in enumerate("ABC")]
    ready = with_params(prepared(Later, *tables), Later.space.defaults)
    found, run = difference(ready)
    assert found is None
    assert run.met.tolist() == [1, 2, 0]


class Stopped(BaseStrategy):
    @classmethod
    def signals(cls, bars, p):
        always = np.ones(len(bars), np.bool_)
        return Signals(0, always, ~always, ~always, ~always, stop=2.0 * bars.close)


def test_a_stop_below_nothing_is_left_to_the_slower_engines():
    ready = with_params(prepared(Stopped, daily("A", flat(10.0, 6))), Stopped.space.defaults)
    run = Kernel.prepare(ready).run(ready.params)
    assert run.uncertain == "The price of a protective order is not a positive number, which the kernel leaves alone."
    with pytest.raises(ResearchError, match="ended early: The price of a protective order"):
        run.metrics(["sharpe_ratio"])
    assert records_of(Kernel.prepare(ready), run, ready) is None


class Held(BaseStrategy):
    @classmethod
    def signals(cls, bars, p):
        always = np.ones(len(bars), np.bool_)
        return Signals(0, always, ~always, ~always, ~always)


def test_a_fee_that_floats_cannot_tell_is_worked_out_in_decimals():
    price = math.nextafter(0.00125, 1.0)  # 1 % of 7 shares lies next to the middle of two millionths
    costs = {"model": "ibkr_fixed", "slippage": {"kind": "none"}, "participation": None}
    ready = with_params(prepared(Held, daily("A", flat(price, 6)), costs=costs, cash=0.0099), Held.space.defaults)
    found, run = difference(ready)
    assert (found, run.uncertain) == (None, None)
    assert [(row["quantity"], row["commission"]) for row in run.fills] == [(7.0, 0.000088)]


def test_a_run_in_which_limits_act_has_no_words_for_them():
    case = Case(3, limits={"max_position_shares": 5})
    ready = case.prepared
    run = Kernel.prepare(ready).run(ready.params)
    assert run.acted
    assert records_of(Kernel.prepare(ready), run, ready) is None
    assert records_of(Kernel.prepare(ready), replace(run, acted=False), ready) is not None


class Deciding(BaseStrategy):
    def decide(self, data):
        self.enter_long(data)


class Spreading(SMACrossover):
    def positions_at_most(self):
        return 1


class Told(SMACrossover):
    def notify_trade(self, trade):
        self.buy()


class Named(SMACrossover):
    """Has a method of its own, which nobody calls."""

    def label(self):
        return "named"


class Prepared(SMACrossover):
    def __init__(self):
        super().__init__()


@pytest.mark.parametrize(
    ("strategy", "why"),
    [
        (Deciding, "Deciding decides bar by bar; the kernel runs strategies that declare their signals."),
        (Spreading, "Spreading overrides positions_at_most, which the kernel does not call."),
        (Told, "Told overrides notify_trade, which the kernel does not call."),
        (Prepared, "Prepared overrides __init__, which the kernel does not call."),
    ],
)
def test_what_the_kernel_cannot_run_it_says(strategy, why):
    ready = prepared(strategy, daily("A", flat(10.0, 5)))
    assert ineligible(ready) == why
    with pytest.raises(ResearchError, match=why[:20]):
        Kernel.prepare(ready)


def test_a_slippage_model_of_ones_own_is_left_to_the_other_engines():
    class Odd:
        notice = None

        def price(self, side, price, **bar):
            return price

    ready = prepared(SMACrossover, daily("A", flat(10.0, 5)))
    ready = replace(ready, costs=replace(ready.costs, slippage=Odd()))
    assert ineligible(ready) == "The slippage model Odd is not one of the kernel's."


def test_a_method_of_ones_own_is_no_matter():
    assert ineligible(prepared(Named, daily("A", flat(10.0, 5)))) is None


def test_a_declared_strategy_is_one_for_the_kernel():
    assert ineligible(Case(1).prepared) is None
    assert issubclass(declaring(Case(1)), BaseStrategy)
