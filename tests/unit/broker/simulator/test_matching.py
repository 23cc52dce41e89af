"""Where on a path an order trades."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.simulator.matching import Meeting, Working, begin, follow, limit_of, meets, passes_stop
from broker.simulator.order_request import terms_of


def terms(action="BUY", kind="LMT", **fields):
    return terms_of({"action": action, "kind": kind, "quantity": "1", **{k: str(v) for k, v in fields.items()}})


@pytest.mark.parametrize(
    ("action", "limit", "start", "end", "price"),
    [
        ("BUY", 99, 100, 98, 99),  # the price comes down to it
        ("BUY", 99, 97, 97, 97),  # a gap through it fills at the better price
        ("BUY", 99, 100, 99.01, None),
        ("BUY", 99, 100, 99, 99),  # touched
        ("SELL", 101, 100, 102, 101),
        ("SELL", 101, 103, 103, 103),
        ("SELL", 101, 100, 100.99, None),
    ],
)
def test_a_limit_trades_at_its_price_or_better(action, limit, start, end, price):
    meeting = meets(terms(action, limit=limit), Working(), start, end)
    assert meeting == (None if price is None else Meeting(price, takes=False))


@pytest.mark.parametrize(
    ("action", "stop", "start", "end", "place"),
    [
        ("SELL", 95, 100, 90, 95),
        ("SELL", 95, 92, 92, 92),  # a gap through the stop is passed where the market opens
        ("SELL", 95, 100, 95.01, None),
        ("BUY", 105, 100, 110, 105),
        ("BUY", 105, 108, 108, 108),
    ],
)
def test_a_stop_is_passed_on_the_way_or_behind_a_gap(action, stop, start, end, place):
    order, working = terms(action, "STP", aux=stop), Working()
    begin(order, working, 100.0)
    assert meets(order, working, start, end) is None
    assert passes_stop(order, working, start, end) == place


def test_a_stop_limit_does_not_trade_beyond_its_limit():
    order, working = terms("SELL", "STP LMT", aux=95, limit=94), Working()
    begin(order, working, 100.0)
    assert passes_stop(order, working, 90.0, 90.0) == 90.0
    working.triggered = True
    assert meets(order, working, 90.0, 90.0) is None
    assert meets(order, working, 90.0, 94.5) == Meeting(94.0, takes=False)


@pytest.mark.parametrize(("fields", "first", "later"), [({"aux": 2}, 98.0, 108.0), ({"trail_percent": 10}, 90.0, 99.0)])
def test_a_trailing_stop_follows_and_never_returns(fields, first, later):
    order, working = terms("SELL", "TRAIL", **fields), Working()
    begin(order, working, 100.0)
    assert working.stop == first
    follow(order, working, 110.0)
    assert working.stop == later
    follow(order, working, 101.0)
    assert working.stop == later


def test_the_limit_of_a_trailing_limit_lies_an_offset_below_its_stop():
    order, working = terms("SELL", "TRAIL LIMIT", aux=2, limit_offset=0.5), Working()
    begin(order, working, 100.0)
    assert limit_of(order, working) == 97.5


PRICE = st.integers(1, 400).map(lambda n: n / 4)


@given(st.sampled_from(["BUY", "SELL"]), PRICE, PRICE, PRICE)
def test_no_limit_trades_worse_than_it_says_nor_off_the_path(action, limit, start, end):
    order = terms(action, limit=limit)
    meeting = meets(order, Working(), start, end)
    reached = (limit - min(start, end)) >= 0 if action == "BUY" else (max(start, end) - limit) >= 0
    assert (meeting is not None) == reached
    if meeting is not None:
        assert min(start, end) <= meeting.price <= max(start, end)
        assert (limit - meeting.price) * order.side >= 0


@given(st.sampled_from(["BUY", "SELL"]), PRICE, PRICE, PRICE)
def test_buyers_and_sellers_are_mirrored(action, stop, start, end):
    order = terms(action, "STP", aux=stop)
    mirror = dataclasses.replace(order, side=-order.side, aux=200 - stop)
    one, other = Working(stop), Working(200 - stop)
    place, mirrored = passes_stop(order, one, start, end), passes_stop(mirror, other, 200 - start, 200 - end)
    assert (place is None) == (mirrored is None)
    assert place is None or place == 200 - mirrored
