"""The broker that is left out of quiet bars records, tells and answers what the one that sees every bar does."""

import datetime as dt
import itertools

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from research.engine import Engine, replay
from research.engine.verify import first_difference
from tests.unit.research.scenarios import daily, flat, minutes, prepared, table, walk

pytestmark = pytest.mark.usefixtures("loop")

COUNT = 90
KINDS = (
    "market", "limit", "stop", "stop_limit", "trail", "trail_limit", "close", "bracket", "oco", "flat", "cancel",
    "cash",
)  # fmt: skip


class Scripted(bt.Strategy):
    """Acts as a script says, and logs what it is told and what it reads at some bars."""

    params = (("script", ()), ("reads", frozenset()), ("log", None))

    def __init__(self):
        self.first_ref = None

    def next(self):
        bar = len(self)
        if bar in self.p.reads:
            broker = self.broker
            numbers = (
                broker.getcash(), broker.getvalue(), broker.get_value([self.data]), broker.get_value(lever=True),
                broker.get_value(mkt=True), broker.get_leverage(), broker.fundvalue, broker.get_fundshares(),
                broker.getcommissioninfo(self.data).getcommission(-100, self.data.close[0]),
            )  # fmt: skip
            self.p.log.append((bar, *(float(number).hex() for number in numbers)))
        for when, symbol, buy, size, kind, away in self.p.script:
            if when == bar:
                self.act(self.datas[symbol % len(self.datas)], buy, size, kind, away)

    def act(self, data, buy, size, kind, away):
        send, price = self.buy if buy else self.sell, data.close[0] * (1 + away)
        valid = dt.timedelta(days=3) if size % 3 == 0 else None
        plain = {"market": "Market", "close": "Close", "limit": "Limit", "stop": "Stop"}
        if kind in plain:
            send(data, size=size, price=price, exectype=getattr(bt.Order, plain[kind]), valid=valid)
        elif kind == "stop_limit":
            send(data, size=size, price=price, plimit=price * 1.001, exectype=bt.Order.StopLimit, valid=valid)
        elif kind == "trail":
            send(data, size=size, trailpercent=abs(away) + 0.002, exectype=bt.Order.StopTrail)
        elif kind == "trail_limit":
            send(data, size=size, price=price, plimit=price * 1.001, trailamount=0.5, exectype=bt.Order.StopTrailLimit)
        elif kind == "bracket":
            side, both = (1, self.buy_bracket) if buy else (-1, self.sell_bracket)
            stop, limit = price * (1 - 0.02 * side), price * (1 + 0.02 * side)
            both(data=data, size=size, price=price, stopprice=stop, limitprice=limit, valid=valid)
        elif kind == "oco":
            first = send(data, size=size, price=price, exectype=bt.Order.Limit)
            send(data, size=size, price=price * 1.02, exectype=bt.Order.Stop, oco=first)
        elif kind == "flat":
            self.close(data)
        elif kind == "cash":
            self.broker.add_cash(size * 10.0)
        else:
            for order in self.broker.get_orders_open():
                self.cancel(order)

    def notify_order(self, order):
        if self.first_ref is None:
            self.first_ref = order.ref
        done = order.executed
        numbers = (order.created.price, done.size, done.price, done.comm, done.pnl, done.remsize)
        told = (order.ref - self.first_ref, order.getstatusname(), *(float(number).hex() for number in numbers))
        self.p.log.append((len(self), *told))

    def notify_trade(self, trade):
        self.p.log.append((len(self), trade.size, trade.pnl.hex(), trade.pnlcomm.hex(), trade.barlen))


class Telling(Scripted):
    """Is told of cash and value at every bar."""

    def notify_fund(self, cash, value, fundvalue, shares):
        self.p.log.append((len(self), *(float(number).hex() for number in (cash, value, fundvalue, shares))))


