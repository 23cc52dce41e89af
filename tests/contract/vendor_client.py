"""The vendor's own client, 9.81 or 10.x, against the simulator: every message group, values checked.

Belongs here: what this client must see. Runs in an environment that holds `ibapi` and nothing of this project.
"""

import json
import sys
import threading
import time
import urllib.request

from ibapi.client import EClient
from ibapi.contract import Contract
from ibapi.order import Order
from ibapi.wrapper import EWrapper

PORT, CONTROL = int(sys.argv[1]), int(sys.argv[2])


class Client(EWrapper, EClient):
    """Collects whatever arrives, by name."""

    def __init__(self):
        EWrapper.__init__(self)
        EClient.__init__(self, self)
        self.seen = []

    def __getattribute__(self, name):
        if name in COLLECTED:
            return lambda *args: self.seen.append((name, args))
        return super().__getattribute__(name)

    def error(self, reqId, *rest):  # noqa: N803 (the vendor's name)
        """9.81: code, text; 10.x: (time,) code, text, json."""
        numbers = [r for r in rest if isinstance(r, int)]
        self.seen.append(("error", (reqId, numbers[-1])))

    def of(self, name):
        """Arguments of all calls of a name."""
        return [args for seen, args in list(self.seen) if seen == name]


COLLECTED = frozenset({
    "nextValidId", "managedAccounts", "currentTime", "contractDetails", "contractDetailsEnd", "historicalData",
    "historicalDataEnd", "historicalDataUpdate", "headTimestamp", "realtimeBar", "tickPrice", "tickSize",
    "tickString", "tickGeneric", "tickByTickAllLast", "openOrder", "orderStatus", "execDetails", "execDetailsEnd",
    "commissionReport", "commissionAndFeesReport", "position", "positionEnd", "accountSummary",
    "accountSummaryEnd", "updateAccountValue", "updatePortfolio", "accountDownloadEnd", "completedOrder",
    "completedOrdersEnd", "openOrderEnd", "pnl", "pnlSingle", "marketRule", "symbolSamples", "historicalSchedule",
    "historicalTicksLast",
})  # fmt: skip


