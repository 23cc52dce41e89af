"""What can be traded here: feeds, their contracts, names and last prices.

Belongs here: finding one by the other. Does not belong here: rounding (see `broker.instrument`).
"""

import math
from collections.abc import Callable, Mapping, Sequence

import backtrader as bt

from broker.errors import OrderTermsError
from broker.ib.messages import PortfolioItem
from broker.instrument import Instrument


class Traded:
    """Feeds and the contracts that they trade; several feeds may share one.

    Args:
        instruments: by the feed's name.
        feeds: gives Cerebro's feeds.
    """

    def __init__(self, instruments: Mapping[str, Instrument], feeds: Callable[[], Sequence[bt.feed.DataBase]]) -> None:
        self._instruments = dict(instruments)
        self._feeds = feeds
        self.by_con_id = {instrument.con_id: instrument for instrument in self._instruments.values()}
        self.portfolio: dict[int, PortfolioItem] = {}

    def instrument(self, data: bt.feed.DataBase) -> Instrument:
        """The contract of a feed.

        Raises:
            OrderTermsError: it has none.
        """
        instrument = self._instruments.get(data._name)
        if instrument is None:
            raise OrderTermsError(f"data: {data._name!r} has no contract to trade.")
        return instrument

    def feed(self, con_id: int) -> bt.feed.DataBase | None:
        """The first feed that trades a contract."""
        for data in self._feeds():
            instrument = self._instruments.get(data._name)
            if instrument is not None and instrument.con_id == con_id:
                return data
        return None

    def fed(self, con_id: int) -> bt.feed.DataBase | None:
        """The first feed that trades a contract, once it has a bar."""
        data = self.feed(con_id)
        return data if data is not None and len(data) else None

    def name(self, con_id: int) -> str:
        """What risk calls a contract: its feed's name where there is one."""
        data = self.feed(con_id)
        return f"con_id {con_id}" if data is None else str(data._name)

    def price(self, con_id: int) -> float:
        """The last price of a contract, from the broker where it has no feed; NaN where none is known."""
        data = self.fed(con_id)
        if data is not None:
            return float(data.close[0])
        item = self.portfolio.get(con_id)
        return math.nan if item is None else float(item.market_price)
