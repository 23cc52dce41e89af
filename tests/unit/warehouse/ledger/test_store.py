"""A ledger in a file."""

import shutil
import sqlite3
from contextlib import closing
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from risk.decision import RiskState
from risk.states import HaltState
from tests.unit.warehouse.ledger.behaviour import LedgerBehaviour
from tests.unit.warehouse.ledger.samples import (
    OPEN,
    SCOPE,
    at,
    changed,
    filled,
    intent,
    paid,
    position,
    risk_memory,
    switched,
)
from warehouse.errors import LedgerError
from warehouse.ledger.database import make_engine, told
from warehouse.ledger.records import CashStated, RiskMemory
from warehouse.ledger.store import Ledger


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with Ledger.open(path) as opened:
        yield opened


@pytest.fixture
def reopened(path):
    return lambda: Ledger.open(path)


class TestLedgerInAFile(LedgerBehaviour):
    """Everything that holds anywhere."""


# ---------------------------------------------------------------- laws


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("ledger") / "template.sqlite"
    Ledger.open(path).close()
    return path


STREAMS = {
    "order a": [changed("a", state) for state in ("SENT", "WORKING", "UNKNOWN", "FILLED")],
    "order b": [changed("b", state) for state in ("SENT", "CANCELLED", "UNKNOWN")],
    "broker": [position(n) for n in (3, 0, -2)],
    "ours": [position(n, "ours") for n in (3, 1)],
    "cash": [CashStated(at(n), "USD", Decimal(n)) for n in (3, 1)],
    "risk": [risk_memory(orders_this_session=n) for n in (1, 2)],
}
UNORDERED = [
    *(filled("e1", n, quantity=Decimal(n)) for n in (1, 2, 3)),
    *(paid("e1", n, f"{n}.5") for n in (1, 2)),
    filled("e2"),
    paid("e3"),
]


@st.composite
def interleavings(draw):
    """The streams, each in its own order, with executions and commissions in any order between them."""
    labels = [name for name, records in STREAMS.items() for _ in records] + [""] * len(UNORDERED)
    streams = {name: iter(records) for name, records in STREAMS.items()}
    streams[""] = iter(draw(st.permutations(UNORDERED)))
    return [next(streams[label]) for label in draw(st.permutations(labels))]


def standing(ledger):
    state = ledger.current_state("sma_aapl")
    intents = [(one.intent, one.state) for one in state.open_intents]
    return intents, state.positions, state.cash, state.risk, ledger.fills("DU1")


@settings(max_examples=10)
@given(records=interleavings(), cuts=st.sets(st.integers(1, 15)))
def test_the_state_does_not_depend_on_how_events_interleave(template, tmp_path_factory, records, cuts):
    path = tmp_path_factory.mktemp("law") / "ledger.sqlite"
    shutil.copy(template, path)
    with Ledger.open(path) as ledger:
        ledger.append(SCOPE, switched())
        ledger.commit_intent(SCOPE, intent("a"), intent("b"))
        edges = [0, *sorted(cuts), len(records)]
        for begin, end in pairwise(edges):
            ledger.append(SCOPE, *records[begin:end])
        found = standing(ledger)
        assert found == (
            [(intent("b"), "UNKNOWN")],
            (position(-2), position(1, "ours")),
            (CashStated(at(1), "USD", Decimal(1)),),
            risk_memory(orders_this_session=2),
            found[-1],
        )
        assert [(one.filled, one.commission) for one in found[-1]] == [
            (filled("e1", 3, quantity=Decimal(3)), paid("e1", 2, "2.5")),
            (filled("e2"), None),
        ]
        ledger.rebuild()
        assert standing(ledger) == found


@given(value=st.decimals(allow_nan=False, allow_infinity=False))
@settings(max_examples=15)
def test_an_amount_keeps_every_digit(template, value):
    with Ledger.open(template) as ledger:
        ledger.append(SCOPE, switched(), CashStated(OPEN, "USD", value))
        (found,) = ledger.current_state("sma_aapl").cash
        assert found.amount.as_tuple() == value.as_tuple()


def test_what_a_risk_guard_remembers_goes_in_and_out_by_its_own_names(ledger):
    state = RiskState(halt=HaltState.REDUCE_ONLY, recent_orders=(at(1),), peak_equity=12.5)
    fields = {name: getattr(state, name) for name in RiskState.__dataclass_fields__}
    ledger.append(SCOPE, switched(), RiskMemory(ts=OPEN, **fields))
    kept = ledger.current_state("sma_aapl").risk
    back = RiskState(**{name: getattr(kept, name) for name in fields})
    assert (back.halt, back.recent_orders, back.peak_equity) == (HaltState.REDUCE_ONLY, (at(1),), 12.5)
    assert back.session_start_equity != back.session_start_equity  # not a number, as before


# ---------------------------------------------------------------- the file


def test_a_commit_is_flushed_and_readers_do_not_wait(ledger, path):
    engine = make_engine(ledger.place, 5)
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2  # FULL
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    engine.dispose()
    assert path.with_name("ledger.sqlite-wal").exists()


def test_a_write_that_another_process_blocks_fails_at_its_time_out(path):
    with Ledger.open(path, seconds=0.1) as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match=r"the intent a failed in .*database is locked"):
            ledger.commit_intent(SCOPE, intent("a"))
        assert ledger.open_intents("DU1") == ()
        other.execute("ROLLBACK")
        other.close()
        ledger.commit_intent(SCOPE, intent("a"))
        assert len(ledger.open_intents("DU1")) == 1


def test_a_ledger_can_be_opened_and_read_while_another_process_writes(ledger, path):
    ledger.commit_intent(SCOPE, intent("a"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with Ledger.open(path, seconds=0.5) as second:
            assert [one.intent.order_ref for one in second.open_intents("DU1")] == ["a"]


def test_a_statement_that_takes_too_long_is_interrupted(ledger):
    engine = make_engine(ledger.place, 0.05)
    forever = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")
    with (
        pytest.raises(LedgerError, match=r"counting failed in .*: it took too long and was interrupted"),
        told(ledger.place, "counting"),
        engine.connect() as connection,
    ):
        connection.execute(forever).scalar()
    engine.dispose()
