"""Which raw bars can stand in a clean series, and why the others cannot.

Belongs here: the reasons of the quarantine. Does not belong here: quality rules, which judge bars that stay.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from warehouse.stamping import Bools, Int64s, Placed

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int8]

NULL_STAMP = "null_stamp"
OUTSIDE_CALENDAR = "outside_calendar"
NOT_A_SESSION = "not_a_session"
UNFINISHED = "unfinished"
NULL_PRICE = "null_price"
NONPOSITIVE_PRICE = "nonpositive_price"
OHLC_INCONSISTENT = "ohlc_inconsistent"
NEGATIVE_VOLUME = "negative_volume"
DUPLICATE = "duplicate"

REASONS = {
    NULL_STAMP: "the vendor sent no time for the bar",
    OUTSIDE_CALENDAR: "the time lies outside the years that the exchange calendar knows",
    NOT_A_SESSION: "the exchange had no session on the date of the bar",
    UNFINISHED: "the bar had not closed when it was fetched",
    NULL_PRICE: "a price is missing or not a finite number",
    NONPOSITIVE_PRICE: "a price is zero or negative",
    OHLC_INCONSISTENT: "the high or the low does not enclose the other prices",
    NEGATIVE_VOLUME: "the volume is negative",
    DUPLICATE: "the same batch holds a later row for the same bar",
}
"""Every `reason` of the quarantine table with its sentence, in the order in which they are tried."""

CODES = {reason: code for code, reason in enumerate(REASONS, start=1)}
"""Small integers for reasons; 0 stands for a sound bar."""

_OHLC_TOLERANCE = 1e-6  # relative; vendors that adjust in single precision are off by about 1e-7


@dataclass(frozen=True, slots=True)
class Values:
    """Prices (rows x open, high, low, close) and volume of raw bars; NaN where the vendor sent none."""

    prices: Floats
    volume: Floats


def find_faults(values: Values, placed: Placed, no_stamp: Bools, fetched_at: Int64s) -> Codes:
    """Code of the reason why each raw bar cannot be clean, 0 where it can; the first reason of REASONS counts."""
    p = values.prices
    with np.errstate(invalid="ignore"):
        checks: list[tuple[str, Bools]] = [
            (NULL_STAMP, no_stamp),
            (OUTSIDE_CALENDAR, ~placed.known),
            (NOT_A_SESSION, ~placed.trading),
            (UNFINISHED, placed.ts > fetched_at),
            (NULL_PRICE, ~np.isfinite(p.sum(axis=1))),
            (NONPOSITIVE_PRICE, p.min(axis=1, initial=1.0) <= 0),
            (OHLC_INCONSISTENT, _inconsistent(p)),
            (NEGATIVE_VOLUME, values.volume < 0),
        ]
    codes = np.zeros(len(p), np.int8)
    for reason, hit in reversed(checks):
        codes[hit] = CODES[reason]
    return codes


def duplicates_before(keys: Int64s) -> Bools:
    """True for each row that a later row with the same key replaces; keys in the vendor's order."""
    order = np.argsort(keys, kind="stable")
    replaced = np.zeros(len(keys), bool)
    if len(keys) > 1:
        ordered = keys[order]
        replaced[order[:-1]] = ordered[1:] == ordered[:-1]
    return replaced


def _inconsistent(prices: Floats) -> Bools:
    opens, highs, lows, closes = prices.T
    slack = _OHLC_TOLERANCE * np.abs(closes)
    top = np.maximum(np.maximum(opens, closes), lows)
    bottom = np.minimum(np.minimum(opens, closes), highs)
    found: Bools = (highs < top - slack) | (lows > bottom + slack)
    return found
