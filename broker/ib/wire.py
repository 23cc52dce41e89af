"""The one module that knows the client library: ib_insync, or its successor ib_async where that is installed.

Belongs here: one connection, requests as calls, messages turned into our own types. Does not belong here: waiting,
retrying, what messages mean together (see `session`).

Of the library the protocol client is used: its encoder, decoder and throttle. Its picture of orders and fills is not,
because that picture is wrong in known cases (an order that lives shown as cancelled, commissions lost).

Everything here runs on one event loop's thread, which must have a loop set before this module is imported: the
library looks for one when it is.
"""

import functools
import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Final, Literal

from broker.errors import GatewayUnreachableError
from broker.ib.answers import (
    ACCOUNT_VALUES,
    COMPLETED_ORDERS,
    OPEN_ORDERS,
    POSITIONS,
    SERVER_TIME,
    Closed,
    End,
    Part,
    Tell,
    market_rule_key,
)
from broker.ib.messages import (
    AccountValue,
    Bar,
    BarUpdate,
    Commission,
    CompletedOrder,
    Contract,
    ContractDetails,
    Execution,
    MarketDataType,
    Notice,
    OpenOrder,
    OrderStatus,
    OrderTicket,
    PortfolioItem,
    Position,
    PriceIncrement,
    Tick,
    Undecoded,
)
from broker.ib.requests import HistoryRequest, SubscriptionRequest

try:
    import ib_async as library
except ModuleNotFoundError:
    import ib_insync as library

_UNSET: Final = 1e300  # the library's sign for "not told" lies above; no price or quantity does
_DAY: Final = re.compile(r"\d{8}")
# what the decoder logs about messages that say nothing about the account: contracts, bars, ticks and the like
_LOST: Final = re.compile(
    r"fields: \['(?!(?:3|5|6|7|8|11|53|54|55|59|61|62|101|102)')|Error for (?:tick|realtime|histor|head)"
)


class Wire:
    """One connection to a gateway, used once: a new one is made for every attempt.

    `tell` hears every message in order, on the loop's thread; it must not block. Every call that sends something, and
    `next_id`, raises `GatewayUnreachableError` while there is no connection, or not yet.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._client: Any = library.Client(_Receiver(tell))
        self._client.decoder.logger = _lost_messages(tell)
        self._client._logger = _silence()
        for name in ("send", "getReqId"):
            setattr(self._client, name, _without_connection_ours(getattr(self._client, name)))

    @property
    def library(self) -> str:
        """Name and version of the client library."""
        return f"{library.__name__} {library.__version__}"

    @property
    def server_version(self) -> int:
        """Protocol version agreed on; 0 before."""
        return int(self._client.serverVersion())

    @property
    def accounts(self) -> tuple[str, ...]:
        """Accounts of the login."""
        return tuple(self._client.getAccounts())

    async def connect(self, host: str, port: int, client_id: int, seconds: float) -> None:
        """Open the socket, shake hands, and wait for the accounts and the first order id.

        Raises:
            OSError: nobody listens.
            TimeoutError: the gateway did not tell both in time.
        """
        await self._client.connectAsync(host, port, client_id, seconds)

    def close(self) -> None:
        """End the connection at once, whatever is still to be sent."""
        transport = self._client.conn.transport
        self._client.disconnect()
        if transport is not None:
            transport.abort()  # a half-open socket would wait for ever to be flushed

    def next_id(self) -> int:
        """An id that no request and no order of this client had."""
        return int(self._client.getReqId())

    def request_positions(self) -> None:
        """Positions now (until End) and from now on."""
        self._client.reqPositions()

    def request_open_orders(self) -> None:
        """Working orders of every client, until End."""
        self._client.reqAllOpenOrders()

    def bind_manual_orders(self) -> None:
        """As client 0: be told of orders given on the screen of TWS."""
        self._client.reqAutoOpenOrders(True)

    def request_completed_orders(self) -> None:
        """Orders that ended, until End."""
        self._client.reqCompletedOrders(False)

    def request_account_values(self, account: str) -> None:
        """Figures and portfolio of an account now (until End) and from now on."""
        self._client.reqAccountUpdates(True, account)

    def request_executions(self, key: int) -> None:
        """Today's executions of every client, until End; their commissions come by themselves."""
        self._client.reqExecutions(key, library.ExecutionFilter())

    def request_server_time(self) -> None:
        """The gateway's clock."""
        self._client.reqCurrentTime()

    def request_contract_details(self, key: int, contract: Contract) -> None:
        """Every contract that fits, until End."""
        self._client.reqContractDetails(key, _their_contract(contract))

    def request_market_rule(self, rule: int) -> None:
        """Price increments of a rule; the key is `market_rule_key(rule)`."""
        self._client.reqMarketRule(rule)

    def request_first_moment(self, key: int, contract: Contract, what_to_show: str) -> None:
        """When history begins."""
        self._client.reqHeadTimeStamp(key, _their_contract(contract), what_to_show, False, 2)

    def request_history(self, key: int, request: HistoryRequest) -> None:
        """Bars, until End."""
        end = "" if request.end is None else f"{request.end.astimezone(UTC):%Y%m%d %H:%M:%S} UTC"
        self._client.reqHistoricalData(
            key, _their_contract(request.contract), end, request.duration, request.bar_size, request.what_to_show,
            request.regular_hours, 2, False, [],
        )  # fmt: skip

    def cancel_history(self, key: int) -> None:
        """Stop waiting for bars."""
        self._client.cancelHistoricalData(key)

    def subscribe(self, key: int, request: SubscriptionRequest) -> None:
        """Start a stream."""
        contract = _their_contract(request.contract)
        if request.kind == "ticks":
            self._client.reqMktData(key, contract, "", False, False, [])
        else:
            self._client.reqRealTimeBars(key, contract, 5, request.what_to_show, request.regular_hours, [])

    def unsubscribe(self, key: int, request: SubscriptionRequest) -> None:
        """End a stream."""
        if request.kind == "ticks":
            self._client.cancelMktData(key)
        else:
            self._client.cancelRealTimeBars(key)

    def choose_market_data(self, kind: int) -> None:
        """1 live, 2 frozen, 3 delayed, 4 delayed and frozen."""
        self._client.reqMarketDataType(kind)

    def place_order(self, contract: Contract, ticket: OrderTicket) -> None:
        """Send an order, or a change of one."""
        self._client.placeOrder(ticket.order_id, _their_contract(contract), _their_order(ticket))

    def cancel_order(self, order_id: int) -> None:
        """Ask to cancel an order."""
        self._client.cancelOrder(order_id)

    def cancel_everything(self) -> None:
        """Ask to cancel every order of every client."""
        self._client.reqGlobalCancel()


