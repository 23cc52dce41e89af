"""Every fault that can be asked for, as a client meets it."""

import asyncio
import logging
import socket
import struct
import time

import pytest

from tests.integration.broker.conftest import on_ib_async

pytestmark = pytest.mark.integration


def status(trade):
    return trade.orderStatus.status


@pytest.fixture
def desk(start):
    return start(fill_at_once=True)


def buy(desk, ib, quantity=10, **fields):
    """Place a market order and hear what comes of it."""
    trade = ib.placeOrder(desk.stock(ib), desk.insync.MarketOrder("BUY", quantity, **fields))
    desk.settle(ib)
    return trade


def rest(desk, ib, price=50.0, **fields):
    """Place an order that waits."""
    trade = ib.placeOrder(desk.stock(ib), desk.insync.LimitOrder("BUY", 10, price, **fields))
    desk.settle(ib)
    return trade


def test_an_end_marker_is_dropped(desk, caplog):
    desk.command("fault", answer="positionEnd", action="drop")
    with caplog.at_level(logging.ERROR, "ib_insync"):
        ib = desk.client(timeout=0.5)
    assert "positions request timed out" in caplog.text
    assert ib.isConnected()


def test_the_next_id_never_comes(desk):
    desk.command("fault", answer="nextValidId", action="drop", times=1)
    with pytest.raises(TimeoutError):
        desk.client(timeout=0.5)
    assert desk.client(2).isConnected()


def test_the_commission_comes_before_the_fill(desk):
    desk.command("fault", answer="execDetails", action="after", value="commissionReport", times=1)
    trade = buy(desk, desk.client())
    assert [f.commissionReport.commission for f in trade.fills] == [0.0]  # the client has lost it
    assert float(desk.command("status")["fees"]) == 1.0


def test_messages_come_twice(desk):
    for answer in ("orderStatus", "execDetails", "commissionReport"):
        desk.command("fault", answer=answer, action="duplicate")
    ib, reports = desk.client(), []
    ib.commissionReportEvent += lambda *_: reports.append(1)
    trade = buy(desk, ib)
    assert (len(trade.fills), len(reports), status(trade)) == (1, 2, "Filled")
    assert desk.command("status")["positions"] == {"AAPL": "10"}


def test_the_fill_never_comes(desk):
    desk.command("fault", answer="execDetails", action="drop", times=1)
    ib = desk.client()
    trade = buy(desk, ib)
    assert (status(trade), trade.fills) == ("Filled", [])
    assert [f.execution.shares for f in ib.reqExecutions()] == [10]


def test_the_commission_comes_late_or_never(desk):
    desk.command("fault", answer="commissionReport", action="delay", value="0.3", times=1)
    desk.command("fault", answer="commissionReport", action="drop", order_ref="never")
    ib = desk.client()
    late, never = buy(desk, ib), buy(desk, ib, orderRef="never")
    assert late.fills[0].commissionReport.commission == 0.0
    desk.until(ib, lambda: late.fills[0].commissionReport.commission == 1.0)
    assert never.fills[0].commissionReport.commission == 0.0


def test_an_order_is_swallowed(desk):
    desk.command("fault", request="place_order", action="swallow", order_ref="lost")
    ib = desk.client()
    assert status(buy(desk, ib, orderRef="lost")) == "PendingSubmit"
    assert ib.reqAllOpenOrders() == []
    assert status(buy(desk, ib)) == "Filled"


@pytest.mark.skipif(on_ib_async(), reason="ib_async calls the state of such an order by other names")
def test_a_change_is_refused_and_the_order_lives(desk):
    desk.command("fault", request="place_order", action="error", code=105, text="Order being modified", modify=True)
    ib = desk.client()
    trade = rest(desk, ib)
    trade.order.lmtPrice = 51.0
    ib.placeOrder(desk.stock(ib), trade.order)
    desk.settle(ib)
    assert status(trade) == "Cancelled"  # what ib_insync makes of it
    assert [t.order.lmtPrice for t in desk.client(2).reqAllOpenOrders()] == [50.0]  # what is true


def test_a_cancel_comes_too_late(desk):
    desk.command("fault", request="cancel_order", action="fill", order_ref="race")
    ib = desk.client()
    trade = rest(desk, ib, orderRef="race")
    ib.cancelOrder(trade.order)
    desk.settle(ib)
    assert (status(trade), ib.heard[-1][1]) == ("Filled", 10148)


def test_a_part_is_filled_and_the_rest_cancelled(desk):
    desk.command("fault", request="place_order", action="partial", value="0.4", order_ref="part")
    trade = rest(desk, desk.client(), orderRef="part")
    assert (status(trade), trade.filled()) == ("Cancelled", 4)


