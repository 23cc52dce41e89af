"""Orders on known bars: fills, brackets, groups, expiry, refusals, costs, laws."""

import math
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.costs import CostSettings
from broker.simulator.exchange import Exchange
from broker.simulator.happenings import OrderNews, Refused
from broker.simulator.instruments import InstrumentBook
from broker.simulator.ledger import Ledger, MarginRules, price_of
from broker.simulator.market import Market
from broker.simulator.moments import moment_of
from broker.simulator.orders import Status
from broker.simulator.state import StateFile
from broker.simulator.tape import load_tape
from tests.unit.broker.simulator.recordings import MINUTE, days, flat_minutes, minutes, record, sessions
from warehouse.calendar import get_calendar
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

CASH = Decimal(1_000_000)
DAY = date(2024, 1, 3)
FREE = CostSettings(model="none", participation=None).build()


def exchange(root, start=DAY, costs=FREE, *, at_once=False, margin=True):
    """An exchange over a warehouse, at the open of a session."""
    calendar = get_calendar("XNYS")
    tape = load_tape(Warehouse(root), [], calendar)
    market = Market(tape, calendar)
    market.seek(moment_of(calendar.open_utc(start)))
    ledger = Ledger(CASH, CASH, MarginRules(margin_account=margin))
    return Exchange("DU1", market, InstrumentBook(tape.symbols), costs, ledger, fill_at_once=at_once)


def bars(market_of, count=1):
    """Play whole bars."""
    for _ in range(4 * count):
        market_of.step()


def send(to, order_id, action="BUY", quantity=100, kind="MKT", *, client=1, symbol="A", **fields):
    """Place an order with the given fields."""
    values = {"symbol": symbol, "sec_type": "STK", "exchange": "SMART", "action": action, "quantity": str(quantity)}
    values |= {"kind": kind, "transmit": "1"} | {name: str(value) for name, value in fields.items()}
    return to.place(client, order_id, values)


def refusals(of):
    """Codes of errors, in order."""
    return [news.code for news in of.news if isinstance(news, Refused)]


def fills(of):
    """Quantity and price of executions."""
    return [(float(e.quantity * e.side), float(e.price)) for e in of.executions]


@pytest.fixture
def five(tmp_path):
    """Minutes of one session: down, up, a gap down, up again."""
    path = [(100, 101, 99, 100.5), (100.5, 103, 100, 102), (96, 97, 95, 96), (96, 104, 95.5, 103), (103, 103, 103, 103)]
    flat_minutes(tmp_path, "A", path)
    return tmp_path


def test_a_market_order_fills_at_the_next_open(five):
    market = exchange(five)
    bars(market)
    send(market, 1)
    bars(market)
    assert fills(market) == [(100, 100.5)]


def test_in_a_market_that_fills_at_once_it_fills_at_the_standing_price(five):
    market = exchange(five, at_once=True)
    bars(market)
    send(market, 1)
    assert fills(market) == [(100, 100.5)]
    assert market.market.mid_bar is False


@pytest.mark.parametrize(
    ("action", "kind", "fields", "filled"),
    [
        ("BUY", "LMT", {"limit": 99.5}, (100, 99.5)),  # bar 1 passes it
        ("BUY", "LMT", {"limit": 98}, (100, 96.0)),  # the gap of bar 3 fills better
        ("SELL", "LMT", {"limit": 102.5}, (-100, 102.5)),
        ("SELL", "STP", {"aux": 98}, (-100, 96.0)),  # a gap through the stop fills at the open
        ("SELL", "STP", {"aux": 99.5}, (-100, 99.5)),
        ("BUY", "STP", {"aux": 102}, (100, 102.0)),
        ("SELL", "STP LMT", {"aux": 98, "limit": 97.5}, (-100, 97.5)),  # passed in the gap, filled on the way up
        ("SELL", "TRAIL", {"aux": 2}, (-100, 96.0)),  # its stop is 101, the price falls to 102 and then gaps to 96
        ("SELL", "TRAIL", {"aux": 0.5}, (-100, 99.5)),  # set at the first price of all
        ("BUY", "MOC", {}, (100, 103.0)),
    ],
)
def test_each_kind_fills_where_the_path_meets_it(five, action, kind, fields, filled):
    market = exchange(five)
    send(market, 1, action, kind=kind, **fields)
    bars(market, 390)
    assert fills(market) == [filled]


