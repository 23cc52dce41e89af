"""The compiled loop: when it is used, what it does where numbers are out of the ordinary, and building it."""

import copy
import gc
import pickle
import subprocess
import sys
from pathlib import Path

import backtrader as bt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.engine import native
from research.engine.cerebro import FastCerebro
from research.engine.matching import fee
from research.engine.native import CHOICE, build, compiled, loaded
from research.engine.positions import MarkedPosition, marked_position, moved
from tests.unit.research.engine.test_cerebro import ALIGNED, exact, frame, run

needs_compiled = pytest.mark.skipif(loaded() is None, reason="nothing is compiled here")
LOOPS = pytest.mark.parametrize("loop", ["python", pytest.param("compiled", marks=needs_compiled)])


# ---------------------------------------------------------------- when it is used


@needs_compiled
def test_the_compiled_loop_is_used_unless_python_is_asked_for(monkeypatch):
    monkeypatch.delenv(CHOICE, raising=False)
    assert compiled() is loaded()
    monkeypatch.setenv(CHOICE, "python")
    assert compiled() is None


@needs_compiled
def test_a_module_compiled_of_other_sources_is_left_alone(monkeypatch):
    loaded.cache_clear()
    monkeypatch.setattr(native, "fingerprint", lambda: "of other sources")
    try:
        assert loaded() is None
    finally:
        loaded.cache_clear()


def test_where_nothing_is_compiled_the_loop_stays_in_python(monkeypatch):
    def missing(name):
        raise ImportError(name)

    loaded.cache_clear()
    monkeypatch.setattr(native, "import_module", missing)
    try:
        assert loaded() is None
    finally:
        loaded.cache_clear()


# ---------------------------------------------------------------- building it


def test_without_a_compiler_the_build_says_why_and_does_not_fail(monkeypatch):
    monkeypatch.setenv("LDSHARED", "/no/such/compiler -shared")
    assert "could not be compiled" in build.build()


