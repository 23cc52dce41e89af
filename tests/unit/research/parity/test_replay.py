"""A session is traded again from where it began."""

import math
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from backtrader.order import Order

from research.parity.replay import CarriedOrder, Holding, Opening, traded_again
from risk.decision import RiskState
from risk.states import HaltState
from strategies.base_strategy import BaseStrategy
from tests.unit.research.scenarios import flat, minutes, prepared

D = Decimal
OPENS = datetime(2024, 1, 3, 14, 30, tzinfo=UTC)
EARLIER = datetime(2024, 1, 2, 20, 59, tzinfo=UTC)


class Scripted(BaseStrategy):
    """Does at each bar of the session what `script` says, and tells what it saw."""

    remembers = ("counted",)

    def __init__(self):
        super().__init__()
        self.counted = 0
        Scripted.saw = []

    def decide(self, data):
        self.counted += 1
        now = data.datetime.datetime(0)
        Scripted.saw.append((now, self.getposition(data).size, self.broker.getcash(), self.broker.getvalue()))
        act = Scripted.script.get((now - OPENS.replace(tzinfo=None)).total_seconds() / 60)
        if act is not None or now < OPENS.replace(tzinfo=None):
            (act or buy)(self, data)


def buy(strategy, data):
    strategy.enter_long(data, weight=0.1)


def leave(strategy, data):
    strategy.leave(data)


def bars(*rows):
    """Two bars of the day before, and a session; prices of 100 unless given."""
    before = minutes("AAPL", flat(100, 2))
    session = minutes("AAPL", list(rows) or flat(100, 6), day="2024-01-03")
    return pa.concat_tables([before, session])


def opening(**changes):
    fields = {
        "opens": OPENS, "cash": D(10_000), "outside": D(0), "holdings": {}, "carried": (), "risk": RiskState(),
        "memory": {}, **changes,
    }  # fmt: skip
    return Opening(**fields)


def again(script, start=None, table=None, **fields):
    Scripted.script = script
    return traded_again(prepared(Scripted, table or bars(), cash=1.0, **fields), start or opening())


def short(orders):
    return [(order.side, order.bar.minute, order.ordered, order.filled, order.price) for order in orders]


def test_orders_of_the_warm_up_are_refused_and_not_told():
    assert again({}) == ()
    assert len(Scripted.saw) == 8


def test_an_order_of_the_session_fills_on_the_next_bar():
    assert short(again({1: buy})) == [("BUY", 31, 10, 10, 100)]


def test_it_begins_with_the_account_s_cash_and_what_it_holds():
    held = opening(cash=D(4_000), outside=D(500), holdings={"AAPL": Holding(D(60), D(90))})
    (order,) = again({1: leave}, held)
    assert (order.side, order.filled) == ("SELL", 60)
    assert {saw[1:] for saw in Scripted.saw[:3]} == {(60.0, 4_000.0, 10_500.0)}


def test_what_the_account_holds_outside_counts_as_equity_but_buys_nothing():
    rich = opening(outside=D(90_000))
    assert short(again({1: buy}, rich))[0][2] == 95  # a tenth of 100,000, bounded by the cash less its reserve


def test_the_strategy_goes_on_with_its_memory():
    kept = {}

    def keep(strategy, _):
        kept["counted"] = strategy.counted

    again({3: keep}, opening(memory={"own": {"counted": 40}, "desk": {}}))
    assert kept == {"counted": 43}


def test_a_halt_of_the_day_before_holds():
    halted = RiskState(halt=HaltState.HALT_ENTRIES, latched_halt=HaltState.HALT_ENTRIES, last_equity=10_000.0)
    (order,) = again({1: buy}, opening(risk=halted))
    assert (order.filled, "risk state is HALT_ENTRIES" in order.reason) == (0, True)


def carried(**changes):
    fields = {
        "reference": "d/20240102/205900/0", "symbol": "AAPL", "bar": EARLIER, "side": "SELL", "quantity": D(60),
        "exectype": Order.Stop, "price": 95.0, "limit_price": None, "protective": True, **changes,
    }  # fmt: skip
    return CarriedOrder(**fields)


def memory(stop):
    desk = {"AAPL": {"wish": None, "side": 1, "stop": stop, "take_profit": None}}
    return {"own": {"counted": 0}, "desk": desk}


HELD = {"AAPL": Holding(D(60), D(100))}


def test_a_stop_from_before_protects_what_is_held():
    falls = [(100, 100, 100, 100), (100, 100, 94, 94), *flat(94, 3)]
    start = opening(holdings=HELD, carried=(carried(),), memory=memory(95.0))
    assert [(o.bar, o.kind, o.filled, o.price) for o in again({}, start, bars(*falls))] == [(EARLIER, "stop", 60, 95)]


def test_a_stop_from_before_is_not_sent_a_second_time():
    start = opening(holdings=HELD, carried=(carried(),), memory=memory(95.0))
    assert len(again({}, start)) == 1


def test_an_order_from_before_may_fill_at_the_open():
    market = carried(side="BUY", quantity=D(5), exectype=Order.Market, price=None, protective=False)
    (order,) = again({}, opening(carried=(market,)), bars((101, 102, 99, 100), *flat(100, 2)))
    assert (order.bar, order.filled, order.price) == (EARLIER, 5, 101)


def test_a_loss_of_the_session_is_measured_from_where_it_began():
    risk = RiskState(session_start_equity=10_000.0, peak_equity=10_000.0, last_equity=10_000.0)
    start = opening(cash=D(4_000), holdings=HELD, risk=risk)
    falls = [*flat(100, 2), *flat(90, 4)]
    orders = again({}, start, bars(*falls), limits={"max_daily_loss_fraction": 0.05})
    assert [(o.side, o.filled, o.price) for o in orders] == [("SELL", 60, 90)]


def test_prices_have_no_digits_of_binary_fractions():
    (order,) = again({1: buy}, table=bars((0.1 + 0.2, 0.4, 0.1, 0.3), *[(0.1 + 0.2, 0.4, 0.1, 0.3)] * 4))
    assert order.price == D("0.3")
    assert math.isclose(float(order.value), float(order.filled) * 0.3)


@pytest.mark.parametrize("quantity", [D("2.5"), D(3)])
def test_shares_keep_their_fractions(quantity):
    held = opening(holdings={"AAPL": Holding(quantity, D(100))})
    assert [order.filled for order in again({1: leave}, held)] == [quantity]