def bracket(market, parent, target, stop, quantity=100):
    """A bracket as ib_insync sends it."""
    send(market, 1, "BUY", quantity, "LMT", limit=parent, transmit=0)
    send(market, 2, "SELL", quantity, "LMT", limit=target, parent_id=1, transmit=0)
    return send(market, 3, "SELL", quantity, "STP", aux=stop, parent_id=1)


def statuses(market):
    return [market.book.of_client(1, n).status for n in (1, 2, 3)]


def test_nothing_of_a_bracket_trades_before_its_last_part_is_sent(five):
    market = exchange(five)
    send(market, 1, "BUY", 100, "LMT", limit=99.5, transmit=0)
    bars(market, 4)
    assert fills(market) == []
    assert not any(isinstance(news, OrderNews) for news in market.news)


def test_of_a_bracket_only_the_child_that_is_reached_first_trades(five):
    market = exchange(five)
    bracket(market, 99.5, 102.5, 97)
    bars(market, 1)
    assert statuses(market) == [Status.FILLED, Status.SUBMITTED, Status.PRE_SUBMITTED]
    bars(market, 1)
    assert statuses(market) == [Status.FILLED, Status.FILLED, Status.CANCELLED]
    assert fills(market) == [(100, 99.5), (-100, 102.5)]


def test_a_target_that_the_entrys_own_bar_reaches_before_the_entry_does_not_count(tmp_path):
    flat_minutes(tmp_path, "A", [(100, 110, 90, 95)] * 2)  # a falling bar: first up to 110, then down to 90
    market = exchange(tmp_path)
    bracket(market, 92, 108, 91)
    bars(market, 1)
    assert fills(market) == [(100, 92.0), (-100, 91.0)]


def test_cancelling_a_parent_cancels_its_children(five):
    market = exchange(five)
    bracket(market, 90, 120, 80)
    market.cancel(1, 1)
    assert statuses(market) == [Status.CANCELLED] * 3
    assert refusals(market) == [202, 202, 202]


def test_children_close_only_what_their_parent_has_opened(tmp_path):
    flat_minutes(tmp_path, "A", [(100, 101, 99, 100)] * 5, volume=600.0)
    market = exchange(tmp_path, costs=CostSettings(model="none", participation=0.1).build())
    bracket(market, 100, 101, 90)
    bars(market, 1)
    assert market.ledger.quantity("A") == 0  # 60 bought, and 60 sold on the same bar's way up
    market.cancel(1, 1)
    assert statuses(market) == [Status.CANCELLED, Status.CANCELLED, Status.CANCELLED]
    bars(market, 3)
    assert market.ledger.quantity("A") == 0


def test_two_targets_and_one_stop_share_the_position(five):
    market = exchange(five)
    send(market, 1, "BUY", 100, "LMT", limit=99.5, transmit=0)
    send(market, 2, "SELL", 50, "LMT", limit=101, parent_id=1, transmit=0)
    send(market, 3, "SELL", 50, "LMT", limit=120, parent_id=1, transmit=0)
    send(market, 4, "SELL", 100, "STP", aux=98, parent_id=1)
    bars(market, 3)
    assert fills(market) == [(100, 99.5), (-50, 101.0), (-50, 96.0)]
    assert market.book.of_client(1, 3).status is Status.CANCELLED


@pytest.mark.parametrize(("kind", "left"), [(1, None), (2, 60), (3, 60)])
def test_a_group_cancels_or_shrinks_when_one_of_it_fills(tmp_path, kind, left):
    flat_minutes(tmp_path, "A", [(100, 101, 99, 100)] * 3, volume=400.0)
    market = exchange(tmp_path, costs=CostSettings(model="none", participation=0.1).build())
    send(market, 1, "BUY", 100, "LMT", limit=99.5, oca_group="g", oca_type=kind)
    other = send(market, 2, "BUY", 100, "LMT", limit=90, oca_group="g", oca_type=kind)
    bars(market)
    assert fills(market) == [(40, 99.5)]
    assert (other.status is Status.CANCELLED) == (left is None)
    if left is not None:
        assert other.remaining == left


