"""A live feed against a gateway that plays scripts: every bar once, in order, at the warehouse's stamp."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.bar_grid import BarGrid
from broker.bar_series import Patience
from broker.closed_bars import from_ib, microseconds
from broker.ib.messages import BarUpdate, SessionState, SubscriptionEnded
from tests.unit.broker.live_market import (
    CALENDAR,
    PART,
    SECOND,
    ScriptedGateway,
    at,
    bars_of,
    parts,
    playing,
    rows,
    run,
    seen,
    store_bars,
)
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

MINUTE = 60 * SECOND
EVENING = (at("2024-07-03 12:52"), at("2024-07-03 13:00"))  # an early close
MORNING = (at("2024-07-05 09:30"), at("2024-07-05 09:37"))  # the day after a holiday
SPANS = (EVENING, MORNING)


@pytest.fixture(scope="module")
def warehouses(tmp_path_factory):
    """`warehouses(bars)` holds minutes of AAPL; one that was asked for before is the same."""
    made = {}

    def having(bars):
        key = tuple(bars)
        if key not in made:
            made[key] = store_bars(tmp_path_factory.mktemp("warehouse"), "AAPL", Resolution.MINUTE, bars)
        return made[key]

    return having


def test_warehouse_history_and_live_bars_make_one_series(tmp_path):
    made = parts(SPANS)
    truth = bars_of(made, Resolution.MINUTE)
    warehouse = store_bars(tmp_path, "AAPL", Resolution.MINUTE, truth[:3])
    gateway = ScriptedGateway({"AAPL": made}, now=EVENING[0] + 5 * MINUTE + 10 * SECOND)
    strategy = run(gateway, warehouse, playing(gateway, MORNING[1] + 10 * SECOND))
    assert seen(strategy) == rows(truth)
    assert strategy.live == [bar.ts for bar in truth[5:]]


class Interruptions:
    """What can go wrong with a gateway; each begins at a moment and is over before the script ends."""

    def __init__(self, gateway):
        self.gateway = gateway

    def actions(self, kind, moment, length):
        """(moment, action) pairs."""
        gateway, over = self.gateway, moment + length
        if kind == "disconnect":
            return [(moment, lambda: self.enter(SessionState.DISCONNECTED)), (over, self.ready)]
        if kind == "degraded":
            return [(moment, lambda: self.enter(SessionState.DEGRADED)), (over, self.ready)]
        if kind == "deaf":
            return [(moment, lambda: setattr(gateway, "deaf", True)), (over, lambda: setattr(gateway, "deaf", False))]
        if kind == "lag":
            return [(moment, lambda: setattr(gateway, "lag", 40 * SECOND)), (over, lambda: setattr(gateway, "lag", 0))]
        if kind == "no history":
            return [(moment, lambda: setattr(gateway, "failures", 3))]
        return [(moment, self.repeat)]

    def enter(self, state):
        self.gateway.enter(state)

    def ready(self):
        self.gateway.enter(SessionState.READY)

    def repeat(self):
        """The parts of the last minutes once more, as after a subscription that was made twice."""
        for number, request in self.gateway.streams.items():
            if request is not None and request.kind == "real_time_bars":
                for bar in self.gateway.parts["AAPL"]:
                    if self.gateway.now - 3 * MINUTE <= microseconds(bar.stamp) < self.gateway.now:
                        self.gateway.queue.put(BarUpdate(number, bar))


KINDS = ("disconnect", "degraded", "deaf", "lag", "no history", "repeat")
MOMENTS = st.one_of(
    st.integers(EVENING[0] // PART, EVENING[1] // PART), st.integers(MORNING[0] // PART, MORNING[1] // PART)
)
TROUBLE = st.lists(
    st.tuples(st.sampled_from(KINDS), MOMENTS, st.integers(1, 40)), max_size=4, unique_by=lambda one: one[0]
)


@pytest.mark.thorough
@given(
    stored=st.integers(0, 7),
    begun=st.integers(EVENING[0] // PART - 20, MORNING[1] // PART - 12),
    trouble=TROUBLE,
    silent=st.sets(st.integers(0, 14), max_size=3),
)
@settings(max_examples=50, deadline=None)
def test_every_bar_comes_once_and_in_order_whatever_is_interrupted(warehouses, stored, begun, trouble, silent):
    minutes = [opens for start, end in SPANS for opens in range(start, end, MINUTE)]
    made = parts(SPANS, skip={minutes[i] for i in silent})
    truth = bars_of(made, Resolution.MINUTE)
    begun = begun * PART if not EVENING[1] < begun * PART < MORNING[0] else EVENING[1] + 3600 * SECOND
    known = [bar for bar in truth[:stored] if bar.ts <= begun]
    gateway = ScriptedGateway({"AAPL": made}, now=begun)
    interruptions = Interruptions(gateway)
    during = [
        action
        for kind, moment, length in trouble
        for action in interruptions.actions(kind, max(moment * PART, begun), length * PART)
    ]
    script = playing(gateway, MORNING[1] + 4 * MINUTE, during)
    strategy = run(gateway, warehouses(known), script, start=date(2024, 7, 3))
    assert seen(strategy) == rows(truth)
    assert all(stamp > begun for stamp in strategy.live)


def live_run(tmp_path, script, *, begun=EVENING[0] + 2 * MINUTE, stored=2, made=None, gateway=None, **options):
    """A run over the evening and the morning after it that `script(gateway)` plays."""
    made = made or parts(SPANS)
    gateway = gateway or ScriptedGateway({"AAPL": made}, now=begun)
    resolution = options.get("resolution", Resolution.MINUTE)
    warehouse = store_bars(tmp_path, "AAPL", resolution, bars_of(made, resolution)[:stored])
    return run(gateway, warehouse, script(gateway), **options)


def test_a_feed_is_delayed_while_it_is_filled_and_then_live(tmp_path):
    strategy = live_run(tmp_path, lambda gateway: playing(gateway, EVENING[1]), begun=EVENING[0] + 4 * MINUTE)
    assert strategy.statuses == ["CONNECTED", "DELAYED", "LIVE", "DISCONNECTED"]


@pytest.mark.parametrize("state", [SessionState.DISCONNECTED, SessionState.DEGRADED])
def test_a_broken_connection_is_told_filled_and_live_again(tmp_path, state):
    made = parts(SPANS)

    def script(gateway):
        breaks, heals = EVENING[0] + 3 * MINUTE + 20 * SECOND, EVENING[0] + 5 * MINUTE + 20 * SECOND
        ready = (heals, lambda: gateway.enter(SessionState.READY))
        return playing(gateway, EVENING[1], [(breaks, lambda: gateway.enter(state)), ready])

    strategy = live_run(tmp_path, script, made=made)
    assert strategy.statuses[3:] == ["CONNBROKEN", "CONNECTED", "DELAYED", "LIVE", "DISCONNECTED"]
    truth = bars_of(made, Resolution.MINUTE)[:8]
    assert seen(strategy) == rows(truth)
    filled = truth[3:5]
    assert strategy.live == [bar.ts for bar in truth[2:] if bar not in filled]


def test_a_hole_is_repaired_from_history_before_the_bar_is_delivered(tmp_path):
    made = parts(SPANS)

    def script(gateway):
        hole = EVENING[0] + 3 * MINUTE + 20 * SECOND
        deaf, hears = lambda: setattr(gateway, "deaf", True), lambda: setattr(gateway, "deaf", False)
        return playing(gateway, EVENING[1], [(hole, deaf), (hole + 10 * SECOND, hears)])

    strategy = live_run(tmp_path, script, made=made)
    assert seen(strategy) == rows(bars_of(made, Resolution.MINUTE)[:8])
    assert strategy.live == [bar.ts for bar in bars_of(made, Resolution.MINUTE)[2:8]]


def test_a_hole_that_history_does_not_fill_is_marked_and_not_traded_on(tmp_path):
    made = parts(SPANS)

    def script(gateway):
        hole = EVENING[0] + 3 * MINUTE + 20 * SECOND

        def deaf():
            gateway.deaf, gateway.failures = True, 8

        hears = lambda: setattr(gateway, "deaf", False)  # noqa: E731
        return playing(gateway, EVENING[1] + 2 * MINUTE, [(hole, deaf), (hole + 10 * SECOND, hears)])

    strategy = live_run(tmp_path, script, made=made)
    marked = EVENING[0] + 4 * MINUTE
    assert strategy.alarms() == ["incomplete_bar"]
    assert strategy.data.incomplete == {marked}
    assert marked in [bar[0] for bar in seen(strategy)]
    assert marked not in strategy.live


def test_closed_hours_and_holidays_do_not_make_data_stale(tmp_path):
    told = []

    def script(gateway):
        for _ in playing(gateway, EVENING[1] + 10 * SECOND):
            yield
        for moment in (at("2024-07-03 13:30"), at("2024-07-04 12:00"), at("2024-07-05 09:29")):
            gateway.play((moment - gateway.now) / SECOND)
            yield
            told.append(feed(gateway).is_live())

    strategy = live_run(tmp_path, script)
    assert told == [True, True, True]
    assert strategy.statuses == ["CONNECTED", "DELAYED", "LIVE", "DISCONNECTED"]


def test_bars_that_do_not_come_while_the_session_is_open_make_data_stale(tmp_path):
    told = []

    def script(gateway):
        yield from playing(gateway, EVENING[0] + 4 * MINUTE)
        gateway.deaf, gateway.failures = True, 10**6
        for minutes in range(1, 5):
            yield from playing(gateway, EVENING[0] + (4 + minutes) * MINUTE)
            told.append(feed(gateway).is_live())

    live_run(tmp_path, script, patience=replace(Patience.of(Resolution.MINUTE), silence=1e6))
    assert told == [True, True, True, False]


def test_delayed_market_data_may_not_be_traded_on(tmp_path):
    gateway = ScriptedGateway({"AAPL": parts(SPANS)}, now=EVENING[0] + 2 * MINUTE, kind=3)
    strategy = live_run(tmp_path, lambda gateway: playing(gateway, EVENING[1]), gateway=gateway)
    assert strategy.statuses == ["CONNECTED", "DELAYED", "DISCONNECTED"]
    assert strategy.live == []


def test_delayed_market_data_may_be_traded_on_where_that_is_allowed(tmp_path):
    gateway = ScriptedGateway({"AAPL": parts(SPANS)}, now=EVENING[0] + 2 * MINUTE, kind=3)
    strategy = live_run(tmp_path, lambda g: playing(g, EVENING[1]), gateway=gateway, allow_delayed=True)
    assert strategy.statuses == ["CONNECTED", "DELAYED", "DISCONNECTED"]
    assert strategy.live == [EVENING[0] + minute * MINUTE for minute in range(3, 9)]


def test_a_refused_subscription_ends_the_feed(tmp_path):
    def script(gateway):
        yield from playing(gateway, EVENING[0] + 4 * MINUTE)
        gateway.queue.put(SubscriptionEnded(2, 354, "no subscription to this market data"))
        yield from playing(gateway, EVENING[1])

    strategy = live_run(tmp_path, script)
    assert strategy.statuses[-1] == "NOTSUBSCRIBED"
    assert strategy.alarms() == ["subscription_ended"]
    assert len(strategy.bars) == 4


def test_a_stream_that_is_dead_without_a_word_is_subscribed_to_anew(tmp_path):
    made = parts([(at("2024-07-03 12:30"), EVENING[1])])

    def script(gateway):
        yield from playing(gateway, at("2024-07-03 12:40"))
        gateway.streams[1] = gateway.streams[2] = None
        yield from playing(gateway, EVENING[1])

    gateway = ScriptedGateway({"AAPL": made}, now=at("2024-07-03 12:35"))
    strategy = live_run(tmp_path, script, gateway=gateway, made=made)
    assert strategy.alarms() == ["silent_stream"]
    assert seen(strategy) == rows(bars_of(made, Resolution.MINUTE))
    assert strategy.live[-10:] == [EVENING[1] - minute * MINUTE for minute in range(9, -1, -1)]


def test_a_split_since_the_last_download_rescales_the_warehouse(tmp_path):
    made = parts(SPANS)
    old = [bar.scaled(2.0) for bar in bars_of(made, Resolution.MINUTE)[:5]]
    warehouse = store_bars(tmp_path, "AAPL", Resolution.MINUTE, old)
    gateway = ScriptedGateway({"AAPL": made}, now=EVENING[1] + MINUTE)
    strategy = run(gateway, warehouse, playing(gateway, EVENING[1] + 2 * MINUTE))
    assert strategy.alarms() == ["split"]
    assert seen(strategy) == rows(bars_of(made, Resolution.MINUTE)[:8])


@pytest.mark.parametrize(
    ("resolution", "stamps"),
    [
        (Resolution.SECONDS_5, 60 * 12),
        (Resolution.HOURLY, ["10:30", "11:30", "12:30", "13:00"]),
        (Resolution.DAILY, ["13:00"]),
    ],
)
def test_bars_of_every_length_are_stamped_as_the_warehouse_stamps_them(tmp_path, resolution, stamps):
    whole = (at("2024-07-03 09:30"), EVENING[1])
    made = parts([whole] if resolution is not Resolution.SECONDS_5 else [(EVENING[1] - 60 * MINUTE, EVENING[1])])
    begun = whole[0] + 100 * MINUTE if resolution.intraday else whole[0] - 60 * MINUTE
    gateway = ScriptedGateway({"AAPL": made}, now=max(begun, EVENING[1] - 80 * MINUTE))
    strategy = run(
        gateway, Warehouse(tmp_path), playing(gateway, EVENING[1] + 7 * MINUTE), resolution=resolution,
        start=date(2024, 7, 3),
    )  # fmt: skip
    truth = rows(bars_of(made, resolution))
    assert seen(strategy) == truth
    if isinstance(stamps, int):
        assert len(truth) == stamps
    else:
        assert [bar[0] for bar in truth] == [at(f"2024-07-03 {time}") for time in stamps]


def test_a_daily_bar_comes_from_history_after_the_close_and_may_be_traded_on(tmp_path):
    made = parts([(at("2024-07-02 15:00"), at("2024-07-02 16:00")), EVENING, MORNING])
    warehouse = store_bars(tmp_path, "AAPL", Resolution.DAILY, bars_of(made, Resolution.DAILY)[:1])
    gateway = ScriptedGateway({"AAPL": made}, now=EVENING[0])
    strategy = run(gateway, warehouse, playing(gateway, MORNING[1]), resolution=Resolution.DAILY)
    assert seen(strategy) == rows(bars_of(made, Resolution.DAILY)[:2])
    assert strategy.live == [EVENING[1]]
    assert [request.kind for request in gateway.requested] == ["ticks"]


def test_a_daily_bar_that_is_late_is_waited_for(tmp_path):
    made = parts([(at("2024-07-02 15:00"), at("2024-07-02 16:00")), EVENING])
    warehouse = store_bars(tmp_path, "AAPL", Resolution.DAILY, bars_of(made, Resolution.DAILY)[:1])
    gateway = ScriptedGateway({"AAPL": made}, now=EVENING[0], lag=3600 * SECOND)
    there = [(EVENING[1] + 30 * MINUTE, lambda: setattr(gateway, "lag", 0))]
    strategy = run(gateway, warehouse, playing(gateway, EVENING[1] + 60 * MINUTE, there), resolution=Resolution.DAILY)
    assert seen(strategy) == rows(bars_of(made, Resolution.DAILY))
    assert strategy.live == [EVENING[1]]


def test_live_hours_are_cut_on_the_clock_where_the_stored_ones_are(tmp_path):
    made = parts([(at("2024-07-02 09:30"), at("2024-07-02 16:00")), (at("2024-07-03 09:30"), EVENING[1])])
    truth = from_ib(made, BarGrid(CALENDAR, Resolution.HOURLY, on_clock=True))
    warehouse = store_bars(tmp_path, "AAPL", Resolution.HOURLY, truth[:5])
    gateway = ScriptedGateway({"AAPL": made}, now=at("2024-07-03 11:20"))
    strategy = run(gateway, warehouse, playing(gateway, EVENING[1] + 2 * MINUTE), resolution=Resolution.HOURLY)
    assert seen(strategy) == rows(truth)
    assert {request.bar_size for request in gateway.asked} == {"1 hour"}


def feed(gateway):
    """The feed that a script plays for."""
    return gateway.feeds[0]
