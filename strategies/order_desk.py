"""From a wanted position to orders, one symbol at a time.

Belongs here: sending, not sending twice, carrying over, trying again, keeping a stop order in step with the position.
Does not belong here: when to want a position (a strategy), how large it may be (see `sizing` and `risk`).

A strategy says which side it wants to be on; the desk works until the position is there or the broker has said no:

- While an order works, the same wish sends nothing. A partial fill is an order that still works.
- A wish against a working order cancels it first; the new order is sent when the cancellation is confirmed, which a
  simulated broker does at once and a real one after a while.
- An entry that the cash did not pay for (the open was higher than the close) is sized again at the next bar, a few
  times. An entry that risk or the broker refused is given up. An exit is never given up.
- From one side to the other is one order, so that a reversal costs one commission. If it is refused, the old
  position is closed.
- A protective stop has the size of the position, from the first partial fill on, and goes when the position goes; so
  does a limit order that takes the profit. Both are marked `reduces_only`: together they never go through zero.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import backtrader as bt

from strategies.sizing import target_shares

_ENTRY_TRIES = 3


@dataclass(slots=True)
class _Wish:
    """A position that is not there yet. `weight` is a signed fraction of equity, 0 to be flat."""

    weight: float
    order: Any = None
    tries: int = 0

    @property
    def works(self) -> bool:
        return self.order is not None and self.order.alive()


@dataclass(slots=True)
class _Exit:
    """A protective order of the position on `side`: its stop, or the limit order that takes its profit."""

    price: float
    side: int
    kind: int
    order: Any = None

    @property
    def refused(self) -> bool:
        return self.order is not None and bool(self.order.status == bt.Order.Rejected)


class OrderDesk:
    """Works the orders of one strategy; every method takes the data feed of the symbol.

    Args:
        strategy: whose orders these are.
        cash_reserve: fraction of the free cash that a buy leaves untouched.
    """

    def __init__(self, strategy: bt.Strategy, *, cash_reserve: float) -> None:
        self._strategy = strategy
        self._cash_reserve = cash_reserve
        self._wishes: dict[Any, _Wish] = {}
        self._stops: dict[Any, _Exit] = {}
        self._profits: dict[Any, _Exit] = {}
        self._sent: dict[Any, list[Any]] = {}

    def side(self, data: bt.feed.DataBase) -> int:
        """1, -1 or 0: where the symbol is or is on its way to."""
        wish = self._wishes.get(data)
        return _sign(self._held(data) if wish is None else wish.weight)

    def pending(self, data: bt.feed.DataBase) -> bool:
        """Whether the symbol is on its way: something wanted is not there yet."""
        return data in self._wishes

    @property
    def resting(self) -> bool:
        """Whether nothing is on its way and no position has an order that protects it."""
        return not (self._wishes or self._stops or self._profits)

    def enter(
        self, data: bt.feed.DataBase, weight: float, *, stop: float | None = None, take_profit: float | None = None
    ) -> None:
        """Be on the side of `weight`, a signed fraction of equity.

        A protective stop is kept at the price `stop`, a limit order at the price `take_profit`, where given. Does
        nothing while the symbol is on that side or on its way to it.
        """
        side = _sign(weight)
        if not side or self.side(data) == side:
            return
        self._wishes[data] = _Wish(weight)
        self._unprotect(data)
        if stop is not None:
            self._stops[data] = _Exit(stop, side, bt.Order.Stop)
        if take_profit is not None:
            self._profits[data] = _Exit(take_profit, side, bt.Order.Limit)
        self.pursue(data)

    def leave(self, data: bt.feed.DataBase) -> None:
        """Be flat; does nothing while the symbol is flat or on its way to it."""
        if not self.side(data):
            return
        self._wishes[data] = _Wish(0.0)
        self._unprotect(data)
        self.pursue(data)

    def protect(self, data: bt.feed.DataBase, price: float) -> None:
        """Put the protective stop of the symbol's side at a price, or move it there, when the bar's decisions are made.

        Not at once: an order sent and moved in the same bar could not be cancelled in between.
        """
        side = self.side(data)
        if side:
            self._stops.setdefault(data, _Exit(price, side, bt.Order.Stop)).price = price

    def stop_price(self, data: bt.feed.DataBase) -> float | None:
        """Where the protective stop is; None without one."""
        stop = self._stops.get(data)
        return None if stop is None else stop.price

    def settle(self, data: bt.feed.DataBase) -> None:
        """Take note of what became of the symbol's order since the last bar."""
        wish = self._wishes.get(data)
        if wish is None or wish.order is None or wish.works:
            return
        status = wish.order.status
        if not wish.weight:
            self._finish(data, done=not self._held(data), again=True)
        elif status == bt.Order.Completed:
            self._finish(data, done=True)
        else:
            self._finish(data, done=False, again=status == bt.Order.Margin and wish.tries < _ENTRY_TRIES)

    def pursue(self, data: bt.feed.DataBase) -> None:
        """Send what is missing to the wanted position, unless that was done.

        What became of an order is looked at one bar later (`settle`): one refused at once is not sent again at once.
        """
        wish = self._wishes.get(data)
        if wish is not None and wish.order is None and self._withdrawn(data):
            self._send(data, wish)

    def end_bar(self, data: bt.feed.DataBase) -> None:
        """When the bar's decisions are made: send what had to wait, bring the stop into step with the position."""
        self.pursue(data)
        self._keep_exits(data)

    def on_order(self, data: bt.feed.DataBase) -> None:
        """React between bars to news of an order: a fill wants its stop, a cancellation may free the way.

        A protective order that was refused is tried again at the next bar only: the news of one refusal would else
        bring the next.
        """
        wish = self._wishes.get(data)
        if wish is not None and wish.order is None and not self._working(data):
            self.pursue(data)
        if not any(kept.refused for kept in self._exits(data)):
            self._keep_exits(data)

    # ------------------------------------------------------------------ over a restart

    def memory(self) -> dict[str, dict[str, float | None]]:
        """What has to be kept over a restart, by the name of the feed: wishes and protective prices, as JSON."""
        known = {**self._wishes, **self._stops, **self._profits}
        return {data._name: self._remembered(data) for data in known}

    def recall(self, data: bt.feed.DataBase, memory: Mapping[str, float | None], working: Sequence[Any] = ()) -> None:
        """Go on from a symbol's `memory`, with the orders of it that still work at the broker.

        A protective price is put in force again where the position that it protects is there or on its way. An entry
        that works no longer is there or was given up; an exit is sent again.
        """
        self._sent[data] = list(working)
        protecting = [order for order in working if order.info.get("reduces_only", False) is True]
        weight, held = memory["wish"], self._held(data)
        order = next((order for order in working if order not in protecting), None)
        if weight is not None and (order is not None or (not weight and held)):
            self._wishes[data] = _Wish(weight, order, tries=0 if order is None else 1)
        side = self.side(data)
        for kept, kind, price in (
            (self._stops, bt.Order.Stop, memory["stop"]),
            (self._profits, bt.Order.Limit, memory["take_profit"]),
        ):
            if price is not None and side and side == memory["side"]:
                own = next((order for order in protecting if order.exectype == kind), None)
                kept[data] = _Exit(price, side, kind, own)

    def _remembered(self, data: bt.feed.DataBase) -> dict[str, float | None]:
        wish, exits = self._wishes.get(data), self._exits(data)
        return {
            "wish": None if wish is None else wish.weight,
            "side": exits[0].side if exits else None,
            "stop": self._stops[data].price if data in self._stops else None,
            "take_profit": self._profits[data].price if data in self._profits else None,
        }

    # ------------------------------------------------------------------ orders

    def _send(self, data: bt.feed.DataBase, wish: _Wish) -> None:
        held = self._held(data)
        size = self._target(data, wish.weight, held) - held
        wish.tries += 1
        if size:
            wish.order = self._order(data, size, exectype=bt.Order.Market)
        elif not wish.weight or wish.tries >= _ENTRY_TRIES:
            self._finish(data, done=not wish.weight)

    def _order(self, data: bt.feed.DataBase, size: float, **terms: object) -> Any:  # noqa: ANN401 (Backtrader's order)
        send = self._strategy.buy if size > 0 else self._strategy.sell
        order = send(data=data, size=abs(size), **terms)
        if order is not None:
            self._sent.setdefault(data, []).append(order)
        return order

    def _finish(self, data: bt.feed.DataBase, *, done: bool, again: bool = False) -> None:
        """End a wish, or keep it for another try; a reversal given up on half-way still has a position to close."""
        wish = self._wishes[data]
        if not done and again:
            wish.order = None
            return
        del self._wishes[data]
        if not done and self._held(data) * wish.weight < 0:
            self.leave(data)

    def _working(self, data: bt.feed.DataBase) -> list[Any]:
        alive = [order for order in self._sent.get(data, ()) if order.alive()]
        self._sent[data] = alive
        return alive

    def _withdrawn(self, data: bt.feed.DataBase) -> bool:
        """Cancel the symbol's working orders; whether the broker has confirmed all of it."""
        for order in self._working(data):
            self._strategy.cancel(order)
        return not self._working(data)

    # ------------------------------------------------------------------ size

    def _held(self, data: bt.feed.DataBase) -> float:
        return float(self._strategy.getposition(data).size)

    def _target(self, data: bt.feed.DataBase, weight: float, held: float) -> float:
        return target_shares(
            weight,
            equity=self._strategy.broker.getvalue(),
            price=data.close[0],
            held=held,
            free_cash=self._free_cash(),
            cash_reserve=self._cash_reserve,
        )

    def _free_cash(self) -> float:
        """Cash less what working buys will cost, plus what working sales of shares held will bring."""
        cash = float(self._strategy.broker.getcash())
        for data, wish in self._wishes.items():
            if wish.works:
                missing = wish.order.executed.remsize
                sold = max(missing, -max(self._held(data), 0.0))
                cash -= (missing if missing > 0 else sold) * data.close[0]
        return cash

    # ------------------------------------------------------------------ protection

    def _unprotect(self, data: bt.feed.DataBase) -> None:
        """Forget what protected the symbol; its orders are withdrawn with the others."""
        self._stops.pop(data, None)
        self._profits.pop(data, None)

    def _exits(self, data: bt.feed.DataBase) -> list[_Exit]:
        return [kept[data] for kept in (self._stops, self._profits) if data in kept]

    def _keep_exits(self, data: bt.feed.DataBase) -> None:
        """Keep the stop and the limit order equal to the position they protect."""
        exits = self._exits(data)
        if not exits:
            return
        held = self._held(data)
        own = [kept.order for kept in exits]
        if any(order not in own and order.executed.remsize * held < 0 for order in self._working(data)):
            return  # an exit still works, perhaps a cancelled one: a stop beside it would sell the same shares twice
        if held * exits[0].side > 0:
            for kept in exits:
                self._renew(data, kept, -held)
        elif data not in self._wishes:
            self._unprotect(data)
            self._withdrawn(data)

    def _renew(self, data: bt.feed.DataBase, kept: _Exit, size: float) -> None:
        order = kept.order
        if order is not None and order.alive():
            if math.isclose(order.executed.remsize, size) and order.created.price == kept.price:
                return
            self._strategy.cancel(order)
            if order.alive():
                return
        kept.order = self._order(data, size, exectype=kept.kind, price=kept.price, reduces_only=True)


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)
