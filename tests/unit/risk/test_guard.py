"""The guard over time: sessions, losses, halts, cool-down, what it records and what it remembers."""

import math
from datetime import UTC, date, datetime, timedelta

import pytest

from risk.decision import Holding, OrderRequest, Portfolio, RiskState, Verdict
from risk.errors import InvalidStateError
from risk.guard import RiskGuard
from risk.limits import Limits
from risk.states import HaltState

MONDAY = date(2024, 3, 4)


def close_of(day):
    return datetime(day.year, day.month, day.day, 21, 0, tzinfo=UTC)


def at(day=0, hour=15, minute=0):
    return datetime(2024, 3, 4, hour, minute, tzinfo=UTC) + timedelta(days=day)


def guarding(**limits):
    return RiskGuard(Limits(**limits), session_of=lambda ts: ts.date(), session_close=close_of)


def buy(quantity=10.0, ts=None, price=50.0):
    return OrderRequest("AAPL", quantity, price, "market", None, ts or at())


def account(equity=100_000.0, **shares):
    return Portfolio(equity, equity, {name: Holding(count, 50.0) for name, count in shares.items()}, ())


def told(guard):
    return [(event.kind, event.limit, event.state) for event in guard.events]


# ---------------------------------------------------------------- daily loss


@pytest.mark.parametrize(
    ("limits", "floor"), [({"max_daily_loss": 2_000}, 98_000), ({"max_daily_loss_fraction": 0.02}, 98_000)]
)
def test_a_daily_loss_of_the_limit_halts_until_the_next_session(limits, floor):
    guard = guarding(**limits)
    guard.mark_equity(100_000, at(0))

    assert guard.mark_equity(floor + 1, at(0, 16)) is HaltState.ACTIVE
    assert guard.mark_equity(floor, at(0, 17)) is HaltState.FLATTEN
    assert guard.mark_equity(floor + 1_500, at(0, 18)) is HaltState.FLATTEN  # a recovery does not end it
    assert guard.review(buy(ts=at(0, 18)), account()).limit == "halt_state"
    assert guard.mark_equity(floor, at(1)) is HaltState.ACTIVE
    assert guard.review(buy(ts=at(1)), account()).verdict is Verdict.ALLOW
    name = next(iter(limits))
    assert told(guard) == [
        ("halt", name, "FLATTEN"),
        ("refused", "halt_state", "FLATTEN"),
        ("resume", "max_daily_loss", "ACTIVE"),
    ]
    assert guard.events[0].limit_value == next(iter(limits.values()))
    assert guard.events[0].measured == pytest.approx(next(iter(limits.values())))


def test_a_loss_over_night_counts_in_the_session_that_opens_with_it():
    guard = guarding(max_daily_loss_fraction=0.05)
    guard.mark_equity(100_000, at(0, 21))

    assert guard.mark_equity(94_000, at(1, 21)) is HaltState.FLATTEN
    assert guard.state.session_start_equity == 100_000


def test_losses_of_different_sessions_do_not_add_up_to_a_daily_loss():
    guard = guarding(max_daily_loss_fraction=0.05)

    equity = [100_000 * 0.96**day for day in range(10)]
    assert {guard.mark_equity(value, at(day, 21)) for day, value in enumerate(equity)} == {HaltState.ACTIVE}


def test_a_daily_loss_does_what_the_limits_say():
    guard = guarding(max_daily_loss=1, on_daily_loss=HaltState.HALT_ENTRIES)
    guard.mark_equity(100, at())

    assert guard.mark_equity(90, at(0, 16)) is HaltState.HALT_ENTRIES


def test_a_loss_in_money_is_measured_on_an_account_that_began_with_nothing():
    guard = guarding(max_daily_loss=10, max_daily_loss_fraction=0.1, max_drawdown=0.1)
    guard.mark_equity(0, at())

    assert guard.mark_equity(-9, at(0, 16)) is HaltState.ACTIVE
    assert guard.mark_equity(-10, at(0, 17)) is HaltState.FLATTEN


# ---------------------------------------------------------------- drawdown


