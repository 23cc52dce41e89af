"""Windows: by hand on known months, and what holds for any lengths."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.errors import StudyError
from research.walkforward.windows import WalkForwardSettings, add_months, schedule
from warehouse.calendar import get_calendar

XNYS = get_calendar("XNYS")
D = date.fromisoformat


def spans(found):
    return [(str(w.train_start), str(w.train_end), str(w.test_start), str(w.test_end)) for w in found.windows]


def test_the_defaults_are_six_months_two_months_two_months():
    """2024: New Year, Independence Day, Thanksgiving and Christmas are no sessions; 30 June is a Sunday."""
    found = schedule(XNYS, D("2024-01-01"), D("2024-12-31"), WalkForwardSettings())
    assert spans(found) == [
        ("2024-01-02", "2024-06-28", "2024-07-01", "2024-08-30"),
        ("2024-03-01", "2024-08-30", "2024-09-03", "2024-10-31"),
        ("2024-05-01", "2024-10-31", "2024-11-01", "2024-12-31"),
    ]
    assert found.notes == ()
    assert all(window.complete for window in found.windows)


def test_anchored_windows_begin_at_the_first_session():
    found = schedule(XNYS, D("2024-01-01"), D("2024-12-31"), WalkForwardSettings(anchored=True))
    assert [one[0] for one in spans(found)] == ["2024-01-02"] * 3
    assert [one[1] for one in spans(found)] == ["2024-06-28", "2024-08-30", "2024-10-31"]


def test_an_embargo_lies_between_train_and_test():
    """Two sessions after 28 June are 1 and 2 July; the test ends two sessions later too."""
    found = schedule(XNYS, D("2024-01-01"), D("2024-10-31"), WalkForwardSettings(embargo=2))
    assert spans(found)[0] == ("2024-01-02", "2024-06-28", "2024-07-03", "2024-09-04")


def test_sessions_are_counted_as_sessions():
    settings_ = WalkForwardSettings(train=5, test=2, step=2, unit="sessions")
    found = schedule(XNYS, D("2024-07-01"), D("2024-07-12"), settings_)  # 4 July is closed: 9 sessions
    assert spans(found) == [
        ("2024-07-01", "2024-07-08", "2024-07-09", "2024-07-10"),
        ("2024-07-03", "2024-07-10", "2024-07-11", "2024-07-12"),
    ]


@pytest.mark.parametrize(("keep", "count", "says"), [(False, 2, "left out"), (True, 3, "kept")])
def test_the_last_partial_test_is_dropped_or_kept_and_said_so(keep, count, says):
    found = schedule(XNYS, D("2024-01-01"), D("2024-12-16"), WalkForwardSettings(keep_partial=keep))
    assert len(found.windows) == count
    assert found.notes == (
        "The last test, from 2024-11-01, would go on after the range ends on 2024-12-16; it "
        + {"left out": "is left out.", "kept": "is kept, shorter than the others."}[says],
    )
    assert [window.complete for window in found.windows] == [True, True, False][:count]


def test_a_range_that_ends_on_the_last_session_of_a_month_is_complete():
    """31 August 2024 is a Saturday: Friday the 30th is the month's last session."""
    assert schedule(XNYS, D("2024-01-01"), D("2024-08-30"), WalkForwardSettings()).notes == ()


def test_gaps_between_tests_are_said():
    found = schedule(XNYS, D("2020-01-01"), D("2024-12-31"), WalkForwardSettings(step=3))
    assert any("in no test" in note for note in found.notes)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"step": 1}, "step: 1 is shorter than test 2, so sessions would be tested twice"),
        ({"train": 0}, "walk-forward: train: 0 is wrong"),
        ({"unit": "years"}, "walk-forward: unit: 'years'"),
        ({"trian": 3}, "walk-forward: trian: 3"),
    ],
)
def test_bad_settings_are_one_sentence(fields, says):
    with pytest.raises(StudyError, match=says) as caught:
        WalkForwardSettings.build(**fields)
    assert "\n" not in str(caught.value)


def test_a_range_too_short_is_refused_with_its_length():
    with pytest.raises(StudyError, match="2024-01-01 to 2024-03-29 holds 61 sessions, too few to train on 6 months"):
        schedule(XNYS, D("2024-01-01"), D("2024-03-29"), WalkForwardSettings())


def test_months_end_where_the_month_ends():
    assert add_months(D("2024-01-31"), 1) == D("2024-02-29")
    assert add_months(D("2023-11-30"), 3) == D("2024-02-29")
    assert add_months(D("2024-08-31"), 4) == D("2024-12-31")


@st.composite
def divided(draw):
    unit = draw(st.sampled_from(["months", "sessions"]))
    most = 12 if unit == "months" else 120
    test = draw(st.integers(1, most))
    made = WalkForwardSettings(
        train=draw(st.integers(1, most)),
        test=test,
        step=draw(st.one_of(st.just(test), st.integers(test, 2 * most))),
        unit=unit,
        anchored=draw(st.booleans()),
        embargo=draw(st.integers(0, 30)),
        keep_partial=draw(st.booleans()),
    )
    start = draw(st.dates(D("2000-01-01"), D("2010-01-01")))
    return start, add_months(start, draw(st.integers(1, 60))), made


@pytest.mark.thorough
@settings(max_examples=150, deadline=None)
@given(divided())
def test_what_always_holds(case):
    start, end, made = case
    try:
        found = schedule(XNYS, start, end, made)
    except StudyError:
        return
    inside = XNYS.sessions(start, end)
    place = {session: at for at, session in enumerate(inside)}
    for window in found.windows:
        assert window.train_start <= window.train_end < window.test_start <= window.test_end
        assert place[window.test_start] - place[window.train_end] - 1 == made.embargo
        assert not made.anchored or window.train_start == inside[0]
    for before, after in zip(found.windows, found.windows[1:], strict=False):
        gap = place[after.test_start] - place[before.test_end] - 1
        assert gap == 0 if made.step == made.test else gap >= 0
    partial = [window for window in found.windows if not window.complete]
    assert len(partial) <= (1 if made.keep_partial else 0)
    assert all(window is found.windows[-1] and window.test_end == inside[-1] for window in partial)


@settings(max_examples=40, deadline=None)
@given(divided())
def test_the_same_settings_give_the_same_windows(case):
    start, end, made = case
    try:
        assert schedule(XNYS, start, end, made) == schedule(XNYS, start, end, made)
    except StudyError:
        return