def minute_days(symbol, seed, days=3):
    """The last half hour of some sessions, minute by minute."""
    rng = np.random.default_rng(seed)
    close = np.round(50 * np.exp(np.cumsum(rng.normal(0, 0.004, COUNT))), 2)
    opens = np.round(close * np.exp(rng.normal(0, 0.002, COUNT)), 2)
    high, low = np.maximum(opens, close) + 0.03, np.minimum(opens, close) - 0.03
    stamps = [
        stamp
        for day in ("2024-01-02", "2024-01-03", "2024-01-05")[:days]
        for stamp in pd.date_range(f"{day} 20:31", periods=COUNT // days, freq="min")
    ]
    return table(symbol, stamps, opens, high, low, close, np.full(COUNT, 2e4), resolution="1m")


DAYS = walk("A", COUNT, 11, volume=5e4), walk("B", COUNT, 12, volume=2e4)
GAPPY = DAYS[0], DAYS[1].filter([bar % 5 != 3 and bar > 4 for bar in range(COUNT)])
MINUTES = (minute_days("A", 1), minute_days("B", 2))
MARKETS = {"one": DAYS[:1], "two": DAYS, "gappy": GAPPY, "minutes": MINUTES, "one of minutes": MINUTES[:1]}

SEND = st.tuples(
    st.integers(1, COUNT - 1),
    st.integers(0, 1),
    st.booleans(),
    st.integers(1, 900),
    st.sampled_from(KINDS),
    st.floats(-0.03, 0.03),
)
COSTS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["ibkr_fixed", "ibkr_tiered", "none"]),
        "participation": st.sampled_from([None, 0.1, 0.01]),
        "slippage": st.sampled_from([{"kind": "none"}, {"kind": "bps"}, {"kind": "volume_share"}]),
        "borrow_rate": st.sampled_from([0.0, 0.1]),
        "margin_rate": st.sampled_from([0.0, 0.1]),
        "cash_rate": st.sampled_from([0.0, 0.0, 0.05]),
    }
)
LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "max_position_shares": st.just(300),
        "max_gross_exposure": st.just(0.5),
        "max_orders_per_minute": st.just(2),
        "max_orders_per_session": st.just(3),
        "max_drawdown": st.sampled_from([0.005, 0.02, 0.06]),
        "max_daily_loss_fraction": st.sampled_from([0.002, 0.01]),
        "max_daily_loss": st.sampled_from([100.0, 900.0]),
        "on_daily_loss": st.sampled_from(["HALT_ENTRIES", "REDUCE_ONLY", "FLATTEN"]),
        "on_drawdown": st.sampled_from(["HALT_ENTRIES", "REDUCE_ONLY", "FLATTEN"]),
        "max_consecutive_losses": st.sampled_from([1, 2]),
        "cooldown_minutes": st.sampled_from([5.0, 60.0, 3000.0]),
        "flat_before_close_minutes": st.sampled_from([5.0, 12.5]),
    },
)


def both(strategy, tables, script, *, reads=frozenset(), **fields):
    """Outputs and logs of the run on Backtrader's own loop and on the fast one."""
    ends = []
    for engine in (Engine.VANILLA, Engine.FAST):
        log = []
        params = {"script": tuple(script), "reads": reads, "log": log}
        output = replay(prepared(strategy, *tables, params=params, **fields), engine=engine)
        ends.append((output, log))
    return ends


def assert_same(ends):
    (vanilla, told), (fast, told_fast) = ends
    assert first_difference(vanilla, fast) is None
    assert list(itertools.zip_longest(told_fast, told)) == [(line, line) for line in told]


