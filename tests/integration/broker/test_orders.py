"""Orders, executions and the account as ib_insync sees them, by value."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from broker.simulator.ledger import MarginRules

pytestmark = pytest.mark.integration


def status(trade):
    return trade.orderStatus.status


def shares(trade):
    return [(f.execution.side, f.execution.shares) for f in trade.fills]


def account(ib, currency="USD"):
    return {v.tag: float(v.value) for v in ib.accountValues() if v.currency == currency and v.tag != "Currency"}


def test_a_market_order_from_ack_to_commission(start):
    desk = start()
    ib = desk.client()
    seen = []
    trade = ib.placeOrder(desk.stock(ib), desk.insync.MarketOrder("BUY", 100, orderRef="mine"))
    trade.statusEvent += lambda t: seen.append(status(t))
    trade.fillEvent += lambda *_: seen.append("fill")
    trade.commissionReportEvent += lambda *_: seen.append("commission")
    desk.settle(ib)
    assert status(trade) == "Submitted"
    desk.step(ib)

    assert seen == ["PreSubmitted", "Submitted", "fill", "Filled", "commission"]
    (fill,) = trade.fills
    bar = desk.series().bar(desk.series().closed_by(desk.exchange.market.now) - 1)
    price = min(bar.high, bar.open * 1.0005)  # five basis points of slippage, inside the bar
    assert (fill.execution.side, fill.execution.shares, fill.execution.orderRef) == ("BOT", 100, "mine")
    assert fill.execution.price == pytest.approx(price, abs=1e-8)
    assert fill.execution.time == datetime(2024, 1, 8, 14, 33, tzinfo=UTC)
    assert (fill.commissionReport.commission, fill.commissionReport.currency) == (1.0, "USD")
    assert (fill.execution.permId, trade.order.permId) == (1_000_000_001, 1_000_000_001)
    (position,) = ib.positions()
    assert (position.position, position.avgCost) == (100, pytest.approx(price + 0.01, abs=1e-6))


def test_the_account_adds_up_to_the_cent(start):
    desk = start()
    ib = desk.client()
    ib.placeOrder(desk.stock(ib), desk.insync.MarketOrder("BUY", 333))
    ib.placeOrder(desk.stock(ib, "MSFT"), desk.insync.MarketOrder("SELL", 77))
    desk.step(ib, 5)

    now = account(ib)
    assert round(now["TotalCashValue"] + now["StockMarketValue"], 2) == now["NetLiquidation"]
    assert round(now["NetLiquidation"] - now["InitMarginReq"], 2) == now["AvailableFunds"]
    assert round(now["AvailableFunds"] * 2, 2) == now["BuyingPower"]
    value = sum(item.marketValue for item in ib.portfolio())
    assert value == pytest.approx(now["StockMarketValue"], abs=0.01)
    assert sum(i.unrealizedPNL for i in ib.portfolio()) == pytest.approx(now["UnrealizedPnL"], abs=0.01)
    fills = list(ib.fills())
    paid = sum(
        f.execution.shares * f.execution.price * (1 if f.execution.side == "BOT" else -1)
        + f.commissionReport.commission
        for f in fills
    )
    assert now["TotalCashValue"] == pytest.approx(1_000_000 - paid, abs=0.006)
    summary = {v.tag: v.value for v in ib.accountSummary() if v.currency == "USD"}
    assert float(summary["NetLiquidation"]) == now["NetLiquidation"]
    assert float(summary["BuyingPower"]) == now["BuyingPower"]
    pnl, single = ib.reqPnL("DU1234567"), ib.reqPnLSingle("DU1234567", "", desk.stock(ib).conId)
    desk.settle(ib)
    assert pnl.dailyPnL == pytest.approx(now["NetLiquidation"] - 1_000_000, abs=0.02)
    assert (single.position, single.value) == (333, pytest.approx(333 * desk.command("status")["prices"]["AAPL"]))
    other = ib.reqPnLSingle("DU1234567", "", desk.stock(ib, "MSFT").conId)
    desk.settle(ib)
    assert single.dailyPnL + other.dailyPnL == pytest.approx(pnl.dailyPnL, abs=0.02)
    desk.step(ib, 382)  # to the close
    value = account(ib)["NetLiquidation"]
    desk.step(ib, 5)
    assert pnl.dailyPnL == pytest.approx(account(ib)["NetLiquidation"] - value, abs=0.03)


def test_profit_is_realised_when_a_position_closes(start):
    desk = start()
    ib = desk.client()
    stock = desk.stock(ib)
    bought = ib.placeOrder(stock, desk.insync.MarketOrder("BUY", 10))
    desk.step(ib)
    sold = ib.placeOrder(stock, desk.insync.MarketOrder("SELL", 10))
    desk.step(ib)
    one, other = bought.fills[0], sold.fills[0]
    gain = 10 * (other.execution.price - one.execution.price)
    fees = one.commissionReport.commission + other.commissionReport.commission
    assert one.commissionReport.realizedPNL == 0.0  # nothing was closed
    assert other.commissionReport.realizedPNL == pytest.approx(gain - fees, abs=1e-6)
    assert ib.positions() == []


def test_a_bracket_lives_and_dies_together(start):
    desk = start()
    ib = desk.client()
    stock, price = desk.stock(ib), desk.command("status")["prices"]["AAPL"]
    orders = ib.bracketOrder("BUY", 10, round(price + 1, 2), round(price + 50, 2), round(price - 50, 2))
    parent, target, stop = (ib.placeOrder(stock, order) for order in orders)
    desk.settle(ib)
    assert [status(t) for t in (parent, target, stop)] == ["Submitted", "PreSubmitted", "PreSubmitted"]
    assert stop.orderStatus.whyHeld == "child,trigger"
    desk.step(ib)
    assert [status(t) for t in (parent, target, stop)] == ["Filled", "Submitted", "PreSubmitted"]
    target.order.lmtPrice = round(price - 5, 2)
    ib.placeOrder(stock, target.order)
    desk.step(ib)
    assert [status(t) for t in (parent, target, stop)] == ["Filled", "Filled", "Cancelled"]
    assert ib.positions() == []


def test_one_cancels_all(start):
    desk = start()
    ib = desk.client()
    stock, price = desk.stock(ib), desk.command("status")["prices"]["AAPL"]
    orders = [desk.insync.LimitOrder("BUY", 10, round(price + d, 2)) for d in (1, -30, -40)]
    trades = [ib.placeOrder(stock, order) for order in ib.oneCancelsAll(orders, "group", 1)]
    desk.step(ib)
    assert [status(t) for t in trades] == ["Filled", "Cancelled", "Cancelled"]


@pytest.mark.parametrize("kind", ["stop", "stop limit", "trail", "trail limit", "moc", "gtd"])
def test_other_kinds_are_taken_and_shown_again_as_sent(start, kind):
    desk = start()
    ib = desk.client()
    insync, price = desk.insync, desk.command("status")["prices"]["AAPL"]
    low = round(price - 30, 2)
    order = {
        "stop": insync.StopOrder("SELL", 5, low),
        "stop limit": insync.StopLimitOrder("SELL", 5, low - 1, low),
        "trail": insync.Order(action="SELL", totalQuantity=5, orderType="TRAIL", trailingPercent=20.0),
        "trail limit": insync.Order(
            action="SELL", totalQuantity=5, orderType="TRAIL LIMIT", auxPrice=30.0, lmtPriceOffset=0.5
        ),
        "moc": insync.Order(action="SELL", totalQuantity=5, orderType="MOC"),
        "gtd": insync.LimitOrder("BUY", 5, low, tif="GTD", goodTillDate="20240108 15:00:00 US/Eastern"),
    }[kind]
    order.orderRef = kind
    ib.placeOrder(desk.stock(ib), order)
    desk.step(ib, 2)
    other = desk.client(2)
    (shown,) = [t.order for t in other.reqAllOpenOrders()]
    assert (shown.orderType, shown.totalQuantity, shown.orderRef, shown.tif) == (
        order.orderType, 5, kind, order.tif or "DAY",
    )  # fmt: skip
    assert (shown.goodTillDate, shown.clientId) == (order.goodTillDate, 1)
    if kind == "trail":
        high = max(desk.series().bar(n).high for n in range(4 * 390 + 3, 4 * 390 + 5))
        assert shown.trailStopPrice == pytest.approx(max(high, price) * 0.8)
    desk.step(ib, 385)
    (trade,) = ib.trades()
    assert status(trade) == ("Filled" if kind == "moc" else "Cancelled")


def test_orders_of_the_day_end_with_it_and_the_next_day_knows_only_its_own(start):
    desk = start()
    ib = desk.client()
    stock = desk.stock(ib)
    day = ib.placeOrder(stock, desk.insync.LimitOrder("BUY", 1, 50))
    kept = ib.placeOrder(stock, desk.insync.LimitOrder("BUY", 1, 51, tif="GTC"))
    filled = ib.placeOrder(stock, desk.insync.MarketOrder("BUY", 1))
    desk.step(ib, 387)
    assert [status(t) for t in (day, kept, filled)] == ["Cancelled", "Submitted", "Filled"]
    assert [t.order.permId for t in ib.reqCompletedOrders(False)] == [day.order.permId, filled.order.permId]
    assert len(ib.reqExecutions()) == 1
    desk.step(ib)
    assert [t.order.lmtPrice for t in ib.reqOpenOrders()] == [51]
    assert (len(ib.reqExecutions()), len(ib.reqCompletedOrders(False))) == (0, 0)


def test_refusals_reach_the_order(start):
    desk = start(margin=MarginRules(margin_account=False))
    ib = desk.client()
    short = ib.placeOrder(desk.stock(ib), desk.insync.MarketOrder("SELL", 1))
    dear = ib.placeOrder(desk.stock(ib), desk.insync.MarketOrder("BUY", 1_000_000))
    desk.settle(ib)
    assert [status(t) for t in (short, dear)] == ["Cancelled", "Cancelled"]
    assert [code for _, code in ib.heard if code < 2000] == [201, 201]
    assert "INITIAL MARGIN" in dear.log[-1].message


def test_what_an_order_would_do_is_told_without_placing_it(start):
    desk = start()
    ib = desk.client()
    state = ib.whatIfOrder(desk.stock(ib), desk.insync.MarketOrder("BUY", 100))
    price = desk.command("status")["prices"]["AAPL"]
    assert float(state.initMarginChange) == pytest.approx(50 * price)
    assert float(state.initMarginAfter) == pytest.approx(50 * price)
    assert (state.commission, state.commissionCurrency) == (1.0, "USD")
    assert desk.command("status")["open_orders"] == 0


def test_clients_see_their_own_orders_and_all_on_request(start):
    desk = start()
    one, two = desk.client(1), desk.client(2)
    ib_order = one.placeOrder(desk.stock(one), desk.insync.LimitOrder("BUY", 1, 50, orderRef="of one"))
    two.placeOrder(desk.stock(two), desk.insync.LimitOrder("BUY", 2, 50, orderRef="of two"))
    desk.settle(one)
    desk.settle(two)
    assert [t.order.orderRef for t in one.reqOpenOrders()] == ["of one"]
    assert sorted(t.order.orderRef for t in two.reqAllOpenOrders()) == ["of one", "of two"]
    two.client.cancelOrder(99)
    desk.settle(two)
    assert 10147 in [code for _, code in two.heard]
    two.reqGlobalCancel()
    desk.settle(two)
    desk.settle(one)
    assert status(ib_order) == "Cancelled"
    assert desk.command("status")["open_orders"] == 0


def test_an_id_in_use_is_refused(start):
    desk = start()
    desk.client(1)
    with pytest.raises(TimeoutError):
        desk.client(1, timeout=1)
    assert desk.command("status")["clients"] == [1]


def test_client_0_binds_what_is_ordered_by_hand(start):
    desk = start()
    desk.command("manual_order", symbol="AAPL", action="BUY", quantity=7, kind="LMT", limit=50)
    other, zero = desk.client(1), desk.client(0)
    desk.settle(zero)
    assert [(t.order.totalQuantity, t.order.clientId) for t in zero.openTrades()] == [(7, 0)]
    assert [t.order.totalQuantity for t in other.reqAllOpenOrders()] == [7]
    desk.command("manual_order", symbol="AAPL", action="BUY", quantity=9)
    desk.step(zero)
    assert [(f.execution.shares, f.execution.clientId) for f in zero.fills()] == [(9, 0)]
    assert [p.position for p in other.positions()] == [9]
    assert other.fills() == []


def test_fractions_are_filled_exactly(start):
    desk = start()
    ib = desk.client()
    trade = ib.placeOrder(desk.stock(ib), desk.insync.MarketOrder("BUY", 0.3333))
    desk.step(ib)
    assert trade.fills[0].execution.shares == 0.3333
    assert desk.command("status")["positions"] == {"AAPL": "0.3333"}
    assert desk.exchange.ledger.quantity("AAPL") == Decimal("0.3333")


def test_corners_of_the_calendar(start, tmp_path):
    from tests.unit.broker.simulator.recordings import minutes

    minutes(tmp_path, "AAPL", first=date(2023, 11, 22), last=date(2023, 11, 24))  # Thanksgiving, then an early close
    desk = start(tmp_path, bars=0, start=date(2023, 11, 24))
    ib = desk.client()
    (details,) = ib.reqContractDetails(desk.insync.Stock("AAPL", "SMART", "USD"))
    assert details.liquidHours.split(";")[0] == "20231124:0930-20231124:1300"
    moc = ib.placeOrder(desk.stock(ib), desk.insync.Order(action="BUY", totalQuantity=5, orderType="MOC"))
    day = ib.placeOrder(desk.stock(ib), desk.insync.LimitOrder("BUY", 5, 50))
    desk.step(ib, 210)
    assert (status(moc), status(day)) == ("Filled", "Cancelled")
    assert moc.fills[0].execution.time == datetime(2023, 11, 24, 18, tzinfo=UTC)


@pytest.mark.parametrize("version", [v for v in range(157, 177) if v != 158])  # at 158 clients disagree on a field
def test_every_version_is_spoken(start, version, caplog):
    desk = start(fill_at_once=True)
    ib = desk.insync.IB()
    ib.client.MaxClientVersion = version
    ib.client.MinClientVersion = 150
    ib.RequestTimeout = 10
    ib.connect("127.0.0.1", desk.gateway.port, clientId=1, timeout=5)
    stock = desk.stock(ib)
    assert ib.client.serverVersion() == version
    assert len(ib.reqHistoricalData(stock, "", "1 D", "1 min", "TRADES", True, 2)) == 3
    filled = ib.placeOrder(stock, desk.insync.MarketOrder("BUY", 5))
    waiting = ib.placeOrder(stock, desk.insync.LimitOrder("BUY", 5, 50.5, tif="GTC", orderRef="r"))
    desk.settle(ib)
    other = desk.insync.IB()
    other.client.MaxClientVersion, other.client.MinClientVersion = version, 150
    other.connect("127.0.0.1", desk.gateway.port, clientId=2, timeout=5)
    (shown,) = other.reqAllOpenOrders()
    assert (shown.order.lmtPrice, shown.order.tif, shown.order.orderRef) == (50.5, "GTC", "r")
    assert (status(filled), status(waiting)) == ("Filled", "Submitted")
    assert [t.order.totalQuantity for t in other.reqCompletedOrders(False)] == [5]
    assert [p.position for p in other.positions()] == [5]
    other.disconnect()
    ib.disconnect()
    assert not [r for r in caplog.records if r.name == "ib_insync.Decoder"]
