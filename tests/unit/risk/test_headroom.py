"""What is left of a limit is what the decision still lets go."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.decision import Holding, OrderRequest, Portfolio, RiskState, WorkingOrder, decide
from risk.headroom import headroom
from risk.limits import Limits

NOW = datetime(2024, 1, 8, 15, tzinfo=UTC)
EQUITY, PRICE = 100_000.0, 50.0


def room(limits, *, held=0.0, working=(), state=None, equity=EQUITY, price=PRICE):
    holdings = {"AAPL": Holding(held, price)} if held else {}
    return {
        one.limit: one
        for one in headroom(Portfolio(equity, equity, holdings, tuple(working)), state or RiskState(), limits, NOW)
    }


def test_limits_that_are_not_set_and_limits_of_one_order_have_no_headroom():
    assert room(Limits(max_order_value=1.0, price_collar=0.1, allow_shorting=False)) == {}


@pytest.mark.parametrize(
    "name", ["max_position_shares", "max_position_value", "max_gross_exposure", "max_net_exposure"]
)
@given(held=st.integers(-300, 300), waiting=st.integers(0, 200), stop=st.booleans(), side=st.sampled_from([1, -1]))
def test_an_order_of_what_is_left_goes_and_a_larger_one_does_not(name, held, waiting, stop, side):
    most = {"max_position_shares": 600, "max_position_value": 30_000.0}.get(name, 0.3)
    limits = Limits(**{name: most})
    direction = math.copysign(1.0, held or side)
    working = [WorkingOrder("AAPL", direction * waiting, PRICE)] if waiting else []
    if stop and held:
        working.append(WorkingOrder("AAPL", -held, PRICE, reduces_only=True))
    unit = {"max_position_shares": 1.0, "max_position_value": PRICE}.get(name, PRICE / EQUITY)
    left = room(limits, held=held, working=working)[name].left / unit

    def granted(quantity):
        request = OrderRequest("AAPL", direction * quantity, PRICE, "market", None, NOW)
        portfolio = Portfolio(EQUITY, EQUITY, {"AAPL": Holding(held, PRICE)} if held else {}, tuple(working))
        return abs(decide(request, portfolio, RiskState(), limits).quantity)

    whole = math.floor(left + 1e-6)
    assert granted(whole) == whole
    assert granted(whole + 1) == whole


def test_losses_count_from_the_session_and_from_the_peak():
    state = RiskState(session_start_equity=102_000.0, peak_equity=110_000.0)
    limits = Limits(max_daily_loss=5_000, max_daily_loss_fraction=0.1, max_drawdown=0.2)
    found = room(limits, state=state)
    assert found["max_daily_loss"].left == pytest.approx(3_000)
    assert found["max_daily_loss_fraction"].used == pytest.approx(2_000 / 102_000)
    assert found["max_drawdown"].used == pytest.approx(1 - 100 / 110)


def test_a_gain_uses_nothing():
    found = room(Limits(max_daily_loss=5_000), state=RiskState(session_start_equity=90_000.0))
    assert (found["max_daily_loss"].used, found["max_daily_loss"].left) == (0.0, 5_000)


def test_what_is_exceeded_leaves_nothing():
    found = room(Limits(max_daily_loss=5_000), state=RiskState(session_start_equity=110_000.0))
    assert (found["max_daily_loss"].used, found["max_daily_loss"].left) == (10_000, 0.0)


def test_orders_of_the_last_minute_of_the_session_and_open_ones_are_counted():
    state = RiskState(
        orders_this_session=7, recent_orders=(NOW - timedelta(seconds=61), NOW - timedelta(seconds=59)),
        consecutive_losses=2,
    )  # fmt: skip
    working = [WorkingOrder("AAPL", 1.0, PRICE), WorkingOrder("AAPL", -1.0, PRICE, reduces_only=True)]
    limits = Limits(max_orders_per_minute=5, max_orders_per_session=9, max_open_orders=3, max_consecutive_losses=4)
    found = room(limits, state=state, working=working)
    assert {name: one.left for name, one in found.items()} == {
        "max_orders_per_minute": 4, "max_orders_per_session": 2, "max_open_orders": 2, "max_consecutive_losses": 2
    }  # fmt: skip


@pytest.mark.parametrize("limits", [Limits(max_gross_exposure=1.0), Limits(max_position_value=1.0)])
def test_without_a_price_nothing_is_known(limits):
    (found,) = room(limits, held=10.0, price=math.nan).values()
    assert (math.isnan(found.used), math.isnan(found.left)) == (True, True)


def test_the_nearest_position_is_named():
    portfolio = Portfolio(EQUITY, EQUITY, {"AAPL": Holding(10.0, 50.0), "MSFT": Holding(-5.0, 300.0)})
    (found,) = headroom(portfolio, RiskState(), Limits(max_position_value=5_000), NOW)
    assert (found.symbol, found.used) == ("MSFT", 1_500)
