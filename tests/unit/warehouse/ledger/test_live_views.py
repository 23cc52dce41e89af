"""The ledger as SQL shows it."""

import sqlite3
from contextlib import closing
from datetime import date
from decimal import Decimal

import duckdb
import pytest

from tests.unit.warehouse.ledger.samples import (
    ONE_OF_EACH,
    OPEN,
    SCOPE,
    at,
    changed,
    command,
    filled,
    intent,
    paid,
    position,
    switched,
)
from warehouse.catalog import Catalog
from warehouse.errors import QueryError
from warehouse.ledger.live_views import LIVE_SCHEMAS
from warehouse.ledger.records import CommandAnswered, Heartbeat, SessionEnded, SessionStarted
from warehouse.ledger.store import Ledger

REF = "sma_aapl/20240105/143000/0"


@pytest.fixture
def catalog(tmp_path):
    return Catalog(tmp_path / "data", tmp_path / "results")


@pytest.fixture
def ledger(catalog):
    with Ledger.open(catalog.data / "ledger.sqlite") as opened:
        yield opened


@pytest.mark.parametrize("view", sorted(LIVE_SCHEMAS))
def test_a_view_has_its_columns_without_a_ledger_with_an_empty_one_and_with_rows(catalog, view):
    assert catalog.query(f"FROM {view}").schema.equals(LIVE_SCHEMAS[view])
    assert not catalog.data.exists()
    with Ledger.open(catalog.data / "ledger.sqlite") as ledger:
        assert catalog.query(f"FROM {view}").schema.equals(LIVE_SCHEMAS[view])
        ledger.commit_intent(SCOPE, intent())
        ledger.append(SCOPE, *ONE_OF_EACH)
        ledger.beat("sma_aapl", Heartbeat(OPEN, "job", 1, "host"))
        table = catalog.query(f"FROM {view}")
        assert table.schema.equals(LIVE_SCHEMAS[view])
        assert table.num_rows == 1


def test_an_order_is_one_row_with_its_state_its_number_and_what_was_filled(catalog, ledger):
    ledger.commit_intent(SCOPE, intent(), intent("b"))
    ledger.append(SCOPE, changed(REF, "WORKING", perm_id=7), filled("e1", quantity=Decimal(4), price=Decimal(180)))
    ledger.append(SCOPE, filled("e2", quantity=Decimal(6), price=Decimal("181.5")), changed(REF, "FILLED", ts=at(9)))
    ledger.append(SCOPE, changed("external:8", "WORKING", perm_id=8))
    rows = catalog.query(
        "SELECT order_ref, symbol, quantity, limit_price, state, done, perm_id, filled, average_price FROM live_orders"
        " ORDER BY order_ref"
    ).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("b", "AAPL", 10.0, 181.1, None, None, None, None, None),
        ("external:8", None, None, None, "WORKING", False, 8, None, None),
        (REF, "AAPL", 10.0, 181.1, "FILLED", True, 7, 10.0, pytest.approx(180.9)),
    ]


def test_a_fill_is_shown_as_it_stands_now(catalog, ledger):
    ledger.append(SCOPE, filled(), paid(), filled(revision=2, quantity=Decimal(9)), paid(revision=2, amount="0.9"))
    rows = catalog.query("SELECT ts, session, exec_id, quantity, commission FROM live_fills").to_pylist()
    assert rows == [{"ts": OPEN, "session": date(2024, 1, 5), "exec_id": "e1.02", "quantity": 9.0, "commission": 0.9}]


def test_positions_deployments_sessions_and_commands_are_the_last_ones(catalog, ledger):
    ledger.append(SCOPE, switched(), switched(False), position(1), position(2), position(3, "ours"))
    ledger.append(
        SCOPE, SessionStarted(OPEN, "r", 1), SessionStarted(at(1), "r", 2), SessionEnded(at(2), "r", 2, "done")
    )
    (number,) = ledger.append(SCOPE, command("halt"))
    ledger.append(SCOPE, CommandAnswered(at(1), number, "carried_out"))
    asked = {
        "SELECT source, quantity FROM live_positions ORDER BY source": [("broker", 2.0), ("ours", 3.0)],
        "SELECT deployment, enabled FROM live_deployments": [("sma_aapl", False)],
        "SELECT attempt, ended, outcome FROM live_sessions ORDER BY attempt": [(1, None, None), (2, at(2), "done")],
        'SELECT action, "by", answered, outcome FROM live_commands': [("halt", "anna", at(1), "carried_out")],
    }
    for sql, rows in asked.items():
        assert [tuple(row.values()) for row in catalog.query(sql).to_pylist()] == rows


def test_views_of_a_ledger_and_of_bars_can_be_asked_together(catalog, ledger):
    ledger.commit_intent(SCOPE, intent())
    sql = (
        "WITH i AS (SELECT symbol FROM LIVE_INTENTS)"
        " SELECT i.symbol, count(ts) AS n FROM i LEFT JOIN bars USING (symbol) GROUP BY ALL"
    )
    assert catalog.query(sql).to_pylist() == [{"symbol": "AAPL", "n": 0}]


def test_a_reader_sees_what_was_committed_while_a_writer_writes(catalog, ledger):
    ledger.commit_intent(SCOPE, intent("a"))
    with closing(sqlite3.connect(ledger.place.file, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM intents")
        assert catalog.query("SELECT order_ref FROM live_intents").to_pylist() == [{"order_ref": "a"}]
        writer.execute("ROLLBACK")


def test_a_view_whose_name_the_statement_hides_is_refused_and_not_empty(catalog, ledger):
    ledger.commit_intent(SCOPE, intent())
    with pytest.raises(QueryError, match="read where the statement holds their plain names"):
        catalog.query("FROM query_table('live_' || 'intents')")
    types = catalog.query("SELECT data_type FROM information_schema.columns WHERE table_name[:5] = 'live_'")
    assert types.num_rows == sum(len(schema) for schema in LIVE_SCHEMAS.values())


def test_a_ledger_that_is_damaged_says_so_in_its_views_only(catalog):
    catalog.data.mkdir()
    (catalog.data / "ledger.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(QueryError, match="file is not a database"):
        catalog.query("FROM live_orders")
    assert catalog.query("FROM bars").num_rows == 0


def test_a_ledger_of_another_version_says_so(catalog, ledger):
    ledger.close()
    with closing(sqlite3.connect(catalog.data / "ledger.sqlite")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
    with pytest.raises(QueryError, match="its schema '0999' was made by another version"):
        catalog.query("FROM live_orders")


def test_a_server_that_is_away_says_so_without_its_password(catalog):
    away = Catalog(catalog.data, catalog.results, "postgresql://anna:geheim@127.0.0.1:9/db")
    with pytest.raises(QueryError, match="Connection refused") as caught:
        away.query("FROM live_orders")
    assert "geheim" not in f"{caught.value} {away!r}"
    assert away.query("FROM bars").num_rows == 0


def test_reading_changes_nothing(catalog, ledger):
    ledger.commit_intent(SCOPE, intent())
    ledger.close()
    before = (catalog.data / "ledger.sqlite").read_bytes()
    catalog.query("FROM live_orders")
    assert (catalog.data / "ledger.sqlite").read_bytes() == before


def test_the_published_file_has_no_live_views(catalog, ledger):
    ledger.commit_intent(SCOPE, intent())
    with duckdb.connect(str(catalog.publish()), read_only=True) as connection:
        names = {row[0] for row in connection.sql("SHOW TABLES").fetchall()}
    assert "bars" in names
    assert not {name for name in names if name.startswith("live_")}
