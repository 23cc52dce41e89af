"""ib_async against the simulator: connect, data, a bracket, the account.

Belongs here: what this client must see. Runs in an environment that holds `ib_async` and nothing of this project.
"""

import json
import sys
import urllib.request

import ib_async

PORT, CONTROL = int(sys.argv[1]), int(sys.argv[2])


def command(name, **arguments):
    """A command of the control API."""
    asked = urllib.request.Request(f"http://127.0.0.1:{CONTROL}/{name}", json.dumps(arguments).encode())
    return json.load(urllib.request.urlopen(asked, timeout=20))  # noqa: S310 (loopback)


ib = ib_async.IB()
ib.connect("127.0.0.1", PORT, clientId=3, timeout=10, raiseSyncErrors=True)
assert ib.managedAccounts() == ["DU1234567"]
(stock,) = ib.qualifyContracts(ib_async.Stock("AAPL", "SMART", "USD"))
bars = ib.reqHistoricalData(stock, "", "2 D", "1 hour", "TRADES", True, 2, keepUpToDate=True)
assert [bar.date.hour for bar in bars] == [14, 15, 16, 17, 18, 19, 20, 14]
before = bars[-1].volume
live = ib.reqRealTimeBars(stock, 5, "TRADES", True)
ticker = ib.reqMktData(stock)
command("step", bars=2)
ib.sleep(0.3)
assert len(live) == 24
assert bars[-1].volume > before
price = command("status")["prices"]["AAPL"]
assert (ticker.last, round(ticker.ask - ticker.bid, 2)) == (price, 0.02)

trade = ib.placeOrder(stock, ib_async.MarketOrder("BUY", 10, orderRef="entry"))
ib.sleep(0.3)
assert trade.orderStatus.status == "Filled"
assert trade.fills[0].commissionReport.commission == 1.0
bracket = [
    ib.placeOrder(stock, order)
    for order in ib.bracketOrder("BUY", 5, round(price * 0.9, 2), round(price * 1.1, 2), round(price * 0.8, 2))
]
ib.sleep(0.3)
assert [t.orderStatus.status for t in bracket] == ["Submitted", "PreSubmitted", "PreSubmitted"]
ib.cancelOrder(bracket[0].order)
ib.sleep(0.3)
assert [t.orderStatus.status for t in bracket] == ["Cancelled"] * 3
assert [(p.contract.symbol, p.position) for p in ib.positions()] == [("AAPL", 10.0)]
figures = {v.tag: float(v.value) for v in ib.accountSummary() if v.currency == "USD"}
assert figures["AvailableFunds"] * 2 == figures["BuyingPower"]
assert ib.reqCompletedOrders(False)[0].order.orderRef == "entry"
sys.stdout.write(f"version {ib.client.serverVersion()}")
ib.disconnect()
