"""A live feed against a gateway that plays scripts: every bar once, in order, at the warehouse's stamp."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.closed_bars import microseconds
from broker.ib.messages import BarUpdate, SessionState
from tests.unit.broker.live_market import (
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


@given(
    stored=st.integers(0, 7),
    begun=st.integers(EVENING[0] // PART - 20, MORNING[1] // PART - 12),
    trouble=TROUBLE,
    silent=st.sets(st.integers(0, 14), max_size=3),
)
@settings(max_examples=80, deadline=None)
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