def test_fills_come_in_fractions(desk):
    desk.command("fill_cap", quantity="3.5")
    trade = buy(desk, desk.client())
    assert [f.execution.shares for f in trade.fills] == [3.5, 3.5, 3.0]
    assert [f.execution.cumQty for f in trade.fills] == [3.5, 7.0, 10.0]


@pytest.mark.skipif(on_ib_async(), reason="ib_async calls the state of such an order by other names")
@pytest.mark.parametrize("code", [110, 201, 202, 10147, 10318, 10349, 399])
def test_any_error_on_an_order(desk, code):
    desk.command("fault", request="place_order", action="error", code=code)
    ib = desk.client()
    trade = buy(desk, ib)
    assert (trade.order.orderId, code) in ib.heard
    kept = {110, 202, 399}  # ib_insync takes these for warnings; a real 202 follows a status
    assert status(trade) == ("PendingSubmit" if code in kept else "Cancelled")


def test_any_error_on_a_request_or_the_line(desk):
    desk.command("fault", request="contract_details", action="error", code=200, times=1)
    ib = desk.client()
    assert ib.reqContractDetails(desk.insync.Stock("AAPL", "SMART", "USD")) == []
    for code in (1100, 1101, 1102, 2103, 2105, 2107, 2110, 2157):
        desk.command("error", code=code, text="injected")
    desk.settle(ib)
    assert [c for _, c in ib.heard][-8:] == [1100, 1101, 1102, 2103, 2105, 2107, 2110, 2157]


def test_the_client_id_is_still_in_use(desk):
    desk.command("fault", request="start_api", action="error", code=326, times=1)
    heard, ib = [], desk.insync.IB()
    ib.errorEvent += lambda _, code, *__: heard.append(code)
    with pytest.raises(TimeoutError):
        ib.connect("127.0.0.1", desk.gateway.port, clientId=5, timeout=0.5)
    assert heard == [326]
    assert desk.client(5).isConnected()


@pytest.mark.parametrize("frames", ["split", "coalesced"])
def test_frames_are_split_or_joined(desk, frames):
    desk.command("line", frames=frames)
    ib = desk.client()
    bars = ib.reqHistoricalData(desk.stock(ib), "", "1 D", "1 min", "TRADES", True, 2)
    assert (len(bars), status(buy(desk, ib))) == (3, "Filled")


def test_the_line_freezes_and_nobody_hangs_up(desk):
    ib = desk.client()
    ib.RequestTimeout = 0.3
    desk.command("freeze", client=1)
    with pytest.raises(TimeoutError):
        ib.reqCurrentTime()
    assert ib.isConnected()


def test_the_line_closes_during_start(desk):
    desk.command("fault", request="executions", action="close", times=1)
    with pytest.raises((TimeoutError, ConnectionError)):
        desk.client(timeout=1)
    assert desk.client(2).isConnected()


@pytest.mark.parametrize("lose", [False, True])
def test_the_gateway_restarts(desk, lose):
    ib = desk.client()
    trade, waiting = buy(desk, ib), rest(desk, ib)
    desk.command("restart", lose_executions=lose)
    assert desk.hung_up(ib)
    again = desk.client()
    assert [t.order.permId for t in again.openTrades()] == [waiting.order.permId]
    assert [f.execution.execId for f in again.fills()] == ([] if lose else [trade.fills[0].execution.execId])
    assert [p.position for p in again.positions()] == [10]
    assert again.client.getReqId() > waiting.order.orderId


def test_a_gateway_that_is_down_refuses_for_a_while(desk):
    desk.command("restart", down_seconds=0.5)
    with pytest.raises((TimeoutError, ConnectionError)):
        desk.client(timeout=0.3)
    time.sleep(0.5)
    assert desk.client().isConnected()


def test_history_is_empty(desk):
    desk.command("fault", request="history", action="empty", times=1)
    ib = desk.client()
    bars = ib.reqHistoricalData(desk.stock(ib), "", "1 D", "1 min", "TRADES", True, 2, keepUpToDate=True)
    assert len(bars) == 0
    desk.step(ib)
    assert len(bars) == 0  # what ib_insync makes of updates that follow an empty history
    assert len(ib.reqHistoricalData(desk.stock(ib), "", "1 D", "1 min", "TRADES", True, 2)) == 4


def test_execution_times_have_an_unknown_zone(desk, caplog):
    desk.command("line", execution_zone="Mars/Olympus")
    ib = desk.client()
    with caplog.at_level(logging.ERROR, "ib_insync"):
        trade = buy(desk, ib)
    assert (status(trade), trade.fills) == ("Filled", [])
    assert "Mars/Olympus" in caplog.text


