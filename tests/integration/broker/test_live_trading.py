"""A strategy of the library over the live feed and the live broker, TCP and all."""

from dataclasses import replace
from datetime import UTC, date, datetime

import backtrader as bt
import pytest

from broker.bar_series import Patience
from broker.closed_bars import from_warehouse
from broker.ib.messages import Alarm
from broker.instrument import Instrument
from broker.live_broker import LiveBroker
from broker.orders.changes import FillBooked, OrderIntended
from broker.store import Store, run_live
from risk.guard import RiskGuard
from risk.limits import Limits
from strategies.base_strategy import BaseStrategy
from tests.integration.broker.live_cerebro import Stage, live_desk
from tests.unit.broker.live_market import store_bars
from warehouse.calendar import get_calendar
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

pytestmark = pytest.mark.integration

STORED_UNTIL = date(2024, 1, 4)


class Crossing(BaseStrategy):
    """Long above the mean of three closes, flat below, with a stop."""

    def indicators(self, data):
        return {"mean": bt.ind.SMA(data.close, period=3)}

    def decide(self, data):
        if data.close[0] > self.ind[data].mean[0]:
            self.enter_long(data, stop=data.close[0] - 0.5)
        else:
            self.leave(data)


@pytest.fixture
def desk(start, recording, tmp_path):
    """A session on a Monday with the warehouse's bars of the Thursday before."""
    table = Warehouse(recording).read_bars("AAPL", Resolution.MINUTE, end=STORED_UNTIL)
    store_bars(tmp_path, "AAPL", Resolution.MINUTE, from_warehouse(table)[-30:])
    with live_desk(start(bars=3), tmp_path) as desk:
        yield desk


def traded(desk, bars):
    """Trade some live bars; the strategy, the broker and its journal."""
    desk.store = Store(desk.session, Warehouse(desk.folder), get_calendar("XNYS"), clock=desk.clock, hold=5.0)
    desk.cerebro = cerebro = Stage(stdstats=False)
    journal = []

    def script():
        yield lambda: desk.feeds[0]._laststatus == bt.feed.DataBase.DELAYED
        for _ in range(bars):
            desk.step()
            yield desk.delivered
            yield lambda: not any(order.state.value == "SENT" for order in broker.book.open_orders)

    feed = desk.store.getdata(
        "AAPL", Resolution.MINUTE, qcheck=0.01, patience=replace(Patience.of(Resolution.MINUTE), pause=0.05)
    )
    cerebro.store, cerebro.script, desk.feeds = desk.store, script(), [feed]
    cerebro.adddata(feed)
    broker = LiveBroker(
        desk.session,
        instruments={"AAPL": Instrument.resolved(desk.session, feed.p.contract)},
        guard=RiskGuard(
            Limits(),
            session_of=lambda moment: moment.date(),
            session_close=lambda day: datetime(day.year, day.month, day.day, 21, tzinfo=UTC),
        ),
        reference=lambda bar, number: f"test/{bar:%Y%m%d/%H%M%S}/{number}",
        journal=journal.append,
        market_time=desk.clock,
    )
    cerebro.setbroker(broker)
    cerebro.addstrategy(Crossing)
    (strategy,) = run_live(cerebro)
    return strategy, broker, journal


def test_a_strategy_trades_live_bars_and_only_those(desk):
    strategy, broker, journal = traded(desk, 30)
    sent = [change.order_ref for change in journal if isinstance(change, OrderIntended)]
    assert len(sent) > 5
    assert min(sent) >= "test/20240108/143400/0"  # the first bar that closed while the feed was live
    assert any("not live" in reason for reason in broker.reasons.values())
    assert len([change for change in journal if isinstance(change, FillBooked)]) > 5
    assert [change for change in journal if isinstance(change, Alarm)] == []
    held = {name: float(quantity) for name, quantity in desk.command("status")["positions"].items()}
    assert held == ({"AAPL": strategy.position.size} if strategy.position.size else {})