def wait(what, seconds=10):
    """Until something is true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"timed out; seen {app.seen[-12:]}"
        time.sleep(0.005)
    return found


def command(name, **arguments):
    """A command of the control API."""
    asked = urllib.request.Request(f"http://127.0.0.1:{CONTROL}/{name}", json.dumps(arguments).encode())
    return json.load(urllib.request.urlopen(asked, timeout=20))  # noqa: S310 (loopback)


def stock(symbol="AAPL"):
    """A contract."""
    c = Contract()
    c.symbol, c.secType, c.exchange, c.currency = symbol, "STK", "SMART", "USD"
    return c


def order(action, quantity, kind, **fields):
    """An order without the fields that old defaults set and brokers refuse."""
    o = Order()
    o.action, o.totalQuantity, o.orderType = action, quantity, kind
    o.eTradeOnly = o.firmQuoteOnly = False
    for name, value in fields.items():
        setattr(o, name, value)
    return o


def check_data():
    """Contracts, history, streams."""
    app.reqContractDetails(1, stock())
    wait(lambda: app.of("contractDetailsEnd"))
    details = app.of("contractDetails")[0][1]
    assert (details.contract.symbol, details.contract.primaryExchange, details.minTick) == ("AAPL", "NASDAQ", 0.01)
    app.reqContractDetails(2, stock("NONE"))
    wait(lambda: (2, 200) in app.of("error"))
    app.reqHistoricalData(3, stock(), "", "300 S", "1 min", "TRADES", 1, 2, True, [])
    wait(lambda: app.of("historicalDataEnd"))
    bars = [args[1] for args in app.of("historicalData")]
    assert len(bars) == 5
    assert bars[-1].date == "1704724320"  # 2024-01-08 09:32 in New York
    assert all(bar.low <= bar.open <= bar.high and bar.volume >= 1000 for bar in bars)
    app.reqHeadTimeStamp(4, stock(), "TRADES", 1, 2)
    assert wait(lambda: app.of("headTimestamp"))[0] == (4, "1704205800")
    app.reqRealTimeBars(5, stock(), 5, "TRADES", True, [])
    app.reqMktData(6, stock(), "233", False, False, [])
    app.reqTickByTickData(7, stock(), "Last", 0, False)
    app.reqMarketRule(26)
    wait(lambda: app.of("marketRule"))
    command("step", bars=1)
    wait(lambda: len(app.of("realtimeBar")) >= 12 and len(app.of("tickByTickAllLast")) >= 4)
    assert wait(lambda: app.of("historicalDataUpdate"))[-1][0] == 3
    last = [args[2] for args in app.of("tickPrice") if args[1] == 4][-1]
    assert last == command("status")["prices"]["AAPL"]
    for cancel, number in ((app.cancelHistoricalData, 3), (app.cancelRealTimeBars, 5), (app.cancelTickByTickData, 7)):
        cancel(number)
    app.cancelMktData(6)


def check_orders():
    """A market order, a bracket, a cancel, executions, completed orders."""
    first = app.of("nextValidId")[0][0]
    app.placeOrder(first, stock(), order("BUY", 100, "MKT", orderRef="one"))
    wait(lambda: any(args[:2] == (first, "Filled") for args in app.of("orderStatus")))
    execution = wait(lambda: app.of("execDetails"))[0][2]
    assert (execution.side, float(execution.shares), execution.orderRef) == ("BOT", 100.0, "one")
    report = wait(lambda: app.of("commissionReport") + app.of("commissionAndFeesReport"))[0][0]
    assert getattr(report, "commission", None) == 1.0 or report.commissionAndFees == 1.0
    price = command("status")["prices"]["AAPL"]
    far = round(price * 0.9, 2)
    app.placeOrder(first + 1, stock(), order("BUY", 10, "LMT", lmtPrice=far, transmit=False))
    app.placeOrder(
        first + 2, stock(), order("SELL", 10, "LMT", lmtPrice=round(price * 1.1, 2), parentId=first + 1, transmit=False)
    )
    app.placeOrder(
        first + 3, stock(), order("SELL", 10, "STP", auxPrice=round(price * 0.8, 2), parentId=first + 1, transmit=True)
    )
    wait(lambda: {args[0] for args in app.of("openOrder")} >= {first + 1, first + 2, first + 3})
    shown = next(args for args in app.of("openOrder") if args[0] == first + 3)
    assert (shown[2].orderType, shown[2].auxPrice, shown[2].parentId) == ("STP", round(price * 0.8, 2), first + 1)
    cancel = app.cancelOrder
    cancel(first + 1) if cancel.__code__.co_argcount == 2 else cancel(first + 1, *cancel_arguments())
    for number in (1, 2, 3):
        wait(lambda n=number: any(args[:2] == (first + n, "Cancelled") for args in app.of("orderStatus")))
    app.reqCompletedOrders(False)
    wait(lambda: app.of("completedOrdersEnd"))
    kinds = [(args[1].orderType, args[2].status) for args in app.of("completedOrder")]
    assert kinds == [("MKT", "Filled"), ("LMT", "Cancelled"), ("LMT", "Cancelled"), ("STP", "Cancelled")]


def cancel_arguments():
    """What `cancelOrder` takes besides the id: a time, or an object of newer versions."""
    try:
        from ibapi.order_cancel import OrderCancel
    except ImportError:
        return ("",)
    return (OrderCancel(),)


def check_account():
    """Positions, figures, profit."""
    app.reqPositions()
    wait(lambda: app.of("positionEnd"))
    assert [(a[1].symbol, float(a[2])) for a in app.of("position")] == [("AAPL", 100.0)]
    app.reqAccountUpdates(True, "DU1234567")
    wait(lambda: app.of("accountDownloadEnd"))
    figures = {a[0]: float(a[1]) for a in app.of("updateAccountValue") if a[2] == "USD" and a[0] != "Currency"}
    assert round(figures["TotalCashValue"] + figures["StockMarketValue"], 2) == figures["NetLiquidation"]
    assert float(app.of("updatePortfolio")[0][1]) == 100.0
    app.reqAccountSummary(20, "All", "NetLiquidation,BuyingPower")
    wait(lambda: app.of("accountSummaryEnd"))
    assert {a[2] for a in app.of("accountSummary")} == {"NetLiquidation", "BuyingPower"}
    app.reqPnL(21, "DU1234567", "")
    wait(lambda: app.of("pnl"))


app = Client()
app.connect("127.0.0.1", PORT, 7)
threading.Thread(target=app.run, daemon=True).start()
wait(lambda: app.of("nextValidId") and app.of("managedAccounts") == [("DU1234567",)])
app.reqCurrentTime()
assert abs(wait(lambda: app.of("currentTime"))[0][0] - time.time()) < 5
check_data()
check_orders()
check_account()
codes = {code for _, code in app.of("error")} - {2104, 2106, 2158, 200, 202, 162}
assert not codes, codes
sys.stdout.write(f"version {app.serverVersion()}, {len(app.seen)} messages")
app.disconnect()
