"""The memory of a compiled run: one flat record for each thing that Backtrader's objects keep.

Belongs here: the fields and the numbers that stand for words. Does not belong here: what is done with them.

Bars are counted on the clock of the run ("ticks"). Quantities are signed shares, money is in account currency, fees
are whole millionths of it. A reference to an order is its row, -1 for none.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

Records = npt.NDArray[Any]
"""An array of one of the structured types below."""

compiled = njit(cache=True, error_model="numpy", nogil=True)
"""How every function of the kernel is compiled: divisions by zero are numpy's, nothing is reordered."""

# kinds of orders
MARKET, STOP, LIMIT = 0, 1, 2
KINDS: Final = ("market", "stop", "limit")

# Backtrader's numbers of an order's status; between SUBMITTED and PARTIAL it is alive
SUBMITTED, ACCEPTED, PARTIAL, COMPLETED, CANCELED, MARGIN, REJECTED = 1, 2, 3, 4, 5, 7, 8

# halt states by severity
ACTIVE, HALT_ENTRIES, REDUCE_ONLY, FLATTEN = 0, 1, 2, 3

# why an order ended otherwise than asked for, where that is no matter of risk
NO_REASON, NO_CASH, NO_POSITION = 0, 1, 2

# faults: what the kernel leaves to the slower engines
SOUND, FULL, UNCERTAIN_FEE, UNCERTAIN_INTEREST, NO_PRICE, NO_EQUITY = 0, 1, 2, 3, 4, 5
FAULTS: Final = (
    None,
    "The kernel's memory is full.",
    "A fee lies too close to the middle of two millionths to be rounded in floats.",
    "Interest lies too close to the middle of two cents to be rounded in floats.",
    "The price of a protective order is not a positive number.",
    "The equity is not a positive number.",
)

# slippage models
NO_SLIPPAGE, BASIS_POINTS, HALF_SPREAD, VOLUME_SHARE = 0, 1, 2, 3

# rows of prices
OPEN, HIGH, LOW, CLOSE, VOLUME = 0, 1, 2, 3, 4

# rows of distances from the close
STOP_AWAY, TRAIL_AWAY, PROFIT_AWAY = 0, 1, 2

# rows of ticks: moment and regular close (microseconds since 1970-01-01 UTC), session (day number), calendar days since
# the session before (0 within one), month number, row of the fees on sales
TS, SESSION_CLOSE, DAY, NIGHTS, MONTH, SALE_FEES = 0, 1, 2, 3, 4, 5

# bits of what is declared about one bar
LONG_ENTRY, SHORT_ENTRY, LONG_EXIT, SHORT_EXIT, READY = 1, 2, 4, 8, 16

# what a decision comes to
STAY, GO_LONG, GO_SHORT, LEAVE = 0, 1, 2, 3

# rows of queues: orders awaiting the check of cash, orders in the market, orders that may still fill by age; symbols on
# their way by age, symbols with news of their orders, symbols in the order in which the broker met them
SENT, PENDING, LIVE, WISHES, NEWS, MET = 0, 1, 2, 3, 4, 5
QUEUES: Final = 6

NEVER: Final = 2**62
LONG_AGO: Final = -(2**62)
NONE: Final = -1
WORKING: Final = 12
"""Orders of one symbol that may be alive at once; more than a desk ever has."""

_F, _I = "f8", "i8"

TERMS: Final = np.dtype(
    [
        # the strategy
        ("weight", _F), ("cash_reserve", _F), ("cash", _F), ("stops", _I), ("trails", _I), ("profits", _I),
        # fills
        ("slippage", _I), ("slipped", _F), ("participation", _F),
        # fees, whole millionths (6) or millionths of millionths (12); fractions of the value likewise
        ("charges", _I), ("third_party", _I), ("minimum6", _I), ("maximum6", _I), ("clearing6", _I), ("exchange6", _I),
        ("exchange_below_one12", _I), ("pass_through6", _I),
        # interest: rates as floats and as whole parts of `rate_scale`
        ("borrow", _F), ("margin", _F), ("earned", _F), ("borrow_part", _I), ("margin_part", _I), ("earned_part", _I),
        ("rate_scale", _I),
        # limits: NaN or -1 for none, times in microseconds
        ("position_shares", _F), ("position_value", _F), ("position_fraction", _F), ("gross", _F), ("net", _F),
        ("order_value", _F), ("shorting", _I), ("per_minute", _I), ("per_session", _I), ("open_orders", _I),
        ("daily_loss", _F), ("daily_fraction", _F), ("on_daily", _I), ("drawdown", _F), ("on_drawdown", _I),
        ("losses", _I), ("cooldown", _I), ("flat", _I), ("flat_minutes", _F),
        ("marks", _I), ("watches", _I), ("sessions", _I),
    ],
    align=True,
)  # fmt: skip
"""What does not change during a run."""

ACCOUNT: Final = np.dtype(
    [
        ("cash", _F), ("value", _F), ("fault", _I), ("orders", _I), ("fills", _I), ("bookings", _I),
        ("sent", _I), ("pending", _I), ("live", _I), ("wishes", _I), ("news", _I), ("met", _I), ("closing", _I),
        ("month", _I), ("month_shares", _F), ("events", _I), ("halt", _I),
        # the guard's memory
        ("effective", _I), ("latched", _I), ("session_halt", _I), ("session", _I), ("start", _F), ("peak", _F),
        ("last", _F), ("entries", _I), ("recent", _I), ("losses", _I), ("cooldown_until", _I), ("close", _I),
        ("flat_from", _I), ("quiet_until", _I), ("daily_floor", _F), ("drawdown_floor", _F), ("floor", _F),
    ],
    align=True,
)  # fmt: skip
"""Money, how full every list is, and what the guard remembers."""

SYMBOL: Final = np.dtype(
    [
        ("size", _F), ("average", _F), ("profit", _F), ("taken", _F), ("taken_at", _I), ("pseudo", _F), ("pseudo_at", _I),
        # the wish: a position that is not there yet
        ("wish", _I), ("weight", _F), ("order", _I), ("tries", _I),
        # what protects the position on `side`
        ("side", _I), ("stop", _I), ("stop_price", _F), ("stop_order", _I),
        ("take", _I), ("take_price", _F), ("take_order", _I),
        ("working", _I), ("numbers", _I, (WORKING,)), ("first_ready", _I),
    ],
    align=True,
)  # fmt: skip
"""Position and plans of one symbol."""

ORDER: Final = np.dtype(
    [
        ("tick", _I), ("symbol", _I), ("kind", _I), ("requested", _F), ("approved", _F), ("price", _F), ("filled", _F),
        ("remaining", _F), ("status", _I), ("final_tick", _I), ("protective", _I), ("by_guard", _I), ("reason", _I),
        # of the session in which it was last filled
        ("fee_day", _I), ("fee_shares", _F), ("fee_value", _F), ("fee_charged", _I),
    ],
    align=True,
)  # fmt: skip
"""One order from submission to its end; `price` is the close for market orders."""

FILL: Final = np.dtype(
    [
        ("tick", _I), ("symbol", _I), ("quantity", _F), ("price", _F), ("commission", _F), ("slippage", _F),
        ("order", _I), ("size", _F), ("average", _F), ("cash", _F),
    ],
    align=True,
)  # fmt: skip
"""One execution, and position and cash after it."""

BOOKING: Final = np.dtype([("tick", _I), ("amount", _F), ("cash", _F)], align=True)
"""Interest booked before the fills of a tick, and cash after it."""
