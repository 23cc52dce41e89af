"""Where an order stands.

Belongs here: the states and what they mean. Does not belong here: what leads into them (see `tracked`).
"""

from enum import StrEnum


class OrderState(StrEnum):
    """The state of one order. Any state that is not terminal may still fill.

    INTENDED     decided and recorded, not sent; or provably nowhere at the broker, so that it may be sent again.
    SENT         handed to the socket, no sign of it from the broker yet.
    WORKING      the broker has it.
    CANCEL_SENT  its cancellation was asked for, or announced without a count of what was filled.
    FILLED       executions for its whole quantity are booked.
    CANCELLED    ended; what was filled until then is booked.
    EXPIRED      ended by its own time limit; what was filled until then is booked.
    REJECTED     refused; the broker never worked it.
    UNKNOWN      the broker said something that leaves open how it stands, or nothing in time; it has to be asked.
    """

    INTENDED = "INTENDED"
    SENT = "SENT"
    WORKING = "WORKING"
    CANCEL_SENT = "CANCEL_SENT"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"

    @property
    def terminal(self) -> bool:
        """Whether nothing more is expected of the order."""
        return self in _TERMINAL


_TERMINAL = frozenset({OrderState.FILLED, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REJECTED})