def test_a_drawdown_halts_until_somebody_resumes():
    guard = guarding(max_drawdown=0.20)
    for day, equity in enumerate([100_000, 125_000, 101_000]):
        assert guard.mark_equity(equity, at(day)) is HaltState.ACTIVE

    assert guard.mark_equity(100_000, at(3)) is HaltState.FLATTEN
    assert guard.mark_equity(130_000, at(4)) is HaltState.FLATTEN  # neither a new session nor a new peak ends it
    assert told(guard) == [("halt", "max_drawdown", "FLATTEN")]
    assert guard.events[0].measured == pytest.approx(0.20)
    guard.resume("reviewed", at(5))
    assert guard.mark_equity(110_000, at(5, 16)) is HaltState.ACTIVE
    assert guard.mark_equity(104_000, at(6)) is HaltState.FLATTEN  # 20 % below 130,000, where it was resumed


@pytest.mark.parametrize("limits", [{"max_drawdown": 0.1}, {"max_daily_loss": 10}, {"max_daily_loss_fraction": 0.1}])
def test_a_loss_that_goes_on_is_told_once(limits):
    guard = guarding(**limits)
    for minute, equity in enumerate([100, 90, 80, 70, 85, 60]):
        guard.mark_equity(equity, at(0, 15, minute))

    assert told(guard) == [("halt", next(iter(limits)), "FLATTEN")]


def test_resuming_measures_every_loss_from_there():
    guard = guarding(max_drawdown=0.10, max_daily_loss=5_000)
    guard.mark_equity(100_000, at())
    assert guard.mark_equity(80_000, at(0, 16)) is HaltState.FLATTEN
    guard.resume("go on", at(0, 17))

    assert guard.halt_state is HaltState.ACTIVE
    assert guard.mark_equity(79_000, at(0, 18)) is HaltState.ACTIVE
    assert guard.mark_equity(75_000, at(0, 19)) is HaltState.FLATTEN


def test_a_stricter_drawdown_reaction_takes_over_a_milder_manual_halt():
    guard = guarding(max_drawdown=0.10)
    guard.mark_equity(100, at())
    guard.halt(HaltState.HALT_ENTRIES, "operator", at())

    assert guard.mark_equity(90, at(0, 16)) is HaltState.FLATTEN


def test_money_put_in_or_taken_out_is_neither_profit_nor_loss():
    guard = guarding(max_drawdown=0.5, max_daily_loss=1_000)
    guard.mark_equity(100_000, at())
    guard.cash_flow(-90_000)

    assert guard.mark_equity(10_000, at(0, 16)) is HaltState.ACTIVE
    assert guard.mark_equity(9_000, at(0, 17)) is HaltState.FLATTEN


# ---------------------------------------------------------------- losing trades


def test_losing_trades_in_a_row_cool_down_and_end_by_themselves():
    guard = guarding(max_consecutive_losses=3, cooldown_minutes=30)
    for pnl in (-1, -1, 5, -1, -1, 0, -1, -1):
        guard.closed_trade(pnl, at())
    assert guard.halt_state is HaltState.ACTIVE
    guard.closed_trade(-1, at())

    assert guard.halt_state is HaltState.HALT_ENTRIES
    assert guard.review(buy(ts=at(0, 15, 29)), account()).limit == "max_consecutive_losses"
    assert guard.mark_equity(1, at(0, 15, 29)) is HaltState.HALT_ENTRIES
    assert guard.mark_equity(1, at(0, 15, 30)) is HaltState.ACTIVE
    assert guard.review(buy(ts=at(0, 15, 30)), account()).verdict is Verdict.ALLOW
    assert told(guard) == [
        ("halt", "max_consecutive_losses", "HALT_ENTRIES"),
        ("refused", "max_consecutive_losses", "HALT_ENTRIES"),
        ("resume", "max_consecutive_losses", "ACTIVE"),
    ]


def test_a_cool_down_that_begins_between_two_marks_ends_in_time_too():
    guard = guarding(max_consecutive_losses=1, cooldown_minutes=30)
    guard.mark_equity(2, at())
    guard.closed_trade(-1, at(0, 15, 10))

    assert guard.mark_equity(1, at(0, 15, 39)) is HaltState.HALT_ENTRIES
    assert guard.mark_equity(1, at(0, 15, 40)) is HaltState.ACTIVE


def test_a_cool_down_begins_a_new_count():
    guard = guarding(max_consecutive_losses=2, cooldown_minutes=1)
    for _ in range(2):
        guard.closed_trade(-1, at())
    guard.mark_equity(1, at(0, 16))
    guard.closed_trade(-1, at(0, 16))

    assert guard.halt_state is HaltState.ACTIVE
    assert guard.state.consecutive_losses == 1


