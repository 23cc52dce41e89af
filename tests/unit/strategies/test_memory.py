"""A strategy that is started again goes on where it was."""

import json
from types import SimpleNamespace

import backtrader as bt
import pytest

from strategies.base_strategy import BaseStrategy
from strategies.errors import StrategyError
from strategies.order_desk import OrderDesk
from tests.unit.strategies.markets import frame, run


class Feed:
    """A symbol with a last price."""

    _name = "AAPL"
    close = (100.0,)


class Order:
    """An order as the desk looks at it."""

    def __init__(self, size, kind, price=None, reduces_only=False, alive=True):
        self.exectype, self.status = kind, bt.Order.Accepted if alive else bt.Order.Completed
        self.info = {"reduces_only": reduces_only}
        self.executed = SimpleNamespace(remsize=size)
        self.created = SimpleNamespace(price=price)

    def alive(self):
        return self.status == bt.Order.Accepted


class Trader:
    """A strategy with a position, whose orders are written down."""

    def __init__(self, held=0.0):
        self.held, self.sent, self.cancelled = held, [], []
        self.broker = SimpleNamespace(getvalue=lambda: 10_000.0, getcash=lambda: 10_000.0)

    def getposition(self, data):
        return SimpleNamespace(size=self.held)

    def buy(self, *, data, size, exectype, price=None, reduces_only=False):
        return self.order(size, exectype, price, reduces_only)

    def sell(self, *, data, size, exectype, price=None, reduces_only=False):
        return self.order(-size, exectype, price, reduces_only)

    def order(self, size, kind, price, reduces_only):
        self.sent.append((size, kind, price))
        return Order(size, kind, price, reduces_only)

    def cancel(self, order):
        self.cancelled.append(order)


DATA = Feed()
MARKET, STOP, LIMIT = bt.Order.Market, bt.Order.Stop, bt.Order.Limit


def desk(held=0.0):
    trader = Trader(held)
    return trader, OrderDesk(trader, cash_reserve=0.05)


def restarted(before, held, working=()):
    """A desk that went through JSON, and the trader with what is held now."""
    trader, after = desk(held)
    memory = json.loads(json.dumps(before.memory())).get("AAPL")
    after.recall(DATA, memory or {"wish": None, "side": None, "stop": None, "take_profit": None}, working)
    return trader, after


def protected(held=10.0):
    """A desk whose position is there, with a stop at 90 and a target at 120."""
    trader, before = desk()
    before.enter(DATA, 0.5, stop=90.0, take_profit=120.0)
    trader.held = held
    before._wishes[DATA].order.status = bt.Order.Completed
    before.settle(DATA)
    before.end_bar(DATA)
    return before


def test_protective_orders_that_still_work_are_taken_over():
    working = [Order(-10.0, STOP, 90.0, True), Order(-10.0, LIMIT, 120.0, True)]
    trader, after = restarted(protected(), 10.0, working)
    after.end_bar(DATA)
    assert (trader.sent, trader.cancelled, after.stop_price(DATA)) == ([], [], 90.0)


def test_protective_orders_that_are_gone_are_sent_again():
    trader, after = restarted(protected(), 10.0)
    after.end_bar(DATA)
    assert trader.sent == [(-10.0, STOP, 90.0), (-10.0, LIMIT, 120.0)]


def test_protection_ends_with_the_position_that_it_protected():
    trader, after = restarted(protected(), 0.0)
    after.end_bar(DATA)
    assert (trader.sent, after.stop_price(DATA), after.resting) == ([], None, True)


def test_protection_of_a_long_position_does_not_protect_a_short_one():
    _, after = restarted(protected(), -10.0)
    assert after.stop_price(DATA) is None


def test_an_entry_that_still_works_is_waited_for():
    _, before = desk()
    before.enter(DATA, 0.5, stop=90.0)
    trader, after = restarted(before, 0.0, [Order(50.0, MARKET)])
    after.enter(DATA, 0.5)
    after.end_bar(DATA)
    assert (trader.sent, after.side(DATA), after.stop_price(DATA)) == ([], 1, 90.0)


def test_an_entry_that_filled_meanwhile_is_protected():
    _, before = desk()
    before.enter(DATA, 0.5, stop=90.0)
    trader, after = restarted(before, 50.0)
    after.end_bar(DATA)
    assert trader.sent == [(-50.0, STOP, 90.0)]


def test_an_entry_that_was_lost_is_given_up():
    _, before = desk()
    before.enter(DATA, 0.5, stop=90.0)
    trader, after = restarted(before, 0.0)
    after.end_bar(DATA)
    assert (trader.sent, after.side(DATA), after.resting) == ([], 0, True)


def test_an_exit_that_was_lost_is_sent_again():
    trader, before = desk(10.0)
    before.leave(DATA)
    trader, after = restarted(before, 10.0)
    after.end_bar(DATA)
    assert trader.sent == [(-10.0, MARKET, None)]


def test_an_exit_that_filled_meanwhile_is_done():
    _, before = desk(10.0)
    before.leave(DATA)
    trader, after = restarted(before, 0.0)
    after.end_bar(DATA)
    assert (trader.sent, after.resting) == ([], True)


class Counting(BaseStrategy):
    """Counts its decisions."""

    remembers = ("seen",)
    params = (("start", 0),)

    def __init__(self):
        super().__init__()
        self.seen = self.p.start

    def decide(self, data):
        self.seen += 1


def counted(**params):
    return run(Counting, frame([10.0] * 5), **params).strategy


def test_own_attributes_are_remembered_by_name():
    memory = json.loads(json.dumps(counted().memory()))
    after = counted(start=100)
    after.recall({**memory, "own": {**memory["own"], "forgotten": 1}}, {})
    assert (after.seen, hasattr(after, "forgotten")) == (5, False)


@pytest.mark.parametrize("value", [object(), (1, 2), float("nan"), {1: 2}])
def test_what_json_cannot_hold_is_named(value):
    strategy = counted()
    strategy.seen = value
    with pytest.raises(StrategyError, match=r"^seen: .* cannot be remembered"):
        strategy.memory()