class _Receiver:
    """The methods that the library's decoder calls, by the vendor's names; each tells one message of ours."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.ib = SimpleNamespace(
            TimezoneTWS="UTC"
        )  # of times without a zone: the dash form `20240131-15:00:00` is UTC
        self.defaultTimezone = UTC

    # ---------------------------------------------------------------- the connection

    def connectAck(self) -> None:
        pass

    def setEventsDone(self) -> None:
        self._tell(Closed())

    def connectionClosed(self) -> None:
        pass  # told by `setEventsDone`, which is called in every case

    def error(self, req_id: int, code: int, text: str, _reject: str = "") -> None:
        self._tell(Notice(req_id, code, text))

    def currentTime(self, seconds: int) -> None:
        self._tell(Part(SERVER_TIME, datetime.fromtimestamp(seconds, UTC)))
        self._tell(End(SERVER_TIME))

    # ---------------------------------------------------------------- orders

    def openOrder(self, _id: int, contract: Any, order: Any, state: Any) -> None:
        told = OpenOrder(
            _our_ticket(order), _our_contract(contract), state.status, order.permId, order.clientId, state.warningText
        )
        self._tell(Part(OPEN_ORDERS, told))
        self._tell(told)

    def openOrderEnd(self) -> None:
        self._tell(End(OPEN_ORDERS))

    def orderStatus(
        self, order_id: int, status: str, filled: float, remaining: float, average: float, perm_id: int,
        parent_id: int, _last: float, client_id: int, why_held: str, _cap: float = 0.0,
    ) -> None:  # fmt: skip
        self._tell(
            OrderStatus(
                order_id,
                status,
                _decimal(filled),
                _decimal(remaining),
                _decimal(average),
                perm_id,
                parent_id,
                client_id,
                why_held,
            )
        )

    def completedOrder(self, contract: Any, order: Any, state: Any) -> None:
        told = CompletedOrder(
            _our_ticket(order), _our_contract(contract), state.status, order.permId,
            _optional(order.filledQuantity) or Decimal(0), state.completedTime, state.completedStatus,
        )  # fmt: skip
        self._tell(Part(COMPLETED_ORDERS, told))

    def completedOrdersEnd(self) -> None:
        self._tell(End(COMPLETED_ORDERS))

    def execDetails(self, req_id: int, contract: Any, execution: Any) -> None:
        told = Execution(
            exec_id=execution.execId, ts=execution.time.astimezone(UTC), account=execution.acctNumber,
            contract=_our_contract(contract), side=_side(execution.side), quantity=_decimal(execution.shares),
            price=_decimal(execution.price), cumulative=_decimal(execution.cumQty),
            average_price=_decimal(execution.avgPrice), order_id=execution.orderId, perm_id=execution.permId,
            client_id=execution.clientId, order_ref=execution.orderRef, exchange=execution.exchange,
            liquidation=bool(execution.liquidation), solicited=req_id >= 0,
        )  # fmt: skip
        if req_id >= 0:
            self._tell(Part(req_id, told))
        self._tell(told)

    def execDetailsEnd(self, req_id: int) -> None:
        self._tell(End(req_id))

    def commissionReport(self, report: Any) -> None:
        realized = _optional(report.realizedPNL)
        self._tell(Commission(report.execId, _decimal(report.commission), report.currency, realized))

    # ---------------------------------------------------------------- the account

    def position(self, account: str, contract: Any, quantity: float, average: float) -> None:
        told = Position(account, _our_contract(contract), _decimal(quantity), _decimal(average))
        self._tell(Part(POSITIONS, told))
        self._tell(told)

    def positionEnd(self) -> None:
        self._tell(End(POSITIONS))

    def updateAccountValue(self, key: str, value: str, currency: str, account: str) -> None:
        self._tell(AccountValue(account, key, value, currency))

    def updatePortfolio(
        self,
        contract: Any,
        position: float,
        price: float,
        value: float,
        average: float,
        unrealized: float,
        realized: float,
        account: str,
    ) -> None:
        figures = (_decimal(figure) for figure in (position, price, value, average, unrealized, realized))
        self._tell(PortfolioItem(account, _our_contract(contract), *figures))

    def accountDownloadEnd(self, _account: str) -> None:
        self._tell(End(ACCOUNT_VALUES))

    # ---------------------------------------------------------------- contracts and history

    def contractDetails(self, req_id: int, details: Any) -> None:
        self._tell(Part(req_id, _our_details(details)))

    def contractDetailsEnd(self, req_id: int) -> None:
        self._tell(End(req_id))

    def marketRule(self, rule: int, increments: Any) -> None:
        key = market_rule_key(rule)
        for step in increments:
            self._tell(Part(key, PriceIncrement(_decimal(step.lowEdge), _decimal(step.increment))))
        self._tell(End(key))

    def headTimestamp(self, req_id: int, text: str) -> None:
        self._tell(Part(req_id, _stamp(text)))
        self._tell(End(req_id))

    def historicalData(self, req_id: int, bar: Any) -> None:
        self._tell(Part(req_id, _our_bar(bar)))

    def historicalDataEnd(self, req_id: int, _start: str, _end: str) -> None:
        self._tell(End(req_id))

    # ---------------------------------------------------------------- streams

    def realtimeBar(
        self, req_id: int, seconds: int, open_: float, high: float, low: float, close: float, volume: float,
        average: float, count: int,
    ) -> None:  # fmt: skip
        stamp = datetime.fromtimestamp(seconds, UTC)
        self._tell(BarUpdate(req_id, Bar(stamp, open_, high, low, close, volume, average, count)))

    def priceSizeTick(self, req_id: int, kind: int, price: float, size: float) -> None:
        self._tell(Tick(req_id, kind, _decimal(price), _decimal(size)))

    def tickSize(self, req_id: int, kind: int, size: float) -> None:
        self._tell(Tick(req_id, kind, _decimal(size)))

    def tickGeneric(self, req_id: int, kind: int, value: float) -> None:
        self._tell(Tick(req_id, kind, _decimal(value)))

    def marketDataType(self, req_id: int, kind: int) -> None:
        self._tell(MarketDataType(req_id, kind))


class _LostMessages(logging.Handler):
    """Hears what the decoder logs: it swallows messages that it cannot read, and only says so in a log."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(logging.ERROR)
        self._say = tell

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self._say(Undecoded(text, _LOST.search(text) is None))


