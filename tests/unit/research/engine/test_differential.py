"""Random runs are equal on Backtrader's own loop and on the fast one: every event, every number, bit for bit."""

import dataclasses
import datetime as dt
import math
import warnings

import backtrader as bt
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from research.engine.cerebro import FastCerebro
from tests.unit.research.engine.cases import Case, Series, Step, case_of
from tests.unit.research.engine.recording import first_difference
from tests.unit.research.engine.scripted import carry_out
from tests.unit.research.engine.shrinking import shrunk

pytestmark = pytest.mark.usefixtures("loop")

EXAMPLES = 100
many = settings(max_examples=EXAMPLES, derandomize=True, phases=[Phase.generate], database=None)
# hypothesis also tries numbers that it finds in the sources, which change with every module that is loaded
seeds = st.integers(0, 2**32 - 1).map(lambda number: number ^ 0x5A5A5A5A)


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, from indicators on odd bars
        yield


def difference(case, make=FastCerebro):
    """How a Cerebro's run of a case differs from Backtrader's own, as a text; None where it does not."""
    expected, _ = carry_out(case, bt.Cerebro)
    found, _ = carry_out(case, make)
    return first_difference(expected, found)


def demand_equal(case):
    """Fail with the smallest case that differs, as code."""
    if difference(case) is not None:
        small = shrunk(case, lambda candidate: difference(candidate) is not None)
        pytest.fail(f"{small!r}\n{difference(small)}")


@pytest.mark.thorough
@pytest.mark.parametrize("block", range(8))
def test_a_random_run_is_the_same_on_the_fast_loop(block):
    @many
    @given(seeds)
    def compare(seed):
        demand_equal(case_of(seed + block * 2**32, bars=28, steps=20))

    compare()


def ramp(*closes):
    """Daily bars that open at one close and end at the next."""
    days = [dt.datetime.combine(dt.date(2021, 3, 1) + dt.timedelta(days=day), dt.time()) for day in range(len(closes))]
    rows = [(a, max(a, b) + 1.0, min(a, b) - 1.0, b, 100.0, 0.0) for a, b in zip((closes[0], *closes), closes)]  # noqa: B905
    return Series("S0", tuple(days), tuple(rows))


LATE = ramp(10.0, 11.0, 12.0, 13.0)


# what random runs once found, made small
def opening(bar, price, series):
    """A series one bar of which opens at another price."""
    rows = list(series.rows)
    rows[bar] = (price, *rows[bar][1:])
    return dataclasses.replace(series, rows=tuple(rows))


FOUND = {
    "an order on a symbol without a bar, then another": Case(
        series=(ramp(10.0, 11.0, 12.0), Series("S1", LATE.stamps[2:], LATE.rows[2:])),
        steps=(
            Step("prenext", 0, "buy", {"data": 0, "size": 1}),
            Step("prenext", 0, "buy", {"data": 1, "size": 1}),
            Step("prenext", 1, "buy", {"data": 0, "size": 1}),
        ),
        hooks=frozenset({"prenext", "next"}),
    ),
    "stopped in start": Case(
        series=(ramp(10.0, 11.0, 12.0),),
        steps=(Step("start", 0, "runstop", {"really": True}),),
        hooks=frozenset({"start", "next", "stop"}),
    ),
    "an unseen bar before a position closes": Case(
        series=(ramp(*range(10, 22)),),
        steps=(
            Step("next", 7, "buy", {"data": 0, "size": 0.5}),
            Step("next", 9, "close", {"data": 0, "size": None}),
        ),
    ),
    "an order sent while nobody checks orders, which are checked again later": Case(
        series=(ramp(*range(10, 22)),),
        steps=(
            Step("next", 2, "buy", {"data": 0, "size": 5}),
            Step("next", 2, "change", {"what": "checksubmit", "on": False}),
            Step("next", 6, "change", {"what": "checksubmit", "on": True}),
        ),
        hooks=frozenset({"next", "notify_order", "notify_cashvalue"}),
    ),
    "all money withdrawn, which no value of the fund survives": Case(
        series=(ramp(10, 11, 12, 13),),
        steps=(
            Step("start", 0, "add_cash", {"cash": -500.0}),
            Step("start", 0, "add_cash", {"cash": -500.0}),
            Step("start", 0, "order_target_percent", {"data": 0, "target": 2.0}),
        ),
        hooks=frozenset({"start", "next"}),
        broker=(("setcash", {"cash": 1000.0}),),
    ),
    "shares sold short at no price, and money set anew": Case(
        series=(opening(4, math.nan, ramp(*range(10, 18))),),
        steps=(
            Step("next", 3, "sell", {"data": 0, "size": 5}),
            Step("next", 6, "change", {"what": "cash", "cash": 777.0}),
        ),
        hooks=frozenset({"next", "notify_cashvalue"}),
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_random_runs_once_found_is_the_same_now(name):
    assert difference(FOUND[name]) is None
