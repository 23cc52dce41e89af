"""What can be learnt about a gateway without trading: `examine` asks, a `Checkup` is the answer.

Belongs here: which questions show that a gateway is fit. Does not belong here: how the answer is printed, advice.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from queue import Empty
from typing import Final

from broker.errors import GatewayError, NoDataError, RequestRefusedError
from broker.ib.messages import (
    AccountSnapshot,
    Contract,
    MarketDataType,
    SubscriptionEnded,
    Tick,
)
from broker.ib.requests import HistoryRequest, SubscriptionRequest
from broker.ib.session import Session

_KINDS: Final = {1: "live", 2: "frozen", 3: "delayed", 4: "delayed and frozen"}
_DATA_SECONDS: Final = 8.0
_UNKNOWN_CONTRACT: Final = 200


@dataclass(frozen=True, slots=True)
class Checkup:
    """What a gateway said; texts are for people.

    `known` says whether it knows the contract that was tried, `fit` whether everything works that could be tried.
    """

    server_version: int
    library: str
    account: str
    positions: int
    open_orders: int
    net_liquidation: str
    clock_skew: timedelta
    market_data: str
    history: str
    known: bool
    fit: bool


def examine(session: Session, snapshot: AccountSnapshot, symbol: str) -> Checkup:
    """Ask an open session for data of one stock; nothing is ordered."""
    contract = _contract(session, symbol)
    unknown = (f"not tried, {symbol} is unknown to the gateway", False)
    data, data_fits = unknown if contract is None else _market_data(session, contract)
    history, history_fits = unknown if contract is None else _history(session, contract)
    skew = session.clock_skew or timedelta(0)
    worth = [v for v in snapshot.values if v.key == "NetLiquidation"]
    return Checkup(
        server_version=session.server_version,
        library=session.library,
        account=snapshot.account,
        positions=len(snapshot.positions),
        open_orders=len(snapshot.open_orders),
        net_liquidation=f"{float(worth[0].value):,.2f} {worth[0].currency}" if worth else "unknown",
        clock_skew=skew,
        market_data=data,
        history=history,
        known=contract is not None,
        fit=(contract is None or (data_fits and history_fits))
        and abs(skew.total_seconds()) <= session.settings.skew_warning,
    )


def _contract(session: Session, symbol: str) -> Contract | None:
    try:
        return session.contract_details(Contract(symbol))[0].contract
    except RequestRefusedError as error:
        if error.code == _UNKNOWN_CONTRACT:
            return None
        raise


def _market_data(session: Session, contract: Contract) -> tuple[str, bool]:
    """Subscribe for a moment; which kind of data comes, and whether it is live."""
    queue = session.listen()
    number = session.subscribe(SubscriptionRequest(contract, "ticks"))
    try:
        deadline = time.monotonic() + _DATA_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            try:
                event = queue.get(timeout=left)
            except Empty:
                break
            if isinstance(event, SubscriptionEnded) and event.subscription == number:
                return f"none ({event.code}: {event.text})", False
            if isinstance(event, MarketDataType) and event.subscription == number:
                return _KINDS.get(event.kind, f"kind {event.kind}"), event.kind in {1, 2}
            if isinstance(event, Tick) and event.subscription == number:
                return "live", True  # a gateway tells the kind before the first tick where it is not live
        return f"nothing came within {_DATA_SECONDS:g} seconds", False
    finally:
        session.unsubscribe(number)
        session.forget(queue)


def _history(session: Session, contract: Contract) -> tuple[str, bool]:
    try:
        bars = session.history(HistoryRequest(contract, datetime.now(UTC), "1 M", "1 day"))
    except NoDataError:
        return "no bars in the last month", True
    except RequestRefusedError as error:
        return f"refused ({error.code}: {error.text})", False
    except GatewayError as error:
        return str(error), False
    return f"{len(bars)} daily bars, the last of {bars[-1].stamp}" if bars else "no bars in the last month", True
