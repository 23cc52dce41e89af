"""Where on a price's path an order trades.

Belongs here: pure functions of an order's working state and a piece of path. Does not belong here: how much fills, at
which cost, and what becomes of the order (see `exchange`).

A path is made of jumps (from one bar's close to the next bar's open: nothing trades between) and moves (every price
between two points trades). An order meets a move at the first price that satisfies it.
"""

from dataclasses import dataclass

from broker.simulator.order_request import Terms


@dataclass(slots=True)
class Working:
    """What changes in an order while it waits: the stop that trails, and whether a stop has been passed."""

    stop: float | None = None
    triggered: bool = False


@dataclass(frozen=True, slots=True)
class Meeting:
    """An order trades at `price`; one that `takes` liquidity slips."""

    price: float
    takes: bool


def begin(terms: Terms, working: Working, price: float | None) -> None:
    """Set the first stop of an order; a trailing one lies a distance from `price` unless the client named it."""
    if terms.kind in {"STP", "STP LMT"}:
        working.stop = terms.aux
    elif terms.kind.startswith("TRAIL"):
        working.stop = terms.trail_stop
        if working.stop is None and price is not None:
            working.stop = _trailing(terms, price)


def follow(terms: Terms, working: Working, price: float) -> None:
    """Let a trailing stop follow the price in the order's favour, never back."""
    if not terms.kind.startswith("TRAIL") or working.triggered:
        return
    stop = _trailing(terms, price)
    if working.stop is None or (stop - working.stop) * terms.side < 0:
        working.stop = stop


def limit_of(terms: Terms, working: Working) -> float | None:
    """The limit that holds now; that of a trailing limit order lies an offset from its stop."""
    if terms.kind != "TRAIL LIMIT":
        return terms.limit
    if terms.limit_offset is not None and working.stop is not None:
        return working.stop + terms.side * terms.limit_offset
    return terms.limit


def passes_stop(terms: Terms, working: Working, start: float, end: float) -> float | None:
    """Where the price passes an order's stop on its way from `start` to `end`: at once when it is there already."""
    if working.triggered or working.stop is None or not terms.waits_for_stop:
        return None
    if (start - working.stop) * terms.side >= 0:
        return start
    return working.stop if (end - working.stop) * terms.side >= 0 else None


def meets(terms: Terms, working: Working, start: float, end: float) -> Meeting | None:
    """The first place where an order trades while the price moves from `start` to `end`; both are one for a jump.

    A stop that has not been passed yet does not trade (see `passes_stop`), nor does an order for the close.
    """
    if terms.kind == "MOC" or (terms.waits_for_stop and not working.triggered):
        return None
    if terms.kind in {"MKT", "STP", "TRAIL"}:
        return Meeting(start, takes=True)
    limit = limit_of(terms, working)
    if limit is None:
        return None
    if (limit - start) * terms.side >= 0:
        return Meeting(start, takes=False)
    return Meeting(limit, takes=False) if (limit - end) * terms.side >= 0 else None


def _trailing(terms: Terms, price: float) -> float:
    if terms.trail_percent:
        return price * (1 + terms.side * terms.trail_percent / 100)
    return price + terms.side * (terms.aux or 0.0)
