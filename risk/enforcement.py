"""What a halt state asks of the orders that work, the same in a backtest and live.

Belongs here: the rule. Does not belong here: cancelling and closing, which the brokers do.
"""

from risk.states import HaltState


def must_cancel(halt: HaltState, *, held: float, remaining: float, protective: bool) -> bool:
    """Whether a halt state cancels a working order.

    Args:
        halt: the state in force.
        held: signed shares of the order's symbol.
        remaining: signed shares that the order may still fill.
        protective: whether the broker caps its fills by the position.

    >>> must_cancel(HaltState.REDUCE_ONLY, held=10, remaining=-10, protective=False)
    False
    >>> must_cancel(HaltState.FLATTEN, held=10, remaining=-10, protective=True)
    True
    """
    if halt is HaltState.FLATTEN:
        return True
    if halt is not HaltState.REDUCE_ONLY:
        return False
    return not (protective or (held * remaining < 0 and abs(remaining) <= abs(held)))
