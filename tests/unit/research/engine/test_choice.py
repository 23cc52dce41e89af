"""Which engine runs, what the result says about it, and that it changes nothing else."""

import backtrader as bt
import pytest

from research.engine import Engine, Rig, engine_named, replay, run_backtest
from research.engine.verify import first_difference
from research.errors import ExperimentError, IneligibleError
from tests.unit.research.scenarios import library_run, prepared, walk


class Crossing(bt.Strategy):
    def __init__(self):
        self.cross = bt.ind.CrossOver(bt.ind.SMA(period=5), bt.ind.SMA(period=20))

    def next(self):
        if self.cross[0] > 0:
            self.buy(size=10)
        elif self.cross[0] < 0:
            self.close()


class Timed(Crossing):
    """A timer is nothing that the fast loop keeps."""

    def start(self):
        self.add_timer(bt.timer.SESSION_START)


def test_the_fastest_engine_that_can_is_taken_and_says_why_it_was_not_a_faster_one():
    output = replay(prepared(Crossing, walk("A")))
    assert output.engine == "fast"
    assert output.engine_reason.endswith(".")


def test_what_the_fast_loop_cannot_run_goes_through_backtraders_own():
    output = replay(prepared(Timed, walk("A")))
    assert (output.engine, output.engine_reason) == ("vanilla", "A timer is set; the fast loop keeps none.")


@pytest.mark.parametrize("engine", [Engine.VANILLA, Engine.FAST])
def test_the_engine_that_was_asked_for_runs(engine):
    output = replay(prepared(Crossing, walk("A")), engine=engine)
    assert (output.engine, output.engine_reason) == (engine.value, f"The engine {engine} was asked for.")


def test_the_engine_changes_nothing_but_its_name():
    ready = prepared(Crossing, walk("A"))
    outputs = [replay(ready, engine=engine) for engine in (Engine.VANILLA, Engine.FAST, Engine.AUTO)]
    assert outputs[0].fills.num_rows > 4
    assert [first_difference(outputs[0], output) for output in outputs] == [None] * 3


def test_an_engine_that_cannot_run_what_it_was_asked_to_is_an_error_that_says_why():
    with pytest.raises(IneligibleError, match=r"^engine: fast cannot run made: A timer is set"):
        replay(prepared(Timed, walk("A"), name="made"), engine=Engine.FAST)


def test_a_strategy_without_declared_signals_is_nothing_for_the_kernel():
    with pytest.raises(IneligibleError, match=r"^engine: kernel cannot run made: "):
        replay(prepared(Crossing, walk("A"), name="made"), engine=Engine.KERNEL)


def test_a_rig_holds_backtraders_objects_which_the_kernel_has_not():
    with pytest.raises(IneligibleError, match="kernel cannot run"):
        Rig(prepared(Crossing, walk("A")), engine=Engine.KERNEL)


def test_bars_that_come_one_at_a_time_take_backtraders_own_loop():
    assert Rig(prepared(Crossing, walk("A", 60)), bar_by_bar=True).run().engine == "vanilla"


def test_a_run_of_an_experiment_names_its_engine():
    assert library_run().engine in {"fast", "kernel"}


def test_a_run_of_an_experiment_takes_the_engine_asked_for(lab):
    bars = {"A": lab.bars("A", 1, 60)}
    assert run_backtest(lab.experiment(), bars, engine=Engine.VANILLA).engine == "vanilla"


@pytest.mark.parametrize("text", ["fast", " FAST "])
def test_an_engine_is_found_by_its_name(text):
    assert engine_named(text) is Engine.FAST


def test_a_misspelt_engine_is_named_with_what_was_meant():
    with pytest.raises(ExperimentError) as caught:
        engine_named("kernle")
    assert str(caught.value) == ("engine: 'kernle' is not one of auto, vanilla, fast, kernel; did you mean kernel.")