def test_an_order_takes_no_more_than_its_part_of_the_volume(tmp_path):
    flat_minutes(tmp_path, "A", [(100, 101, 99, 100)] * 5, volume=1_234.0)
    market = exchange(tmp_path, costs=CostSettings(model="ibkr_fixed", participation=0.1).build())
    order = send(market, 1, "BUY", 300)
    bars(market, 3)
    assert [quantity for quantity, _ in fills(market)] == [123, 123, 54]
    assert order.status is Status.FILLED
    assert sum(e.fee for e in market.executions) == Decimal("1.5")  # 300 x 0.005, one minimum for all pieces


def test_day_orders_end_with_the_session_and_others_do_not(tmp_path):
    minutes(tmp_path, "A", last=date(2024, 1, 4))
    market = exchange(tmp_path)
    day = send(market, 1, kind="LMT", limit=50)
    kept = send(market, 2, kind="LMT", limit=50, tif="GTC")
    dated = send(market, 3, kind="LMT", limit=50, tif="GTD", good_till="20240103 12:00:00 US/Eastern")
    bars(market, 151)
    assert [o.status for o in (day, kept, dated)] == [Status.SUBMITTED, Status.SUBMITTED, Status.CANCELLED]
    bars(market, 239)
    assert [o.status for o in (day, kept)] == [Status.CANCELLED, Status.SUBMITTED]


def test_an_order_sent_at_night_waits_and_says_so(tmp_path):
    days(tmp_path, "A", [(100, 101, 99, 100), (110, 112, 109, 111)])
    market = exchange(tmp_path, date(2024, 1, 2))
    bars(market)
    order = send(market, 1)
    assert (order.status, refusals(market)) == (Status.PRE_SUBMITTED, [399])
    bars(market)
    assert fills(market) == [(100, 110.0)]


def test_a_halted_symbol_does_not_trade(five):
    market = exchange(five)
    send(market, 1, "SELL", kind="STP", aux=99.5)
    market.market.halted.add("A")
    bars(market, 2)
    assert fills(market) == []
    market.market.halted.clear()
    bars(market)
    assert fills(market) == [(-100, 96.0)]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"symbol": "B"}, 200),
        ({"kind": "REL"}, 387),
        ({"kind": "LMT"}, 321),
        ({"kind": "LMT", "limit": 99.505}, 110),
        ({"quantity": 0}, 321),
        ({"quantity": "0.00001"}, 10318),
        ({"action": "HOLD"}, 321),
        ({"account": "U7654321"}, 321),
        ({"tif": "OPG"}, 10052),
        ({"tif": "GTD"}, 391),
        ({"tif": "GTD", "good_till": "20200103 12:00:00 US/Eastern"}, 201),
        ({"parent_id": 99}, 135),
        ({"conditions": 1}, 201),
        ({"algorithm": "Adaptive"}, 201),
        ({"quantity": 25_000}, 201),  # 2.5 million on one million
        ({"kind": "TRAIL"}, 321),
    ],
)
def test_what_is_wrong_with_an_order_has_ibs_code(five, fields, code):
    market = exchange(five)
    bars(market)
    assert send(market, 1, **fields) is None
    assert refusals(market) == [code]
    bars(market, 3)
    assert (fills(market), market.ledger.cash) == ([], CASH)


def test_short_sales_need_a_margin_account_and_shares_to_borrow(five):
    market = exchange(five)
    bars(market)
    market.unshortable.add("A")
    assert send(market, 1, "SELL") is None
    market.unshortable.clear()
    assert send(market, 2, "SELL") is not None
    cash = exchange(five, margin=False)
    bars(cash)
    assert send(cash, 1, "SELL") is None
    assert (refusals(market), refusals(cash)) == ([201], [201])


def test_orders_that_together_are_too_much_are_not_all_accepted(five):
    market = exchange(five)
    bars(market)
    accepted = [send(market, n, quantity=8_000) is not None for n in (1, 2, 3)]  # 0.8 million each, two million allowed
    assert accepted == [True, True, False]


def test_ids_are_used_once(five):
    market = exchange(five)
    send(market, 5, kind="LMT", limit=50)
    assert send(market, 4, kind="LMT", limit=50) is None
    assert refusals(market) == [103]
    assert market.book.next_id(1) == 6
    assert market.book.next_id(2) == 1


