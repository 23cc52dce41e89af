"""Orders from Backtrader through the session to a gateway and back, over TCP."""

import json
import random
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import backtrader as bt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.costs import cost_model
from broker.errors import SealedSettingError
from broker.ib.messages import Alarm, Contract, SessionState
from broker.ib.session import Session
from broker.ib.settings import ResetWindow, SessionSettings
from broker.instrument import Instrument
from broker.live_broker import LiveBroker
from broker.orders.book import OrderBook
from broker.orders.changes import FillBooked, OrderIntended, StateChanged
from broker.orders.concerns import Patience
from broker.orders.journal import read, written
from risk.guard import RiskGuard
from risk.limits import Limits
from risk.states import HaltState
from strategies.base_strategy import BaseStrategy
from tests.integration.broker.scripted import Bar, Stage

pytestmark = pytest.mark.integration

QUICK = {"heartbeat_seconds": 0.5, "answer_seconds": 2.0, "retry_seconds": 0.05, "sync_seconds": 5.0}

SOON = Patience(
    acknowledgement=timedelta(seconds=0.2),
    absence=timedelta(seconds=0.4),
    cancellation=timedelta(seconds=0.3),
    commission=timedelta(seconds=0.3),
    executions=timedelta(seconds=0.2),
    position=timedelta(seconds=0.2),
    again=timedelta(seconds=0.2),
)


@pytest.fixture
def live(start):
    """`live(...)` makes a floor: gateway, session and broker. Everything ends with the test."""
    with ExitStack() as stack:

        def make(**changes):
            return Floor(stack, start, **changes)

        yield make


class Floor:
    """A gateway whose clock stands still, a session and a live broker."""

    def __init__(self, stack, start, *, limits=None, names=("AAPL",), patience=None, wait=2.0, reset=None, **settings):
        self.desk = start(**settings)
        self.command = self.desk.command
        self.session = stack.enter_context(Session(SessionSettings(port=self.desk.gateway.port, reset=reset, **QUICK)))
        self.session.open()
        self.names, self.journal = names, []
        self.guard = RiskGuard(
            limits or Limits(),
            session_of=lambda moment: moment.date(),
            session_close=lambda day: datetime(day.year, day.month, day.day, 21, tzinfo=UTC),
        )
        self.commission_wait = timedelta(seconds=wait)
        self.reopen(OrderBook(self.session.account, self.session.client_id, patience))

    def reopen(self, book, journal=None):
        """A broker as of a new start."""
        self.journal.clear()
        self.broker = LiveBroker(
            self.session,
            instruments={name: Instrument.resolved(self.session, Contract(name)) for name in self.names},
            guard=self.guard,
            reference=lambda bar, number: f"test/{bar:%Y%m%d/%H%M%S}/{number}",
            book=book,
            journal=journal or self.journal.append,
            costs=cost_model("ibkr_tiered"),
            market_time=self.now,
            commission_wait=self.commission_wait,
        )

    def run(self, script, **options):
        """Play a script; it gets the stage and this floor."""
        stage = Stage(lambda stage: script(stage.strategy, self, stage), self.names)
        self.stage = stage
        return stage.run(self.broker, **options)

    def now(self):
        """The market's time."""
        at = self.desk.exchange.market.now
        return datetime.fromtimestamp(at // 1_000_000, UTC)

    def bar(self):
        """The last bar that was played, for every feed."""
        told = {}
        for name in self.names:
            series = self.desk.series(name)
            told[name] = Bar(self.now(), series.bar(series.closed_by(self.desk.exchange.market.now) - 1).close)
        return told

    def step(self, bars=1):
        """Play bars after the gateway has read what was sent."""
        self.session.server_time()
        self.command("step", bars=bars)
        self.session.server_time()

    @property
    def positions(self):
        return self.command("status")["positions"]

    def gateway_orders(self):
        """The terms of all orders as the gateway has them, oldest first."""
        return [order.terms for order in self.desk.exchange.book.orders.values()]

    def restored(self):
        """The book as a ledger would bring it back."""
        kept = [read(written(change)) for change in self.journal]
        return OrderBook.restored(self.session.account, self.session.client_id, kept, SOON)

    def in_flight(self):
        """Whether something that was sent waits for the broker's word."""
        return any(order.state.value in {"SENT", "CANCEL_SENT"} for order in self.broker.book.open_orders)

    def settled(self):
        """Whether nothing that was sent waits for the broker's word, and nothing is not known."""
        unsure = {"SENT", "CANCEL_SENT", "UNKNOWN"}
        return self.ready() and not any(order.state.value in unsure for order in self.broker.book.open_orders)

    def ready(self):
        """Whether orders can be sent."""
        return self.session.state is SessionState.READY and self.broker.book.current

    def alarms(self):
        return [change.code for change in self.journal if isinstance(change, Alarm)]

    def cash(self):
        return float(self.session.synchronize().value("TotalCashBalance"))


def over(order):
    return lambda: not order.alive()


def accepted(order):
    return lambda: order.status == bt.Order.Accepted


def test_a_market_order_is_told_from_submission_to_completion(live):
    floor = live()

    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=100)
        yield accepted(order)
        floor.step()
        yield over(order)
        assert trader.told(order) == ["Submitted", "Accepted", "Completed"]
        assert trader.position.size == 100
        assert order.executed.comm == 1.0
        yield lambda: trader.broker.getcash() < 1_000_000

    trader = floor.run(script)
    assert floor.positions == {"AAPL": "100"}
    assert trader.broker.getcash() == pytest.approx(floor.cash())


