"""Sessions that were traded on the simulator, held against their backtests.

Belongs here: real sessions through feeds, broker, risk and ledger. Does not belong here: the arithmetic of the parts
(see the unit tests).
"""

import shutil
from contextlib import ExitStack
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pytest

from broker.simulator.background import BackgroundGateway
from broker.simulator.settings import ClockMode, SimulatorSettings
from research.parity.parts import Parts
from research.parity.report import parity_report
from research.parity.tolerance import Tolerances, verdicts
from tests.integration.research.traded import ACCOUNT, XNYS, Trader, experiment
from tests.unit.broker.simulator.recordings import minutes
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

pytestmark = pytest.mark.integration

QUIET, TROUBLED = date(2024, 1, 8), date(2024, 1, 9)
ZERO = Parts()


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    root = tmp_path_factory.mktemp("recording")
    minutes(root, "AAPL")
    return root


@pytest.fixture(scope="module")
def trader(recording, tmp_path_factory):
    """A deployment after a quiet session, and one with a lost link and an order that fills in part."""
    settings = SimulatorSettings(port=0, control_port=0, clock=ClockMode.STEPPED, start=QUIET)
    with ExitStack() as stack:
        gateway = stack.enter_context(BackgroundGateway(settings, Warehouse(recording)))
        made = Trader(gateway, tmp_path_factory.mktemp("project"), experiment())
        stack.callback(made.ledger.close)
        made.start(QUIET)
        stack.callback(made.end)
        made.step(40)
        made.end()
        gateway.command("seek", to=XNYS.open_utc(TROUBLED).isoformat())
        made.start(TROUBLED)
        made.step(12)
        gateway.command("link", state="lost")
        gateway.command("step", bars=15)  # nobody is told of these bars
        gateway.command("link", state="restored")
        made.catch_up()
        gateway.command("fault", request="place_order", action="partial", value="0.5", times=1)
        known = made.intents()
        while made.intents() == known:
            made.step()
        made.step()
        made.end()
        yield made


def report(trader, session, warehouse=None, **changes):
    return parity_report(
        trader.ledger, warehouse or trader.warehouse, trader.name, session,
        experiment=experiment(**changes), calendar=XNYS,
    )  # fmt: skip


@pytest.fixture
def stored(trader, recording, tmp_path):
    """The project's data with the days as they were recorded; `change` of a table of clean bars revises them."""
    shutil.copytree(trader.folder / "data", tmp_path / "data")

    def make(change=lambda bars: bars):
        own = Warehouse(tmp_path / "data")
        bars = Warehouse(recording).read_clean("AAPL", Resolution.MINUTE)
        own.write_clean("AAPL", Resolution.MINUTE, change(bars))
        return own

    return make


def test_a_quiet_session_trades_as_its_backtest_to_the_last_digit(trader):
    found = report(trader, QUIET)
    assert len(found.trades) >= 3
    assert [trade.live.filled for trade in found.trades] == [trade.seen.filled for trade in found.trades]
    assert {trade.parts for trade in found.trades} == {ZERO}
    assert (found.total, found.live_result, found.stored_result) == (0, found.seen_result, None)
    assert all(verdict.passed for verdict in verdicts(found, Tolerances()))


def test_a_day_that_the_warehouse_lacks_is_said_in_a_sentence(trader):
    assert report(trader, QUIET).missing == "AAPL: the warehouse does not hold 2024-01-08 yet."


def test_the_live_result_is_what_the_account_earned(trader):
    fills = trader.ledger.fills(ACCOUNT, QUIET)
    signed = {"BUY": -1, "SELL": 1}
    earned = sum(signed[f.filled.side] * f.filled.quantity * f.filled.price - f.commission.amount for f in fills)
    held = sum(-signed[f.filled.side] * f.filled.quantity for f in fills)
    last = Decimal(repr(float(trader.seen(QUIET)["close"][-1].as_py())))
    assert report(trader, QUIET).live_result == earned + held * last


def test_the_same_bars_in_the_warehouse_change_nothing(trader, stored):
    found = report(trader, QUIET, stored())
    assert (found.missing, found.total, found.stored_result) == (None, 0, found.seen_result)


def test_a_revised_bar_is_a_data_revision_and_nothing_else(trader, stored):
    first = report(trader, QUIET).trades[0]

    def lowered(bars):
        closes = [c - 1 if ts == first.bar else c for ts, c in zip(*_columns(bars, "ts", "close"), strict=True)]
        return bars.set_column(bars.schema.get_field_index("close"), "close", pa.array(closes, pa.float64()))

    found = report(trader, QUIET, stored(lowered))
    assert found.parts == Parts(data_revision=found.total)
    assert found.total == found.seen_result - found.stored_result != 0
    (row,) = [trade for trade in found.trades if trade.bar == first.bar]
    assert (row.live, row.seen) == (first.live, first.seen)
    assert row.stored.bar > first.bar
    assert row.note == f"decided {row.stored.bar - first.bar} later than over the bars as they were seen"


def _columns(table, *names):
    return [table[name].to_pylist() for name in names]


def test_another_commission_than_the_model_s_is_costs_and_nothing_else(trader):
    tiered = report(trader, QUIET, costs={"model": "ibkr_tiered"})
    fixed = report(trader, QUIET)
    assert tiered.parts == Parts(costs=tiered.total)
    charged = sum(trade.live.commission for trade in fixed.trades)
    modelled = sum(trade.seen.commission for trade in tiered.trades)
    assert tiered.parts.costs == modelled - charged != 0
    assert [v.name for v in verdicts(tiered, Tolerances(costs=Decimal(0), total=Decimal(0))) if not v.passed] == [
        "costs", "total"
    ]  # fmt: skip


def test_a_signal_while_the_link_was_lost_is_missed_and_says_why(trader):
    found = report(trader, TROUBLED)
    missed = [trade for trade in found.trades if trade.live is None]
    assert missed
    for trade in missed:
        assert trade.parts == Parts(signal=-trade.seen.worth(found.marks["AAPL"]))
    assert "when no order could be sent" in missed[0].note
    assert not verdicts(found, Tolerances())[0].passed


def test_an_order_that_filled_in_part_is_a_missed_fill(trader):
    found = report(trader, TROUBLED)
    last = next(trade for trade in found.trades if trade.parts.missed_fill)
    assert (last.live.filled, last.live.ordered, last.seen.filled) == (Decimal("19.5"), 39, 39)
    gained = last.seen.sign * (found.marks["AAPL"] - last.seen.price)
    charged_less = last.seen.commission - last.live.commission
    assert last.parts.missed_fill == (Decimal("19.5") - 39) * gained + charged_less
    assert (last.parts.size, last.parts.signal, last.parts.costs) == (0, 0, 0)
    assert last.note.startswith("live 19.5 of 39 were filled: ")
    assert not verdicts(found, Tolerances())[1].passed


@pytest.mark.parametrize("session", [QUIET, TROUBLED])
def test_the_parts_of_a_session_add_up_to_the_difference(trader, stored, session):
    found = report(trader, session, stored(), costs={"model": "ibkr_tiered"})
    assert found.parts.total == found.total == found.live_result - found.stored_result
