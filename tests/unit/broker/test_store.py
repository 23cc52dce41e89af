"""What the feeds of one Cerebro share: one queue, steps in time, the end."""

import threading
from datetime import date

import backtrader as bt
import pytest

from broker.errors import ContractError, LiveRunError, RequestRefusedError
from broker.ib.messages import Alarm, Undecoded
from broker.store import Store, run_live
from tests.unit.broker.live_market import (
    CALENDAR,
    SECOND,
    ScriptedGateway,
    Witness,
    at,
    bars_of,
    parts,
    playing,
    rows,
    run,
    seen,
    store_bars,
)
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

MINUTE = 60 * SECOND
SPAN = (at("2024-07-03 12:40"), at("2024-07-03 13:00"))
BEGUN = SPAN[0] + 5 * MINUTE


@pytest.fixture
def pair(tmp_path):
    """Parts of two symbols and a warehouse with their first minutes."""
    made = {"AAPL": parts([SPAN]), "MSFT": parts([SPAN], price=20_000)}
    for symbol, of_symbol in made.items():
        store_bars(tmp_path, symbol, Resolution.MINUTE, bars_of(of_symbol, Resolution.MINUTE)[:3])
    return made, Warehouse(tmp_path)


def test_bars_of_one_moment_are_delivered_together_though_one_is_late(pair):
    made, warehouse = pair
    gateway = ScriptedGateway(made, now=BEGUN)
    late = at("2024-07-03 12:50") + 20 * SECOND

    wanted = []

    def stream(symbol, request):
        """Set what streams of a symbol under its first number."""
        number = 1 if symbol == "AAPL" else 3
        wanted.append(gateway.streams[number])
        gateway.streams[number] = request

    during = [(late, lambda: stream("MSFT", None)), (late + 10 * SECOND, lambda: stream("MSFT", wanted[0]))]
    strategy = run(gateway, warehouse, playing(gateway, SPAN[1], during), symbols=tuple(made))
    assert set(strategy.rounds) == {("AAPL", "MSFT")}
    for symbol, of_symbol in made.items():
        assert seen(strategy, symbol) == rows(bars_of(of_symbol, Resolution.MINUTE))


def test_bars_of_the_warehouse_wait_for_those_of_a_feed_whose_history_is_late(pair):
    made, warehouse = pair
    gateway = ScriptedGateway(made, now=BEGUN, failures=1)
    strategy = run(gateway, warehouse, playing(gateway, SPAN[1]), symbols=tuple(made))
    assert set(strategy.rounds) == {("AAPL", "MSFT")}
    assert len(strategy.rounds) == 20


def test_a_bar_waits_for_another_feed_only_for_a_while(pair):
    made, warehouse = pair
    made["MSFT"] = made["MSFT"][: 12 * 10]  # nothing of it after ten minutes
    gateway = ScriptedGateway(made, now=BEGUN)
    strategy = run(gateway, warehouse, playing(gateway, SPAN[1] + 2 * MINUTE), symbols=tuple(made), hold=7.0)
    assert seen(strategy, "AAPL") == rows(bars_of(made["AAPL"], Resolution.MINUTE))
    assert strategy.rounds[-10:] == [("AAPL",)] * 10


def test_alarms_of_the_session_are_notifications_of_the_store(pair):
    made, warehouse = pair
    gateway = ScriptedGateway(made, now=BEGUN)
    alarm, undecoded = Alarm(gateway.clock(), "outage", "The session is away."), Undecoded("what?", about_account=False)

    def script():
        gateway.queue.put(alarm)
        gateway.queue.put(undecoded)
        yield from playing(gateway, BEGUN + MINUTE)

    strategy = run(gateway, warehouse, script())
    assert strategy.notices == [("alarm", alarm), ("undecoded", undecoded)]


def test_what_belongs_to_another_subscription_is_not_a_feeds_bar(pair):
    made, warehouse = pair
    gateway = ScriptedGateway({"AAPL": made["AAPL"], "MSFT": made["AAPL"]}, now=BEGUN)
    strategy = run(gateway, warehouse, playing(gateway, SPAN[1]), symbols=("AAPL",))
    assert seen(strategy) == rows(bars_of(made["AAPL"], Resolution.MINUTE))
    assert [name for name, *_ in strategy.bars if name != "AAPL"] == []


