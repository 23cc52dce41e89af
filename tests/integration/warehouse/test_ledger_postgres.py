"""The ledger in a real PostgreSQL."""

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import make_url

from tests.integration.servers import postgres
from tests.integration.warehouse.test_ledger_processes import COMMITS, LOCKS, killed, started
from tests.unit.warehouse.ledger.behaviour import LedgerBehaviour
from tests.unit.warehouse.ledger.older import make_older
from tests.unit.warehouse.ledger.samples import ONE_OF_EACH, OPEN, SCOPE, changed, filled, intent, switched
from warehouse.catalog import Catalog
from warehouse.errors import AccountLockedError, LedgerError, LedgerSchemaError, QueryError
from warehouse.ledger.database import make_engine, told
from warehouse.ledger.live_views import LIVE_SCHEMAS
from warehouse.ledger.locks import AccountLock
from warehouse.ledger.records import Heartbeat
from warehouse.ledger.store import Ledger

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server():
    with postgres("anna") as running:
        yield running


@pytest.fixture
def url(server):
    """A database without a ledger."""
    run(server.url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'barloom%'")
    run(server.url, "DROP SCHEMA IF EXISTS ledger CASCADE")
    return server.url


@pytest.fixture
def database(server):
    """An empty database of its own, which goes with its server."""
    name = f"trading_{time.monotonic_ns()}"
    run(server.url, f"CREATE DATABASE {name}")
    return server.url.replace("/postgres", f"/{name}")


@pytest.fixture
def ledger(url):
    with Ledger.open(url) as opened:
        yield opened


@pytest.fixture
def reopened(url):
    return lambda: Ledger.open(url.replace("postgresql:", "postgresql+psycopg2:"))


class TestLedgerInPostgres(LedgerBehaviour):
    """Everything that holds anywhere."""


def run(url, statement):
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            return connection.execute(text(statement))
    finally:
        engine.dispose()


def test_the_tables_keep_to_a_schema_of_their_own(ledger, url):
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg2"))
    assert inspect(engine).get_table_names("public") == []
    assert "events" in inspect(engine).get_table_names("ledger")
    engine.dispose()


def test_a_ledger_shares_a_database_with_the_tables_of_others(database):
    run(database, "CREATE TABLE alembic_version (version_num VARCHAR(32))")
    run(database, "CREATE TABLE events (id INTEGER)")
    with Ledger.open(database) as ledger:
        ledger.append(SCOPE, switched())
        assert ledger.current_state("sma_aapl").switched == switched()


def test_events_cannot_be_emptied(ledger, url):
    ledger.append(SCOPE, switched())
    with pytest.raises(Exception, match="append-only"):
        run(url, "TRUNCATE ledger.events CASCADE")
    assert len(ledger.events("sma_aapl")) == 1


def test_a_commit_waits_for_the_disk_whatever_the_server_would_do(database):
    run(database, f"ALTER DATABASE {make_url(database).database} SET synchronous_commit = off")
    with Ledger.open(database, seconds=7) as ledger:
        engine = make_engine(ledger.place, 7)
        with engine.connect() as connection:
            names = ("synchronous_commit", "statement_timeout", "lock_timeout")
            shown = [connection.execute(text(f"SHOW {name}")).scalar() for name in names]
        engine.dispose()
    assert shown == ["on", "7s", "7s"]


def test_a_statement_that_takes_too_long_is_ended(ledger):
    engine = make_engine(ledger.place, 0.1)
    with (
        pytest.raises(LedgerError, match=r"waiting failed in .*statement timeout"),
        told(ledger.place, "waiting"),
        engine.connect() as connection,
    ):
        connection.execute(text("SELECT pg_sleep(60)"))
    engine.dispose()


def test_a_newer_ledger_is_refused(ledger, url, tmp_path):
    run(url, "UPDATE ledger.alembic_version SET version_num = '0999'")
    with pytest.raises(LedgerSchemaError, match="its schema '0999' was made by another version"):
        Ledger.open(url)
    with pytest.raises(QueryError, match="its schema '0999' was made by another version"):
        Catalog(tmp_path, tmp_path, url).query("FROM live_orders")


def test_an_older_ledger_is_brought_up_to_date(url, tmp_path):
    make_older(url, "0001", SCOPE, intent("old"))
    with Ledger.open(url) as ledger:
        assert [one.intent for one in ledger.open_intents("DU1")] == [intent("old")]
    shown = Catalog(tmp_path, tmp_path, url).query("SELECT decision_price FROM live_intents")
    assert shown.to_pylist() == [{"decision_price": None}]


def test_many_may_open_a_new_ledger_at_once(url):
    barrier = threading.Barrier(4)

    def work(number):
        barrier.wait(timeout=30)
        with Ledger.open(url) as ledger:
            ledger.commit_intent(SCOPE, intent(f"a-{number}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    with Ledger.open(url) as ledger:
        assert len(ledger.open_intents("DU1")) == 4


def test_an_intent_outlives_a_kill_of_its_writer(url):
    process = started(COMMITS, url, 1)
    assert process.stdout.readline() == "a-0\n"
    killed(process)
    with Ledger.open(url) as ledger:
        assert [one.intent for one in ledger.open_intents("DU1")] == [intent("a-0")]


def test_what_was_committed_outlives_a_crash_of_the_server(server, url):
    with Ledger.open(url, seconds=5) as ledger:
        ledger.commit_intent(SCOPE, intent("a-0"))
        os.kill(server.process.pid, signal.SIGQUIT)  # ends at once, without writing anything more
        server.process.wait(timeout=30)
        with pytest.raises(LedgerError, match=r"the intent a-1 failed in postgresql://127.0.0.1"):
            ledger.commit_intent(SCOPE, intent("a-1"))
        server.start()
        with Ledger.open(url) as again:
            assert [one.intent.order_ref for one in again.open_intents("DU1")] == ["a-0"]
        ledger.commit_intent(SCOPE, intent("a-1"))  # the same object finds its way back
        assert len(ledger.open_intents("DU1")) == 2


def test_an_account_is_held_by_one_process_until_that_is_killed(url):
    with Ledger.open(url) as ledger:
        process = started(LOCKS, url)
        assert process.stdout.readline() == "held\n"
        mine = AccountLock(ledger, "DU1")
        assert not mine.is_free()
        assert (mine.holder().pid, mine.holder().host) == (process.pid, socket.gethostname()[:30])
        with pytest.raises(AccountLockedError, match=f"account: DU1 is traded by process {process.pid} on "):
            mine.acquire()
        assert AccountLock(ledger, "DU2").is_free()
        killed(process)
        until_free(mine)
        with mine:
            assert mine.is_held()
            assert not AccountLock(ledger, "DU1").is_free()
        assert (mine.is_held(), mine.is_free()) == (False, True)


def until_free(lock):
    """The server notices the end of a process a moment later."""
    pause = threading.Event()
    for _ in range(600):
        if lock.is_free():
            return
        pause.wait(0.05)
    raise AssertionError("the lock of a dead process is still held")


def test_a_lock_that_the_server_forgot_is_not_held(url):
    with Ledger.open(url) as ledger:
        lock = AccountLock(ledger, "DU1")
        lock.acquire()
        run(url, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        assert not lock.is_held()
        other = AccountLock(ledger, "DU1")
        until_free(other)
        with other:
            assert other.is_held()
            assert not lock.is_held()
        lock.release()


def test_a_lock_that_the_server_forgot_is_taken_again_unless_another_was_quicker(url):
    forget = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
    with Ledger.open(url) as ledger:
        mine, other = AccountLock(ledger, "DU1"), AccountLock(ledger, "DU1")
        mine.acquire()
        run(url, forget)
        until_free(other)
        assert (mine.keep(), mine.is_held(), other.is_free()) == (True, True, False)
        run(url, forget)
        until_free(other)
        with other:
            assert (mine.keep(), mine.is_held(), other.is_held()) == (False, False, True)


def test_the_views_have_their_columns_without_tables_and_with_rows(url, tmp_path):
    catalog = Catalog(tmp_path / "data", tmp_path / "results", url)
    before = {view: catalog.query(f"FROM {view}") for view in LIVE_SCHEMAS}
    with Ledger.open(url) as ledger:
        ledger.commit_intent(SCOPE, intent())
        ledger.append(SCOPE, *ONE_OF_EACH)
        ledger.beat("sma_aapl", Heartbeat(OPEN, "job", 1, "host"))
    after = {view: catalog.query(f"FROM {view}") for view in LIVE_SCHEMAS}
    assert {view: table.schema for view, table in before.items()} == LIVE_SCHEMAS
    assert {view: table.schema for view, table in after.items()} == LIVE_SCHEMAS
    assert {table.num_rows for table in before.values()} == {0}
    assert {table.num_rows for table in after.values()} == {1}


def test_sql_shows_orders_as_they_stand(ledger, url, tmp_path):
    ledger.commit_intent(SCOPE, intent())
    ledger.append(SCOPE, filled(), filled(revision=2), changed(filled().order_ref, "FILLED"))
    rows = (
        Catalog(tmp_path, tmp_path, url).query("SELECT state, done, filled, average_price FROM live_orders").to_pylist()
    )
    assert rows == [{"state": "FILLED", "done": True, "filled": 10.0, "average_price": 181.1}]
