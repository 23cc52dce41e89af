"""A whole backtest: determinism, warnings, late and missing symbols, errors."""

import os
import subprocess
import sys
from pathlib import Path

import backtrader as bt
import pytest

from broker.costs import CostSettings
from research.engine import replay, run_backtest
from research.errors import AccountingError, BarsError, ExperimentError
from research.experiment import Experiment
from research.run_output import EQUITY_SCHEMA
from tests.unit.research.scenarios import FREE, Script, daily, digest, flat, library_run, prepared, run, walk

LIBRARY = "strategies.sma_crossover.SMACrossover"
FOLDER = str(Path(__file__).parent)


def experiment(**fields):
    least = {"strategy": LIBRARY, "symbols": ["A"], "start": "2020-01-01", "end": "2024-12-31"}
    return Experiment.build(**(least | fields))


def test_the_same_experiment_gives_the_same_output_bit_for_bit():
    assert digest(library_run()) == digest(library_run())


@pytest.mark.thorough
def test_the_hash_seed_of_python_changes_nothing():
    code = f"import sys; sys.path.insert(0, {FOLDER!r}); import scenarios as s; print(s.digest(s.library_run()))"
    digests = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert digests == {digest(library_run()) + "\n"}


def test_random_numbers_of_a_strategy_come_from_the_experiments_seed():
    class Gambling(bt.Strategy):
        def next(self):
            import random

            import numpy as np

            if random.random() < 0.1 and np.random.random() < 0.9:  # noqa: S311
                self.order_target_size(target=random.randint(0, 9))  # noqa: S311

    bars = walk("A", 200)
    assert digest(run(Gambling, bars, seed=4)) == digest(run(Gambling, bars, seed=4))
    assert digest(run(Gambling, bars, seed=4)) != digest(run(Gambling, bars, seed=5))


def test_the_library_trades_and_every_fill_pays():
    output = library_run()
    assert output.trades.num_rows > 5
    assert min(output.fills["commission"].to_pylist()) > 0
    assert min(output.trades["quantity"].to_pylist()) > 0
    assert output.final_equity == output.equity["equity"][-1].as_py()
    assert set(output.fills["order_id"].to_pylist()) <= set(output.orders["order_id"].to_pylist())


def test_bars_outside_the_range_are_not_seen():
    bars = walk("A", 300)
    inside = bars.filter([day.as_py().year == 2020 and day.as_py().month > 2 for day in bars["session"]])
    cut = experiment(start="2020-03-01", end="2020-12-31", params={"sma_short": 5, "sma_long": 20})
    assert digest(run_backtest(cut, {"A": bars})) == digest(run_backtest(cut, {"A": inside}))


def test_a_symbol_without_bars_is_an_error_not_a_skip():
    with pytest.raises(BarsError, match="symbols: B has no bars at all"):
        run_backtest(experiment(symbols=["A", "B"]), {"A": walk("A")})
    with pytest.raises(BarsError, match="symbols: A has no bars from 2023-01-01"):
        run_backtest(experiment(start="2023-01-01"), {"A": walk("A", 300)})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"strategy": "strategies.sma_crossover.SMACrosover"}, "Did you mean SMACrossover"),
        ({"strategy": "strategies.nothing.Here"}, "there is no module"),
        ({"strategy": "strategies.pairs.PairsTrading"}, "PairsTrading needs exactly two, not 1"),
        ({"params": {"sma_shrt": 5}}, "sma_shrt is not a parameter of SMACrossover. Did you mean sma_short"),
        ({"params": {"sma_short": 60, "sma_long": 50}}, "sma_short < sma_long"),
    ],
)
def test_a_wrong_strategy_or_parameter_is_one_sentence(fields, sentence):
    with pytest.raises(ExperimentError) as caught:
        run_backtest(experiment(**fields), {"A": walk("A")})
    assert sentence in str(caught.value)


def test_a_plain_indicator_longer_than_the_bars_is_one_sentence():
    class Long(bt.Strategy):
        def __init__(self):
            bt.ind.SMA(period=100)

    with pytest.raises(BarsError, match=r"A has 30 bars in the range, but .* needs 100 before it can begin"):
        run(Long, walk("A", 30))


def test_an_index_error_of_the_strategy_stays_its_own():
    with pytest.raises(IndexError, match="mine"):
        run(Script, walk("A", 30), params={"plan": {3: lambda s: raise_mine()}})


def raise_mine():
    raise IndexError("mine")


# ---------------------------------------------------------------- symbols that begin at different times


class EqualWeights(bt.Strategy):
    def next(self):
        if len(self) % 10 == 0:
            for data in self.datas:
                self.order_target_percent(data, 0.9 / len(self.datas))


def test_a_plain_strategy_waits_for_the_last_symbol_and_the_result_says_so():
    output = run(EqualWeights, walk("A", 120, 1), walk("B", 60, 2, first="2020-04-01"))
    first = output.orders["ts"][0].as_py()
    assert first.date() >= walk("B", 60, 2, first="2020-04-01")["session"][0].as_py()
    assert output.equity["session"][0].as_py().isoformat() == "2020-01-02"
    assert set(output.fills["symbol"].to_pylist()) == {"A", "B"}
    assert any("B has no bars before 2020-04-01" in warning for warning in output.warnings)
    assert any(
        "Nothing was decided before 2020-04-01, when every symbol had enough bars" in warning
        for warning in output.warnings
    )


