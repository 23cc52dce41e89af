"""Whole Cerebro sessions over TCP: warehouse, history, live; and again after everything that can interrupt them."""

from contextlib import ExitStack
from datetime import UTC, date, datetime

import pytest

from broker.closed_bars import from_warehouse
from risk.guard import RiskGuard
from risk.limits import Limits
from tests.integration.broker.live_cerebro import CLIENT, live_desk, prices, recorded
from tests.unit.broker.live_market import Witness, store_bars
from warehouse.ledger.references import order_ref
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

pytestmark = pytest.mark.integration

MINUTE = 60_000_000
STORED_UNTIL = date(2024, 1, 4)


@pytest.fixture
def live(start, recording, tmp_path):
    """`live(**settings)`: a desk whose warehouse ends on the Thursday before the Monday that is played."""
    with ExitStack() as stack:

        def begin(symbols=("AAPL",), bars=3, **changes):
            for symbol in symbols:
                table = Warehouse(recording).read_bars(symbol, Resolution.MINUTE, end=STORED_UNTIL)
                store_bars(tmp_path, symbol, Resolution.MINUTE, from_warehouse(table)[-30:])
            return stack.enter_context(live_desk(start(bars=bars), tmp_path, **changes))

        yield begin


def everything(desk, recording, symbol="AAPL"):
    """The bars that a run has to see: 30 stored ones and all later ones of the recording."""
    whole = recorded(recording, symbol, desk.market_now())
    stored = len(recorded(recording, symbol, 1704402000 * 1_000_000))  # 2024-01-04 16:00 in New York
    return whole[stored - 30 :]


def test_a_session_is_filled_from_the_warehouse_and_history_and_goes_live(live, recording):
    def script(desk):
        yield desk.told("DELAYED")
        for _ in range(5):
            desk.step()
            yield desk.delivered

    desk = live()
    strategy = desk.run(script)
    truth = everything(desk, recording)
    assert len(truth) == 30 + 390 + 8
    assert prices(strategy) == truth
    assert strategy.live == [bar[0] for bar in truth[-4:]]
    assert strategy.statuses == ["CONNECTED", "DELAYED", "LIVE", "DISCONNECTED"]


def until_live(desk):
    """A script: the first back-fill, and a bar after which the feed is live."""
    yield desk.told("DELAYED")
    live = desk.told("LIVE")
    desk.step()
    yield live


def test_several_feeds_deliver_the_bars_of_one_moment_together(live, recording):
    def script(desk):
        yield desk.told("DELAYED")
        yield from desk.follow(3)

    desk = live(symbols=("AAPL", "MSFT"))
    strategy = desk.run(script, symbols=("AAPL", "MSFT"))
    assert set(strategy.rounds) == {("AAPL", "MSFT")}
    for symbol in ("AAPL", "MSFT"):
        assert prices(strategy, symbol) == everything(desk, recording, symbol)


def link_lost(desk):
    desk.command("link", state="lost")


def link_restored_without_data(desk):
    desk.command("link", state="restored_without_data")


def link_restored(desk):
    desk.command("link", state="restored")


def farm_broken(desk):
    desk.command("farm", state="broken")


def farm_ok(desk):
    desk.command("farm", state="ok")


def another_session(desk):
    desk.command("competing_session", active=True)


def no_other_session(desk):
    desk.command("competing_session", active=False)


def disconnect(desk):
    desk.command("disconnect", client=CLIENT)


def restart(desk):
    desk.command("restart", down_seconds=0.3)


def freeze(desk):
    desk.command("freeze", client=CLIENT)


def nothing(desk):
    """It heals by itself."""


