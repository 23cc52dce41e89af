"""Which bar is next, when history is asked, and what an answer settles."""

from dataclasses import replace

import pytest

from broker.bar_grid import BarGrid
from broker.bar_series import BarSeries, Patience, history_request
from broker.closed_bars import moment_of
from broker.ib.messages import Contract
from tests.unit.broker.live_market import CALENDAR, SECOND, at, bars_of, parts
from warehouse.resolution import Resolution

MINUTE = 60 * SECOND
OPENS = at("2024-07-02 10:00")
MADE = parts([(OPENS, OPENS + 10 * MINUTE)])
TRUTH = bars_of(MADE, Resolution.MINUTE)
GRID = BarGrid(CALENDAR, Resolution.MINUTE)
PATIENCE = Patience.of(Resolution.MINUTE)


def series(settled=OPENS, stored=(), **changes):
    return BarSeries(GRID, replace(PATIENCE, **changes), settled, stored)


def hear(one, minutes):
    for part in MADE[: minutes * 12]:
        one.hear(part)


def stamps(one):
    return [bar.ts for bar in one.ready]


def test_a_bar_is_ready_when_its_last_part_has_arrived():
    one = series()
    for part in MADE[:11]:
        one.hear(part)
        one.advance()
    assert stamps(one) == []
    one.hear(MADE[11])
    one.advance()
    assert list(one.ready) == TRUTH[:1]


def test_history_is_not_asked_before_a_bar_is_overdue():
    one = series()
    assert one.wanted(OPENS + MINUTE + 4 * SECOND, 0.0) is None
    gap = one.wanted(OPENS + MINUTE + 5 * SECOND, 0.0)
    assert (gap.after, gap.until, gap.open_ended) == (OPENS, OPENS + MINUTE, True)


def test_history_is_asked_one_question_at_a_time():
    one = series()
    assert one.wanted(OPENS + 3 * MINUTE, 0.0) is not None
    assert one.wanted(OPENS + 3 * MINUTE, 99.0) is None


def test_the_youngest_bar_of_history_is_believed_only_when_a_later_one_follows():
    now = OPENS + 3 * MINUTE + 10 * SECOND
    alone, followed = series(), series()
    for one, told in ((alone, TRUTH[:3]), (followed, TRUTH[:4])):
        one.wanted(now, 0.0)
        one.answered(told, now, 0.0)
    assert stamps(alone) == [bar.ts for bar in TRUTH[:2]]
    assert stamps(followed) == [bar.ts for bar in TRUTH[:3]]


def test_a_bar_that_history_skips_is_missing():
    one, now = series(), OPENS + 10 * MINUTE
    one.wanted(now, 0.0)
    one.answered([TRUTH[0], TRUTH[2], TRUTH[9]], now, 0.0)
    assert stamps(one) == [TRUTH[0].ts, TRUTH[2].ts]
    assert one.settled == TRUTH[8].ts


def test_what_history_lacks_at_its_end_is_asked_again_until_it_is_settled():
    one, now = series(), OPENS + 2 * MINUTE + 10 * SECOND
    one.wanted(now, 0.0)
    one.answered(TRUTH[:1], now, 0.0)
    assert one.settled == TRUTH[0].ts
    late = TRUTH[1].ts + 60 * SECOND
    one.wanted(late, 15.0)
    one.answered(TRUTH[:1], late, 15.0)
    assert one.settled == TRUTH[1].ts
    assert stamps(one) == [TRUTH[0].ts]


def test_a_bar_heard_whole_is_kept_where_history_skips_it():
    one, now = series(), OPENS + 5 * MINUTE
    hear(one, 2)
    one.builder.drop(TRUTH[0].ts)  # the first minute was not heard
    one.wanted(now, 0.0)
    one.answered([TRUTH[0], TRUTH[2], TRUTH[3], TRUTH[4]], now, 0.0)
    assert stamps(one) == [bar.ts for bar in TRUTH[:4]]


