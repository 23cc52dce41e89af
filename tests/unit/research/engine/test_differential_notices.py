"""The comparison of runs notices what it has to: equal runs are equal, and every small fault shows."""

import backtrader as bt
import pytest

from tests.unit.research.engine.cases import case_of
from tests.unit.research.engine.recording import Recording, first_difference
from tests.unit.research.engine.scripted import carry_out
from tests.unit.research.engine.shrinking import shrunk
from tests.unit.research.engine.wrong_engines import FAULTS

pytestmark = pytest.mark.filterwarnings("ignore")  # numpy's, from indicators on odd bars
SEEDS = range(60)


def noticed(seed, make):
    expected, _ = carry_out(case_of(seed), bt.Cerebro)
    found, _ = carry_out(case_of(seed), make)
    return first_difference(expected, found)


def test_two_runs_of_one_case_on_backtrader_are_equal():
    assert [seed for seed in SEEDS if noticed(seed, bt.Cerebro)] == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_an_engine_is_noticed(fault):
    assert any(noticed(seed, FAULTS[fault]) for seed in SEEDS)


def test_a_case_is_made_again_from_its_seed_and_from_its_text():
    from tests.unit.research.engine import cases

    case = case_of(11)
    assert case_of(11) == case
    assert eval(repr(case), {**vars(cases), "datetime": __import__("datetime"), "nan": float("nan")}) == case  # noqa: S307


def test_cases_do_most_of_what_a_strategy_can_do():
    done = {step.kind for seed in range(300) for step in case_of(seed).steps}
    used = {hook for seed in range(300) for hook in case_of(seed).hooks}
    events = {event.split(":")[0] for seed in range(40) for event in carry_out(case_of(seed), bt.Cerebro)[0].events}
    assert {"buy", "sell_bracket", "oco", "family", "cancel", "add_cash", "trail", "order_target_percent"} <= done
    assert {"start", "prenext", "nextstart", "next", "stop", "notify_order", "notify_trade", "notify_fund"} <= used
    assert {"notify_order", "notify_trade", "watcher trade", "in the end trades", "prenext", "look gives"} <= events


def test_a_failing_case_is_made_smaller():
    def fails(case):
        return any(step.kind == "buy" for step in case.steps) and len(case.series[0].stamps) > 3

    small = shrunk(case_of(5), fails)
    assert [step.kind for step in small.steps] == ["buy"]
    assert (len(small.series), len(small.series[0].stamps)) == (1, 4)
    assert (small.indicators, small.analyzers, small.broker, small.sizer) == ((), (), (), None)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), (0.0, -0.0), (0.1 + 0.2, 0.3), (float("nan"), 0.0), ([1], (1,)), (None, 0), (True, 1)],
)
def test_values_that_differ_in_anything_differ_as_texts(one, other):
    left, right = Recording(), Recording()
    left.note("value", one)
    right.note("value", other)
    assert first_difference(left, right) is not None


def test_a_recording_that_stops_early_differs():
    left, right = Recording(), Recording()
    left.note("one")
    assert "event 0 of 1/0" in first_difference(left, right)


def test_a_recording_does_not_grow_for_ever():
    recording = Recording(limit=2)
    recording.note("one")
    recording.note("two")
    with pytest.raises(RuntimeError, match="for ever"):
        recording.note("three")
