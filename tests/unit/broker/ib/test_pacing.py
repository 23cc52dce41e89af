"""IB's limits hold for whatever is asked, whenever; and no request waits longer than they need."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.errors import GatewayError, PacingError
from broker.ib.messages import Contract
from broker.ib.pacing import Pacer, PacingLimits
from broker.ib.requests import HistoryRequest

END = datetime(2024, 1, 3, tzinfo=UTC)
SMALL = PacingLimits(requests=7, window=40.0, identical=15.0, burst=3, burst_window=2.0, margin=0.0)


class Clock:
    """Time that passes only when somebody sleeps, or by hand."""

    def __init__(self):
        self.now, self.slept = 1000.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def pacer(limits=None):
    clock = Clock()
    made = Pacer(limits, clock=clock, sleep=clock.sleep)
    return made, clock


def page(number=0, symbol="SPY", what="TRADES"):
    return HistoryRequest(Contract(symbol), END - timedelta(days=number), "1 D", "1 min", what)


def windows(times, length):
    """Entries of every span of a length that begins with an entry."""
    return [[entry for entry in times if start[0] <= entry[0] < start[0] + length] for start in times]


ASKED = st.lists(
    st.tuples(
        st.floats(0, 6), st.integers(0, 3), st.sampled_from(["SPY", "QQQ"]), st.sampled_from(["TRADES", "BID_ASK"])
    ),
    max_size=25,
)


# a span that begins with the request itself is full of later ones
LATER_ONES = [(0.0, 1, "SPY", "TRADES"), *[(0.0, 1, "SPY", "BID_ASK")] * 2, (1.0, 1, "SPY", "TRADES")]
LATER_ONES += [(0.0, 0, "SPY", "BID_ASK"), (0.0, 0, "QQQ", "BID_ASK"), (0.0, 0, "SPY", "TRADES")]


@given(asked=ASKED)
@example(asked=LATER_ONES)
@settings(max_examples=150, deadline=None)
def test_no_span_of_time_ever_holds_more_than_the_limits_allow(asked):
    bucket, clock = pacer(SMALL)
    sent = []
    for pause, number, symbol, what in asked:  # nobody waits: many threads ask at once
        clock.now += pause
        request = page(number, symbol, what)
        sent.append((clock.now + bucket.reserve(request), 2 if what == "BID_ASK" else 1, request))
    sent.sort(key=lambda entry: entry[0])
    slack = 1e-5
    assert all(sum(weight for _, weight, _ in span) <= 7 for span in windows(sent, 40 - slack))
    for symbol, what in {(r.contract.symbol, r.what_to_show) for _, _, r in sent}:
        alike = [e for e in sent if (e[2].contract.symbol, e[2].what_to_show) == (symbol, what)]
        assert all(len(span) <= 3 for span in windows(alike, 2 - slack))
    for request in {r for _, _, r in sent}:
        assert all(len(span) == 1 for span in windows([e for e in sent if e[2] == request], 15 - slack))


@given(count=st.integers(1, 30), held=st.integers(0, 12))
@settings(deadline=None)
def test_the_time_told_for_further_requests_is_the_time_they_take(count, held):
    roomy = PacingLimits(requests=7, window=40.0, burst=1000, margin=0.0)
    bucket, _ = pacer(roomy)
    for number in range(held):
        bucket.reserve(page(number))
    told = bucket.seconds_for(count)
    assert max(bucket.reserve(page(100 + number)) for number in range(count)) == pytest.approx(told)


def test_fifty_eight_requests_leave_at_once_and_the_next_after_ten_minutes():
    bucket, _ = pacer(PacingLimits(burst=1000))
    assert [bucket.reserve(page(number)) for number in range(58)] == [0.0] * 58
    assert bucket.reserve(page(58)) == pytest.approx(600.25)


def test_the_sixth_request_for_one_contract_waits_two_seconds_and_another_contract_does_not():
    bucket, _ = pacer()
    assert [bucket.reserve(page(number)) for number in range(6)] == pytest.approx([0.0] * 5 + [2.25])
    assert bucket.reserve(page(0, "QQQ")) == 0.0


def test_the_same_request_waits_fifteen_seconds_and_holds_up_nobody_else():
    bucket, _ = pacer()
    bucket.reserve(page())
    assert bucket.reserve(page()) == pytest.approx(15.25)
    assert bucket.reserve(page(1)) == 0.0


def test_bid_and_ask_count_twice():
    bucket, _ = pacer(PacingLimits(burst=1000))
    waits = [bucket.reserve(page(number, what="BID_ASK")) for number in range(30)]
    assert waits == pytest.approx([0.0] * 29 + [600.25])


def refusing(times):
    """A gateway that refuses so many requests for pacing, then answers."""
    left = [times]

    def ask():
        if left[0]:
            left[0] -= 1
            raise PacingError(162, "Historical data request pacing violation")
        return "bars"

    return ask


def test_a_refusal_is_followed_by_a_pause_that_doubles():
    bucket, clock = pacer()
    assert bucket.run(page(), refusing(2)) == "bars"
    assert clock.slept == pytest.approx([0.0, 20.0, 40.0])


def test_a_refusal_of_one_request_holds_up_all():
    bucket, _ = pacer()
    bucket.back_off()
    assert bucket.reserve(page(0, "QQQ")) == pytest.approx(20.0)
    assert bucket.seconds_for(1) == pytest.approx(20.0)


def test_a_request_that_waits_for_its_time_heeds_a_refusal_that_comes_meanwhile():
    clock, slept = Clock(), []

    def sleep(seconds):
        slept.append(seconds)
        clock.now += seconds
        if len(slept) == 1:
            bucket.back_off()

    bucket = Pacer(clock=clock, sleep=sleep)
    bucket.reserve(page())
    assert bucket.run(page(), lambda: "bars") == "bars"
    assert slept == pytest.approx([15.25, 20.0])


def test_what_is_always_refused_is_given_up():
    bucket, clock = pacer()
    with pytest.raises(PacingError, match="pacing violation"):
        bucket.run(page(), refusing(99))
    assert clock.slept == pytest.approx([0.0, 20.0, 40.0, 80.0, 160.0])


def test_any_other_failure_is_told_at_once():
    bucket, clock = pacer()

    def fail():
        raise TimeoutError("slow")

    with pytest.raises(TimeoutError):
        bucket.run(page(), fail)
    assert clock.slept == [0.0]


def test_a_request_that_waits_ends_when_the_pacer_is_stopped():
    bucket = Pacer()
    bucket.reserve(page())
    failures = []

    def wait():
        try:
            bucket.run(page(), lambda: "bars")
        except GatewayError as error:
            failures.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    bucket.stop()
    thread.join(10)  # it would wait for 15 seconds
    assert failures == ["history: no more is asked, the download was stopped."]


def test_threads_share_one_bucket():
    bucket, _ = pacer(PacingLimits(burst=1000))
    waits = []
    threads = [threading.Thread(target=lambda n=n: waits.append(bucket.reserve(page(n)))) for n in range(70)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(waits) == pytest.approx([0.0] * 58 + [600.25] * 12)


@pytest.mark.parametrize(("changes", "named"), [({"requests": 1}, "requests: 1"), ({"back_off": 5.0}, "back_off: 5")])
def test_limits_that_cannot_work_are_refused(changes, named):
    with pytest.raises(GatewayError, match=named):
        PacingLimits(**changes)
