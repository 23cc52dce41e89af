"""The gates before an order: each refuses by its name, and the ledger says so in a sentence."""

import re
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from broker.simulator.background import BackgroundGateway
from broker.simulator.settings import ClockMode, SimulatorSettings
from tests.integration.broker.conftest import START, Desk
from tests.integration.broker.rehearsal import Rehearsal, quicken
from tests.integration.broker.test_deployment import CLIENT, DAY, XNYS, buy, leave
from tests.unit.broker.simulator.recordings import minutes
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

pytestmark = pytest.mark.integration


@contextmanager
def staged(recording, insync, folder, **limits):
    """A deployment that trades, some minutes after the open."""
    settings = SimulatorSettings(port=0, control_port=0, clock=ClockMode.STEPPED, start=START, fill_at_once=True)
    with BackgroundGateway(settings, Warehouse(recording)) as gateway, ExitStack() as stack:
        quicken(stack.enter_context(pytest.MonkeyPatch.context()))
        gateway.command("step", bars=10)
        yield Rehearsal(Desk(gateway, insync, stack), folder, stack)


@pytest.fixture(scope="module")
def stage(recording, insync, tmp_path_factory):
    with staged(recording, insync, tmp_path_factory.mktemp("gates")) as made:
        made.start(allow_shorting=False)
        yield made


def refused(stage, before, gate, sentence):
    """Wait for a refusal of a gate since a moment, with its sentence; nothing was bought or sold."""
    stage.until(lambda: gate in dict(stage.refusals()[before:]))
    assert re.fullmatch(sentence, dict(stage.refusals()[before:])[gate])
    assert stage.holds() == 0


def test_nothing_is_refused_by_the_bars_that_warm_up(stage):
    assert stage.refusals() == []


def test_a_session_that_is_not_ready_refuses(stage):
    before, stage.act_on = len(stage.refusals()), ("DISCONNECTED", buy())
    stage.desk.command("disconnect", client=CLIENT)
    stage.until(stage.acted.is_set)
    refused(stage, before, "session", r"AAPL: the gate is shut: the session is [A-Z]+")
    stage.recover()


def test_data_that_are_not_live_refuse(stage):
    before = len(stage.refusals())
    stage.desk.command("disconnect", client=CLIENT)
    stage.until(lambda: not stage.live())
    stage.eager = True
    stage.desk.command("step", bars=2)  # which history tells of, too late
    refused(stage, before, "data", "AAPL: the gate is shut: the data of AAPL are not live")
    stage.eager = False
    stage.recover()


def test_a_symbol_whose_trading_is_halted_refuses(stage):
    before, stage.act_on = len(stage.refusals()), ("halted", buy())
    stage.desk.command("halt", symbol="AAPL")
    refused(stage, before, "trading_halt", "AAPL: the gate is shut: trading in AAPL is halted")
    stage.desk.command("unhalt", symbol="AAPL")
    stage.until(stage.live)


def test_positions_that_stay_apart_refuse_entries_until_they_are_settled(stage):
    before = len(stage.refusals())
    stage.desk.command("fault", answer="positionEnd", action="delay", value=2, client=CLIENT)  # no reconciliation yet
    stage.desk.command("position", symbol="AAPL", quantity=-5)
    stage.until(lambda: stage.strategy.broker.book.differing(stage.strategy.broker._clock()))
    stage.step(1, lambda strategy, data: strategy.buy(data=data, size=10))
    stage.until(lambda: len(stage.refusals()) > before)
    assert stage.refusals()[before:] == [
        ("positions", "AAPL: the gate is shut for entries: the broker's position differs from ours in AAPL")
    ]
    stage.recover()
    stage.until(lambda: stage.booked() == -5)
    stage.command("resume")  # nothing explains it, so entries are halted
    stage.round_trip(buy(), leave)
    stage.agrees()
    assert "position_mismatch" in stage.alarms()


