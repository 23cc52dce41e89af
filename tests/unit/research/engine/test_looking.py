"""What a strategy's `next` looks at is looked at in its place: it acts at the same bars, however it is written."""

import dis
import sys
from typing import Any

import backtrader as bt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.engine.cerebro import FastCerebro
from research.engine.looking import looks_of
from tests.unit.research.engine.test_cerebro import ALIGNED, THREE_ALIGNED, both, exact, frame, run

pytestmark = pytest.mark.usefixtures("loop")


class Looking(bt.Strategy):
    """Notes the bars at which it acts, and how."""

    params = (("limit", 60),)

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.fast = bt.ind.SMA(self.data.close, period=3)
        self.slow = bt.ind.SMA(self.data.close, period=8)
        self.cross = bt.ind.CrossOver(self.fast, self.slow)
        self.crossings = {data: bt.ind.CrossOver(data.close, bt.ind.SMA(data.close, period=5)) for data in self.datas}
        self.order: bt.Order | None = None
        self.flag, self.level = False, 50.0

    def notify_order(self, order: bt.Order) -> None:
        if not order.alive():
            self.log.append((len(self), "order", order.status, exact(order.executed.price)))
            self.order = None

    def act(self, how: int, data: Any = None) -> None:
        self.log.append((len(self), how, exact(self.data.close[0])))
        if how == 0:
            self.order = self.buy(data=data, size=3)
        elif how == 1:
            self.order = self.close(data=data)
        elif how == 2:
            self.flag = not self.flag
        else:
            self.level = self.data.close[0]

    def stop(self) -> None:
        self.log.append((self.broker.getvalue().hex(), [exact(line.array) for line in self.lines.lines]))


# ---------------------------------------------------------------- written at random


def _pairs(parts: st.SearchStrategy[str], *operators: str) -> st.SearchStrategy[str]:
    return st.builds("({} {} {})".format, parts, st.sampled_from(operators), parts)


SEEN = st.sampled_from([
    "self.data.close[0]", "self.data.open[-1]", "self.data[0]", "self.cross[0]", "self.fast[-2]", "len(self)",
    "len(self.data)", "self.p.limit", "self.level", "self.position.size", "self.position.price", "1.5", "7", "0",
    "self.data.close[-40]", "self.getposition().size", "self.data.volume[0]", "(-self.slow[0])", "len(self.datas)",
])  # fmt: skip
NUMBERS = st.recursive(SEEN, lambda parts: _pairs(parts, "+", "-", "*", "/"), max_leaves=3)
ORDERED = ("<", "<=", ">", ">=", "==", "!=")
TRUTHS = st.one_of(
    _pairs(NUMBERS, *ORDERED),
    st.builds("({} < {} <= {})".format, NUMBERS, NUMBERS, NUMBERS),
    st.sampled_from(("self.position", "self.order", "self.flag", "self.order is None", "self.order is not None")),
    st.sampled_from(("self.cross > 0", "self.data.close > self.slow", "0 >= self.cross", "self.cross", "self.data")),
    NUMBERS,
)
CONDITIONS = st.recursive(
    TRUTHS, lambda parts: st.one_of(_pairs(parts, "and", "or"), st.builds("(not {})".format, parts)), max_leaves=3
)
ACTS = st.sampled_from([f"self.act({how})" for how in range(4)])
BRANCHES = st.builds("if {}:\n    {}\nelif {}:\n    {}".format, CONDITIONS, ACTS, CONDITIONS, ACTS)
STORED = st.builds("seen = {}\nif {} and seen:\n    {}".format, NUMBERS, CONDITIONS, ACTS)
LOOPS = st.builds(
    "for data in self.datas:\n    if {} and self.crossings[data][0] {} 0 and not self.getposition(data):\n"
    "        self.act({}, data)\n    elif self.getposition(data) and {}:\n        self.act({}, data)".format,
    CONDITIONS, st.sampled_from(ORDERED), st.integers(0, 3), CONDITIONS, st.integers(0, 3),
)  # fmt: skip
BODIES = st.lists(st.one_of(BRANCHES, STORED, LOOPS), min_size=1, max_size=2).map("\n".join)


def written(body: str) -> type[Looking]:
    """The strategy whose `next` this is."""
    names: dict[str, Any] = {}
    lines = "".join(f"\n    {line}" for line in body.splitlines())
    exec(f"def next(self):{lines}", names)  # noqa: S102 (what was put together above)
    return type("Written", (Looking,), {"next": names["next"]})


def outcome(cerebro: bt.Cerebro, strategy: type[Looking], frames: list[Any]) -> Any:
    """What a run noted, and how it ended; the log stays with its class when the strategy raises."""
    logs: list[list[Any]] = []

    class Kept(strategy):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            logs.append(self.log)

    try:
        run(cerebro, Kept, frames)
    except (IndexError, ZeroDivisionError) as error:
        return logs, type(error), str(error)
    return logs, None, ""


@pytest.mark.thorough
@settings(max_examples=60)
@given(body=BODIES, many=st.booleans())
def test_a_next_written_at_random_acts_at_the_same_bars(body, many):
    frames, strategy = (THREE_ALIGNED if many else ALIGNED), written(body)
    assert outcome(FastCerebro(), strategy, frames) == outcome(bt.Cerebro(stdstats=False), strategy, frames)


# ---------------------------------------------------------------- written in other ways