def _without_connection_ours(call: Callable[..., Any]) -> Callable[..., Any]:
    """A call of the library that fails with an error of ours where there is no connection."""

    @functools.wraps(call)
    def guarded(*arguments: Any, **keywords: Any) -> Any:
        try:
            return call(*arguments, **keywords)
        except ConnectionError as lost:
            raise GatewayUnreachableError(f"gateway: nothing can be sent: {lost}.") from None

    return guarded


def _lost_messages(tell: Tell) -> logging.Logger:
    """A logger of one connection, outside the tree of loggers that belong to the process."""
    logger = logging.Logger("broker.ib.wire")
    logger.addHandler(_LostMessages(tell))
    return logger


def _silence() -> logging.Logger:
    """A logger that nobody reads: what it would hear is told as messages and errors of ours."""
    logger = logging.Logger("broker.ib.wire")
    logger.addHandler(logging.NullHandler())
    return logger


# -------------------------------------------------------------------- values


def _decimal(number: float) -> Decimal:
    """The number as it was written: floats of the library come from decimal text."""
    return Decimal(int(number)) if float(number).is_integer() else Decimal(repr(number))


def _optional(number: float) -> Decimal | None:
    return None if abs(number) > _UNSET else _decimal(number)


def _written(number: Decimal | None) -> str:
    """A number in plain digits; empty for none."""
    return "" if number is None else format(number, "f")