def test_a_symbol_that_ends_early_keeps_its_last_close():
    ending = daily("B", [(20, 20, 20, 20)] * 20)
    output = run(
        Script,
        daily("A", flat(10, 60)),
        ending,
        params={"plan": {3: lambda s: s.buy(data=s.datas[1], size=10)}},
        end="2024-03-29",
    )
    assert output.equity["position_value"][-1].as_py() == 200.0
    assert any("B has no bars after 2024-01-30" in warning for warning in output.warnings)


# ---------------------------------------------------------------- warnings


def warnings_of(*rows, steps=None, **fields):
    table = daily("A", rows or flat(10, 20))
    return run(Script, table, params={"plan": steps or {}}, start="2024-01-02", end="2024-01-31", **fields).warnings


def has(warnings, text):
    return any(text in warning for warning in warnings)


def test_a_run_without_orders_says_so():
    assert has(warnings_of(), "No order was ever submitted")


def test_a_run_without_costs_says_so():
    assert has(warnings_of(costs="none"), CostSettings(model="none").build().notices[0])
    assert not has(warnings_of(costs="ibkr_fixed"), "No commissions")


def test_a_run_whose_orders_never_fill_says_so():
    steps = {3: lambda s: s.buy(size=1, exectype=bt.Order.Limit, price=1)}
    found = warnings_of(steps=steps)
    assert has(found, "No order was ever filled")
    assert has(found, "1 orders were still waiting")


def test_a_position_left_open_is_named_with_its_profit():
    found = warnings_of(*flat(10, 10), *flat(11, 10), steps={3: lambda s: s.buy(size=10)})
    assert has(found, "Open at the end: A, with an unrealised profit of 10.00")
    assert has(found, "No trade was ever closed")


def test_orders_without_cash_are_counted():
    assert has(warnings_of(steps={3: lambda s: s.buy(size=10**6)}), "1 of 1 orders failed for lack of cash")


def test_fees_that_eat_the_profit_are_told():
    steps = {3: lambda s: s.buy(size=1), 12: lambda s: s.sell(size=1)}
    found = warnings_of(
        *flat(100, 10), *flat(103, 10), steps=steps, costs={"model": "ibkr_fixed", "slippage": {"kind": "none"}}
    )
    assert has(found, "Fees of 2.0")
    assert has(found, "of the gross profit of 3.00")


def test_a_benchmark_that_does_not_cover_the_range_is_told():
    bars, short = walk("A", 300), walk("B", 100)
    least = experiment(benchmark="B", end="2021-03-01")
    output = run_backtest(least, {"A": bars}, benchmark=short)
    assert has(output.warnings, "The benchmark B has bars from 2020-01-02 to")
    assert not has(run_backtest(least, {"A": bars}, benchmark=bars).warnings, "The benchmark")


def test_flat_before_close_on_daily_bars_is_left_out_and_told():
    steps = {3: lambda s: s.buy(size=10)}
    table = daily("A", flat(10, 20))
    output = run(Script, table, params={"plan": steps}, limits={"flat_before_close_minutes": 5})
    assert has(output.warnings, "flat_before_close_minutes has no effect on daily bars")


def test_a_halt_that_stands_at_the_end_is_told():
    rows = [*flat(10, 10), *flat(5, 10)]
    found = warnings_of(*rows, steps={3: lambda s: s.buy(size=5000)}, limits={"max_drawdown": 0.1})
    assert has(found, "Risk state FLATTEN stood at the end since 2024-01-17 by max_drawdown")


# ---------------------------------------------------------------- tampering


def test_a_strategy_that_changes_cash_or_positions_is_found():
    def print_money(strategy):
        strategy.broker.cash += 1000

    def print_shares(strategy):
        strategy.broker.positions[strategy.data].update(100, 1.0)

    for fraud in (print_money, print_shares):
        with pytest.raises(AccountingError):
            run(Script, daily("A", flat(10, 20)), params={"plan": {3: lambda s: s.buy(size=5), 6: fraud}})


def test_a_strategy_that_replaces_the_broker_is_found():
    def replace_broker(strategy):
        strategy.cerebro.broker = bt.brokers.BackBroker()

    with pytest.raises((AccountingError, BarsError)):
        replay(prepared(Script, daily("A", flat(10, 20)), params={"plan": {3: replace_broker}}))


def test_interest_is_booked_by_calendar_days_and_shown():
    costs = FREE | {"borrow_rate": 0.36}
    output = run(Script, daily("A", flat(100, 8)), params={"plan": {0: lambda s: s.sell(size=100)}}, costs=costs)
    # short 10,000 from Wednesday's open on: 10.00 a night, three nights over the weekend
    assert output.equity["financing"].to_pylist() == [0, 0, -10.0, -10.0, -30.0, -10.0, -10.0, -10.0]
    assert output.financing == -80.0
    assert output.final_equity == 100_000.0 - 80.0


def test_equity_is_a_row_a_bar_with_its_parts():
    output = run(Script, daily("A", flat(10, 6)), params={"plan": {1: lambda s: s.buy(size=100)}})
    assert output.equity.num_rows == 6
    assert output.equity["cash"].to_pylist() == [1e5, 1e5, 99_000.0, 99_000.0, 99_000.0, 99_000.0]
    assert output.equity["position_value"].to_pylist() == [0, 0, 1000.0, 1000.0, 1000.0, 1000.0]
    assert output.equity["gross_value"].to_pylist() == [0, 0, 1000.0, 1000.0, 1000.0, 1000.0]
    assert output.equity.schema == EQUITY_SCHEMA