def test_another_session_takes_the_data(desk):
    ib = desk.client()
    ticker = ib.reqMktData(desk.stock(ib))
    desk.settle(ib)
    before = ticker.last
    desk.command("competing_session", active=True)
    desk.step(ib, 3)
    assert (ticker.last, ib.heard[-1][1]) == (before, 10197)
    assert status(buy(desk, ib)) == "Filled"  # orders still work
    desk.command("competing_session", active=False)
    desk.step(ib)
    assert ticker.last == desk.command("status")["prices"]["AAPL"]


def test_the_clock_is_wrong(desk):
    desk.command("line", clock_skew=45)
    ib = desk.client()
    assert ib.reqCurrentTime().timestamp() - time.time() == pytest.approx(45, abs=2)


def test_pacing_is_enforced(desk):
    desk.command("line", pacing=True)
    ib = desk.client()
    stock = desk.stock(ib)
    asked = [ib.reqHistoricalData(stock, "", d, "1 min", "TRADES", True, 2) for d in ("1 D", "2 D", "1 D")]
    assert [len(bars) > 0 for bars in asked] == [True, True, False]
    assert ib.heard[-1][1] == 162
    for day in range(3, 7):
        ib.reqHistoricalData(stock, "", f"{day} D", "1 min", "TRADES", True, 2)
    assert [code for _, code in ib.heard].count(162) == 2  # the sixth within two seconds


def test_too_many_messages_end_the_connection(desk):
    desk.command("line", pacing=True)
    ib = desk.client()
    for _ in range(80):
        ib.client.conn.sendMsg(struct.pack(">I", 5) + b"49\x001\x00")
    assert desk.hung_up(ib)
    assert 100 in [code for _, code in ib.heard]


def test_an_execution_is_corrected(desk):
    ib = desk.client()
    trade = buy(desk, ib)
    old = trade.fills[0].execution
    desk.command("correct", exec_id=old.execId, price=90)
    desk.settle(ib)
    new = trade.fills[1].execution
    assert (new.execId, new.price, new.cumQty) == (old.execId[:-2] + "02", 90.0, 10)
    assert [f.execution.price for f in desk.client(2).reqExecutions()] == [90.0]


def test_a_position_changes_without_an_order(desk):
    ib = desk.client()
    desk.command("position", symbol="AAPL", quantity=-25)
    desk.settle(ib)
    assert [p.position for p in ib.positions()] == [-25]
    assert ib.fills() == []


def test_the_link_to_ib_is_lost_and_comes_back(desk):
    ib = desk.client()
    ticker = ib.reqMktData(desk.stock(ib))
    desk.settle(ib)
    before = ticker.last
    stock = desk.stock(ib)
    desk.command("link", state="lost")
    trade = ib.placeOrder(stock, desk.insync.MarketOrder("BUY", 10))
    desk.step(ib, 2)
    assert (ticker.last, status(trade)) == (before, "PendingSubmit")
    desk.command("link", state="restored")
    desk.settle(ib)
    assert status(trade) == "Filled"
    desk.step(ib)
    assert ticker.last == desk.command("status")["prices"]["AAPL"]
    desk.command("link", state="lost")
    desk.command("link", state="restored_without_data")
    last = ticker.last
    desk.step(ib, 3)
    assert ticker.last == last  # nobody has asked again
    assert [c for _, c in ib.heard if 1100 <= c < 1200] == [1100, 1102, 1100, 1101]


def test_a_data_farm_breaks(desk):
    ib = desk.client()
    bars = ib.reqRealTimeBars(desk.stock(ib), 5, "TRADES", True)
    desk.settle(ib)
    desk.command("farm", state="broken")
    desk.step(ib)
    assert len(bars) == 0
    desk.command("farm", state="ok")
    desk.step(ib)
    assert len(bars) == 12
    assert [c for _, c in ib.heard][-4:] == [2103, 2105, 2104, 2106]


def test_market_data_is_delayed_or_not_permitted(desk):
    desk.command("line", market_data="delayed")
    ib = desk.client()
    refused = ib.reqMktData(desk.stock(ib))
    desk.settle(ib)
    assert (ib.heard[-1][1], refused.marketDataType) == (354, 1)
    ib.reqMarketDataType(3)
    delayed = ib.reqMktData(desk.stock(ib, "MSFT"))
    desk.settle(ib)
    assert (ib.heard[-1][1], delayed.marketDataType) == (10167, 3)
    assert delayed.last == desk.command("status")["prices"]["MSFT"]
    desk.command("line", market_data="none")
    ib.reqMktData(desk.stock(ib, "MSFT"))
    desk.settle(ib)
    assert ib.heard[-1][1] == 354