@pytest.mark.parametrize("pnl", [math.nan, math.inf])
def test_a_profit_that_is_no_number_is_an_error(pnl):
    with pytest.raises(InvalidStateError, match="is not an amount of money"):
        guarding().closed_trade(pnl, at())


# ---------------------------------------------------------------- the end of the session


def test_everything_closes_some_minutes_before_the_close_and_opens_with_the_next_session():
    guard = guarding(flat_before_close_minutes=5)

    assert guard.mark_equity(1, at(0, 20, 54)) is HaltState.ACTIVE
    assert guard.mark_equity(1, at(0, 20, 55)) is HaltState.FLATTEN
    assert guard.mark_equity(1, at(0, 21, 0)) is HaltState.FLATTEN
    assert guard.mark_equity(1, at(1, 15, 0)) is HaltState.ACTIVE
    assert told(guard) == [
        ("halt", "flat_before_close_minutes", "FLATTEN"),
        ("resume", "flat_before_close_minutes", "ACTIVE"),
    ]
    assert guard.events[0].measured == 5


def test_a_session_that_never_came_near_its_close_ends_without_an_event():
    guard = guarding(flat_before_close_minutes=5)
    guard.mark_equity(1, at(0, 15, 0))
    guard.mark_equity(1, at(1, 15, 0))

    assert guard.events == []


def test_an_early_close_counts():
    guard = RiskGuard(
        Limits(flat_before_close_minutes=5), session_of=lambda ts: ts.date(), session_close=lambda _: at(0, 18)
    )

    assert guard.mark_equity(1, at(0, 17, 54)) is HaltState.ACTIVE
    assert guard.mark_equity(1, at(0, 17, 56)) is HaltState.FLATTEN


def test_an_operators_resume_does_not_open_positions_before_the_close():
    guard = guarding(flat_before_close_minutes=5)
    guard.mark_equity(1, at(0, 20, 56))
    guard.resume("please", at(0, 20, 57))

    assert guard.halt_state is HaltState.FLATTEN
    assert guard.review(buy(ts=at(0, 20, 57)), account()).limit == "flat_before_close_minutes"


# ---------------------------------------------------------------- operators, unknown equity


def test_a_manual_halt_stays_over_sessions_and_is_never_loosened_by_another():
    guard = guarding()
    guard.halt(HaltState.REDUCE_ONLY, "news", at())
    guard.halt(HaltState.HALT_ENTRIES, "calmer", at(1))

    assert guard.mark_equity(1, at(2)) is HaltState.REDUCE_ONLY
    guard.resume("over", at(3))
    assert guard.halt_state is HaltState.ACTIVE
    assert [event.reason for event in guard.events] == ["news", "calmer", "over"]
    assert {event.limit for event in guard.events} == {"operator"}


def test_a_halt_to_active_is_an_error():
    with pytest.raises(InvalidStateError, match="ACTIVE is no halt"):
        guarding().halt(HaltState.ACTIVE, "", at())


def test_an_unknown_equity_stops_entries_until_it_is_known_and_no_limit_forgets_its_measure():
    guard = guarding(max_drawdown=0.2)
    guard.mark_equity(100, at())

    assert guard.mark_equity(math.nan, at(0, 16)) is HaltState.HALT_ENTRIES
    assert guard.mark_equity(math.nan, at(0, 17)) is HaltState.HALT_ENTRIES
    assert guard.mark_equity(99, at(0, 18)) is HaltState.ACTIVE
    assert told(guard) == [("halt", "equity", "HALT_ENTRIES"), ("resume", "equity", "ACTIVE")]
    assert guard.mark_equity(80, at(0, 19)) is HaltState.FLATTEN


# ---------------------------------------------------------------- counting and recording


def test_only_orders_that_go_and_open_are_counted():
    guard = guarding(max_orders_per_session=2, max_position_shares=100)
    guard.review(buy(-100), account(AAPL=100))  # an exit
    guard.review(buy(10), account(AAPL=100))  # refused
    guard.review(OrderRequest("AAPL", -10, 50.0, "stop", None, at(), reduces_only=True), account())
    assert guard.state.orders_this_session == 0
    guard.review(buy(10), account())
    guard.review(buy(500), account())  # shrunk

    assert guard.state.orders_this_session == 2
    assert guard.review(buy(1), account()).limit == "max_orders_per_session"
    assert guard.review(buy(1, ts=at(1)), account()).verdict is Verdict.ALLOW