def test_a_halt_of_the_operator_refuses_entries(stage):
    stage.command("halt")
    before = len(stage.refusals())
    stage.step(1, buy())
    refused(stage, before, "halt_state", "AAPL: no entries while the risk state is HALT_ENTRIES; 0 of 9 shares allowed")
    stage.command("resume")


def test_a_limit_of_risk_refuses_entries(stage):
    before = len(stage.refusals())
    stage.step(1, lambda strategy, data: strategy.sell(data=data, size=10))
    sentence = "AAPL: short sales are not allowed, this would be 10 short; 0 of 10 shares allowed"
    refused(stage, before, "allow_shorting", sentence)


def test_a_closed_exchange_refuses_entries_and_ends_the_session(stage):
    before, close = len(stage.refusals()), XNYS.close_utc(DAY)
    stage.desk.command("seek", to=(close - timedelta(minutes=9)).isoformat())
    naive = close.replace(tzinfo=None)
    stage.until(lambda: stage.bars[-1][0] >= naive - timedelta(minutes=10))  # history has told of the afternoon
    stage.go_live()
    while (left := close - stage.clock()) > timedelta(minutes=1):
        stage.step(1)
    assert left == timedelta(minutes=1)
    stage.act = buy()
    stage.desk.command("step", bars=1)
    assert stage.finish().ending == "done"
    refused(stage, before, "market_closed", "AAPL: the gate is shut for entries: the exchange is closed at 21:00 UTC")


# -------------------------------------------------------------------- quality


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    """A recording whose prices are cut by half between two sessions, and no split explains it."""
    root = tmp_path_factory.mktemp("halved")
    minutes(root, "AAPL")
    warehouse = Warehouse(root)
    table = warehouse.read_clean("AAPL", Resolution.MINUTE)
    twice = np.where(np.array(table["session"].to_pylist()) < date(2024, 1, 5), 2.0, 1.0)
    for name in ("open", "high", "low", "close"):
        place = table.column_names.index(name)
        table = table.set_column(place, table.field(place), pa.array(table[name].to_numpy() * twice))
    warehouse.write_clean("AAPL", Resolution.MINUTE, table)
    return root


FAULT = (
    "AAPL: quality ERROR in the bars that warm up: unexplained_scale_change: "
    "1 step by a round ratio without a corporate action."
)


def test_bars_of_ib_with_a_quality_error_refuse_entries_and_let_exits_go(halved, insync, tmp_path):
    with staged(halved, insync, tmp_path) as stage:
        stage.desk.command("position", symbol="AAPL", quantity=20)
        stage.start()
        stage.step(1, lambda strategy, data: strategy.buy(data=data, size=10))
        stage.until(stage.refusals)
        assert stage.refusals() == [("quality", f"AAPL: the gate is shut for entries: {FAULT}")]
        stage.close(leave)
        told = {alarm.code: alarm.text for alarm in stage.kinds("alarm")}
        assert told["bad_bars"] == f"{FAULT} No order opens or adds to a position on them."


def test_a_recorded_override_lets_entries_go(halved, insync, tmp_path):
    with staged(halved, insync, tmp_path) as stage:
        stage.plan = {"quality_override": "a merger, checked by hand"}
        stage.start()
        stage.round_trip(buy(), leave)
        assert stage.refusals() == []
        assert [(alarm.code, alarm.text) for alarm in stage.kinds("alarm")] == [
            ("quality_override", f"{FAULT} They are used all the same: a merger, checked by hand")
        ]


def test_bars_of_the_warehouse_that_were_not_judged_refuse_entries(recording, insync, tmp_path):
    with staged(recording, insync, tmp_path) as stage:
        stage.plan = {"distrusted": {"AAPL": "AAPL: its 1m bars have not been judged."}}
        stage.start()
        stage.step(1, buy())
        refused(stage, 0, "quality", "AAPL: the gate is shut for entries: AAPL: its 1m bars have not been judged.")