@pytest.mark.parametrize(
    ("breaks", "heals"),
    [
        (link_lost, link_restored_without_data),
        (link_lost, link_restored),
        (farm_broken, farm_ok),
        (another_session, no_other_session),
        (disconnect, nothing),
        (restart, nothing),
        (freeze, disconnect),
    ],
)
def test_what_came_during_an_interruption_is_filled_in_and_the_feed_is_live_again(live, recording, breaks, heals):
    def script(desk):
        yield from until_live(desk)
        broken = desk.told("CONNBROKEN")
        breaks(desk)
        yield broken
        before = desk.market_now()
        desk.command("step", bars=3)
        missed.extend(range(before + MINUTE, desk.market_now() + 1, MINUTE))
        again = desk.told("CONNECTED")
        heals(desk)
        yield again
        yield desk.ready
        yield from desk.follow(3)

    desk, missed = live(), []
    strategy = desk.run(script)
    truth = everything(desk, recording)
    assert prices(strategy) == truth
    broken = strategy.statuses.index("CONNBROKEN")
    assert strategy.statuses[broken - 1] == "LIVE"
    assert strategy.statuses[broken:][-2:] == ["LIVE", "DISCONNECTED"]
    assert len(missed) == 3
    assert not set(strategy.live) & set(missed)
    assert truth[-1][0] in strategy.live


@pytest.mark.parametrize("code", [10182, 10225, 366])
def test_a_stream_that_ends_is_begun_again_and_the_gap_filled(live, recording, code):
    def script(desk):
        yield from until_live(desk)
        stream = desk.session._streams[desk.feeds[0]._streams.bars]
        dead = stream.key
        desk.command("end_stream", client=CLIENT, req_id=dead, code=code)
        yield lambda: stream.key is None
        desk.command("step", bars=2)
        yield lambda: stream.key is not None
        yield from desk.follow(3)

    desk = live()
    strategy = desk.run(script)
    assert prices(strategy) == everything(desk, recording)
    assert strategy.statuses[3:4] == ["CONNBROKEN"]
    assert strategy.statuses[-2:] == ["LIVE", "DISCONNECTED"]


def test_history_that_is_empty_for_a_while_is_asked_again(live, recording):
    def script(desk):
        desk.command("fault", request="history", action="empty", times=2)
        yield lambda: len(desk.feeds[0]) > 30 + 390
        yield from desk.follow(3)

    desk = live()
    strategy = desk.run(script)
    assert prices(strategy) == everything(desk, recording)


def test_delayed_data_are_delivered_late_and_not_traded_on(live, recording):
    def script(desk):
        yield desk.told("DELAYED")
        for _ in range(25):
            desk.step()
            yield desk.heard
        yield desk.delivered

    desk = live(market_data=3)
    desk.command("line", market_data="delayed")
    strategy = desk.run(script)
    assert prices(strategy) == everything(desk, recording)
    assert strategy.statuses == ["CONNECTED", "DELAYED", "DISCONNECTED"]
    assert strategy.live == []


def test_without_a_subscription_to_market_data_a_feed_ends(live):
    def script(desk):
        yield lambda: False

    desk = live()
    desk.command("line", market_data="none")
    strategy = desk.run(script)
    assert strategy.statuses[-1] == "NOTSUBSCRIBED"
    assert "subscription_ended" in strategy.alarms()


class Buyer(Witness):
    """Wants a share at every bar, as long as it has none and no order for one."""

    def __init__(self):
        super().__init__()
        self.sent, self.order = [], None

    def next(self):
        super().next()
        if not self.position and (self.order is None or not self.order.alive()):
            self.order = self.buy(size=1)
            self.sent.append((self.bars[-1][1], self.order.getstatusname()))


def test_orders_leave_on_live_bars_only(live):
    def script(desk):
        yield desk.told("DELAYED")
        for _ in range(5):
            desk.step()
            yield desk.delivered
        yield lambda: desk.cerebro.runningstrats[0].position.size == 1

    def broker(store):
        guard = RiskGuard(
            Limits(),
            session_of=lambda moment: moment.date(),
            session_close=lambda day: datetime(day.year, day.month, day.day, 21, tzinfo=UTC),
        )
        return store.getbroker(guard=guard, reference=lambda bar, number: order_ref("test", bar.date(), bar, number))

    desk = live()
    strategy = desk.run(script, strategy=Buyer, broker=broker)
    before_live = [bar[1] for bar in strategy.bars if bar[1] < strategy.live[0]]
    assert strategy.sent[:-1] == [(stamp, "Rejected") for stamp in before_live]
    assert strategy.sent[-1] == (strategy.live[0], "Submitted")
    assert desk.command("status")["positions"] == {"AAPL": "1"}