def test_changes_take_hold_and_wrong_ones_leave_the_order_alive(five):
    market = exchange(five)
    order = send(market, 1, kind="LMT", limit=50)
    send(market, 1, "SELL", kind="LMT", limit=50)
    assert (refusals(market), order.status) == ([105], Status.PRE_SUBMITTED)
    send(market, 1, kind="LMT", limit=99.5)
    bars(market)
    assert fills(market) == [(100, 99.5)]
    send(market, 1, kind="LMT", limit=99)
    assert refusals(market) == [105, 104]


def test_cancelling_what_is_not_there_or_done(five):
    market = exchange(five)
    market.cancel(1, 77)
    send(market, 1)
    bars(market)
    market.cancel(1, 1)
    assert refusals(market) == [10147, 10148]


def test_an_order_that_only_asks_changes_nothing(five):
    market = exchange(five)
    bars(market)
    assert send(market, 1, what_if=1) is None
    (answer,) = [news for news in market.news if hasattr(news, "figures")]
    assert answer.figures["initMarginChange"] == Decimal(5025)
    assert (market.book.orders, market.ledger.cash) == ({}, CASH)


def test_a_correction_replaces_an_execution(five):
    market = exchange(five)
    send(market, 1)
    bars(market)
    (old,) = market.executions
    new = market.correct(old.exec_id, Decimal(90))
    assert (new.exec_id, old.exec_id[-2:], new.exec_id[-2:]) == (old.exec_id[:-2] + "02", "01", "02")
    assert market.executions == [new]
    assert market.ledger.cash == CASH - 9_000


def test_slippage_and_commission_are_the_projects_own(five):
    market = exchange(five, costs=CostSettings().build())
    send(market, 1, quantity=1000)
    bars(market)
    assert fills(market) == [(1000, 100.05)]  # five basis points above the open
    assert market.executions[0].fee == Decimal(5)


ORDER = st.tuples(
    st.integers(0, 30),  # bar at which it is sent
    st.sampled_from("AB"),
    st.sampled_from(["BUY", "SELL"]),
    st.integers(1, 900),
    st.sampled_from(["MKT", "LMT", "STP", "STP LMT", "TRAIL", "TRAIL LIMIT", "MOC", "bracket", "cancel", "group"]),
    st.integers(-60, 60),  # distance of the price from the last one, cents
)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    root = tmp_path_factory.mktemp("two")
    minutes(root, "A", first=DAY, last=DAY)
    minutes(root, "B", price=50.0, seed=1, first=DAY, last=DAY)
    return root


def send_random(market, number, order):
    """One order of a random stream; a bracket takes three ids."""
    _, symbol, action, quantity, kind, distance = order
    price = round(market.market.quotes[symbol].price if market.market.quotes[symbol].known else 50.0, 2)
    at, back = round(price + distance / 100, 2), "SELL" if action == "BUY" else "BUY"
    if kind == "cancel":
        market.cancel(1, max(1, number - 1))
    elif kind == "bracket":
        send(market, number, action, quantity, "LMT", symbol=symbol, limit=at, transmit=0)
        near, far = (0.1, -0.1) if action == "BUY" else (-0.1, 0.1)
        limit, stop = round(at + near, 2), round(at + far, 2)
        send(market, number + 1, back, quantity, "LMT", symbol=symbol, limit=limit, parent_id=number, transmit=0)
        send(market, number + 2, back, quantity, "STP", symbol=symbol, aux=stop, parent_id=number)
    elif kind == "group":
        send(market, number, action, quantity, "LMT", symbol=symbol, limit=at, oca_group=f"g{distance % 3}", oca_type=2)
    else:
        offset = {"limit_offset": 0.02} if kind == "TRAIL LIMIT" else {}
        aux = 0.05 if kind.startswith("TRAIL") else at
        send(market, number, action, quantity, kind, symbol=symbol, limit=at, aux=aux, **offset)


@pytest.mark.thorough
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ORDER, max_size=25), st.sampled_from([None, 0.1, 0.01]), st.booleans())
def test_the_books_balance_after_any_stream_of_orders(two, orders, participation, at_once):
    market = exchange(two, costs=CostSettings(participation=participation).build(), at_once=at_once)
    for bar in range(32):
        for place, order in enumerate(orders):
            if order[0] == bar:
                send_random(market, 3 * place + 1, order)
        bars(market)
        check_books(market)
    bars(market, 358)
    check_books(market)
    assert not [o for o in market.book.waiting() if o.terms.tif == "DAY"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ORDER, min_size=1, max_size=20), st.sets(st.integers(1, 30), max_size=4))
