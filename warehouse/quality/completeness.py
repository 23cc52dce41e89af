"""Rules about what is not there: sessions, minutes, the end of a series.

Belongs here: comparing the bars with the exchange's calendar. Does not belong here: the bars' numbers.

Before a symbol's first bar and after its last nothing counts as missing: a listing is not a gap, and the end
of a series is a rule of its own.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from warehouse.quality.evidence import (
    Days,
    Evidence,
    Mask,
    Schedule,
    Stamps,
    Values,
    day_texts,
    time_texts,
)
from warehouse.quality.rule import Offences, Outcome, Rule, Severity, not_computed, number
from warehouse.validation import NOT_A_SESSION

GAP_SESSIONS = 5
"""An absence of more sessions than this is a gap (in the quality score, and for a series that ended)."""


@dataclass(frozen=True, slots=True)
class YearCoverage:
    """Bars of one calendar year: expected by the calendar within the symbol's life, and found."""

    year: int
    expected: int
    found: int

    @property
    def ratio(self) -> float:
        """Found over expected, 0..1."""
        return self.found / self.expected


@dataclass(frozen=True, slots=True)
class Absences:
    """Runs of missing things in order: where each begins and ends (indices, closed), and how long it is."""

    first: NDArray[np.intp]
    last: NDArray[np.intp]

    @property
    def length(self) -> NDArray[np.intp]:
        """Missing things a run."""
        return self.last - self.first + 1

    @classmethod
    def of(cls, missing: Mask, breaks: Mask | None = None) -> "Absences":
        """Runs of True; `breaks` marks entries that begin a new run whatever came before."""
        before = np.r_[False, missing[:-1]]
        after = np.r_[missing[1:], False]
        if breaks is not None:
            before &= ~breaks
            after &= ~np.r_[breaks[1:], False]
        return cls(np.flatnonzero(missing & ~before), np.flatnonzero(missing & ~after))


def session_absences(evidence: Evidence) -> tuple[Schedule, Absences]:
    """The sessions of a symbol's life, and the runs among them that have no bar."""
    life = evidence.lifetime
    return life, Absences.of(~np.isin(life.session, evidence.sessions.session))


def _missing_sessions(evidence: Evidence, _: float) -> Outcome:
    life, runs = session_absences(evidence)
    if not len(life):
        return not_computed("The calendar knows no session in the symbol's life.")
    offences = Offences.of(
        life.session[runs.first], runs.length.astype(np.float64), day_texts(life.session[runs.first]), " to ",
        day_texts(life.session[runs.last]), ", sessions without a bar: ", runs.length,
    )  # fmt: skip
    count = int(runs.length.sum())
    return Outcome(count, f"{number(count, 'session')} of {len(life):,} without a bar.", offences)


@dataclass(frozen=True, slots=True)
class Slots:
    """Every bar the calendar expects in a symbol's life, by its close; False in `found` where it is missing."""

    close: Stamps
    session: Days
    first_of_session: Mask
    found: Mask

    def __len__(self) -> int:
        return len(self.close)


