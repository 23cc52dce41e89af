"""The decision about one order, limit by limit."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from risk.decision import Holding, OrderRequest, Portfolio, RiskState, Verdict, WorkingOrder, decide
from risk.limits import Limits
from risk.states import HaltState

NOW = datetime(2024, 3, 6, 15, 0, tzinfo=UTC)
CLOSE = datetime(2024, 3, 6, 21, 0, tzinfo=UTC)


def order(quantity, *, price=50.0, symbol="AAPL", limit=None, ts=NOW, reduces_only=False):
    kind = "market" if limit is None else "limit"
    return OrderRequest(symbol, quantity, price, kind, limit, ts, reduces_only)


def account(equity=100_000.0, *, working=(), **shares):
    return Portfolio(equity, equity, {name: Holding(count, 50.0) for name, count in shares.items()}, tuple(working))


def working(quantity, *, symbol="AAPL", price=50.0, reduces_only=False):
    return WorkingOrder(symbol, quantity, price, reduces_only)


def judge(request, portfolio=None, *, state=None, close=None, **limits):
    return decide(request, portfolio or account(), state or RiskState(), Limits(**limits), session_close=close)


# ---------------------------------------------------------------- each limit: value, measured value, room


@pytest.mark.parametrize(
    ("limits", "wanted", "allowed", "measured"),
    [
        ({"max_position_shares": 100}, 150, 100, 150),
        ({"max_position_value": 10_000}, 300, 200, 15_000),
        ({"max_position_fraction": 0.10}, 300, 200, 0.15),
        ({"max_gross_exposure": 0.5}, 1_200, 1_000, 0.6),
        ({"max_net_exposure": 0.5}, 1_200, 1_000, 0.6),
        ({"max_order_value": 5_000}, 120, 100, 6_000),
    ],
)
@pytest.mark.parametrize("side", [1, -1])
def test_an_entry_is_cut_to_what_a_limit_leaves(limits, wanted, allowed, measured, side):
    decision = judge(order(side * wanted), **limits)

    assert decision.verdict is Verdict.SHRINK
    assert decision.quantity == side * allowed
    assert decision.limit == next(iter(limits))
    assert decision.limit_value == next(iter(limits.values()))
    assert decision.measured == pytest.approx(measured)
    assert f"{allowed} of {wanted} shares allowed" in decision.reason


@pytest.mark.parametrize(
    "limits",
    [
        {"max_position_shares": 100},
        {"max_position_value": 5_000},
        {"max_position_fraction": 0.05},
        {"max_gross_exposure": 0.05},
        {"max_net_exposure": 0.05},
        {"max_order_value": 5_000},
    ],
)
def test_an_order_of_exactly_the_limit_is_allowed_and_adding_one_share_to_it_is_not(limits):
    assert judge(order(100), **limits).verdict is Verdict.ALLOW
    more = judge(order(1), account(AAPL=100), **limits)
    if "max_order_value" in limits:
        assert more.verdict is Verdict.ALLOW
    else:
        assert (more.verdict, more.quantity) == (Verdict.REFUSE, 0.0)


def test_the_tightest_of_several_limits_is_named():
    decision = judge(order(500), max_position_shares=200, max_order_value=5_000, max_gross_exposure=1.0)

    assert (decision.limit, decision.quantity) == ("max_order_value", 100)


def test_a_cut_leaves_whole_shares():
    assert judge(order(300, price=33.0), max_order_value=1_000).quantity == 30


def test_a_fractional_order_that_fits_stays_as_it_is():
    assert judge(order(1.5), max_order_value=1_000).quantity == 1.5


def test_without_limits_everything_well_formed_goes():
    assert judge(order(1e6)).verdict is Verdict.ALLOW


def test_shorts_are_refused_where_they_are_not_allowed():
    decision = judge(order(-10), allow_shorting=False)

    assert (decision.verdict, decision.limit, decision.measured) == (Verdict.REFUSE, "allow_shorting", 10)


def test_the_price_collar_measures_the_limit_price_on_both_sides():
    assert judge(order(10, limit=52.5), price_collar=0.05).verdict is Verdict.ALLOW
    decision = judge(order(10, limit=53.0), price_collar=0.05)
    assert (decision.verdict, decision.limit) == (Verdict.REFUSE, "price_collar")
    assert decision.measured == pytest.approx(0.06)
    assert judge(order(10, limit=47.0), price_collar=0.05).verdict is Verdict.REFUSE


def test_a_limit_price_above_the_market_is_what_a_purchase_is_measured_at():
    assert judge(order(300, limit=60.0), max_order_value=6_000).quantity == 100
    assert judge(order(300, limit=40.0), max_order_value=6_000).quantity == 120


def test_orders_of_the_last_minute_count_up_to_the_limit():
    recent = tuple(NOW - timedelta(seconds=second) for second in (90, 60, 59, 1))
    state = RiskState(recent_orders=recent)

    assert judge(order(1), state=state, max_orders_per_minute=3).verdict is Verdict.ALLOW
    decision = judge(order(1), state=state, max_orders_per_minute=2)
    assert (decision.limit, decision.limit_value, decision.measured) == ("max_orders_per_minute", 2, 3)


def test_orders_of_the_session_count_up_to_the_limit():
    assert judge(order(1), state=RiskState(orders_this_session=4), max_orders_per_session=5).verdict is Verdict.ALLOW
    assert judge(order(1), state=RiskState(orders_this_session=5), max_orders_per_session=5).verdict is Verdict.REFUSE


def test_open_entry_orders_count_and_protective_ones_do_not():
    portfolio = account(working=[working(1), working(-1, reduces_only=True), working(2, symbol="MSFT")])

    assert judge(order(1), portfolio, max_open_orders=3).verdict is Verdict.ALLOW
    assert judge(order(1), portfolio, max_open_orders=2).measured == 3


def test_entries_stop_some_minutes_before_the_close():
    early, late = CLOSE - timedelta(minutes=6), CLOSE - timedelta(minutes=5)

    assert judge(order(1, ts=early), close=CLOSE, flat_before_close_minutes=5).verdict is Verdict.ALLOW
    decision = judge(order(1, ts=late), close=CLOSE, flat_before_close_minutes=5)
    assert (decision.limit, decision.measured) == ("flat_before_close_minutes", 5.0)


def test_a_cool_down_refuses_entries_until_its_end_and_not_after():
    state = RiskState(cooldown_until=NOW)

    assert judge(order(1, ts=NOW - timedelta(seconds=1)), state=state).limit == "max_consecutive_losses"
    assert judge(order(1, ts=NOW), state=state).verdict is Verdict.ALLOW


@pytest.mark.parametrize("halt", [state for state in HaltState if state is not HaltState.ACTIVE])
@pytest.mark.parametrize("where", ["halt", "latched_halt", "session_halt"])
def test_every_halt_refuses_entries_and_lets_exits_go(halt, where):
    state = RiskState(**{where: halt})

    assert judge(order(1), state=state).limit == "halt_state"
    assert judge(order(-100), account(AAPL=100), state=state).verdict is Verdict.ALLOW
    assert judge(order(-150), account(AAPL=100), state=state).quantity == -100


# ---------------------------------------------------------------- exits, reversals, protective orders

TIGHT = {
    "max_position_shares": 1, "max_position_value": 1, "max_position_fraction": 0.0001, "max_gross_exposure": 0.0001,
    "max_net_exposure": 0.0001, "max_order_value": 1, "price_collar": 0.0001, "max_orders_per_minute": 1,
    "max_orders_per_session": 1, "max_open_orders": 1, "allow_shorting": False, "max_consecutive_losses": 1,
    "flat_before_close_minutes": 390,
}  # fmt: skip
HALTED = RiskState(
    halt=HaltState.FLATTEN,
    orders_this_session=99,
    recent_orders=(NOW,) * 99,
    cooldown_until=NOW + timedelta(days=1),
)


@pytest.mark.parametrize("held", [100.0, -100.0])
@pytest.mark.parametrize("part", [1.0, 40.0, 100.0])
def test_no_limit_and_no_state_refuses_an_order_that_reduces(held, part):
    request = order(-math.copysign(part, held), limit=99.0)
    decision = judge(request, account(AAPL=held), state=HALTED, close=CLOSE, **TIGHT)

    assert (decision.verdict, decision.quantity, decision.reduces_only) == (Verdict.ALLOW, request.quantity, True)


def test_a_position_that_outgrew_its_limit_can_be_reduced_but_not_added_to():
    portfolio = account(AAPL=1_000)

    assert judge(order(-1), portfolio, max_position_fraction=0.1).verdict is Verdict.ALLOW
    assert judge(order(1), portfolio, max_position_fraction=0.1).verdict is Verdict.REFUSE


def test_a_reversal_keeps_its_exit_and_its_entry_is_cut():
    decision = judge(order(-180), account(AAPL=100), max_position_shares=50)

    assert (decision.verdict, decision.quantity) == (Verdict.SHRINK, -150)
    assert decision.measured == 80  # short, after the whole order
    assert not decision.reduces_only


def test_a_reversal_whose_entry_is_refused_becomes_an_exit():
    decision = judge(order(-180), account(AAPL=100), allow_shorting=False)

    assert (decision.verdict, decision.quantity, decision.reduces_only) == (Verdict.SHRINK, -100, True)


def test_protective_orders_go_before_there_is_a_position():
    decision = judge(order(-100, reduces_only=True), state=HALTED, **TIGHT)

    assert (decision.verdict, decision.quantity, decision.reduces_only) == (Verdict.ALLOW, -100, True)


def test_an_exit_goes_although_a_stop_for_the_same_shares_works_already():
    portfolio = account(AAPL=100, working=[working(-100, reduces_only=True)])
    decision = judge(order(-100), portfolio, allow_shorting=False)

    assert (decision.verdict, decision.quantity, decision.reduces_only) == (Verdict.ALLOW, -100, True)


def test_close_and_sell_are_an_exit_and_an_entry():
    portfolio = account(AAPL=100, working=[working(-100, reduces_only=True)])
    decision = judge(order(-100), portfolio, max_position_shares=60)

    assert (decision.quantity, decision.reduces_only) == (-100, True)  # more than the 60 it may enter, capped
    entry = judge(order(-60), portfolio, max_position_shares=60)
    assert (entry.verdict, entry.reduces_only) == (Verdict.ALLOW, False)


def test_what_a_working_reversal_takes_from_a_position_a_second_exit_cannot_take_again():
    portfolio = account(AAPL=100, working=[working(-150)])
    decision = judge(order(-100), portfolio, max_position_shares=50)

    assert (decision.verdict, decision.measured) == (Verdict.REFUSE, 150)


# ---------------------------------------------------------------- working orders at their worst


@pytest.mark.parametrize(
    "limits",
    [
        {"max_position_shares": 100},
        {"max_position_value": 5_000},
        {"max_position_fraction": 0.05},
        {"max_gross_exposure": 0.05},
        {"max_net_exposure": 0.05},
    ],
)
def test_two_orders_that_fit_one_by_one_cannot_exceed_a_limit_together(limits):
    assert judge(order(70), **limits).verdict is Verdict.ALLOW
    second = judge(order(70), account(working=[working(70)]), **limits)

    assert (second.verdict, second.quantity) == (Verdict.SHRINK, 30)


def test_an_exit_that_works_frees_nothing_before_it_fills():
    portfolio = account(AAPL=100, working=[working(-100, reduces_only=True)])

    assert judge(order(100, symbol="MSFT"), portfolio, max_gross_exposure=0.05).verdict is Verdict.REFUSE
    assert judge(order(100, symbol="MSFT"), portfolio, max_gross_exposure=0.10).verdict is Verdict.ALLOW


def test_the_default_limits_let_a_rotation_sell_one_symbol_and_buy_another_in_one_bar():
    portfolio = account(AAPL=2_000, working=[working(-2_000, reduces_only=True)])
    request = order(2_000, symbol="MSFT")

    assert decide(request, portfolio, RiskState(), Limits.default()).verdict is Verdict.ALLOW


def test_protective_children_never_count_as_exposure():
    children = [working(100), working(-100, reduces_only=True), working(-100, reduces_only=True)]
    decision = judge(order(-50, symbol="MSFT"), account(working=children), max_gross_exposure=0.075)

    assert decision.verdict is Verdict.ALLOW  # 100 long at worst and 50 short: 7,500 of 100,000


def test_gross_counts_both_sides_and_net_lets_them_cancel():
    portfolio = account(MSFT=-1_000)

    assert judge(order(1_100), portfolio, max_gross_exposure=1.0).quantity == 1_000
    assert judge(order(1_100), portfolio, max_net_exposure=0.05).verdict is Verdict.ALLOW
    assert judge(order(-1_100), portfolio, max_net_exposure=1.0).quantity == -1_000


# ---------------------------------------------------------------- what cannot be measured is never allowed


@pytest.mark.parametrize("quantity", [0.0, math.nan, math.inf, -math.inf])
def test_a_quantity_that_is_none_is_refused_even_from_a_protective_order(quantity):
    for protective in (False, True):
        decision = judge(order(quantity, reduces_only=protective))
        assert (decision.verdict, decision.limit, decision.quantity) == (Verdict.REFUSE, "quantity", 0.0)


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan, math.inf])
def test_an_entry_without_a_price_is_refused_and_an_exit_needs_none(price):
    assert judge(order(1, price=price)).limit == "price"
    assert judge(order(-1, price=price), account(AAPL=1)).verdict is Verdict.ALLOW


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan, math.inf])
def test_a_limit_price_that_is_none_is_refused_even_for_an_exit(price):
    assert judge(order(-1, limit=price), account(AAPL=1)).limit == "price"


@pytest.mark.parametrize("equity", [0.0, -5.0, math.nan, math.inf])
def test_no_entry_on_an_equity_that_is_none(equity):
    assert judge(order(1), account(equity)).limit == "equity"
    assert judge(order(-1), account(equity, AAPL=1)).verdict is Verdict.ALLOW


def test_a_position_that_is_not_known_is_refused_on_both_sides():
    assert judge(order(1), account(AAPL=math.nan)).limit == "quantity"
    assert judge(order(-1), account(AAPL=math.nan)).limit == "quantity"


def test_another_position_without_a_price_stops_entries_where_exposure_is_limited():
    portfolio = Portfolio(1e5, 1e5, {"MSFT": Holding(10, math.nan)})

    assert judge(order(1), portfolio, max_gross_exposure=1.0).limit == "price"
    assert judge(order(1), portfolio, max_position_shares=10).verdict is Verdict.ALLOW
    assert judge(order(-10, symbol="MSFT", price=math.nan), portfolio, max_gross_exposure=1.0).verdict is Verdict.ALLOW


def test_the_working_price_values_a_symbol_that_is_not_held():
    portfolio = account(working=[working(100, symbol="MSFT", price=400.0)])

    assert judge(order(1_200), portfolio, max_gross_exposure=1.0).quantity == 1_200
    assert judge(order(1_201), portfolio, max_gross_exposure=1.0).quantity == 1_200


@pytest.mark.parametrize(
    ("held_at", "works_at", "counted"),
    [(50.0, 400.0, 400.0), (400.0, 50.0, 400.0), (50.0, math.nan, 50.0), (50.0, -1.0, 50.0), (50.0, None, 50.0)],
)
def test_another_symbol_is_valued_at_the_highest_price_that_is_one(held_at, works_at, counted):
    portfolio = Portfolio(1e5, 1e5, {"MSFT": Holding(100, held_at)}, (working(-10, symbol="MSFT", price=works_at),))
    decision = judge(order(2_000), portfolio, max_gross_exposure=1.0)

    assert decision.measured == pytest.approx((100 * counted + 100_000) / 100_000)