@pytest.mark.thorough
@given(
    st.sampled_from(list(MARKETS)),
    st.lists(SEND, max_size=14),
    COSTS,
    LIMITS,
    st.frozensets(st.integers(1, COUNT), max_size=9),
    st.sampled_from([Scripted, Scripted, Telling]),
    st.sampled_from([2_000.0, 30_000.0, 100_000.0]),
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_any_run_comes_out_the_same_to_the_last_bit(  # noqa: PLR0917
    market, script, costs, limits, reads, strategy, cash
):
    assert_same(both(strategy, MARKETS[market], script, reads=reads, costs=costs, limits=limits or "none", cash=cash))


# ---------------------------------------------------------------- what falls due while nothing is at work


def quiet(tables, script, **fields):
    """The fast run, after it came out as the slow one did."""
    ends = both(Scripted, tables, script, **fields)
    assert_same(ends)
    return ends[1][0]


def buy(bar, size=100):
    return (bar, 0, True, size, "market", 0.0)


def sell(bar, size=100):
    return (bar, 0, False, size, "market", 0.0)


def test_interest_is_booked_at_every_session_of_a_quiet_short():
    rates = {"model": "none", "borrow_rate": 0.1}
    output = quiet([daily("A", flat(100, 12))], [sell(2, 500)], costs=rates)
    assert [bool(amount) for amount in output.equity["financing"].to_pylist()] == [False] * 3 + [True] * 9


def test_credit_earns_interest_while_nothing_is_held():
    output = quiet([daily("A", flat(100, 12))], [], costs={"model": "none", "cash_rate": 0.05})
    assert sum(amount > 0 for amount in output.equity["financing"].to_pylist()) == 11


def test_a_drawdown_is_seen_at_its_bar_long_after_the_last_order():
    rows = [*flat(100, 60), *flat(110, 60), *flat(84, 3), *flat(83, 5)]
    output = quiet([daily("A", rows)], [buy(2, 900)], limits={"max_drawdown": 0.2})
    (event,) = output.risk_events
    assert (event.ts, event.limit) == (output.equity["ts"][120].as_py(), "max_drawdown")
    assert output.fills.num_rows == 2


def test_a_days_loss_is_measured_from_the_close_before_although_that_bar_was_left_out():
    rows = [*flat(100, 20), *(row for day in range(20) for row in flat(101 + day, 1)), *flat(110, 5)]
    output = quiet([daily("A", rows)], [buy(2, 900)], limits={"max_daily_loss": 9_000.0})
    (event, over) = output.risk_events
    assert (event.ts, event.measured) == (output.equity["ts"][40].as_py(), 9_000.0)  # from 120 at bar 39
    assert over.kind == "resume"


def test_a_session_that_begins_while_nothing_is_held_is_measured_from_where_it_began():
    rows = [(50, 50, 50, 50)] * 10 + [(40, 40, 40, 40)] * 25 + [(38, 38, 38, 38)] * 55
    stamps = minute_days("A", 0)["ts"].to_pandas().dt.tz_localize(None)
    bars = table("A", stamps, *zip(*rows, strict=True), [2e4] * COUNT, resolution="1m")
    output = quiet([bars], [buy(5, 50), sell(13, 50), buy(33, 100)], limits={"max_daily_loss": 600.0})
    assert output.trades["gross_profit"].to_pylist() == [-500.0]
    assert output.risk_events == ()  # the second session lost 200


def test_debit_costs_interest_at_every_session():
    script = [buy(2, 900), (5, 0, True, -5_000, "cash", 0.0)]
    output = quiet([daily("A", flat(100, 12))], script, costs={"model": "none", "margin_rate": 0.1})
    assert [amount < 0 for amount in output.equity["financing"].to_pylist()] == [False] * 6 + [True] * 6


def test_positions_are_flat_before_every_close_that_comes_in_a_quiet_stretch():
    output = quiet([minute_days("A", 5)], [buy(2), buy(35), buy(65)], limits={"flat_before_close_minutes": 5.0})
    assert [event.kind for event in output.risk_events] == ["halt", "resume", "halt", "resume", "halt"]
    assert output.fills.num_rows == 6


def test_a_cool_down_ends_at_its_bar():
    rows = [*flat(100, 5), *flat(90, 30)]
    limits = {"max_consecutive_losses": 1, "cooldown_minutes": 10.0}
    output = quiet([minutes("A", rows)], [buy(2), sell(6), buy(9), buy(20)], limits=limits)
    assert [(event.kind, event.limit) for event in output.risk_events] == [
        ("halt", "max_consecutive_losses"), ("refused", "max_consecutive_losses"), ("resume", "max_consecutive_losses"),
    ]  # fmt: skip
    assert output.fills.num_rows == 3


def test_the_entries_of_a_session_that_began_while_something_was_held_are_counted_anew():
    limits = {"max_orders_per_session": 1, "max_drawdown": 0.5}
    output = quiet([minute_days("A", 3)], [buy(2, 10), buy(45, 10)], limits=limits)  # looked at in between, at bar 35
    assert output.fills.num_rows == 2


def test_the_entries_of_a_session_are_counted_anew_after_sessions_without_an_order():
    limits = {"max_orders_per_session": 1}
    output = quiet([daily("A", flat(100, 20))], [buy(2, 10), buy(2, 10), buy(15, 10)], limits=limits)
    assert output.fills.num_rows == 2


def test_money_that_is_no_number_halts_at_once():
    class Spoils(Scripted):
        def next(self):
            if len(self) == 5:
                self.broker.add_cash(float("inf"))
            super().next()

    vanilla, fast = (output for output, _ in both(Spoils, [daily("A", flat(100, 12))], [buy(8)]))
    assert first_difference(vanilla, fast) is None
    assert [event.limit for event in fast.risk_events] == ["equity", "halt_state"]


def test_a_strategy_that_moves_a_line_by_itself_goes_on_with_the_same_broker():
    class Moves(Scripted):
        def next(self):
            if len(self) == 30:
                self.data.lines.open.advance(0)
            super().next()

    script = [buy(3), (10, 0, False, 100, "stop", -0.2), buy(33), sell(60)]
    assert_same(both(Moves, DAYS[:1], script, limits={"max_drawdown": 0.5, "max_daily_loss": 5000.0}))


@pytest.mark.parametrize(
    ("buys", "kind", "price"),
    [(True, "limit", 99.0), (False, "limit", 101.0), (True, "stop", 101.0), (False, "stop", 99.0)],
)
def test_a_bar_that_just_touches_a_price_executes_the_order(buys, kind, price):
    rows = [*flat(100, 5), (100, 100.5, 99.5, 100), (100, 101, 99, 100), *flat(100, 3)]
    output = quiet([daily("A", rows)], [(3, 0, buys, 10, kind, price / 100 - 1)])
    assert [(fill["ts"], fill["price"]) for fill in output.fills.to_pylist()] == [
        (output.equity["ts"][6].as_py(), price)
    ]


def test_an_order_that_its_fee_alone_makes_too_dear_is_not_paid_for():
    rows = [(9.998, 10, 9.9, 9.998)] * 8
    costs = {"model": "ibkr_fixed", "slippage": {"kind": "none"}, "participation": None}
    output = quiet([daily("A", rows)], [buy(3, 1000)], costs=costs, cash=10_000.0)
    assert (output.orders["status"].to_pylist(), output.fills.num_rows) == (["margin"], 0)


def test_the_broker_is_asked_at_few_bars(monkeypatch):
    from research.engine import lean_broker

    asked = []
    step = lean_broker.LeanBroker.next
    monkeypatch.setattr(lean_broker.LeanBroker, "next", lambda self: asked.append(1) or step(self))
    limits = {"max_drawdown": 0.9, "max_daily_loss_fraction": 0.9}
    replay(prepared(Scripted, walk("A", 1000), params={"script": (buy(5), sell(700)), "log": []}, limits=limits))
    assert len(asked) < 30