WAYS = {
    "until a bar": "if len(self) == 77:\n    self.act(0)",
    "until a bar of the data": "if len(self.data) == 77:\n    self.act(0)",
    "the whole line": "if self.data.close > self.slow:\n    self.act(2)",
    "a line and a number": "if self.cross > 0:\n    self.act(0)\nelif 0 > self.cross:\n    self.act(1)",
    "two lines": "if self.fast <= self.slow and not self.data.open >= self.data.close:\n    self.act(2)",
    "the truth of a line": "if self.cross:\n    self.act(0)\nelif not self.crossings[self.data]:\n    self.act(1)",
    "a line that is another": "if self.data == self.data.close and self.fast != self.slow:\n    self.act(2)",
    "a value behind the last": "if self.data.close[1] > 1e9:\n    self.act(2)",
    "a value of the future": "if self.data.close[3] < self.data.close[0] and len(self) < 90:\n    self.act(2)",
    "the time": "if self.data.datetime[0] > 731000.0 and self.data.datetime.date(0).day == 3:\n    self.act(2)",
    "the strategy's own line": "if self.datetime[0] > self.datetime[-1] + 1.5:\n    self.act(2)",
    "what is not there": "if len(self) > 50 and self.missing:\n    self.act(2)",
    "a division by nothing": "if 1 / (len(self) - 60) > 2:\n    self.act(2)",
    "an endless look": "n = 0\nwhile n < 30000:\n    n = n + 1\nif len(self) == 20:\n    self.act(2)",
    "a value that moves it": "found = self.data.close[0] > self.level\nif found:\n    self.act(3)",
    "truth of truths": "if (self.data.close[0] > 50) is True and (self.fast[0] < 60) == True:\n    self.act(2)",
    "by a key": "if self.crossings[self.datas[0]][0]:\n    self.act(2)",
    "none": "seen = self.order\nif seen is None and self.cross[0] > 0:\n    self.act(0)\nelif seen:\n    self.act(2)",
    "strings": "if self.data._name == 'S0' and self.cross[0] > 0:\n    self.act(2)",
    "a deleted name": "n = 1\ndel n\nif len(self) == 9:\n    self.act(n)",
}


@pytest.mark.parametrize("way", WAYS)
def test_whatever_next_looks_at_it_acts_at_the_same_bars(way):
    strategy = written(WAYS[way])

    def told(cerebro: bt.Cerebro) -> Any:
        try:
            return outcome(cerebro, strategy, ALIGNED)
        except (AttributeError, UnboundLocalError) as error:
            return type(error), str(error).replace("Kept", "")

    assert told(FastCerebro()) == told(bt.Cerebro(stdstats=False))


class OwnAttribute(Looking):
    """Reads a number through a property that counts."""

    asked = 0

    @property
    def counted(self) -> int:
        self.asked += 1
        return self.asked

    def next(self) -> None:
        if self.counted == 30:
            self.act(0)


class ReplacedInTheRun(Looking):
    """Has another `next` from some bar on."""

    def next(self) -> None:
        if len(self) == 40:
            self.next = lambda: self.act(2)


class Other(Looking):
    def next(self) -> None:
        if self.cross[0] > 0:
            self.act(2)


class OtherCode(Looking):
    """Gets another body in the middle of the run."""

    def next(self) -> None:
        if len(self) == 40:
            type(self).next.__code__ = Other.next.__code__


class Signalled(Looking):
    """Is told of its order between two looks."""

    def next(self) -> None:
        if self.order is None and not self.position and self.data.close[0] > self.slow[0]:
            self.order = self.buy(size=2, exectype=bt.Order.Limit, price=self.data.close[0] * 0.99)
        elif self.order is None and self.position and self.data.close[0] < self.slow[0]:
            self.order = self.close()


@pytest.mark.parametrize("strategy", [OwnAttribute, ReplacedInTheRun, Signalled])
def test_what_next_does_besides_looking_is_done(strategy):
    slow, fast = both(strategy, [frame(5, 400)])
    assert len(slow.log) > 1
    assert fast.log == slow.log


def test_a_body_that_is_replaced_in_the_run_is_followed():
    before = OtherCode.next.__code__
    logs = []
    for cerebro in (bt.Cerebro(stdstats=False), FastCerebro()):
        OtherCode.next.__code__ = before
        logs.append(run(cerebro, OtherCode, ALIGNED).log)
    assert len(logs[0]) > 1
    assert logs[1] == logs[0]


def calls_seen(cerebro: bt.Cerebro) -> int:
    """How often somebody who traces Python sees `next` begin."""
    seen: list[str] = []

    def trace(here: Any, event: str, given: Any) -> None:
        if event == "call" and here.f_code is Other.next.__code__:
            seen.append(event)

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run(cerebro, Other, ALIGNED)
    finally:
        sys.settrace(before)
    return len(seen)


def test_a_run_that_is_traced_shows_every_bar():
    assert calls_seen(FastCerebro()) == calls_seen(bt.Cerebro(stdstats=False)) == 112


# ---------------------------------------------------------------- programs


class Nobody:
    """Methods, and what they may begin with."""

    def plain(self):
        if not self.position and self.data.close[0] > 3:
            return 1
        return None

    def acting(self):
        self.done = True

    def generating(self):
        yield self

    def given(self, more=1):
        return more

    def catching(self):
        try:
            return self.x
        except AttributeError:
            return None


@pytest.mark.parametrize("name", ["generating", "given", "catching"])
def test_a_method_out_of_the_ordinary_has_no_program(name):
    assert looks_of(getattr(Nobody(), name)) is None


def test_a_program_leads_from_what_is_looked_at_to_the_return():
    code, steps = looks_of(Nobody().plain)
    assert code is Nobody.plain.__code__
    assert {kind for kind, _ in steps} >= {"variable", "attribute", "item", "compare", "return"}
    assert ("attribute", "position") in steps
    assert ("compare", dis.cmp_op.index(">")) in steps


def test_what_lasts_is_left_to_python():
    _, steps = looks_of(Nobody().acting)
    assert ("act", None) in steps


def test_a_function_that_is_no_method_has_no_program():
    assert looks_of(lambda: None) is None
