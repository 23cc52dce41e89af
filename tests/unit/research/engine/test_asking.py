"""What a strategy asks of its broker at a bar is answered as by Backtrader, whichever way it asks."""

from typing import Any

import backtrader as bt
import pytest

from research.engine.cerebro import FastCerebro
from tests.unit.research.engine.test_cerebro import ALIGNED, THREE_ALIGNED, both, exact, run

pytestmark = pytest.mark.usefixtures("loop")


class Asking(bt.Strategy):
    """Does something at a few bars, and notes what it was told."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    def notify_order(self, order: bt.Order) -> None:
        self.log.append(("order", order.ref, order.status, order.size, exact(order.executed.price), order.info))

    def ask(self) -> Any:
        raise NotImplementedError

    def next(self) -> None:
        if len(self) % 7 == 3:
            try:
                self.log.append(("answer", _told(self.ask())))
            except (TypeError, AttributeError, KeyError) as error:
                self.log.append((type(error), str(error).split("(")[0]))
        self.log.append((self.position.size, bool(self.position), exact(self.position.price)))


def _told(answer: Any) -> Any:
    if isinstance(answer, bt.Order):
        params = {name: exact(value) for name, value in vars(answer.p).items() if name not in {"owner", "data"}}
        return type(answer), answer.size, answer.exectype, exact(answer.dteos), answer.data._name, params
    return exact(answer)


class Doubling(bt.Sizer):
    def _getsizing(self, comminfo, cash, data, isbuy):
        return 2 if isbuy else 3


WAYS = {
    "by size": lambda self: self.buy(size=5),
    "by position": lambda self: self.sell(self.data, 4, 50.0, None, bt.Order.Limit),
    "by sizer": lambda self: self.buy() if len(self) % 2 else self.sell(data=self.datas[-1]),
    "negative size": lambda self: self.buy(size=-3),
    "nothing": lambda self: self.buy(size=0),
    "name of the data": lambda self: self.buy(data="S0", size=1),
    "limit with a name": lambda self: self.buy(size=2, exectype=bt.Order.Limit, price=49.5, tradeid=3, why="cheap"),
    "trail": lambda self: self.sell(size=2, exectype=bt.Order.StopTrail, trailpercent=0.02),
    "held back": lambda self: self.buy(size=2, transmit=False),
    "valid": lambda self: self.buy(size=2, exectype=bt.Order.Stop, price=51.0, valid=0),
    "close": lambda self: self.close() if self.position else self.buy(size=6),
    "close a part": lambda self: self.close(size=2) if self.position else self.sell(size=6),
    "close with a name": lambda self: self.close(self.data, why="done") if self.position else self.buy(size=6),
    "close by name": lambda self: self.close(data="S0") if self.position else self.buy(size=6),
    "target": lambda self: self.order_target_size(target=len(self) % 5 - 2),
    "another data": lambda self: (self.buy(self.datas[-1], size=1), self.getposition(self.datas[-1]).size)[1],
    "another broker": lambda self: self.getposition(broker=self.broker).size,
    "given twice": lambda self: self.buy(self.data, data=self.data),
    "too many": lambda self: self.getposition(1, 2, 3),
    "not there": lambda self: self.missing,
    "no number": lambda self: self.buy(size="many"),
}


@pytest.mark.parametrize("frames", [ALIGNED, THREE_ALIGNED], ids=["one", "three"])
@pytest.mark.parametrize("way", WAYS)
def test_what_a_strategy_asks_is_answered_as_by_backtrader(way, frames):
    class Own(Asking):
        ask = WAYS[way]

    slow, fast = both(Own, frames)
    assert len(slow.log) > 60
    assert _without_refs(fast.log) == _without_refs(slow.log)


def _without_refs(log: list[Any]) -> list[Any]:
    """References go on counting from one run to the next."""
    first = next((entry[1] for entry in log if entry[0] == "order"), 0)
    return [(entry[0], entry[1] - first, *entry[2:]) if entry[0] == "order" else entry for entry in log]


class OwnWays(Asking):
    """Every way is the strategy's own."""

    position = property(lambda self: self.getposition())

    def getposition(self, data=None, broker=None):
        self.log.append(("asked",))
        return super().getposition(data, broker)

    def buy(self, *args: Any, **kwargs: Any) -> Any:
        self.log.append(("bought",))
        return super().buy(*args, **kwargs)

    def sell(self, *args: Any, **kwargs: Any) -> Any:
        self.log.append(("sold",))
        return super().sell(*args, **kwargs)

    def ask(self) -> Any:
        return self.close() if self.position else self.buy(size=4)


def test_ways_of_a_strategys_own_are_taken():
    slow, fast = both(OwnWays, ALIGNED)
    assert {"asked", "bought", "sold"} <= {entry[0] for entry in slow.log}
    assert _without_refs(fast.log) == _without_refs(slow.log)


class Replacing(Asking):
    """Puts a way of its own in the place of one in the middle of the run."""

    def ask(self) -> Any:
        if len(self) > 40 and "sell" not in vars(self):
            self.sell = lambda **wanted: self.log.append(("would sell", wanted["size"]))
        return self.close() if self.position else self.buy(size=4)


def test_a_way_that_is_replaced_in_the_run_is_taken_by_close():
    slow, fast = both(Replacing, ALIGNED)
    assert ("would sell", 4) in slow.log
    assert _without_refs(fast.log) == _without_refs(slow.log)


def test_a_sizer_says_how_much():
    def sized(cerebro: bt.Cerebro) -> bt.Strategy:
        class Own(Asking):
            ask = WAYS["by sizer"]

        cerebro.addsizer(Doubling)
        return run(cerebro, Own, ALIGNED)

    slow, fast = sized(bt.Cerebro(stdstats=False)), sized(FastCerebro())
    assert {entry[3] for entry in slow.log if entry[0] == "order"} == {2, -3}
    assert _without_refs(fast.log) == _without_refs(slow.log)


def test_a_strategy_has_its_own_class_again_after_the_run():
    class Own(Asking):
        ask = WAYS["close"]

    strategy = run(FastCerebro(), Own, ALIGNED)
    assert type(strategy) is Own
    assert "_broker_now" not in vars(strategy)