def test_another_thread_ends_a_run_that_waits_for_news(pair):
    made, warehouse = pair
    gateway = ScriptedGateway(made, now=BEGUN)
    store = Store(gateway, warehouse, CALENDAR, clock=gateway.clock)
    waits = threading.Event()

    class Waiting(Witness):
        def notify_data(self, data, status, *args, **kwargs):
            super().notify_data(data, status, *args, **kwargs)
            waits.set()

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(store.getdata("AAPL", Resolution.MINUTE, qcheck=60.0))
    cerebro.addstrategy(Waiting)
    ran = []
    running = threading.Thread(target=lambda: ran.extend(run_live(cerebro)), daemon=True)
    running.start()
    assert waits.wait(10.0)
    store.end()
    running.join(10.0)
    assert not running.is_alive()
    assert ran[0].statuses[-1] == "DISCONNECTED"


def test_an_end_before_the_run_is_not_forgotten(pair):
    made, warehouse = pair
    gateway = ScriptedGateway(made, now=BEGUN)
    store = Store(gateway, warehouse, CALENDAR, clock=gateway.clock)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(store.getdata("AAPL", Resolution.MINUTE))
    cerebro.addstrategy(Witness)
    store.end()
    (strategy,) = run_live(cerebro)
    assert strategy.bars == []


def test_a_run_that_fails_leaves_no_stream_behind(pair):
    made, warehouse = pair
    gateway = ScriptedGateway(made, now=BEGUN)

    class Failing(Witness):
        def next(self):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(gateway, warehouse, playing(gateway, SPAN[1]), strategy=Failing)
    assert gateway.streams == {1: None, 2: None}


def test_cerebro_without_quicknotify_is_refused(pair):
    made, warehouse = pair
    store = Store(ScriptedGateway(made, now=BEGUN), warehouse, CALENDAR)
    cerebro = bt.Cerebro()
    cerebro.adddata(store.getdata("AAPL", Resolution.MINUTE))
    with pytest.raises(LiveRunError, match="quicknotify is False"):
        cerebro.run()
    with pytest.raises(LiveRunError, match="quicknotify: it has to be True"):
        run_live(cerebro, quicknotify=False)


def test_a_cerebro_without_live_feeds_is_refused():
    with pytest.raises(LiveRunError, match="no live feed"):
        run_live(bt.Cerebro())


class Contracts(ScriptedGateway):
    """Knows no XYZ."""

    def contract_details(self, contract, seconds=15.0):
        self.asked.append(contract)
        if contract.symbol == "XYZ":
            raise RequestRefusedError(200, "No security definition has been found")
        return super().contract_details(contract)


def test_a_symbol_without_a_contract_is_refused(tmp_path):
    store = Store(Contracts({}, now=BEGUN), Warehouse(tmp_path), CALENDAR)
    with pytest.raises(ContractError, match="XYZ"):
        store.getdata("XYZ", Resolution.MINUTE)


def test_a_contract_is_asked_for_once(tmp_path):
    gateway = Contracts({}, now=BEGUN)
    store = Store(gateway, Warehouse(tmp_path), CALENDAR)
    minutes, hours = store.getdata("AAPL", Resolution.MINUTE), store.getdata("AAPL", Resolution.HOURLY)
    assert minutes.p.contract == hours.p.contract
    assert len(gateway.asked) == 1


def test_a_currency_pair_is_asked_for_between_bid_and_ask(pair):
    made, warehouse = pair
    gateway = ScriptedGateway({"EUR": made["AAPL"]}, now=BEGUN)
    strategy = run(gateway, warehouse, playing(gateway, SPAN[1]), symbols=("EUR.USD",), start=date(2024, 7, 3))
    assert seen(strategy, "EUR.USD") == rows(bars_of(made["AAPL"], Resolution.MINUTE))
    assert {request.what_to_show for request in gateway.asked} == {"MIDPOINT"}
