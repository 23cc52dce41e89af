"""Rules about the series: does one bar follow plausibly from the last?

Belongs here: stale prices, spikes, gaps, scales and units, revisions. Does not belong here: single bars (see
`integrity`), absences (see `completeness`).

A big move is not an error: markets crash. These rules compare moves with what the symbol usually does, with
its corporate actions and with its traded value, and mostly ask a person to look.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from warehouse.quality.completeness import Absences
from warehouse.quality.evidence import Days, Evidence, SessionBars, Values, day_texts, time_texts
from warehouse.quality.rule import Offences, Outcome, Rule, Severity, not_computed, number

_BLOCK = 64
"""Returns a local scale is taken from."""
_MINIMUM_SCALE = 0.002
"""A return is never compared with less than this: one tick of a quiet symbol is no spike."""
_MAD_TO_SIGMA = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""
_REVERSED = 0.3
"""A spike is undone when at most this share of it is left one bar later."""
_CLOSE_SESSIONS = 5
"""Sessions further apart than this do not make a gap but an absence."""
_LEVEL_CHANGE = 1.5
"""Ratio of prices across an absence that suggests another company."""
_WINDOW = 20
"""Sessions on either side that the level of volume is taken from."""
_SCALES = np.log([1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 40, 50, 100, 1_000, 10_000])
"""Logarithms of the ratios by which shares are split and vendors change units."""
_SCALE_TOLERANCE = 0.03
_STEADY = 3.0
"""Volume, or traded value, within this factor of the usual is called unchanged."""


def _flat_run(evidence: Evidence, threshold: float) -> Outcome:
    bars = evidence.bars
    same = np.ones(max(len(bars) - 1, 0), np.bool_)
    for prices in (bars.open, bars.high, bars.low, bars.close):
        same &= prices[1:] == prices[:-1]
    runs = Absences.of(same)
    lengths = runs.length + 1
    long = lengths > threshold
    first, last = runs.first[long], runs.last[long] + 1
    offences = Offences.of(
        bars.session[first], lengths[long].astype(np.float64), lengths[long], " bars with the same four prices until ",
        time_texts(bars.ts[last]), " UTC", ts=bars.ts[first],
    )  # fmt: skip
    longest = int(lengths.max()) if len(lengths) else 1
    return Outcome(longest, f"The longest run of unchanged bars is {number(longest, 'bar')}.", offences)


def _spike_with_reversal(evidence: Evidence, threshold: float) -> Outcome:
    bars = evidence.bars
    if len(bars) < _BLOCK:
        return not_computed(f"Fewer than {_BLOCK} bars to tell a spike by.")
    returns = _log_ratio(bars.close[1:] * bars.factor[1:], bars.close[:-1] * bars.factor[:-1])
    scale = _local_scale(returns)
    there, back = returns[:-1], returns[1:]
    size = np.minimum(np.abs(there), np.abs(back)) / scale[:-1]
    undone = (there * back < 0) & (np.abs(there + back) <= _REVERSED * np.abs(there))
    score = np.where(undone, size, 0.0)
    at = np.flatnonzero(score > threshold)
    offences = Offences.of(
        bars.session[at + 1], score[at], "close ", bars.close[at], ", then ", bars.close[at + 1], ", then ",
        bars.close[at + 2], ts=bars.ts[at + 1],
    )  # fmt: skip
    worst = float(score.max())
    return Outcome(worst, f"The largest spike that was undone at once is {worst:.1f} robust deviations.", offences)


def _local_scale(returns: Values) -> Values:
    """Robust deviation of the returns around each return: of its block of 64, at least half of the whole's."""
    size = np.abs(np.nan_to_num(returns))
    blocks = -(-len(size) // _BLOCK)
    padded = np.full(blocks * _BLOCK, np.nan)
    padded[: len(size)] = size
    medians = np.nanmedian(padded.reshape(blocks, _BLOCK), axis=1)
    local = np.maximum(medians, 0.5 * np.median(size)) * _MAD_TO_SIGMA
    scale: Values = np.repeat(np.maximum(local, _MINIMUM_SCALE), _BLOCK)[: len(size)]
    return scale


def _gap_without_action(evidence: Evidence, threshold: float) -> Outcome:
    days = evidence.sessions
    if len(days) < 2:
        return not_computed("Fewer than 2 sessions to find a gap between.")
    moves = _opening_moves(days)
    near = _sessions_apart(evidence) <= _CLOSE_SESSIONS
    change = np.where(near, np.expm1(moves), 0.0)
    at = np.flatnonzero(np.abs(change) > threshold)
    offences = Offences.of(
        days.session[at + 1], change[at], "opened at ", days.open[at + 1], " after ", _close_before(days, at),
        " on ", day_texts(days.session[at]), ", and no corporate action explains it", ts=days.ts[at + 1],
    )  # fmt: skip
    worst = float(change[np.argmax(np.abs(change))])
    return Outcome(abs(worst), f"The largest gap that no corporate action explains is {worst:+.1%}.", offences)


def _opening_moves(days: SessionBars) -> Values:
    """Logarithm of each open over the close of the session with bars before it, both adjusted."""
    return _log_ratio(days.open[1:] * days.factor[1:], days.close[:-1] * days.factor[:-1])


def _close_before(days: SessionBars, at: NDArray[np.intp]) -> pa.Array:
    """The close before the next session, on that session's price scale."""
    closes = days.close[at] * days.factor[at] / days.factor[at + 1]
    return pc.round(pa.array(closes, pa.float64()), 4)


def _log_ratio(after: Values, before: Values) -> Values:
    """Logarithm of a ratio of prices, 0 where it has none: impossible prices are another rule's matter."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Values = np.log(after / before)
    return np.where(np.isfinite(ratio), ratio, 0.0)


def _sessions_apart(evidence: Evidence) -> NDArray[np.intp]:
    """Sessions of the calendar from each session with bars to the next."""
    place = np.searchsorted(evidence.schedule.session, evidence.sessions.session)
    return np.diff(place)


def _unexplained_scale_change(evidence: Evidence, _: float) -> Outcome:
    """A step by a round ratio, kept for days, with no corporate action and an ordinary volume or traded value.

    A crash by the same ratio trades far more than usual; a split or a change of unit does not.
    """
    days = evidence.sessions
    if len(days) < 2:
        return not_computed("Fewer than 2 sessions to compare the scales of.")
    moves = _opening_moves(days)
    round_ratio = np.abs(np.abs(moves)[:, None] - _SCALES).min(axis=1) < _SCALE_TOLERANCE
    at = np.flatnonzero(round_ratio)
    at = at[[_kept(days, int(i), float(moves[i])) for i in at]] if len(at) else at
    at = at[_ordinary_volume(days, at, moves)]
    offences = Offences.of(
        days.session[at + 1], np.exp(moves[at]), "opened at ", days.open[at + 1], " after ",
        _close_before(days, at), ": a round ratio, kept since, on ordinary volume", ts=days.ts[at + 1],
    )  # fmt: skip
    return Outcome(len(at), f"{number(len(at), 'step')} by a round ratio without a corporate action.", offences)


def _kept(days: SessionBars, i: int, move: float) -> bool:
    """True when the median close of five sessions after lies where the step from five before puts it."""
    before = np.nanmedian((days.close * days.factor)[max(i - 4, 0) : i + 1])
    after = np.nanmedian((days.close * days.factor)[i + 1 : i + 6])
    return bool(abs(np.log(after / before) - move) < 0.15)


def _ordinary_volume(days: SessionBars, at: NDArray[np.intp], moves: Values) -> NDArray[np.bool_]:
    """True where the volume, or the traded value, of the session after is within a factor 3 of the usual."""
    steady = np.log(_STEADY)
    with np.errstate(divide="ignore", invalid="ignore"):
        volume = np.log(days.volume / days.split_factor)
    usual = np.array([np.median(volume[max(i - _WINDOW + 1, 0) : i + 1]) for i in at])
    change = volume[at + 1] - usual
    unknown = ~np.isfinite(change)
    ordinary: NDArray[np.bool_] = (np.abs(change) <= steady) | (np.abs(change + moves[at]) <= steady) | unknown
    return ordinary


def _ticker_reuse(evidence: Evidence, threshold: float) -> Outcome:
    days = evidence.sessions
    if len(days) < 2:
        return not_computed("Fewer than 2 sessions to find an absence between.")
    absent = _sessions_apart(evidence) - 1
    moves = _opening_moves(days)
    suspicious = np.where(np.abs(moves) >= np.log(_LEVEL_CHANGE), absent, 0)
    at = np.flatnonzero(suspicious > threshold)
    offences = Offences.of(
        days.session[at + 1], np.exp(moves[at]), absent[at], " sessions without a bar, then ", days.open[at + 1],
        " instead of ", _close_before(days, at), ts=days.ts[at + 1],
    )  # fmt: skip
    longest = int(suspicious.max())
    said = f"The longest absence with another price level after it is {number(longest, 'session')}."
    return Outcome(longest, said if longest else "No absence is followed by another price level.", offences)


def _volume_unit_change(evidence: Evidence, threshold: float) -> Outcome:
    days = evidence.sessions
    traded = np.flatnonzero(days.volume > 0)
    if len(traded) < 2 * _WINDOW:
        return not_computed(f"Fewer than {2 * _WINDOW} sessions with volume to compare.")
    level = np.log(days.volume[traded] / days.split_factor[traded])
    sums = np.r_[0.0, np.cumsum(level)]
    means = (sums[_WINDOW:] - sums[:-_WINDOW]) / _WINDOW
    change = means[_WINDOW:] - means[:-_WINDOW]
    factor = np.exp(np.abs(change))
    peaks = _peaks(factor, factor > threshold)
    sessions: Days = days.session[traded][_WINDOW + peaks]
    offences = Offences.of(
        sessions, np.exp(change[peaks]), pc.round(pa.array(np.exp(change[peaks])), 4),
        f" times the volume of the {_WINDOW} sessions before",
    )  # fmt: skip
    worst = float(factor.max())
    said = f"The largest change of volume between {_WINDOW} sessions and the next {_WINDOW} is by a factor {worst:.1f}."
    return Outcome(worst, said, offences)


def _peaks(values: Values, above: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Index of the largest value of each run where `above` is True."""
    runs = Absences.of(above)
    tops = [first + int(np.argmax(values[first : last + 1])) for first, last in zip(runs.first, runs.last, strict=True)]
    return np.array(tops, np.intp)


def _vendor_revisions(evidence: Evidence, _: float) -> Outcome:
    if evidence.delivered.batches < 2:
        return not_computed("One delivery only, so there is nothing to compare it with.")
    table = evidence.revisions
    detail = (table["field"], " was ", table["old"], ", became ", table["new"])
    offences = Offences.of(
        [-1] * table.num_rows,
        table["new"].to_numpy(),
        *(part if isinstance(part, str) else part.combine_chunks() for part in detail),
        ts=table["ts"].combine_chunks().cast(pa.int64()).to_numpy(),
    )
    bars = len(pc.unique(table["ts"]))
    return Outcome(bars, f"{number(bars, 'bar')} changed by the vendor after the first delivery.", offences)


RULES = (
    Rule(
        "flat_run", "Longest run of bars with the same four prices (a stale feed).", Severity.WARN, 4, _flat_run,
        intraday_threshold=30,
    ),
    Rule(
        "spike_with_reversal", "Largest move undone by the next bar, in robust standard deviations.",
        Severity.WARN, 10, _spike_with_reversal, intraday_threshold=15,
    ),
    Rule(
        "gap_without_action", "Largest gap between a close and the next open that no corporate action explains.",
        Severity.WARN, 0.25, _gap_without_action, share=True,
    ),
    Rule(
        "unexplained_scale_change", "Lasting steps of the price by a round ratio without a corporate action.",
        Severity.ERROR, 0, _unexplained_scale_change,
    ),
    Rule(
        "ticker_reuse", "Longest absence, in sessions, after which the price is on another level.",
        Severity.WARN, 60, _ticker_reuse,
    ),
    Rule(
        "volume_unit_change", "Largest factor between the volume of 20 sessions and of the next 20.",
        Severity.WARN, 30, _volume_unit_change,
    ),
    Rule(
        "vendor_revisions", "Bars that a later delivery changed.", Severity.INFO, 0, _vendor_revisions,
        needs_bars=False,
    ),
)  # fmt: skip
"""In the order of a report."""