# ---------------------------------------------------------------- order types


TYPES = {
    "limit": ({"exectype": bt.Order.Limit, "price": 99.004}, ("LMT", 99.0, None)),
    "stop": ({"exectype": bt.Order.Stop, "price": 101.237}, ("STP", None, 101.23)),
    "stop limit": (
        {"exectype": bt.Order.StopLimit, "price": 101.237, "plimit": 101.509},
        ("STP LMT", 101.5, 101.23),
    ),
    "close": ({"exectype": bt.Order.Close}, ("MOC", None, None)),
}


@pytest.mark.parametrize("kind", TYPES)
def test_each_order_type_reaches_the_gateway_in_its_terms(live, kind):
    terms, expected = TYPES[kind]

    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10, **terms)
        yield accepted(order)
        (sent,) = floor.gateway_orders()
        assert (sent.kind, sent.limit, sent.aux) == expected

    live().run(script)


def test_a_sale_is_rounded_up(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        limit = trader.sell(size=10, exectype=bt.Order.Limit, price=104.001)
        stop = trader.sell(size=10, exectype=bt.Order.Stop, price=95.001)
        yield accepted(limit)
        yield accepted(stop)
        assert [(sent.limit, sent.aux) for sent in floor.gateway_orders()] == [(104.01, None), (None, 95.01)]

    live().run(script)


def test_a_trailing_stop_trails_by_an_amount_or_a_percentage(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        close = trader.data.close[0]
        amount = trader.sell(size=10, exectype=bt.Order.StopTrail, trailamount=2.0)
        percent = trader.sell(size=10, exectype=bt.Order.StopTrail, trailpercent=0.02)
        both = trader.sell(size=10, exectype=bt.Order.StopTrailLimit, price=close, plimit=close - 0.5, trailamount=2.0)
        for order in (amount, percent, both):
            yield accepted(order)
        first, second, third = floor.gateway_orders()
        assert (first.kind, first.aux, first.trail_stop) == ("TRAIL", 2.0, round(close - 2, 2))
        assert (second.kind, second.trail_percent) == ("TRAIL", 2.0)
        assert (third.kind, third.aux, third.limit_offset) == ("TRAIL LIMIT", 2.0, 0.5)

    live().run(script)


@pytest.mark.parametrize(
    ("valid", "expected"),
    [
        (None, ("GTC", "")),
        (0, ("DAY", "")),
        (bt.Order.DAY, ("DAY", "")),
        (datetime(2024, 1, 9, 15, 0), ("GTD", "20240109-15:00:00")),  # noqa: DTZ001 (Backtrader's lines are naive UTC)
        (timedelta(hours=2), ("GTD", "20240108-16:33:00")),
    ],
)
def test_valid_becomes_the_time_in_force(live, valid, expected):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10, exectype=bt.Order.Limit, price=90.0, valid=valid)
        yield accepted(order)
        (sent,) = floor.gateway_orders()
        assert (sent.tif, sent.good_till) == expected

    live().run(script)


def test_an_order_for_a_while_expires(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10, exectype=bt.Order.Limit, price=90.0, valid=timedelta(minutes=2))
        yield accepted(order)
        floor.step(5)
        yield over(order)
        assert order.getstatusname() in {"Expired", "Canceled"}
        assert floor.broker.book.orders["test/20240108/143300/0"].state.value == "EXPIRED"

    live().run(script)


# ---------------------------------------------------------------- groups


def test_a_bracket_is_sent_as_one_and_its_target_closes_it(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        close = trader.data.close[0]
        main, stop, target = trader.buy_bracket(
            size=10, exectype=bt.Order.Market, stopprice=close - 20, limitprice=close + 0.01
        )
        yield accepted(main)
        assert [sent.parent_id > 0 for sent in floor.gateway_orders()] == [False, True, True]
        floor.step(200)
        yield over(main)
        yield over(target)
        yield over(stop)
        assert [order.getstatusname() for order in (main, target, stop)] == ["Completed", "Completed", "Canceled"]
        assert trader.position.size == 0
        assert trader.trades[-1][3] is True

    floor = live()
    floor.run(script)
    assert floor.positions == {}


def test_a_bracket_without_its_last_part_is_not_sent(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        main = trader.buy(size=10, transmit=False)
        stop = trader.sell(size=10, exectype=bt.Order.Stop, price=90.0, parent=main, transmit=False)
        assert floor.gateway_orders() == []
        trader.cancel(main)
        yield lambda: trader.told(stop) == ["Submitted", "Canceled"]
        assert trader.told(main) == ["Submitted", "Canceled"]
        assert floor.gateway_orders() == []

    live().run(script)


def test_a_bracket_with_a_refused_part_is_refused_whole(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        main = trader.buy(size=10, transmit=False)
        trader.sell(size=10, exectype=bt.Order.Stop, price=float("nan"), parent=main)
        yield lambda: trader.told(main) == ["Submitted", "Rejected"]
        assert "another order of its bracket" in floor.broker.reasons[main.ref]
        assert floor.gateway_orders() == []

    live().run(script)


def test_orders_tied_by_oco_share_a_group_and_a_fill_cancels_the_other(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        low = trader.buy(size=10, exectype=bt.Order.Limit, price=80.0)
        near = trader.buy(size=10, exectype=bt.Order.Stop, price=trader.data.close[0] + 0.01, oco=low)
        yield accepted(low)
        yield accepted(near)
        first, second = floor.gateway_orders()
        assert first.oca_group == second.oca_group != ""
        floor.step(30)
        yield over(near)
        yield over(low)
        assert [order.getstatusname() for order in (low, near)] == ["Canceled", "Completed"]

    live().run(script)


def test_an_order_cannot_be_tied_to_one_that_was_sent_alone(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        alone = trader.buy(size=10, exectype=bt.Order.Limit, price=80.0)
        yield accepted(alone)
        late = trader.buy(size=10, exectype=bt.Order.Limit, price=81.0, oco=alone)
        assert late.status == bt.Order.Rejected
        assert "was sent before" in floor.broker.reasons[late.ref]

    live().run(script)


def hold(trader, floor, size=10):
    """Buy and wait until it is there."""
    order = trader.buy(size=size)
    yield accepted(order)
    floor.step()
    yield over(order)


def test_protective_orders_of_a_position_never_go_through_zero_together(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        yield from hold(trader, floor)
        close = trader.data.close[0]
        stop = trader.sell(size=10, exectype=bt.Order.Stop, price=close - 0.01, reduces_only=True)
        target = trader.sell(size=10, exectype=bt.Order.Limit, price=close + 0.01, reduces_only=True)
        yield accepted(stop)
        yield accepted(target)
        floor.step(60)
        yield over(stop)
        yield over(target)
        assert trader.position.size == 0

    floor = live()
    floor.run(script)
    assert floor.positions == {}


def test_a_protective_order_is_no_larger_than_the_position(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        yield from hold(trader, floor)
        stop = trader.sell(size=25, exectype=bt.Order.Stop, price=80.0, reduces_only=True)
        yield accepted(stop)
        assert floor.gateway_orders()[-1].quantity == 10

    live().run(script)


def test_a_protective_order_goes_when_its_position_is_closed(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        yield from hold(trader, floor)
        stop = trader.sell(size=10, exectype=bt.Order.Stop, price=80.0, reduces_only=True)
        yield accepted(stop)
        floor.command("position", symbol="AAPL", quantity=-10)
        yield over(stop)
        assert trader.position.size == 0
        assert "position_mismatch" in floor.alarms()

    live(patience=SOON).run(script)


# ---------------------------------------------------------------- cancelling and changing


def test_a_cancelled_order_lives_until_the_broker_confirms(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10, exectype=bt.Order.Limit, price=80.0)
        yield accepted(order)
        trader.cancel(order)
        assert order.alive()
        yield over(order)
        assert trader.told(order) == ["Submitted", "Accepted", "Canceled"]

    live().run(script)


def test_a_cancellation_that_comes_too_late_ends_in_a_fill(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10, exectype=bt.Order.Limit, price=80.0)
        yield accepted(order)
        floor.command("fault", request="cancel_order", action="fill")
        trader.cancel(order)
        yield over(order)
        assert order.getstatusname() == "Completed"
        assert trader.position.size == 10

    live().run(script)


def test_a_change_is_in_force_when_the_broker_confirms_it(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10, exectype=bt.Order.Limit, price=80.0)
        yield accepted(order)
        assert floor.broker.modify(order, size=12, price=81.009)
        assert order.created.price == 80.0
        yield lambda: order.created.price == 81.0
        assert order.created.size == order.executed.remsize == 12
        (sent,) = floor.gateway_orders()
        assert (sent.quantity, sent.limit) == (12, 81.0)

    live().run(script)


def test_a_refused_change_leaves_the_order_as_it_was(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10, exectype=bt.Order.Limit, price=80.0)
        yield accepted(order)
        tracked = floor.broker.book.orders["test/20240108/143300/0"]
        floor.command("fault", request="place_order", action="error", code=105, text="No.", modify=True)
        assert floor.broker.modify(order, price=81.0)
        yield lambda: tracked.state.value == "UNKNOWN"
        yield lambda: tracked.state.value == "WORKING"
        assert (order.alive(), order.created.price, tracked.asked) == (True, 80.0, None)

    live().run(script)


def test_a_change_to_no_price_is_not_sent(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10, exectype=bt.Order.Limit, price=80.0)
        yield accepted(order)
        assert not floor.broker.modify(order, price=float("nan"))
        assert floor.broker.reasons[order.ref] == "price: nan is no price of a share."

    live().run(script)


def test_what_a_strategy_does_to_an_order_after_its_review_changes_nothing(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10, exectype=bt.Order.Limit, price=80.0)
        order.created.price, order.size, order.created.size = 99_999.0, 500, 500
        yield accepted(order)
        (sent,) = floor.gateway_orders()
        assert (sent.limit, sent.quantity) == (80.0, 10)

    live(limits=Limits(max_position_shares=20)).run(script)


def test_a_change_that_risk_does_not_allow_is_not_sent(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10, exectype=bt.Order.Limit, price=80.0)
        yield accepted(order)
        assert not floor.broker.modify(order, size=50)
        assert "max_position_shares" in floor.broker.reasons[order.ref]
        (sent,) = floor.gateway_orders()
        assert sent.quantity == 10

    live(limits=Limits(max_position_shares=20)).run(script)


# ---------------------------------------------------------------- fills and money


def test_an_order_filled_in_pieces_is_told_piece_by_piece(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10)
        yield accepted(order)
        floor.command("fill_cap", quantity="4")
        floor.step(4)
        yield over(order)
        assert trader.told(order) == ["Submitted", "Accepted", "Partial", "Partial", "Completed"]
        assert [bit.size for bit in order.executed.exbits] == [4, 4, 2]
        assert trader.position.size == 10

    live().run(script)


def test_a_partly_filled_order_that_is_cancelled_keeps_its_fills(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        floor.command("fault", request="place_order", action="partial", value="0.4")
        order = trader.buy(size=10, exectype=bt.Order.Limit, price=80.0)
        yield over(order)
        assert trader.told(order) == ["Submitted", "Accepted", "Partial", "Canceled"]
        assert (order.executed.size, trader.position.size) == (4, 4)

    live().run(script)


def test_a_trade_earns_what_the_account_earned(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        yield from hold(trader, floor, 37)
        floor.step(30)
        yield floor.bar()
        order = trader.close()
        yield accepted(order)
        floor.step()
        yield over(order)
        (size, _, earned, closed) = trader.trades[-1]
        assert (size, closed) == (0, True)
        yield lambda: trader.broker.getcash() == pytest.approx(1_000_000 + earned, abs=0.011)
        assert trader.broker.getvalue() == pytest.approx(trader.broker.getcash())
        commissions = floor.session.synchronize().commissions
        assert sum(float(told.realized) for told in commissions if told.realized) == pytest.approx(earned, abs=0.011)

    live().run(script)


def test_an_inherited_position_is_closed_by_its_first_sale(live):
    floor = live()
    floor.command("position", symbol="AAPL", quantity=40)

    def script(trader, floor, _stage):
        yield floor.bar()
        assert trader.position.size == 40
        assert [trade[0] for trade in trader.trades] == [40]
        order = trader.close()
        yield accepted(order)
        floor.step()
        yield over(order)
        assert trader.position.size == 0
        assert [(size, closed) for size, _, _, closed in trader.trades] == [(40, False), (0, True)]

    floor.run(script)


def test_an_order_of_somebody_else_is_adopted_and_moves_the_position(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        yield from hold(trader, floor)
        floor.command("manual_order", symbol="AAPL", action="BUY", quantity=5, kind="MKT")
        floor.step()
        yield lambda: trader.position.size == 15
        assert "external_fill" in floor.alarms()
        order = trader.close()
        yield accepted(order)
        floor.step()
        yield over(order)
        assert trader.trades[-1][0] == 0

    floor = live(patience=SOON)
    floor.run(script)
    assert floor.positions == {}


# ---------------------------------------------------------------- risk


def test_an_order_beyond_a_limit_is_shrunk(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=50)
        yield accepted(order)
        assert (order.created.size, floor.gateway_orders()[0].quantity) == (20, 20)
        assert "max_position_shares" in order.info.reason

    live(limits=Limits(max_position_shares=20)).run(script)


def test_a_refused_order_is_never_sent_and_says_why(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.sell(size=5)
        yield lambda: trader.told(order) == ["Rejected"]
        assert "short sales" in floor.broker.reasons[order.ref]
        assert floor.gateway_orders() == []

    live(limits=Limits(allow_shorting=False)).run(script)


def test_no_way_leads_round_risk(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = bt.order.SellOrder(owner=trader, data=trader.data, size=5, exectype=bt.Order.Market)
        floor.broker.submit(order)
        assert order.status == bt.Order.Rejected
        assert floor.broker.submit(order) is order
        assert floor.gateway_orders() == []

    live(limits=Limits(allow_shorting=False)).run(script)


def test_a_halt_cancels_entries_and_leaves_protection(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        yield from hold(trader, floor)
        stop = trader.sell(size=10, exectype=bt.Order.Stop, price=80.0, reduces_only=True)
        entry = trader.buy(size=10, exectype=bt.Order.Limit, price=80.0)
        yield accepted(stop)
        yield accepted(entry)
        floor.guard.halt(HaltState.REDUCE_ONLY, "test", floor.now())
        yield over(entry)
        assert (entry.getstatusname(), stop.alive()) == ("Canceled", True)
        assert trader.buy(size=1).status == bt.Order.Rejected

    live().run(script)


def test_flatten_cancels_everything_and_closes_the_position(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        yield from hold(trader, floor)
        stop = trader.sell(size=10, exectype=bt.Order.Stop, price=80.0, reduces_only=True)
        yield accepted(stop)
        floor.guard.halt(HaltState.FLATTEN, "test", floor.now())
        yield over(stop)
        yield lambda: len(floor.gateway_orders()) == 3
        floor.step()
        yield lambda: trader.position.size == 0

    floor = live()
    floor.run(script)
    assert floor.positions == {}


def test_a_strategy_cannot_cancel_the_closing_of_the_guard(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        yield from hold(trader, floor)
        floor.guard.halt(HaltState.FLATTEN, "test", floor.now())
        yield lambda: len(floor.gateway_orders()) == 2
        (closing,) = floor.broker._register.open()
        assert not trader.broker.cancel(closing.order)
        floor.step()
        yield lambda: trader.position.size == 0

    live().run(script)


def test_a_setting_of_the_account_cannot_be_made_by_a_strategy(live):
    with pytest.raises(SealedSettingError, match="setcash"):
        live().broker.setcash(1.0)


# ---------------------------------------------------------------- the gate


def test_nothing_is_sent_while_the_data_are_not_live(live):
    def script(trader, floor, stage):
        yield floor.bar()
        stage.feeds[0].live = False
        order = trader.buy(size=10)
        yield lambda: trader.told(order) == ["Rejected"]
        assert "not live" in floor.broker.reasons[order.ref]
        assert floor.gateway_orders() == []

    live().run(script)


def test_nothing_is_sent_during_the_nightly_reset(live):
    now = datetime.now(UTC)
    window = ResetWindow((now - timedelta(minutes=5)).time(), (now + timedelta(minutes=5)).time(), "UTC")

    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10)
        yield lambda: trader.told(order) == ["Rejected"]
        assert "nightly reset" in floor.broker.reasons[order.ref]

    floor = live(reset=window)
    floor.run(script)
    assert floor.gateway_orders() == []


def test_nothing_is_sent_while_the_link_is_down(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        floor.command("link", state="lost")
        yield lambda: floor.session.state is not SessionState.READY
        order = trader.buy(size=10)
        assert order.status == bt.Order.Rejected
        assert "the session is" in floor.broker.reasons[order.ref]
        floor.command("link", state="restored")
        yield lambda: floor.session.state is SessionState.READY and floor.broker.book.current
        yield accepted(trader.buy(size=10))

    live().run(script)


def test_a_cancellation_during_an_outage_is_sent_after_it(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10, exectype=bt.Order.Limit, price=80.0)
        yield accepted(order)
        floor.command("restart", down_seconds=0.3)
        yield lambda: floor.session.state is not SessionState.READY
        trader.cancel(order)
        yield over(order)
        assert order.getstatusname() == "Canceled"

    live().run(script)


def test_an_order_is_written_down_before_it_is_sent(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10)
        yield accepted(order)
        steps = [
            change.after.value if isinstance(change, StateChanged) else "intended"
            for change in floor.journal
            if isinstance(change, StateChanged | OrderIntended)
        ]
        assert steps == ["intended", "SENT", "WORKING"]

    live().run(script)


def test_an_order_that_cannot_be_written_down_is_not_sent(live):
    floor = live()

    def full(change):
        if isinstance(change, OrderIntended):
            raise OSError("the disk is full")

    floor.reopen(floor.broker.book, full)

    def script(trader, floor, _stage):
        yield floor.bar()
        with pytest.raises(OSError, match="full"):
            trader.buy(size=10)
        floor.session.server_time()
        assert floor.gateway_orders() == []

    floor.run(script)


# ---------------------------------------------------------------- restarts and faults


def test_a_fill_while_the_gateway_was_away_is_told_afterwards(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10)
        yield accepted(order)
        floor.command("disconnect", client=floor.session.client_id)
        floor.command("step", bars=1)
        yield over(order)
        assert trader.told(order) == ["Submitted", "Accepted", "Completed"]
        assert (trader.position.size, order.executed.comm) == (10, 1.0)

    live().run(script)


def test_an_order_survives_a_restart_of_the_gateway(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10, exectype=bt.Order.Limit, price=80.0)
        yield accepted(order)
        floor.command("restart", down_seconds=0.1)
        yield lambda: floor.session.state is not SessionState.READY
        yield lambda: floor.session.state is SessionState.READY and floor.broker.book.current
        assert order.alive()
        trader.cancel(order)
        yield over(order)
        assert trader.told(order) == ["Submitted", "Accepted", "Canceled"]

    live().run(script)


def test_a_commission_before_its_fill_is_not_lost(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        floor.command("fault", answer="execDetails", action="after", value="commissionReport", times=1)
        yield from hold(trader, floor)
        assert trader.position.size == 10
        assert sum(float(fill.commission.amount) for fill in floor.broker.book.fills) == 1.0

    live().run(script)


def test_messages_that_come_twice_count_once(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        for answer in ("orderStatus", "execDetails", "commissionReport", "openOrder"):
            floor.command("fault", answer=answer, action="duplicate")
        order = trader.buy(size=10)
        yield accepted(order)
        floor.step()
        yield over(order)
        assert trader.told(order) == ["Submitted", "Accepted", "Completed"]
        assert (trader.position.size, order.executed.comm) == (10, 1.0)
        assert len([change for change in floor.journal if isinstance(change, FillBooked)]) == 1

    live().run(script)


def test_a_fill_that_was_not_told_is_asked_for(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        floor.command("fault", answer="execDetails", action="drop", times=1)
        yield from hold(trader, floor)
        assert trader.position.size == 10

    live().run(script)


def test_a_late_commission_amends_the_estimate(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        floor.command("fault", answer="commissionReport", action="delay", value="0.3", times=1)
        order = trader.buy(size=100)
        yield accepted(order)
        floor.step()
        yield over(order)
        assert 0 < order.executed.comm < 1.0
        yield lambda: order.executed.comm == 1.0
        (trade,) = trader._trades[trader.data][0]
        assert trade.commission == pytest.approx(1.0)

    live(wait=0.0).run(script)


def test_a_swallowed_order_is_sent_again_once_it_is_provably_nowhere(live):
    floor = live(patience=SOON)

    def script(trader, floor, _stage):
        yield floor.bar()
        floor.command("fault", request="place_order", action="swallow", times=1)
        order = trader.buy(size=10)
        yield accepted(order)
        assert len(floor.gateway_orders()) == 1
        floor.step()
        yield over(order)
        assert trader.position.size == 10

    floor.run(script)
    assert floor.positions == {"AAPL": "10"}


def test_a_swallowed_order_is_not_sent_again_once_entries_are_halted(live):
    floor = live(patience=SOON)

    def script(trader, floor, _stage):
        yield floor.bar()
        floor.command("fault", request="place_order", action="swallow", times=1)
        order = trader.buy(size=10)
        floor.guard.halt(HaltState.HALT_ENTRIES, "test", floor.now())
        yield over(order)
        assert (order.getstatusname(), floor.gateway_orders()) == ("Rejected", [])
        assert "HALT_ENTRIES" in order.info.reason

    floor.run(script)
    assert floor.positions == {}


@pytest.mark.parametrize(
    ("code", "text", "status"),
    [
        (201, "Order rejected - reason:Invalid.", "Rejected"),
        (201, "Order rejected - reason:Insufficient margin.", "Margin"),
        (10318, "This order doesn't support fractional quantity trading", "Rejected"),
        (110, "The price does not conform to the minimum price variation", "Rejected"),
    ],
)
def test_a_refusal_of_the_broker_reaches_the_strategy(live, code, text, status):
    def script(trader, floor, _stage):
        yield floor.bar()
        floor.command("fault", request="place_order", action="error", code=code, text=text)
        order = trader.buy(size=10)
        yield over(order)
        assert order.getstatusname() == status
        assert text in order.info.reason

    live().run(script)


def test_a_warning_leaves_the_order_alive(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10, exectype=bt.Order.Limit, price=80.0)
        yield accepted(order)
        sent = floor.broker.book.orders["test/20240108/143300/0"].ticket.order_id
        floor.command("error", code=399, text="will not be placed before the open", req_id=sent)
        yield lambda: "warning" in order.info
        assert order.alive()
        assert order.info.warning == "399: will not be placed before the open"

    live().run(script)


def test_a_correction_of_a_fill_moves_the_profit(live):
    def script(trader, floor, _stage):
        yield floor.bar()
        bought = trader.buy(size=10)
        yield accepted(bought)
        floor.step()
        yield over(bought)
        (fill,) = floor.broker.book.fills
        price = float(fill.execution.price)
        floor.command("correct", exec_id=fill.execution.exec_id, price=str(price + 1))
        yield lambda: "fill_corrected" in floor.alarms()
        assert (trader.position.size, bought.executed.price) == (10, pytest.approx(price + 1))
        sold = trader.close()
        yield accepted(sold)
        floor.step()
        yield over(sold)
        (*_, (_, profit, _, closed)) = trader.trades
        assert closed
        assert profit == pytest.approx(10 * (sold.executed.price - price - 1))

    live().run(script)


def test_a_restored_book_goes_on_with_the_orders_and_positions_of_the_run_before(live):
    floor = live()

    def before(trader, floor, _stage):
        yield floor.bar()
        yield from hold(trader, floor)
        order = trader.buy(size=10, exectype=bt.Order.Limit, price=80.0)
        yield accepted(order)

    floor.run(before)
    floor.reopen(floor.restored())

    def after(trader, floor, _stage):
        yield floor.bar()
        tracked = floor.broker.book.orders["test/20240108/143300/1"]
        yield lambda: tracked.state.value == "WORKING"
        assert trader.position.size == 10
        sale = trader.close()
        yield accepted(sale)
        floor.step()
        yield over(sale)
        assert (trader.position.size, trader.trades[-1][0], trader.trades[-1][3]) == (0, 0, True)
        assert floor.alarms() == []

    floor.run(after)


class Crossing(BaseStrategy):
    """Long above the mean of three closes, flat below, with a stop."""

    def indicators(self, data):
        return {"mean": bt.ind.SMA(data.close, period=3)}

    def decide(self, data):
        if data.close[0] > self.ind[data].mean[0]:
            self.enter_long(data, stop=data.close[0] - 0.5)
        else:
            self.leave(data)


def test_orders_of_the_run_before_can_be_taken_over(live):
    floor = live()

    def before(trader, floor, _stage):
        yield floor.bar()
        yield from hold(trader, floor)
        stop = trader.sell(size=10, exectype=bt.Order.Stop, price=80.0, reduces_only=True)
        entry = trader.buy(size=7, exectype=bt.Order.StopLimit, price=130.0, plimit=131.0)
        yield accepted(stop)
        yield accepted(entry)

    floor.run(before)
    floor.reopen(floor.restored())

    def after(trader, floor, _stage):
        floor.step()
        yield floor.bar()
        taken = floor.broker.take_over(trader)
        stop, entry = sorted(taken[trader.data], key=lambda order: order.isbuy())
        assert (stop.exectype, stop.size, stop.created.price) == (bt.Order.Stop, -10, 80.0)
        assert (entry.created.price, entry.created.pricelimit, entry.size) == (130.0, 131.0, 7)
        assert (stop.info.get("reduces_only"), entry.info.get("reduces_only")) == (True, None)
        assert floor.broker.take_over(trader) == {}
        target = trader.sell(size=10, exectype=bt.Order.Limit, price=140.0, reduces_only=True)
        yield accepted(target)
        groups = [terms.oca_group for terms in floor.gateway_orders() if terms.side < 0]
        assert len(groups) == 2
        assert len(set(groups)) == 1
        trader.cancel(entry)
        yield over(entry)
        assert trader.told(entry) == ["Accepted", "Canceled"]
        assert floor.broker.modify(stop, price=81.0)
        yield lambda: stop.created.price == 81.0

    floor.run(after)


def test_a_strategy_of_the_library_goes_on_after_a_restart(live):
    floor = live()

    def before(strategy, floor, _stage):
        while strategy.stop_price(strategy.data) is None or not strategy.position.size:
            yield floor.bar()
            bars = len(strategy)
            yield lambda bars=bars: len(strategy) > bars and floor.settled()
            floor.step()
            yield floor.settled
        floor.memory = json.loads(json.dumps(strategy.memory()))

    floor.run(before, strategy=Crossing)
    floor.reopen(floor.restored())

    def after(strategy, floor, _stage):
        floor.step()
        yield floor.bar()
        yield lambda: floor.settled() and len(strategy) > 0
        strategy.recall(floor.memory, floor.broker.take_over(strategy))
        assert strategy.stop_price(strategy.data) is not None
        for _ in range(4):
            floor.step()
            yield floor.bar()
            bars = len(strategy)
            yield lambda bars=bars: len(strategy) > bars and floor.settled()
        working = [order for order in floor.broker.book.open_orders if order.ticket.order_type == "STP"]
        held = strategy.position.size
        assert [order.remaining for order in working] == ([held] if held else [])
        assert floor.alarms() == []

    floor.run(after, strategy=Crossing)


def test_a_decision_that_is_made_again_after_a_restart_is_not_sent_twice(live):
    floor = live()

    def script(trader, floor, _stage):
        yield floor.bar()
        order = trader.buy(size=10, exectype=bt.Order.Limit, price=80.0)
        yield lambda: order.status in {bt.Order.Accepted, bt.Order.Rejected}

    floor.run(script)
    floor.reopen(floor.restored())
    trader = floor.run(script)
    assert [status for _, status in trader.orders] == ["Submitted", "Rejected"]
    assert len(floor.gateway_orders()) == 1


def test_a_fill_between_two_runs_is_booked_once_by_the_second(live):
    floor = live()

    def before(trader, floor, _stage):
        yield floor.bar()
        yield accepted(trader.buy(size=10))

    floor.run(before)
    floor.step()
    floor.reopen(floor.restored())

    def after(trader, floor, _stage):
        yield floor.bar()
        yield lambda: trader.position.size == 10
        assert floor.broker.book.orders["test/20240108/143300/0"].state.value == "FILLED"
        assert floor.alarms() == []

    floor.run(after)


def test_a_strategy_of_the_library_trades_live_as_it_is(live):
    def script(strategy, floor, _stage):
        for _ in range(25):
            yield floor.bar()
            bars = len(strategy)
            yield lambda bars=bars: len(strategy) > bars and not floor.in_flight()
            floor.step()
        yield lambda: not floor.in_flight()
        held = strategy.position.size
        assert floor.positions == ({"AAPL": str(int(held))} if held else {})
        bought = [terms for terms in floor.gateway_orders() if terms.side > 0]
        stops = [terms for terms in floor.gateway_orders() if terms.kind == "STP"]
        assert len(bought) > 1
        assert len(stops) >= len(bought) - 1
        assert floor.alarms() == []

    floor = live()
    floor.run(script, strategy=Crossing)


FAULTS = (
    {"answer": "orderStatus", "action": "duplicate"},
    {"answer": "execDetails", "action": "duplicate"},
    {"answer": "orderStatus", "action": "drop", "times": 1},
    {"answer": "openOrder", "action": "drop", "times": 1},
    {"answer": "execDetails", "action": "drop", "times": 1},
    {"answer": "execDetails", "action": "after", "value": "commissionReport", "times": 1},
    {"answer": "execDetails", "action": "after", "value": "orderStatus", "times": 1},
    {"answer": "commissionReport", "action": "drop", "times": 1},
    {"answer": "commissionReport", "action": "delay", "value": "0.2", "times": 1},
    {"request": "place_order", "action": "swallow", "times": 1},
    {"request": "place_order", "action": "error", "code": 105, "modify": True, "times": 1},
    {"request": "place_order", "action": "error", "code": 201, "times": 1},
    {"request": "place_order", "action": "partial", "value": "0.4", "times": 1},
    {"request": "cancel_order", "action": "swallow", "times": 1},
    {"request": "cancel_order", "action": "fill", "times": 1},
)


def disturb(rng, floor):
    """One thing that goes wrong, or nothing."""
    what = rng.random()
    if what < 0.6:
        floor.command("fault", **rng.choice(FAULTS))
    elif what < 0.7:
        floor.command("disconnect", client=floor.session.client_id)
    elif what < 0.75:
        floor.command("restart", down_seconds=0.05)
    elif what < 0.8:
        floor.command("manual_order", symbol="AAPL", action=rng.choice(("BUY", "SELL")), quantity=3, kind="MKT")


def act(rng, trader, floor):
    """One thing that a strategy does."""
    close, size = trader.data.close[0], rng.randint(1, 30)
    send = rng.choice((trader.buy, trader.sell))
    away = close - 5 if send == trader.buy else close + 5
    what = rng.randrange(8)
    alive = [order for order in floor.mine if order.alive()]
    if what == 0 and alive:
        trader.cancel(rng.choice(alive))
    elif what == 1 and alive:
        floor.broker.modify(rng.choice(alive), size=size)
    elif what == 2:
        order = trader.close()
        floor.mine += [] if order is None else [order]
    elif what == 3 and trader.position.size:
        exits = trader.sell if trader.position.size > 0 else trader.buy
        terms = {"exectype": bt.Order.Stop, "price": close, "reduces_only": True}
        floor.mine.append(exits(size=abs(trader.position.size), **terms))
    elif what == 4:
        floor.mine.append(send(size=size, exectype=bt.Order.Limit, price=rng.choice((away, close))))
    elif what == 5:
        first = send(size=size, exectype=bt.Order.Limit, price=close)
        floor.mine += [first, send(size=size, exectype=bt.Order.Limit, price=away, oco=first)]
    elif what == 6:
        bracket = trader.buy_bracket(size=size, price=close, stopprice=close - 0.05, limitprice=close + 0.05)
        floor.mine += bracket
    else:
        floor.mine.append(send(size=size))


@settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # fmt: skip
@given(seed=st.integers(0, 2**32 - 1))
def test_whatever_goes_wrong_the_strategy_and_the_broker_agree_in_the_end(live, seed):
    rng = random.Random(seed)  # noqa: S311 (a script, no secret)
    floor = live(patience=SOON, wait=0.1, fill_at_once=False)
    floor.mine = []

    def script(trader, floor, _stage):
        yield floor.bar()
        for _ in range(20):
            disturb(rng, floor)
            act(rng, trader, floor)
            pause = time.monotonic() + 0.05
            yield lambda pause=pause: time.monotonic() > pause and floor.ready()
            floor.step()
            yield floor.bar()
        floor.command("clear_faults")
        for order in floor.mine:
            trader.cancel(order)
        yield lambda: floor.ready() and not floor.broker.book.open_orders
        yield lambda: all(fill.commission is not None for fill in floor.broker.book.fills)
        yield lambda: trader.position.size == float(floor.positions.get("AAPL", 0))
        order = trader.close()
        while order is not None and order.alive():
            yield floor.ready
            floor.step()
            yield lambda: not floor.in_flight()
        yield lambda: floor.positions == {} and trader.position.size == 0
        yield lambda: all(fill.commission is not None for fill in floor.broker.book.fills)
        earned = sum(pnl for _, _, pnl, closed in trader.trades if closed)
        final = [trade.pnlcomm for trade in trader._trades[trader.data][0] if trade.isclosed]
        assert sum(final) == pytest.approx(floor.cash() - 1_000_000, abs=0.02), earned

    floor.run(script)
    assert all(not order.alive() for order in floor.mine)
    assert "overfilled" not in floor.alarms()
    assert all(len(order.perm_ids) <= 1 for order in floor.broker.book.orders.values())  # one order an intent