def _side(text: str) -> Literal["BOT", "SLD"]:
    if text == "BOT":
        return "BOT"
    if text == "SLD":
        return "SLD"
    raise ValueError(f"side: {text!r} is neither BOT nor SLD.")


def _stamp(text: str) -> datetime | date:
    """Seconds since 1970 as IB writes them for bars within a day, or the date of longer bars."""
    if _DAY.fullmatch(text):
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    return datetime.fromtimestamp(int(text), UTC)


def _our_bar(bar: Any) -> Bar:
    return Bar(_stamp(bar.date), bar.open, bar.high, bar.low, bar.close, bar.volume, bar.average, bar.barCount)


def _our_contract(contract: Any) -> Contract:
    return Contract(
        symbol=contract.symbol, sec_type=contract.secType, exchange=contract.exchange, currency=contract.currency,
        primary_exchange=contract.primaryExchange, con_id=contract.conId, local_symbol=contract.localSymbol,
        trading_class=contract.tradingClass, multiplier=contract.multiplier,
        expiry=contract.lastTradeDateOrContractMonth,
    )  # fmt: skip


def _their_contract(contract: Contract) -> Any:
    return library.Contract(
        symbol=contract.symbol, secType=contract.sec_type, exchange=contract.exchange, currency=contract.currency,
        primaryExchange=contract.primary_exchange, conId=contract.con_id, localSymbol=contract.local_symbol,
        tradingClass=contract.trading_class, multiplier=contract.multiplier,
        lastTradeDateOrContractMonth=contract.expiry,
    )  # fmt: skip


def _our_details(details: Any) -> ContractDetails:
    return ContractDetails(
        contract=_our_contract(details.contract), long_name=details.longName, min_tick=_decimal(details.minTick),
        size_increment=_optional(details.sizeIncrement) or Decimal(1),
        market_rules=tuple(int(rule) for rule in details.marketRuleIds.split(",") if rule),
        valid_exchanges=tuple(name for name in details.validExchanges.split(",") if name),
        order_types=frozenset(name for name in details.orderTypes.split(",") if name),
        timezone=details.timeZoneId, trading_hours=details.tradingHours, liquid_hours=details.liquidHours,
    )  # fmt: skip


def _our_ticket(order: Any) -> OrderTicket:
    """IB fills prices that an order has no use for with 0."""
    kind = order.orderType
    return OrderTicket(
        order_id=order.orderId, action=order.action, quantity=_decimal(order.totalQuantity),
        order_type=order.orderType, account=order.account, order_ref=order.orderRef,
        limit_price=_optional(order.lmtPrice) if "LMT" in kind else None,
        aux_price=_optional(order.auxPrice) if "STP" in kind or "TRAIL" in kind else None,
        trailing_percent=_optional(order.trailingPercent), trail_stop_price=_optional(order.trailStopPrice),
        limit_offset=_optional(order.lmtPriceOffset), tif=order.tif, good_till=order.goodTillDate,
        oca_group=order.ocaGroup, oca_type=order.ocaType, parent_id=order.parentId, outside_rth=order.outsideRth,
    )  # fmt: skip


def _their_order(ticket: OrderTicket) -> Any:
    """Numbers go as text in plain digits, so that the broker reads exactly what was decided."""
    given: Mapping[str, Any] = {
        "lmtPrice": ticket.limit_price,
        "auxPrice": ticket.aux_price,
        "trailingPercent": ticket.trailing_percent,
        "trailStopPrice": ticket.trail_stop_price,
        "lmtPriceOffset": ticket.limit_offset,
    }
    return library.Order(
        orderId=ticket.order_id, action=ticket.action, totalQuantity=_written(ticket.quantity),
        orderType=ticket.order_type, account=ticket.account, orderRef=ticket.order_ref, tif=ticket.tif,
        goodTillDate=ticket.good_till, ocaGroup=ticket.oca_group, ocaType=ticket.oca_type,
        parentId=ticket.parent_id, transmit=ticket.transmit, outsideRth=ticket.outside_rth,
        **{name: _written(value) for name, value in given.items() if value is not None},
    )  # fmt: skip
