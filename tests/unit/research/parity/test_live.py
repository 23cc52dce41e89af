"""A session read back from a ledger that was written by hand."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from backtrader.order import Order

from research.errors import ParityError
from research.experiment import Experiment
from research.parity.live import live_session
from research.parity.replay import Holding
from tests.unit.warehouse.ledger.samples import changed, filled, intent, paid, risk_memory
from warehouse.calendar import get_calendar
from warehouse.ledger.records import HeldAtBegin, RiskDecided, Scope, TradingBegan, WorkingAtBegin
from warehouse.ledger.store import Ledger
from warehouse.schema import SEEN_SCHEMA

D = Decimal
XNYS, DAY = get_calendar("XNYS"), date(2024, 1, 5)
SCOPE = Scope("sma_aapl", "DU1", DAY)
OPEN = datetime(2024, 1, 5, 14, 30, tzinfo=UTC)
EXPERIMENT = Experiment.build(
    strategy="strategies.sma_crossover.SMACrossover", symbols=["AAPL"], start="2024-01-02", end="2024-01-04",
    resolution="1m", costs={"model": "ibkr_fixed"},
)  # fmt: skip


def at(minutes):
    return OPEN + timedelta(minutes=minutes)


def began(minutes=-10, quantity=0, **fields):
    base = {
        "ts": at(minutes), "run_id": "r", "attempt": 1, "cash": D(9_000), "equity": D(10_000),
        "held": (HeldAtBegin("AAPL", 265598, D(quantity), D(100)),), "working": (), "risk": risk_memory(),
        "variables": {}, **fields,
    }  # fmt: skip
    return TradingBegan(**base)


def bars(*rows):
    """(minutes after the open, close, seen after so many minutes, live)."""
    base = [("AAPL", OPEN - timedelta(hours=18), *[99.0] * 4, 1000.0, at(-12), False, 1)]  # of the day before
    base += [("AAPL", at(n), *[close] * 4, 1000.0, at(seen), live, 1) for n, close, seen, live in rows]
    columns = zip(*base, strict=True)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SEEN_SCHEMA, strict=True)], schema=SEEN_SCHEMA)


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "ledger.sqlite") as opened:
        yield opened


def read(ledger, seen=None):
    table = bars((1, 100.0, 1, True), (2, 101.0, 2, True)) if seen is None else seen
    return live_session(ledger, "sma_aapl", DAY, experiment=EXPERIMENT, calendar=XNYS, seen_bars=table)


def market(ref="a", side="BUY", bar=1, **fields):
    return intent(ref, side=side, order_type="MKT", limit_price=None, bar_ts=at(bar), **fields)


def test_an_order_has_its_decision_and_the_sum_of_its_fills(ledger):
    ledger.commit_intent(SCOPE, market())
    ledger.append(
        SCOPE, began(), filled("e1", order_ref="a", quantity=D(4), price=D(100), executed=at(1)),
        filled("e2", order_ref="a", quantity=D(6), price=D("100.10"), executed=at(2)),
        paid("e1"), paid("e2", amount="0.20"), changed("a", "FILLED", reason="an execution"),
    )  # fmt: skip
    (order,) = read(ledger).orders
    assert (order.symbol, order.bar, order.side, order.kind, order.ordered) == ("AAPL", at(1), "BUY", "market", 10)
    assert (order.filled, order.value, order.commission) == (10, D("1000.60"), D("1.20"))


def test_a_corrected_execution_counts_once(ledger):
    ledger.commit_intent(SCOPE, market())
    for revision, price in ((1, D(100)), (2, D(99))):
        ledger.append(SCOPE, filled("e1", revision, order_ref="a", price=price, executed=at(1)))
    ledger.append(SCOPE, began())
    assert read(ledger).orders[0].value == 990


def test_a_commission_that_was_not_told_is_the_model_s_and_counted(ledger):
    ledger.commit_intent(SCOPE, market())
    ledger.append(SCOPE, began(), filled("e1", order_ref="a", executed=at(1)))
    found = read(ledger)
    assert (found.orders[0].commission, found.commissions_missing) == (1, 1)


def test_a_fill_without_an_intent_is_somebody_else_s(ledger):
    ledger.append(SCOPE, began(), filled("e1", order_ref="by-hand", external=True, executed=at(3)))
    (order,) = read(ledger).orders
    assert (order.kind, order.bar, order.ordered, order.filled) == ("external", at(3), 10, 10)


def test_another_contract_is_left_out(ledger):
    ledger.append(SCOPE, began(), filled("e1", order_ref="x", con_id=1, symbol="TSLA", executed=at(3)))
    assert read(ledger).orders == ()


def test_a_fill_belongs_to_the_session_in_which_it_happened(ledger):
    ledger.commit_intent(SCOPE, market())
    ledger.append(SCOPE, began())
    later = Scope("sma_aapl", "DU1", date(2024, 1, 8))
    ledger.append(later, filled("e1", order_ref="a", executed=at(5)))  # while nobody ran
    ledger.append(SCOPE, filled("e0", order_ref="z", executed=at(-60 * 24)))  # of the day before
    assert [(order.reference, order.filled) for order in read(ledger).orders] == [("a", 10)]


def test_the_opening_is_what_the_account_held_and_what_is_outside_of_the_experiment(ledger):
    ledger.append(SCOPE, began(quantity=5, variables={"own": {}}))
    opening = read(ledger).opening
    assert (opening.opens, opening.cash, opening.holdings) == (OPEN, 9_000, {"AAPL": Holding(D(5), D(100))})
    assert opening.outside == 1_000 - 5 * 99  # at the close of the day before
    assert (opening.memory, opening.risk.consecutive_losses) == ({"own": {}}, 1)


def test_what_filled_between_the_open_and_the_first_live_data_is_taken_back(ledger):
    ledger.append(
        SCOPE, began(minutes=30, quantity=5),
        filled("e1", order_ref="old", side="SELL", quantity=D(3), price=D(100), executed=at(10)),
        paid("e1", amount="1.00"),
    )  # fmt: skip
    opening = read(ledger).opening
    assert (opening.holdings["AAPL"].quantity, opening.cash) == (8, 9_000 - 300 + 1)


def test_an_order_of_an_earlier_session_is_carried_in_with_its_own_bar(ledger):
    before = Scope("sma_aapl", "DU1", date(2024, 1, 4))
    decided = OPEN - timedelta(hours=18)
    ledger.commit_intent(before, intent("old", side="SELL", order_type="STP", bar_ts=decided))
    working = WorkingAtBegin("old", "AAPL", "SELL", D(4), "STP", None, D("95.50"), reduces_only=True)
    ledger.append(SCOPE, began(working=(working,)), filled("e1", order_ref="old", side="SELL", executed=at(2)))
    found = read(ledger)
    (carried,) = found.opening.carried
    assert (carried.bar, carried.quantity, carried.exectype, carried.price) == (decided, 4, Order.Stop, 95.5)
    assert [(order.bar, order.kind) for order in found.orders] == [(decided, "stop")]


def test_the_first_run_that_traded_says_where_the_session_began(ledger):
    ledger.append(SCOPE, began(quantity=5), began(minutes=30, quantity=50))
    assert read(ledger).opening.holdings["AAPL"].quantity == 5


def test_a_bar_is_as_it_was_seen_first_and_live_if_any_run_could_trade_on_it(ledger):
    ledger.append(SCOPE, began())
    found = read(ledger, bars((1, 100.0, 3, False), (2, 101.0, 3, True), (1, 77.0, 9, True)))
    assert found.bars["AAPL"]["close"].to_pylist() == [99.0, 100.0, 101.0]
    assert found.bars["AAPL"]["session"].to_pylist() == [date(2024, 1, 4), DAY, DAY]
    assert found.seen == {("AAPL", at(1)): (at(3), True), ("AAPL", at(2)): (at(3), True)}
    assert found.marks == {"AAPL": D("101.0")}


def test_refusals_are_read_with_their_reasons(ledger):
    ledger.append(
        SCOPE, began(),
        RiskDecided(at(2), "refused", "AAPL", "halt_state", None, None, 10.0, 0.0, "HALT_ENTRIES", "it is halted"),
        RiskDecided(at(3), "halt", None, "operator", None, None, None, None, "HALT_ENTRIES", "by hand"),
    )  # fmt: skip
    assert read(ledger).refused == ((at(2), "AAPL", "it is halted"),)


def test_a_session_in_which_nothing_was_live_cannot_be_compared(ledger):
    with pytest.raises(ParityError, match="session: no run of sma_aapl had live data on 2024-01-05"):
        read(ledger)


def test_an_account_that_told_no_money_cannot_be_compared(ledger):
    ledger.append(SCOPE, began(cash=None))
    with pytest.raises(ParityError, match="had not told its money when 2024-01-05 began"):
        read(ledger)
