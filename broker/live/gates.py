"""The gates that an order has to pass besides risk.

Belongs here: which there are, and why one is shut. Does not belong here: limits and halts (see `risk`), what becomes of
an order that is refused (see `broker.live_broker`).

Some hold every order of a strategy back: it could not be sent, or would be decided on data that are none. The others
hold back what opens or adds to a position; what reduces one may go.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from broker.ib.messages import SessionState
from broker.ib.requests import Gateway
from broker.live.orders import LiveOrder
from broker.live.traded import Traded
from broker.orders.book import OrderBook

Clock = Callable[[], datetime]


class Gate(StrEnum):
    """What a gate looks at; a refusal of it is a risk event with this name for a limit."""

    SESSION = "session"  # the connection is up and the account was told completely
    RESET = "reset_window"  # IB's nightly one
    ACCOUNT = "account_state"  # what the account holds is known
    HALTED = "trading_halt"  # the symbol trades
    DATA = "data"  # they are live and fresh
    QUALITY = "quality"  # of the bars that warmed the strategy up; entries only
    POSITIONS = "positions"  # ours are the broker's; entries only
    MARKET = "market_closed"  # the exchange trades; entries only


@dataclass(frozen=True, slots=True)
class Shut:
    """A gate that is shut, and why, in one sentence."""

    gate: Gate
    reason: str


class Gates:
    """The gates of one account.

    Args:
        gateway: whose session has to be READY.
        book: what is known about the account.
        traded: names of contracts.
        clock: the clock of the order book.
        market_time: the market's time.
        market_open: whether the exchange trades at a moment; None where orders may wait for its next opening.
    """

    def __init__(
        self,
        gateway: Gateway,
        book: OrderBook,
        traded: Traded,
        *,
        clock: Clock,
        market_time: Clock,
        market_open: Callable[[datetime], bool] | None,
    ) -> None:
        self._gateway, self._book, self._traded = gateway, book, traded
        self._clock, self._market_time, self._market_open = clock, market_time, market_open
        self._distrusted: dict[str, str] = {}

    def distrust(self, symbol: str, reason: str) -> None:
        """Let no order open or add to a position of a symbol, whose bars are bad."""
        self._distrusted[symbol] = reason

    def shut(self, live: LiveOrder) -> Shut | None:
        """The first gate that is shut for an order; None while all are open."""
        return next(self._all_shut(live), None)

    def _all_shut(self, live: LiveOrder) -> Iterator[Shut]:
        state = self._gateway.state
        if state is not SessionState.READY:
            yield Shut(Gate.SESSION, f"the gate is shut: the session is {state}")
        if self._gateway.in_reset:
            yield Shut(Gate.RESET, "the gate is shut: IB's nightly reset is on")
        if not self._book.current:
            yield Shut(Gate.ACCOUNT, "the gate is shut: the account's state is not known")
        if live.by_guard:
            return
        yield from self._of_data(live)
        if self._adds(live):
            yield from self._of_entries(live)

    def _of_data(self, live: LiveOrder) -> Iterator[Shut]:
        data = live.order.data
        if data.is_live():
            return
        if getattr(data, "halted", False):
            yield Shut(Gate.HALTED, f"the gate is shut: trading in {data._name} is halted")
        yield Shut(Gate.DATA, f"the gate is shut: the data of {data._name} are not live")

    def _of_entries(self, live: LiveOrder) -> Iterator[Shut]:
        name = self._traded.name(live.con_id)
        if name in self._distrusted:
            yield Shut(Gate.QUALITY, f"the gate is shut for entries: {self._distrusted[name]}")
        differing = sorted(map(self._traded.name, self._book.differing(self._clock())))
        if differing:
            text = "the gate is shut for entries: the broker's position differs from ours in "
            yield Shut(Gate.POSITIONS, text + ", ".join(differing))
        if self._market_open is not None and not live.order.info.get("outside_rth", False):
            now = self._market_time()
            if not self._market_open(now):
                yield Shut(Gate.MARKET, f"the gate is shut for entries: the exchange is closed at {now:%H:%M} UTC")

    def _adds(self, live: LiveOrder) -> bool:
        """Whether some of an order would open or add to a position."""
        held = live.sign * self._book.position(live.con_id)
        return not live.capped and (held >= 0 or live.quantity > -held)
