"""Rules about single bars: can each be read, is it in order, can its numbers be true?

Belongs here: rules that look at one bar, or one delivery, at a time. Does not belong here: absences (see
`completeness`), what a series of bars looks like (see `continuity`).

Cleaning repairs or takes out what it can. So that nothing is hidden by it, these rules look at what the
vendor delivered and at the quarantine too.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.quality.evidence import Evidence, Mask, Values
from warehouse.quality.rule import Offences, Outcome, Rule, Severity, not_computed, number
from warehouse.validation import DUPLICATE, UNFINISHED

_PRICES = ("open", "high", "low", "close")
_ROUNDING = 1e-6
"""Relative difference that single precision explains."""


def _no_data(evidence: Evidence, _: float) -> Outcome:
    count = len(evidence.bars)
    return Outcome(count, f"{number(count, 'clean bar')} stored.")


def _unreadable(evidence: Evidence, _: float) -> Outcome:
    count = len(evidence.unreadable)
    offences = Offences.of([-1] * count, [np.nan] * count, pa.array(evidence.unreadable, pa.string()))
    return Outcome(count, evidence.unreadable[0] if count else "Every stored file can be read.", offences)


def _future_bars(evidence: Evidence, _: float) -> Outcome:
    bars = evidence.bars
    late = np.flatnonzero(bars.session > evidence.today)
    offences = Offences.of(
        bars.session[late], bars.close[late], "The session lies after the day of inspection.", ts=bars.ts[late]
    )
    return Outcome(len(late), f"{number(len(late), 'bar')} stamped after the day of inspection.", offences)


def _duplicates(evidence: Evidence, _: float) -> Outcome:
    delivered = evidence.delivered
    if not delivered.batches:
        return not_computed("No raw delivery is stored to look for duplicates in.")
    order = np.lexsort((delivered.stamp, delivered.batch))
    batch, stamp = delivered.batch[order], delivered.stamp[order]
    repeated = (batch[1:] == batch[:-1]) & (stamp[1:] == stamp[:-1])
    stamps = stamp[1:][repeated]
    offences = Offences.of(
        np.full(len(stamps), -1),
        batch[1:][repeated] + 1,
        "The vendor sent this bar more than once in one delivery.",
        ts=stamps,
    )
    return Outcome(len(stamps), f"{number(len(stamps), 'bar')} delivered more than once.", offences, contained=True)


def _non_monotonic_time(evidence: Evidence, _: float) -> Outcome:
    delivered = evidence.delivered
    if not delivered.batches:
        return not_computed("No raw delivery is stored to look at the order of.")
    backwards = (delivered.batch[1:] == delivered.batch[:-1]) & (delivered.stamp[1:] < delivered.stamp[:-1])
    at = np.flatnonzero(backwards) + 1
    offences = Offences.of(
        np.full(len(at), -1),
        delivered.batch[at] + 1,
        "The vendor sent this bar after a later one.",
        ts=delivered.stamp[at],
    )
    return Outcome(len(at), f"{number(len(at), 'bar')} delivered out of order.", offences, contained=True)


def _inconsistent(open_: Values, high: Values, low: Values, close: Values) -> Mask:
    """True where the high is not the highest or the low not the lowest of four finite prices."""
    finite = np.isfinite(open_) & np.isfinite(high) & np.isfinite(low) & np.isfinite(close)
    with np.errstate(invalid="ignore"):
        slack = _ROUNDING * np.abs(close)
        too_low_a_high = high < np.maximum(np.maximum(open_, close), low) - slack
        too_high_a_low = low > np.minimum(open_, close) + slack
    return np.asarray(finite & (too_low_a_high | too_high_a_low), np.bool_)


def standing_inconsistent(evidence: Evidence) -> Mask:
    """True for each clean bar whose high or low contradicts its other prices."""
    bars = evidence.bars
    return _inconsistent(bars.open, bars.high, bars.low, bars.close)


def quarantined_inconsistent(evidence: Evidence) -> pa.Table:
    """Quarantined rows whose high or low contradicts their other prices."""
    return evidence.quarantine.filter(pa.array(_inconsistent(*_quarantined_prices(evidence))))


def _high_low_inconsistency(evidence: Evidence, _: float) -> Outcome:
    standing = _price_offences(evidence, standing_inconsistent(evidence))
    return _with_quarantined(
        standing, quarantined_inconsistent(evidence), "high or low that contradicts its other prices"
    )


def _non_positive_or_nan_price(evidence: Evidence, _: float) -> Outcome:
    bars = evidence.bars
    standing = _price_offences(evidence, _impossible(bars.open, bars.high, bars.low, bars.close))
    removed = evidence.quarantine.filter(pa.array(_impossible(*_quarantined_prices(evidence))))
    return _with_quarantined(standing, removed, "price that is not a positive number")


def _price_offences(evidence: Evidence, mask: Mask) -> Offences:
    bars, at = evidence.bars, np.flatnonzero(mask)
    return Offences.of(
        bars.session[at], bars.close[at],
        "open ", bars.open[at], ", high ", bars.high[at], ", low ", bars.low[at], ", close ", bars.close[at],
        ts=bars.ts[at],
    )  # fmt: skip


def _impossible(*prices: Values) -> Mask:
    possible = [np.isfinite(price) & (price > 0) for price in prices]
    return np.asarray(~np.logical_and.reduce(possible), np.bool_)


def _quarantined_prices(evidence: Evidence) -> list[Values]:
    return [evidence.quarantine[name].to_numpy().astype(np.float64) for name in _PRICES]


def _with_quarantined(standing: Offences, removed: pa.Table, fault: str) -> Outcome:
    """Offences that stand in the clean series and such that cleaning took out."""
    taken = removed.num_rows
    contained = not len(standing) and taken > 0
    note = f", {'all' if contained else f'{taken:,}'} of them quarantined" if taken else ""
    both = standing.followed_by(Offences.of_quarantine(removed))
    return Outcome(len(both), f"{number(len(both), 'bar')} with a {fault}{note}.", both, contained=contained)


def _zero_volume(evidence: Evidence, _: float) -> Outcome:
    bars = evidence.bars
    empty = ~(bars.volume > 0)
    if empty.all():
        return not_computed("The vendor gives no volume for this symbol.")
    at = np.flatnonzero(empty)
    offences = Offences.of(
        bars.session[at], bars.volume[at], "No volume was traded, or none was given.", ts=bars.ts[at]
    )
    return Outcome(len(at) / len(bars), f"{number(len(at), 'bar')} of {len(bars):,} without volume.", offences)


def _quarantined(evidence: Evidence, _: float) -> Outcome:
    """Duplicates have a rule of their own, and an unfinished bar comes again when it is finished: neither counts."""
    expected = pc.is_in(evidence.quarantine["reason"], pa.array([DUPLICATE, UNFINISHED]))
    table = evidence.quarantine.filter(pc.invert(expected))
    message = f"{number(table.num_rows, 'delivered bar')} kept out of the clean series."
    return Outcome(table.num_rows, message, Offences.of_quarantine(table, "reason"))


RULES = (
    Rule(
        "no_data", "Clean bars of the symbol are stored.", Severity.ERROR, 1, _no_data,
        at_least=True, needs_bars=False,
    ),
    Rule("unreadable", "Stored files that cannot be read.", Severity.ERROR, 0, _unreadable, needs_bars=False),
    Rule("future_bars", "Bars of a session after the day of inspection.", Severity.ERROR, 0, _future_bars),
    Rule(
        "duplicates", "Bars that the vendor sent more than once in one delivery.", Severity.WARN, 0, _duplicates,
        needs_bars=False,
    ),
    Rule(
        "non_monotonic_time", "Bars that the vendor sent after a later one.", Severity.WARN, 0, _non_monotonic_time,
        needs_bars=False,
    ),
    Rule(
        "high_low_inconsistency", "Bars whose high is not the highest or whose low is not the lowest price.",
        Severity.ERROR, 0, _high_low_inconsistency, needs_bars=False,
    ),
    Rule(
        "non_positive_or_nan_price", "Bars with a price that is not a positive number.",
        Severity.ERROR, 0, _non_positive_or_nan_price, needs_bars=False,
    ),
    Rule("zero_volume", "Share of bars without volume.", Severity.WARN, 0, _zero_volume, share=True),
    Rule(
        "quarantined", "Delivered bars that cleaning kept out of the series.", Severity.WARN, 0, _quarantined,
        needs_bars=False,
    ),
)  # fmt: skip
"""In the order of a report."""
