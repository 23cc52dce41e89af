"""The difference between two outcomes of one decision, split into what made it.

Belongs here: the arithmetic, exact in Decimal. Does not belong here: which orders belong together (see `pairing`).

A difference is live less backtest: below zero the live session did worse. An order is worth what its fills earned up
to the last price of the session; the position that both began with earns the same in both and is left out. With q
filled of o ordered shares at price p, commission c, mark M, for live (L) and backtest (B), a buy:

- price:       qL (pB - pL), the shares traded live at the other price
- size:        (oL - oB) (M - pB), more or fewer shares were ordered
- missed fill: ((qL - oL) - (qB - oB)) (M - pB), more or fewer of the ordered shares were filled
- costs:       what the model charges for the live fills, less what the broker charged

What the model charges more or less because the backtest's fills were others goes to size, else to missed fill, else to
price: to the first of them that differs. An order that only one side filled is all missed fill; one that only one side
decided, or that was decided on another bar, is all signal. The parts add up to the difference, without rounding.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from decimal import Decimal

from research.parity.orders import DecidedOrder, exactly

_NONE = Decimal(0)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a difference is made of, in money; below zero the live session did worse."""

    data_revision: Decimal = _NONE
    signal: Decimal = _NONE
    price: Decimal = _NONE
    size: Decimal = _NONE
    missed_fill: Decimal = _NONE
    costs: Decimal = _NONE

    @property
    def total(self) -> Decimal:
        """The difference."""
        with exactly():
            return sum((amount for _, amount in self.named()), _NONE)

    def named(self) -> tuple[tuple[str, Decimal], ...]:
        """Name and amount of each part, in one order everywhere."""
        return tuple((one.name, getattr(self, one.name)) for one in fields(self))

    @classmethod
    def sum_of(cls, parts: Iterable["Parts"]) -> "Parts":
        """Part by part."""
        many = list(parts)
        with exactly():
            return cls(*(sum((getattr(one, part.name) for one in many), _NONE) for part in fields(cls)))


def between(live: DecidedOrder | None, modelled: DecidedOrder | None, mark: Decimal, *, expected: Decimal) -> Parts:
    """The parts of the difference between a live order and the backtest's of the same decision; at least one is there.

    Args:
        live: what was ordered live; None where nothing was.
        modelled: what the backtest ordered; None where it ordered nothing.
        mark: the price up to which shares are valued.
        expected: what the cost model charges for the live fills.
    """
    if live is None or modelled is None or _moved(live, modelled):
        return Parts(signal=_worth(live, mark) - _worth(modelled, mark))
    at = modelled.price
    if at is None or not live.filled:
        return Parts(missed_fill=live.worth(mark) - modelled.worth(mark))
    with exactly():
        sign, gained = live.sign, mark - at
        # `at` is rounded: what it lost stays with the price
        rounded = modelled.value - modelled.filled * at
        price = sign * (live.filled * at - live.value + rounded)
        size = sign * (live.ordered - modelled.ordered) * gained
        missed = sign * ((live.filled - live.ordered) - (modelled.filled - modelled.ordered)) * gained
        costs = expected - live.commission
        other_charge = modelled.commission - expected
    if live.ordered != modelled.ordered:
        size += other_charge
    elif live.filled != modelled.filled:
        missed += other_charge
    else:
        price += other_charge
    return Parts(price=price, size=size, missed_fill=missed, costs=costs)


def revised(seen: DecidedOrder | None, stored: DecidedOrder | None, mark: Decimal) -> Parts:
    """What it made that the backtest of later bars decides otherwise than that of the bars seen live."""
    return Parts(data_revision=_worth(seen, mark) - _worth(stored, mark))


def _moved(live: DecidedOrder, modelled: DecidedOrder) -> bool:
    """An order that waits for its price is renewed on many bars, which is no other signal."""
    return live.bar != modelled.bar and not (live.waits and modelled.waits)


def _worth(order: DecidedOrder | None, mark: Decimal) -> Decimal:
    return _NONE if order is None else order.worth(mark)
