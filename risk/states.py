"""Halt states: what an account may still do.

Belongs here: the four states and their order. Does not belong here: what leads into or out of a state (see `guard`),
the orders that a state cancels or sends; those are the broker's.
"""

from enum import StrEnum


class HaltState(StrEnum):
    """From free to closed; each state forbids what the one before it forbids, and more.

    ACTIVE        everything the limits allow.
    HALT_ENTRIES  no new order that opens or adds to a position; entries that already work may still fill, exits go on.
    REDUCE_ONLY   as HALT_ENTRIES, and working entries are cancelled: positions can only shrink.
    FLATTEN       as REDUCE_ONLY, and every position is closed at once without the strategy's help.

    In every state an order that reduces a position is allowed.
    """

    ACTIVE = "ACTIVE"
    HALT_ENTRIES = "HALT_ENTRIES"
    REDUCE_ONLY = "REDUCE_ONLY"
    FLATTEN = "FLATTEN"

    @property
    def severity(self) -> int:
        """0 for ACTIVE to 3 for FLATTEN."""
        return _ORDER[self]


_ORDER = {state: index for index, state in enumerate(HaltState)}


def worse(first: HaltState, second: HaltState) -> HaltState:
    """The more severe of two states.

    >>> worse(HaltState.REDUCE_ONLY, HaltState.HALT_ENTRIES).value
    'REDUCE_ONLY'
    """
    return first if _ORDER[first] >= _ORDER[second] else second