def intraday_slots(evidence: Evidence) -> Slots:
    """Expected bars of all sessions that have at least one bar, from the first bar to the last.

    A slot is one length of bar after the session's open (or the end of its break), the last one cut at the
    close. A bar belongs to the slot that holds its close, so that vendors who cut hours on the clock and such
    who cut them from the open are both understood.
    """
    life = evidence.lifetime
    life = _only(life, np.isin(life.session, evidence.sessions.session))
    length = _length(evidence)
    morning = -(-(life.break_start - life.open) // length)
    afternoon = -(-(life.close - life.break_end) // length)
    counts = morning + afternoon
    offsets = np.r_[0, np.cumsum(counts)]
    session_index = np.repeat(np.arange(len(life)), counts)
    place = np.arange(offsets[-1]) - offsets[session_index]
    late = place >= morning[session_index]
    begin = np.where(late, life.break_end[session_index], life.open[session_index])
    end = np.where(late, life.close[session_index], life.break_start[session_index])
    closes = np.minimum(begin + (place - np.where(late, morning[session_index], 0) + 1) * length, end)
    found = np.zeros(len(closes), np.bool_)
    found[_slots_of_bars(evidence, life, morning, offsets, length)] = True
    within = (closes >= evidence.bars.ts[0]) & (closes - length < evidence.bars.ts[-1])
    return Slots(closes[within], life.session[session_index][within], (place == 0)[within], found[within])


def _slots_of_bars(
    evidence: Evidence, life: Schedule, morning: Stamps, offsets: NDArray[np.int64], length: int
) -> NDArray[np.int64]:
    """Index of the slot of each bar inside trading hours."""
    ts = evidence.bars.ts
    index = np.searchsorted(life.open, ts, side="left") - 1
    index = np.maximum(index, 0)
    in_morning = (ts > life.open[index]) & (ts <= life.break_start[index])
    in_afternoon = (ts > life.break_end[index]) & (ts <= life.close[index])
    place = np.where(
        in_morning,
        -(-(ts - life.open[index]) // length) - 1,
        morning[index] - (-(ts - life.break_end[index]) // length) - 1,
    )
    slots: NDArray[np.int64] = (offsets[index] + place)[in_morning | in_afternoon]
    return slots


def _only(schedule: Schedule, mask: Mask) -> Schedule:
    return Schedule(
        schedule.session[mask],
        schedule.open[mask],
        schedule.close[mask],
        schedule.break_start[mask],
        schedule.break_end[mask],
    )


def _missing_minutes(evidence: Evidence, _: float) -> Outcome:
    slots = intraday_slots(evidence)
    if not len(slots):
        return not_computed("The calendar knows no session in the symbol's life.")
    runs = Absences.of(~slots.found, slots.first_of_session)
    count = int(runs.length.sum())
    offences = Offences.of(
        slots.session[runs.first], runs.length.astype(np.float64), "bars missing: ", runs.length, ", closes ",
        time_texts(slots.close[runs.first]), " to ", time_texts(slots.close[runs.last]), " UTC",
        ts=slots.close[runs.first],
    )  # fmt: skip
    return Outcome(count / len(slots), f"{number(count, 'bar')} of {len(slots):,} missing inside sessions.", offences)


def _outside_session(evidence: Evidence, _: float) -> Outcome:
    bars = evidence.bars
    known = evidence.schedule.session
    outside = ~bars.regular | ~np.isin(bars.session, known)
    if len(known):
        outside &= (bars.session >= known[0]) & (bars.session <= known[-1])  # beyond it nobody can tell
    at = np.flatnonzero(outside)
    standing = Offences.of(bars.session[at], bars.close[at], "Outside the exchange's regular hours.", ts=bars.ts[at])
    removed = Offences.of_quarantine(_on_no_session(evidence))
    note = f", {len(removed):,} of them quarantined" if len(removed) else ""
    count = len(standing) + len(removed)
    return Outcome(count, f"{number(count, 'bar')} outside regular hours{note}.", standing.followed_by(removed))


def _on_no_session(evidence: Evidence) -> pa.Table:
    """Quarantined bars of days on which the exchange did not trade."""
    return evidence.quarantine.filter(pc.equal(evidence.quarantine["reason"], NOT_A_SESSION))


def _series_ended(evidence: Evidence, threshold: float) -> Outcome:
    schedule = evidence.schedule
    if not len(schedule) or schedule.session[-1] < evidence.today - 1:
        return not_computed("The calendar does not reach to the day of inspection.")
    last = int(evidence.bars.session[-1])
    since = len(schedule.between(last + 1, evidence.today - 1))
    text = day_texts(evidence.bars.session[-1:])[0].as_py()
    offences = Offences.of([last], [since], f"Last bar; {number(since, 'session')} have closed since.")
    message = f"The last bar is of {text}, {number(since, 'session')} closed since."
    return Outcome(since, message, offences if since > threshold else Offences.none())


def coverage_by_year(evidence: Evidence) -> tuple[YearCoverage, ...]:
    """Expected and found bars of each year of a symbol's life, ascending.

    Daily bars count sessions. Finer bars count slots, those of sessions without any bar included.
    """
    life = evidence.lifetime
    if not len(life):
        return ()
    present = np.isin(life.session, evidence.sessions.session)
    expected: Values = np.ones(len(life))
    found: Values = present.astype(np.float64)
    if evidence.resolution.intraday:
        slots = intraday_slots(evidence)
        index = np.searchsorted(life.session, slots.session)
        due = np.bincount(index, minlength=len(life)).astype(np.float64)
        expected = np.where(present, due, _slots_a_session(evidence, life))
        found = np.asarray(np.bincount(index, slots.found.astype(np.float64), len(life)), np.float64)
    names, index = np.unique(_years(life.session), return_inverse=True)
    sums = zip(names, np.bincount(index, expected), np.bincount(index, found), strict=True)
    return tuple(YearCoverage(int(year), round(want), round(got)) for year, want, got in sums if want)


def _slots_a_session(evidence: Evidence, life: Schedule) -> Values:
    length = _length(evidence)
    slots: Values = -(-(life.break_start - life.open) // length) - (-(life.close - life.break_end) // length)
    return slots.astype(np.float64)


def _length(evidence: Evidence) -> int:
    """Length of a bar in microseconds."""
    return round(evidence.resolution.length.total_seconds() * 1_000_000)


def _years(days: Days) -> NDArray[np.int64]:
    return days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970


def _new_year(year: int) -> int:
    """Days from 1970-01-01 to a year's first day."""
    return int(np.datetime64(f"{year:04d}-01-01").astype(np.int64))


def _coverage_ratio(evidence: Evidence, threshold: float) -> Outcome:
    years = coverage_by_year(evidence)
    if not years:
        return not_computed("The calendar knows no session in the symbol's life.")
    worst = min(years, key=lambda year: year.ratio)
    thin = [year for year in years if year.ratio < threshold]
    offences = Offences.of(
        [_new_year(year.year) for year in thin],
        [year.ratio for year in thin],
        pa.array([f"{year.year}: {year.found:,} of {year.expected:,} bars" for year in thin], pa.string()),
    )
    return Outcome(worst.ratio, f"The thinnest year is {worst.year} with {worst.ratio:.1%} of its bars.", offences)


RULES = (
    Rule(
        "missing_sessions",
        "Sessions of the exchange's calendar without a bar, between the first bar and the last.",
        Severity.WARN,
        0,
        _missing_sessions,
    ),
    Rule(
        "missing_minutes",
        "Share of the bars missing inside sessions that have bars.",
        Severity.WARN,
        0.01,
        _missing_minutes,
        intraday_only=True,
        share=True,
    ),
    Rule("outside_session", "Bars outside the exchange's regular hours.", Severity.WARN, 0, _outside_session),
    Rule(
        "coverage_ratio",
        "Share of the expected bars in the thinnest year.",
        Severity.WARN,
        0.98,
        _coverage_ratio,
        at_least=True,
        share=True,
    ),
    Rule("series_ended", "Sessions closed since the last bar.", Severity.INFO, GAP_SESSIONS, _series_ended),
)
"""In the order of a report."""