def test_restarts_at_any_bar_change_nothing(two, tmp_path_factory, orders, restarts):
    costs = CostSettings(participation=0.05).build()
    steady, killed = exchange(two, costs=costs), exchange(two, costs=costs)
    folder = tmp_path_factory.mktemp("state")
    file = StateFile.open(folder / "state.sqlite", "DU1")
    for bar in range(32):
        for place, order in enumerate(orders):
            if order[0] == bar:
                send_random(steady, 3 * place + 1, order)
                send_random(killed, 3 * place + 1, order)
        file.save(killed)
        if bar in restarts:
            file.close()
            file, moment = StateFile.open(folder / "state.sqlite", "DU1"), killed.market.now
            killed = exchange(two, costs=costs)
            killed.market.seek(moment)
            file.restore(killed)
        bars(steady)
        bars(killed)
        file.save(killed)
    file.close()
    check_books(killed)
    assert killed.executions == steady.executions
    assert killed.ledger.positions == steady.ledger.positions
    assert (killed.ledger.cash, killed.ledger.fees) == (steady.ledger.cash, steady.ledger.fees)
    ends = [{o.perm_id: (o.status, o.filled, o.reduced) for o in m.book.orders.values()} for m in (killed, steady)]
    assert ends[0] == ends[1]


def check_books(market):
    """Cash, positions and orders follow from executions alone."""
    ledger, prices = market.ledger, {k: price_of(p) for k, p in market.market.prices().items()}
    paid = sum((e.quantity * e.side * e.price + e.fee for e in market.executions), Decimal(0))
    assert ledger.cash == CASH - paid + ledger.interest
    for key in ("A", "B"):
        mine = [e for e in market.executions if e.instrument.key == key]
        assert ledger.quantity(key) == sum((e.quantity * e.side for e in mine), Decimal(0))
    figures = ledger.figures(prices)
    assert figures.net_liquidation == CASH + figures.realised + figures.unrealised + ledger.interest
    for order in market.book.orders.values():
        done = sum((e.quantity for e in market.executions if e.perm_id == order.perm_id), Decimal(0))
        assert order.filled == done <= order.total
        assert (order.status is Status.FILLED) == (order.filled > 0 and order.remaining == 0)
        if order.parent_perm_id:
            parent = market.book.orders[order.parent_perm_id]
            family = [o for o in market.book.orders.values() if o.parent_perm_id == parent.perm_id]
            assert sum((o.filled for o in family), Decimal(0)) <= parent.filled
    assert all(math.isfinite(float(e.price)) for e in market.executions)


def test_orders_may_trade_outside_regular_hours_when_they_say_so(tmp_path):
    (_, opens, closes) = next(iter(sessions(DAY, DAY)))
    hour = 60 * MINUTE
    rows = [(opens - hour + MINUTE, DAY, 90.0, 91.0, 89.0, 90.0, 1e4, False)]
    rows += [(at, DAY, 100.0, 100.0, 100.0, 100.0, 1e4, True) for at in range(opens + MINUTE, closes + 1, MINUTE)]
    rows += [(closes + hour, DAY, 80.0, 81.0, 79.0, 80.0, 1e4, False)]
    record(tmp_path, "A", Resolution.MINUTE, rows)
    market = exchange(tmp_path)
    market.market.seek(opens - 2 * hour)
    regular = send(market, 1, kind="LMT", limit=95)
    extended = send(market, 2, kind="LMT", limit=89.5, outside_rth=1)
    late = send(market, 3, kind="LMT", limit=85, outside_rth=1)
    bars(market)
    assert [o.status for o in (regular, extended, late)] == [Status.PRE_SUBMITTED, Status.FILLED, Status.SUBMITTED]
    bars(market, 390)
    assert (regular.status, late.status) == (Status.CANCELLED, Status.SUBMITTED)
    bars(market)
    assert (late.status, float(late.average)) == (Status.FILLED, 80.0)