@pytest.mark.parametrize("code", [366, 10182, 10225])
def test_a_stream_dies(desk, code):
    ib = desk.client()
    bars = ib.reqRealTimeBars(desk.stock(ib), 5, "TRADES", True)
    desk.step(ib)
    desk.command("end_stream", client=1, req_id=bars.reqId, code=code)
    desk.settle(ib)
    desk.step(ib)
    # ib_insync asks again by itself after a 10225
    assert (len(bars), ib.heard[-1]) == (24 if code == 10225 else 12, (bars.reqId, code))


def test_random_faults_are_the_same_for_the_same_seed(start):
    def run(seed):
        desk = start(fill_at_once=True, seed=seed)
        desk.command("fault", answer="orderStatus", action="drop", probability=0.5)
        ib, heard = desk.client(), []
        ib.orderStatusEvent += lambda t: heard.append((t.order.orderId, status(t)))
        for _ in range(12):
            buy(desk, ib)
        return heard

    assert run(1) == run(1) != run(2)


def test_faults_follow_a_script(start):
    script = (
        {"after_steps": 13, "command": "error", "code": 1100, "text": "scripted"},
        {"at": "2024-01-08T14:36:00+00:00", "command": "halt", "symbol": "AAPL"},
    )
    desk = start(script=script)
    ib = desk.client()
    desk.step(ib, 1)
    assert ib.heard[-1] == (-1, 1100)
    assert desk.exchange.market.halted == set()
    desk.step(ib, 3)
    assert desk.exchange.market.halted == {"AAPL"}


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("fault", {"answer": "orderStat", "action": "drop"}, "Did you mean orderStatus?"),
        ("fault", {"request": "place_ordr", "action": "swallow"}, "Did you mean place_order?"),
        ("fault", {"answer": "orderStatus", "action": "explode"}, "'explode' is not one of"),
        ("fault", {"answer": "orderStatus", "action": "drop", "tmes": 1}, "'tmes' is not one of"),
        ("fault", {"answer": "orderStatus", "action": "drop", "times": "many"}, "times: 'many'"),
        ("fault", {"answer": "orderStatus", "action": "delay", "value": "soon"}, "value: 'soon'"),
        ("fault", {"answer": "orderStatus", "action": "drop", "probability": 2}, "probability: 2"),
        ("fault", {"answer": "orderStatus", "action": "drop", "probability": "x"}, "probability: 'x'"),
        ("halt", {"symbol": ["AAPL"]}, "is not a plain value"),
        ("error", {"code": "x"}, "code: 'x'"),
        ("line", {"frames": "torn"}, "'torn' is not one of"),
        ("line", {"market_data": "free"}, "'free' is not one of"),
        ("position", {"symbol": "AAPL", "quantity": "many"}, "quantity: 'many' is not a number"),
        ("end_stream", {"client": 9, "req_id": 1}, "client: 9 is not connected"),
        ("correct", {"exec_id": "none", "price": 1}, "there is no execution 'none'"),
        ("manual_order", {"symbol": "AAPL", "action": "BUY", "quantity": -5}, "was refused"),
        ("stpe", {}, "Did you mean step?"),
        ("step", {"bars": -1}, "bars: -1"),
        ("step", {"days": 1}, "days"),
        ("halt", {"symbol": "NONE"}, "'NONE' is not traded here"),
        ("link", {"state": "gone"}, "'gone' is not one of"),
        ("speed", {"speed": 0}, "speed: 0"),
        ("seek", {"to": "yesterday"}, "'yesterday' is not a time"),
        ("freeze", {"client": 9}, "client: 9 is not connected"),
    ],
)
def test_a_wrong_command_is_one_sentence(desk, name, arguments, sentence):
    from broker.simulator.errors import SimulatorError

    with pytest.raises(SimulatorError, match=sentence.replace("?", r"\?")):
        desk.command(name, **arguments)


@pytest.mark.parametrize(
    "content", [b"GET / HTTP/1.1\r\n\r\n", b"API\0\x00\x00\x00\x05v1..2", b"API\0\xff\xff\xff\xff", b"\0" * 64]
)
def test_what_speaks_another_language_is_hung_up_on(desk, content):
    with socket.create_connection(("127.0.0.1", desk.gateway.port), timeout=5) as line:
        line.sendall(content)
        assert line.recv(100) == b""
    assert desk.client().isConnected()


def test_damaged_messages_are_answered_and_survived(desk):
    ib = desk.client()
    for content in (b"3\0x\0", b"20\x005\0", b"1\x0011\0nine\0", b"4\x001\0none\0", b"x\0", b"9\x008\x001\0\0\0BAG\0"):
        ib.client.conn.sendMsg(struct.pack(">I", len(content)) + content)
    desk.settle(ib)
    assert {code for _, code in ib.heard if code < 2000} <= {320, 200, 321, 505}
    assert status(buy(desk, ib)) == "Filled"
    assert asyncio.get_event_loop_policy() is not None