def test_a_runaway_strategy_is_stopped_by_the_orders_of_a_minute():
    guard = guarding(max_orders_per_minute=10)
    verdicts = [guard.review(buy(1, ts=at(0, 15) + timedelta(seconds=s)), account()).verdict for s in range(60)]

    assert verdicts == [Verdict.ALLOW] * 10 + [Verdict.REFUSE] * 50
    assert guard.review(buy(1, ts=at(0, 15, 1)), account()).verdict is Verdict.ALLOW


def test_each_refusal_and_each_cut_is_an_event_with_the_numbers():
    guard = guarding(max_position_shares=100)
    guard.review(buy(150), account())
    guard.review(buy(10), account(AAPL=100))
    guard.review(buy(10), account())

    shrunk, refused = guard.events
    assert (shrunk.kind, shrunk.symbol, shrunk.quantity_requested, shrunk.quantity_allowed) == (
        "shrunk",
        "AAPL",
        150,
        100,
    )
    assert (refused.kind, refused.limit, refused.limit_value, refused.measured) == (
        "refused",
        "max_position_shares",
        100,
        110,
    )
    assert refused.ts == at()
    assert refused.quantity_allowed == 0


def test_a_reader_cannot_change_the_record():
    guard = guarding(max_position_shares=1)
    guard.review(buy(5), account())
    guard.events.clear()

    assert len(guard.events) == 1


def test_mark_reads_the_equity_of_a_portfolio():
    guard = guarding(max_drawdown=0.5)
    guard.mark(account(100.0), at())

    assert guard.mark(account(50.0), at(0, 16)) is HaltState.FLATTEN


# ---------------------------------------------------------------- restarts


def test_a_restored_guard_goes_on_where_the_first_one_stopped():
    limits = {
        "max_daily_loss_fraction": 0.05,
        "max_drawdown": 0.2,
        "max_orders_per_minute": 3,
        "max_orders_per_session": 5,
        "max_consecutive_losses": 3,
    }
    first = guarding(**limits)
    for equity, minute in ((100_000, 0), (120_000, 1), (115_000, 2)):
        first.mark_equity(equity, at(0, 15, minute))
    for _ in range(2):
        first.review(buy(ts=at(0, 15, 2)), account())
        first.closed_trade(-1, at(0, 15, 2))
    second = guarding(**limits)
    second.restore(first.state)

    assert second.state == first.state
    for guard in (first, second):
        assert guard.review(buy(ts=at(0, 15, 2)), account()).verdict is Verdict.ALLOW
        assert guard.review(buy(ts=at(0, 15, 2)), account()).limit == "max_orders_per_minute"
        guard.closed_trade(-1, at(0, 15, 3))
        assert guard.halt_state is HaltState.HALT_ENTRIES
        assert guard.mark_equity(96_000, at(0, 15, 4)) is HaltState.FLATTEN  # 20 % below 120,000
    assert second.state == first.state


def test_a_drawdown_halt_survives_a_restart_and_a_daily_one_ends_with_its_session():
    drawdown, daily = guarding(max_drawdown=0.1), guarding(max_daily_loss=10)
    for guard in (drawdown, daily):
        guard.mark_equity(100, at())
        guard.mark_equity(90, at(0, 16))
    again, today = guarding(max_drawdown=0.1), guarding(max_daily_loss=10)
    again.restore(drawdown.state)
    today.restore(daily.state)

    assert again.halt_state is HaltState.FLATTEN
    assert again.mark_equity(95, at(1)) is HaltState.FLATTEN
    assert today.mark_equity(95, at(0, 17)) is HaltState.FLATTEN
    assert today.mark_equity(95, at(1)) is HaltState.ACTIVE


def test_what_time_has_ended_while_the_process_was_down_is_over():
    guard = guarding(max_consecutive_losses=1, cooldown_minutes=10)
    guard.closed_trade(-1, at())
    later = guarding(max_consecutive_losses=1, cooldown_minutes=10)
    later.restore(guard.state)

    assert later.state.halt is HaltState.HALT_ENTRIES
    assert later.mark_equity(1, at(0, 15, 10)) is HaltState.ACTIVE


def test_a_fresh_guard_remembers_nothing():
    state = guarding().state

    assert state.halt is HaltState.ACTIVE
    assert state.session is None
    assert math.isnan(state.peak_equity)
    assert state == guarding().state or math.isnan(state.last_equity)  # NaN is unequal to itself
    assert RiskState().halt is HaltState.ACTIVE