def test_an_answer_without_any_bar_is_doubted_three_times():
    one, now = series(), OPENS + 5 * MINUTE
    for tried in range(3):
        one.wanted(now, tried * 15.0)
        one.answered([], now, tried * 15.0)
        assert one.settled == OPENS
    one.wanted(now, 45.0)
    one.answered([], now, 45.0)
    assert one.settled == OPENS + 4 * MINUTE


def test_between_two_questions_there_is_a_pause():
    one, now = series(), OPENS + 2 * MINUTE
    one.wanted(now, 0.0)
    one.failed(now, 0.0)
    assert one.wanted(now, 14.9) is None
    assert one.wanted(now, 15.0) is not None


def test_after_the_last_try_nothing_is_asked_until_a_new_bar_is_due():
    one, now = series(tries=2), OPENS + 2 * MINUTE
    for tried in range(2):
        assert one.wanted(now, tried * 15.0) is not None
        assert one.failed(now, tried * 15.0) is None
    assert one.resting
    assert one.wanted(now + 4 * SECOND, 1e6) is None
    assert one.wanted(now + 5 * SECOND, 1e6) is not None


def test_after_the_last_try_a_bar_with_a_hole_is_taken_and_marked():
    one, now = series(tries=1), OPENS + 2 * MINUTE
    for part in MADE[:10]:
        one.hear(part)
    one.wanted(now, 0.0)
    marked = one.failed(now, 0.0)
    assert (marked.ts, marked.whole) == (TRUTH[0].ts, False)
    assert list(one.ready) == [marked]


def test_something_that_changed_lets_history_be_asked_at_once():
    one, now = series(tries=1), OPENS + 2 * MINUTE
    one.wanted(now, 0.0)
    one.failed(now, 0.0)
    one.stir()
    assert one.wanted(now, 0.0) is not None


def test_bars_of_the_warehouse_wait_for_their_scale():
    one, now = series(stored=TRUTH[:3]), TRUTH[3].ts
    hear(one, 5)
    one.advance()
    assert stamps(one) == []
    gap = one.wanted(now, 0.0)
    assert (gap.since, gap.after, gap.until) == (TRUTH[0].ts - 1, TRUTH[2].ts, TRUTH[2].ts)
    assert one.answered(TRUTH[:4], now, 0.0) is None
    one.advance()
    assert list(one.ready) == TRUTH[:5]


@pytest.mark.parametrize("ratio", [0.5, 0.1, 4.0])
def test_bars_of_the_warehouse_are_put_on_the_scale_of_history(ratio):
    one, now = series(stored=[bar.scaled(1 / ratio) for bar in TRUTH[:3]]), TRUTH[3].ts
    one.wanted(now, 0.0)
    assert one.answered(TRUTH[:4], now, 0.0) == pytest.approx(ratio)
    assert [round(bar.close, 6) for bar in one.ready] == [bar.close for bar in TRUTH[:3]]


def test_no_question_reaches_over_more_sessions_than_ib_answers():
    one = BarSeries(GRID, PATIENCE, at("2024-06-24 09:30"))
    gap = one.wanted(at("2024-07-02 12:00"), 0.0)
    assert gap.until == at("2024-06-24 16:00")
    request = history_request(Contract("AAPL"), "TRADES", GRID, gap)
    assert (request.end, request.duration, request.bar_size) == (moment_of(gap.until), "1 D", "1 min")


@pytest.mark.parametrize(
    ("resolution", "duration", "size", "open_ended"),
    [
        (Resolution.SECONDS_5, "3600 S", "5 secs", False),
        (Resolution.MINUTE, "1 D", "1 min", False),
        (Resolution.HOURLY, "6 D", "30 mins", True),
        (Resolution.DAILY, "6 D", "1 day", True),
    ],
)
def test_questions_are_in_ibs_own_units(resolution, duration, size, open_ended):
    grid = BarGrid(CALENDAR, resolution)
    one = BarSeries(grid, Patience.of(resolution), at("2024-06-24 16:00"))
    request = history_request(Contract("AAPL"), "TRADES", grid, one.wanted(at("2024-07-02 15:00"), 0.0))
    assert (request.duration, request.bar_size, request.end is None) == (duration, size, open_ended)