def test_a_compiler_that_fails_is_quoted(monkeypatch, tmp_path):
    broken = tmp_path / "compiler"
    broken.write_text("#!/bin/sh\necho 'x.c:1: error: no such thing' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("LDSHARED", str(broken))
    assert build.build() == "The compiler failed: x.c:1: error: no such thing"


def test_without_headers_the_build_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(build.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    assert build.build() == f"Python's headers are missing ({tmp_path}/Python.h)."


def test_a_failed_build_leaves_nothing_behind(monkeypatch):
    before = sorted(Path(build.__file__).parent.iterdir())
    monkeypatch.setenv("LDSHARED", "/no/such/compiler")
    build.build()
    assert sorted(Path(build.__file__).parent.iterdir()) == before


@needs_compiled
def test_the_command_says_what_there_is():
    told = subprocess.run([sys.executable, "-m", "research.engine.native"], capture_output=True, text=True, check=True)
    assert told.stdout == f"compiled {build.target().name}\n"


# ---------------------------------------------------------------- the same as Backtrader and as the loop in Python


class Sender(bt.Strategy):
    """Sends orders of every kind, with sizes and prices of every kind of number."""

    params = (("sends", ()), ("log", ()))

    def next(self):
        for bar, kind, buys, size, away in self.p.sends:
            if bar == len(self):
                price = type(size)(self.data.close[0] * (1 + away)) if kind != bt.Order.Market else None
                trail = {"trailpercent": 0.01} if kind == bt.Order.StopTrail else {"price": price}
                (self.buy if buys else self.sell)(size=size, exectype=kind, **trail)

    def notify_order(self, order):
        done, asked = order.executed, order.created
        numbers = (asked.size, asked.price, done.size, done.price, done.value, done.comm, done.pnl, done.remsize)
        bits = [(bit.size, bit.price, bit.closed, bit.openedcomm, bit.pnl, bit.psize) for bit in done.getpending()]
        kinds = [type(number).__name__ for number in numbers]
        self.p.log.append(exact([order.getstatusname(), len(self), *numbers, kinds, *bits, done.margin, done.dt]))

    def notify_trade(self, trade):
        state = (trade.size, trade.price, trade.pnl, trade.pnlcomm, trade.value, trade.barlen, trade.status)
        self.p.log.append(exact([*state, trade.isclosed, trade.justopened, trade.dtopen, trade.dtclose]))


def told(cerebro, sends, frames=ALIGNED, **broker):
    """What a strategy that sends these orders is told, and the money in the end."""
    log = []
    for name, value in broker.items():
        getattr(cerebro.broker, name)(**value)
    run(cerebro, Sender, frames, sends=sends, log=log)
    return [*log, exact([cerebro.broker.getcash(), cerebro.broker.getvalue()])]


def every_way(sends, monkeypatch, **broker):
    """The same on Backtrader, on the loop in Python and on the compiled one."""
    ways = [told(bt.Cerebro(stdstats=False), sends, **broker)]
    for loop in ("python", "compiled"):
        monkeypatch.setenv(CHOICE, loop)
        ways.append(told(FastCerebro(), sends, **broker))
    return ways


SIZES = st.one_of(st.integers(1, 400), st.floats(0.25, 300.0), st.just(2**60), st.just(True))
KINDS = st.sampled_from([bt.Order.Market, bt.Order.Limit, bt.Order.Stop, bt.Order.StopTrail, bt.Order.Close])
SENDS = st.lists(st.tuples(st.integers(1, 119), KINDS, st.booleans(), SIZES, st.floats(-0.05, 0.05)), max_size=25)


@pytest.mark.thorough
@given(SENDS, st.sampled_from([{}, {"set_slippage_perc": {"perc": 0.01}}, {"set_shortcash": {"shortcash": False}}]))
@settings(max_examples=150)
def test_orders_of_any_kind_of_number_come_out_the_same(sends, broker):
    with pytest.MonkeyPatch.context() as patch:
        vanilla, python, native_loop = every_way(tuple(sends), patch, **broker)
    assert python == vanilla
    assert native_loop == vanilla


def test_sizes_that_are_integers_stay_integers(monkeypatch):
    sends = [(3, bt.Order.Market, True, 5, 0.0), (9, bt.Order.Market, False, 2.5, 0.0)]
    vanilla, _, native_loop = every_way(tuple(sends), monkeypatch)
    assert native_loop == vanilla
    assert any("int" in kinds for *_, kinds, _bit, _margin, _time in vanilla[:3] if isinstance(kinds, list))


@LOOPS
def test_the_arithmetic_of_positions_is_backtraders(loop, monkeypatch):
    monkeypatch.setenv(CHOICE, loop)
    assert moved(10, 5.0, -15, 6.0) == (-5, 6.0, -5, -10)
    assert fee(bt.CommissionInfo(commission=0.01), -3, 10.0) == 0.3


# ---------------------------------------------------------------- what it leaves behind


class Keeper(bt.Strategy):
    def next(self):
        if len(self) % 10 == 5:
            self.buy(size=1)

    def notify_order(self, order):
        self.last = order


@LOOPS
def test_orders_can_be_copied_and_their_attributes_are_those_of_backtrader(loop, monkeypatch):
    names = []
    monkeypatch.setenv(CHOICE, loop)
    for cerebro in (bt.Cerebro(stdstats=False), FastCerebro()):
        order = run(cerebro, Keeper, ALIGNED).last
        twin = copy.copy(order)
        assert (twin.ref, twin.executed.price) == (order.ref, order.executed.price)
        names.append({name: hasattr(order, name) for name in ("pannotated", "plen", "dteos", "owner", "oco", "plimit")})
        names.append(sorted(vars(order.executed)))
        names.append(sorted(vars(order.executed[0])))
    assert names[:3] == names[3:]


@needs_compiled
def test_a_position_of_a_run_is_saved_as_a_plain_one():
    class Quiet:
        def mark(self):
            pass

    position = marked_position(loaded())(Quiet())
    assert (bool(position), type(position) is MarkedPosition) == (False, False)
    twin = copy.copy(position)
    assert (type(twin), vars(twin)) == (MarkedPosition, vars(position))
    position._keeper = None
    assert type(pickle.loads(pickle.dumps(position))) is MarkedPosition  # noqa: S301


@pytest.mark.thorough
@LOOPS
def test_no_reference_is_lost_from_run_to_run(loop, monkeypatch):
    """The singletons that orders hold are counted before and after twenty more runs."""
    monkeypatch.setenv(CHOICE, loop)
    sends = tuple((bar, bt.Order.Market, bar % 4 < 2, 3, 0.0) for bar in range(2, 110, 2))
    frames = [frame(3)]
    singletons = (None, True, False, bt.BuyOrder, bt.order.OrderData, bt.trade.Trade)
    told(FastCerebro(), sends, frames)
    gc.collect()
    before, objects = [sys.getrefcount(one) for one in singletons], len(gc.get_objects())
    for _ in range(20):
        told(FastCerebro(), sends, frames)
    gc.collect()
    grown = [sys.getrefcount(one) - count for one, count in zip(singletons, before, strict=True)]
    assert max(map(abs, grown)) < 200  # a run makes 54 orders: one lost an order would be a thousand
    assert abs(len(gc.get_objects()) - objects) < 600
