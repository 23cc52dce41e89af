"""Which orders of two runs over one session come from the same decision.

Belongs here: pairing lists of orders. Does not belong here: what a pair's difference is made of (see `parts`).

- An order that trades at once belongs to the other run's order of the same symbol and side, decided on the same bar.
- An order that waits for a price is renewed whenever it moves, so its bar says little: those that filled are paired in
  the order of their bars, and one that filled alone with an order of the other run that waited in vain.
- What filled and is left over is paired with an order of the same symbol and side that is left over too, if nothing
  else of the symbol is between them: that signal came late, or early.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from research.parity.orders import DecidedOrder


@dataclass(frozen=True, slots=True)
class Pair:
    """A decision in two runs; one of them may be None, not both."""

    one: DecidedOrder | None
    other: DecidedOrder | None

    @property
    def bar(self) -> datetime:
        """The earlier of their bars."""
        return min(order.bar for order in (self.one, self.other) if order is not None)


def paired(one: Sequence[DecidedOrder], other: Sequence[DecidedOrder]) -> tuple[Pair, ...]:
    """Every order of two runs exactly once, by bar; orders that wait and never filled are left out unless paired."""
    pairs: list[Pair] = []
    left, right = list(one), list(other)
    for match in (_same_bar, _both_filled, _filled_alone, _moved):
        for mine, theirs in match(left, right):
            pairs.append(Pair(mine, theirs))
            _drop(left, mine)
            _drop(right, theirs)
    pairs += [Pair(order, None) for order in left if order.filled or not order.waits]
    pairs += [Pair(None, order) for order in right if order.filled or not order.waits]
    return tuple(sorted(pairs, key=_place))


def _place(pair: Pair) -> tuple[datetime, str, str]:
    order = pair.one or pair.other
    return pair.bar, "" if order is None else order.symbol, "" if order is None else order.reference


def _drop(orders: list[DecidedOrder], order: DecidedOrder) -> None:
    orders[:] = [other for other in orders if other is not order]


_Matches = Iterable[tuple[DecidedOrder, DecidedOrder]]


def _same_bar(one: Sequence[DecidedOrder], other: Sequence[DecidedOrder]) -> _Matches:
    theirs: dict[object, list[DecidedOrder]] = defaultdict(list)
    for order in other:
        if not order.waits:
            theirs[order.symbol, order.side, order.bar].append(order)
    for order in [order for order in one if not order.waits]:
        same = theirs[order.symbol, order.side, order.bar]
        if same:
            yield order, same.pop(0)


def _both_filled(one: Sequence[DecidedOrder], other: Sequence[DecidedOrder]) -> _Matches:
    theirs = _waiting(other, filled=True)
    for key, mine in _waiting(one, filled=True).items():
        yield from zip(mine, theirs.get(key, ()), strict=False)


def _filled_alone(one: Sequence[DecidedOrder], other: Sequence[DecidedOrder]) -> _Matches:
    for mine, theirs, turned in ((one, other, False), (other, one, True)):
        in_vain = _waiting(theirs, filled=False)
        for key, filled in _waiting(mine, filled=True).items():
            for order, waited in zip(filled, reversed(in_vain.get(key, [])), strict=False):
                yield (waited, order) if turned else (order, waited)


def _waiting(orders: Iterable[DecidedOrder], *, filled: bool) -> dict[tuple[str, str], list[DecidedOrder]]:
    found: dict[tuple[str, str], list[DecidedOrder]] = defaultdict(list)
    for order in sorted(orders, key=lambda order: order.bar):
        if order.waits and bool(order.filled) is filled:
            found[order.symbol, order.side].append(order)
    return found


def _moved(one: Sequence[DecidedOrder], other: Sequence[DecidedOrder]) -> _Matches:
    """Filled orders that the other run decided on another bar, an earlier one if there is a choice."""
    free = sorted((order for order in other if order.filled and not order.waits), key=lambda order: order.bar)
    for order in sorted((order for order in one if order.filled and not order.waits), key=lambda order: order.bar):
        before = [held for held in free if held.symbol == order.symbol and held.bar < order.bar][-1:]
        after = [held for held in free if held.symbol == order.symbol and held.bar > order.bar][:1]
        for held in (*before, *after):
            if held.side == order.side:
                free.remove(held)
                yield order, held
                break
