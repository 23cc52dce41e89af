"""Field tables against what ib_insync itself writes."""

import asyncio

import pytest

from broker.simulator.errors import ProtocolError
from broker.simulator.framing import fields_of
from broker.simulator.order_request import read_order, terms_of
from broker.simulator.requests import LAYOUTS, decode


@pytest.fixture(scope="module")
def insync():
    """ib_insync; it wants an event loop when it is imported."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    import ib_insync

    return ib_insync


def sent_by(insync, version, call, *arguments):
    """The fields that ib_insync sends for a call."""
    client, sent = insync.client.Client(object()), []
    client._serverVersion = version
    client.isConnected = lambda: True
    client.sendMsg = lambda message: sent.append(fields_of(message.encode()))
    getattr(client, call)(*arguments)
    return sent[0]


CALLS = [
    ("reqMktData", (1, "stock", "233", True, False, [])),
    ("reqHistoricalData", (2, "stock", "", "1 D", "1 min", "TRADES", True, 2, True, [])),
    ("reqContractDetails", (3, "stock")),
    ("reqRealTimeBars", (4, "stock", 5, "MIDPOINT", False, [])),
    ("reqHeadTimeStamp", (5, "stock", "TRADES", True, 2)),
    ("reqTickByTickData", (6, "stock", "Last", 0, False)),
    ("reqHistoricalTicks", (7, "stock", "20240101 10:00:00", "", 10, "TRADES", True, False, [])),
]


@pytest.mark.parametrize("version", [157, 176])
@pytest.mark.parametrize(("call", "arguments"), CALLS)
def test_a_request_has_as_many_fields_as_its_table(insync, version, call, arguments):
    stock = insync.Stock("AAPL", "SMART", "USD", conId=17)
    fields = sent_by(insync, version, call, *(stock if a == "stock" else a for a in arguments))
    request = decode(fields, version)

    assert (request.req_id, request.text("symbol"), request.text("con_id")) == (arguments[0], "AAPL", "17")
    assert len(fields) - 1 - len(request.fields) in {0, 1}  # a trailing field without meaning may be left unread


def test_history_names_the_bar_size_before_the_duration(insync):
    stock = insync.Stock("AAPL", "SMART", "USD")
    fields = sent_by(insync, 176, "reqHistoricalData", 2, stock, "", "1 D", "1 min", "TRADES", True, 2, True, [])
    request = decode(fields, 176)

    wanted = {"bar_size": "1 min", "duration": "1 D", "what": "TRADES", "format": "2", "end": "", "use_rth": "1"}
    assert {name: request.text(name) for name in wanted} == wanted
    assert request.flag("update")


@pytest.mark.parametrize(("version", "count"), [(157, 110), (176, 115)])
def test_an_order_is_read_to_its_last_field(insync, version, count):
    stock = insync.Stock("AAPL", "SMART", "USD")
    order = insync.StopLimitOrder("SELL", 12.5, 99.5, 100.25, orderRef="r", tif="GTD", goodTillDate="20240131 15:00:00")
    order.outsideRth, order.parentId, order.ocaGroup, order.ocaType = True, 7, "g", 2
    fields = sent_by(insync, version, "placeOrder", 9, stock, order)
    assert len(fields) == count
    values = read_order(fields, version)
    terms = terms_of(values)

    assert (terms.side, str(terms.quantity), terms.kind, terms.limit, terms.aux) == (
        -1,
        "12.5",
        "STP LMT",
        99.5,
        100.25,
    )
    assert (terms.tif, terms.good_till, terms.outside_rth, terms.parent_id) == ("GTD", "20240131 15:00:00", True, 7)
    assert (terms.oca_group, terms.oca_type, terms.order_ref, terms.transmit) == ("g", 2, "r", True)
    assert values["price_management"] == "0"
    assert values.get("manual_time", "none") == ("" if version == 176 else "none")


def test_blocks_of_an_order_do_not_shift_what_follows(insync):
    stock = insync.Stock("AAPL", "SMART", "USD")
    order = insync.Order(
        action="BUY", totalQuantity=1, orderType="TRAIL LIMIT", trailingPercent=2.0, lmtPriceOffset=0.1
    )
    order.algoStrategy, order.algoParams = "Adaptive", [insync.TagValue("adaptivePriority", "Normal")]
    order.hedgeType, order.hedgeParam, order.scalePriceIncrement, order.cashQty = "B", "1", 0.5, 77.0
    order.deltaNeutralOrderType = "MKT"
    values = read_order(sent_by(insync, 176, "placeOrder", 9, stock, order), 176)

    assert (values["trail_percent"], values["limit_offset"], values["cash_quantity"]) == ("2.0", "0.1", "77.0")
    assert (values["algorithm"], values["hedge_type"]) == ("Adaptive", "B")


def test_vendor_values_for_unset_are_unset():
    fields = ["3", "1", *[""] * 12, "", "", "BUY", "1", "LMT", "1.7976931348623157e+308", "2147483647", *[""] * 90]
    terms = terms_of(read_order(fields, 157))

    assert (terms.limit, terms.aux, terms.kind) == (None, None, "LMT")


def test_an_unknown_id_is_no_request():
    assert decode(["4711", "1"], 176) is None


@pytest.mark.parametrize("fields", [["x"], ["20", "1", "0", "A", "BAG", *[""] * 16, "many"]])
def test_numbers_that_are_none_are_protocol_errors(fields):
    with pytest.raises(ProtocolError, match="is not a whole number"):
        decode(fields, 176)


def test_names_of_requests_are_unique():
    assert len({layout.name for layout in LAYOUTS.values()}) == len(LAYOUTS)
