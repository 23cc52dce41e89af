# ruff: noqa: S608 - SQL is what is tested here
"""Tests of the SQL catalog: what it shows, and what it refuses."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from research.result import RISK_EVENTS_SCHEMA
from research.run_output import EQUITY_SCHEMA, FILLS_SCHEMA, ORDERS_SCHEMA, TRADES_SCHEMA
from warehouse.catalog import Catalog
from warehouse.errors import QueryError
from warehouse.ledger.live_views import LIVE_SCHEMAS
from warehouse.schema import BARS_SCHEMA, CLEAN_SCHEMA, QUALITY_SCHEMA, RAW_SCHEMA
from warehouse.symbols import encode_symbol

VIEWS = {
    "raw_bars", "bars", "bars_unadjusted", "corporate_actions", "quarantine", "revisions", "quality",
    "quality_findings", "backtests", "equity", "orders", "fills", "trades", "risk_events", "studies", "trials",
}  # fmt: skip


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "data", tmp_path / "results")


def bar(symbol: str = "AAPL", day: int = 3, **changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "symbol": symbol, "resolution": "1d", "ts": datetime(2005, 1, day, 21, tzinfo=UTC),
        "session": date(2005, 1, day), "regular": True,
        "open": 100.0, "high": 104.0, "low": 98.0, "close": 102.0, "volume": 1000.0,
        "split_factor": 0.5, "dividend_factor": 0.9,
    }  # fmt: skip
    return row | changes


def write_bars(catalog: Catalog, symbol: str, *rows: dict[str, object]) -> Path:
    folder = catalog.data / "clean" / "resolution=1d" / f"symbol={encode_symbol(symbol)}" / "year=2005"
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=CLEAN_SCHEMA), folder / "bars.parquet")
    return folder / "bars.parquet"


def write_backtest(catalog: Catalog, key: str, **changes: object) -> None:
    folder = catalog.results / "backtests"
    (folder / key).mkdir(parents=True)
    result = {
        "id": key, "name": "demo", "created_at": "2024-05-01T10:00:00+00:00",
        "specification": {"strategy": "a.B", "symbols": ["AAPL", "BRK B"], "start": "2000-03-01", "end": "2012-12-31",
                          "resolution": "1d", "cash": 100000},
        "metrics": {"total_return": 0.5, "sharpe_ratio": None, "max_drawdown": -0.25, "by_year": {"2000": 0.1}},
    }  # fmt: skip
    (folder / f"{key}.json").write_text(json.dumps(result | changes, indent=2))
    equity = pa.table({"ts": [datetime(2005, 1, 3, 21, tzinfo=UTC)], "equity": [1.5], "cash": [1.0], "exposure": [0.3]})
    pq.write_table(equity, folder / key / "equity.parquet")


def test_every_view_is_empty_and_answers_before_any_folder_exists(catalog: Catalog) -> None:
    assert set(catalog.query("SHOW TABLES")["name"].to_pylist()) == VIEWS | set(LIVE_SCHEMAS)
    for view in VIEWS | set(LIVE_SCHEMAS):
        assert catalog.query(f"SELECT * FROM {view}").num_rows == 0
    assert not catalog.data.exists()


def test_empty_views_have_the_schemas_of_the_files_to_come(catalog: Catalog) -> None:
    assert catalog.query("FROM raw_bars").schema.equals(RAW_SCHEMA)
    assert catalog.query("FROM bars").schema.equals(BARS_SCHEMA)
    assert catalog.query("FROM bars_unadjusted").schema.equals(CLEAN_SCHEMA)
    assert catalog.query("FROM quality").schema.equals(QUALITY_SCHEMA)


@pytest.mark.parametrize(
    ("view", "schema"),
    [
        ("equity", EQUITY_SCHEMA),
        ("orders", ORDERS_SCHEMA),
        ("fills", FILLS_SCHEMA),
        ("trades", TRADES_SCHEMA),
        ("risk_events", RISK_EVENTS_SCHEMA),
    ],
)
def test_views_of_backtests_promise_what_a_backtest_writes(catalog: Catalog, view: str, schema: pa.Schema) -> None:
    assert catalog.query(f"FROM {view}").schema.equals(pa.schema([pa.field("backtest_id", pa.string()), *schema]))


def test_views_have_the_same_schema_with_files_as_without(catalog: Catalog) -> None:
    before = catalog.query("FROM bars").schema
    write_bars(catalog, "AAPL", bar())
    assert catalog.query("FROM bars").schema.equals(before)


def test_bars_are_adjusted_for_splits_and_dividends_and_volume_for_splits(catalog: Catalog) -> None:
    write_bars(catalog, "AAPL", bar())
    row = catalog.query("FROM bars").to_pylist()[0]
    assert row["close"] == pytest.approx(102.0 * 0.45)
    assert (row["open"], row["volume"]) == (pytest.approx(45.0), 2000.0)
    assert catalog.query("SELECT close FROM bars_unadjusted").to_pylist() == [{"close": 102.0}]


@pytest.mark.parametrize("symbol", ["BRK B", "BF/B", "aapl", "EUR.USD", "A|B", "..", "100%", "Ä=ß", "EURUSD=X"])
def test_a_symbol_of_any_spelling_is_found_by_its_name(catalog: Catalog, symbol: str) -> None:
    write_bars(catalog, symbol, bar(symbol))
    write_bars(catalog, "SPY", bar("SPY"), bar("SPY", 4))
    rows = catalog.query(f"SELECT symbol, resolution, close FROM bars_unadjusted WHERE symbol = '{symbol}'").to_pylist()
    assert rows == [{"symbol": symbol, "resolution": "1d", "close": 102.0}]


def test_a_filter_on_the_symbol_reads_that_symbols_files_only(catalog: Catalog) -> None:
    write_bars(catalog, "AAPL", bar())
    broken = write_bars(catalog, "MSFT", bar("MSFT"))
    broken.write_bytes(b"no parquet")
    assert catalog.query("SELECT count(*) AS n FROM bars WHERE symbol = 'AAPL'")["n"].to_pylist() == [1]
    with pytest.raises(QueryError, match="MSFT"):
        catalog.query("SELECT sum(close) FROM bars")


def test_an_unreadable_file_is_named_by_its_view_and_leaves_the_others_usable(catalog: Catalog) -> None:
    write_bars(catalog, "AAPL", bar()).write_bytes(b"no parquet")
    assert catalog.query("SELECT 1 AS one").to_pylist() == [{"one": 1}]
    for view in ("bars_unadjusted", "bars"):
        with pytest.raises(QueryError, match=r"AAPL|unreadable"):
            catalog.query(f"SELECT * FROM {view}")


def test_an_unreadable_file_does_not_stop_publishing(catalog: Catalog) -> None:
    write_backtest(catalog, "0a1b")
    write_bars(catalog, "AAPL", bar()).write_bytes(b"no parquet")
    with duckdb.connect(str(catalog.publish()), read_only=True) as client:
        assert client.sql("SELECT id FROM backtests").fetchall() == [("0a1b",)]
        with pytest.raises(duckdb.Error, match="AAPL"):
            client.sql("SELECT * FROM bars_unadjusted").fetchall()


def test_backtests_show_what_was_run_and_null_for_a_metric_that_is_null(catalog: Catalog) -> None:
    write_backtest(catalog, "0a1b")
    row = catalog.query("SELECT * EXCLUDE (specification, metrics) FROM backtests").to_pylist()[0]
    assert row["id"] == "0a1b"
    assert row["strategy"] == "a.B"
    assert row["symbols"] == ["AAPL", "BRK B"]
    assert (row["start"], row["end"]) == (date(2000, 3, 1), date(2012, 12, 31))
    assert (row["total_return"], row["sharpe_ratio"], row["max_drawdown"]) == (0.5, None, -0.25)
    assert row["created_at"] == datetime(2024, 5, 1, 10, tzinfo=UTC)


def test_a_backtests_equity_carries_its_id_and_all_its_columns(catalog: Catalog) -> None:
    write_backtest(catalog, "0a1b")
    write_backtest(catalog, "2c3d", name="other")
    rows = catalog.query("SELECT * FROM equity ORDER BY backtest_id").to_pylist()
    assert [row["backtest_id"] for row in rows] == ["0a1b", "2c3d"]
    assert (rows[0]["equity"], rows[0]["exposure"]) == (1.5, 0.3)
    joined = catalog.query("SELECT b.name FROM backtests b JOIN equity e ON b.id = e.backtest_id ORDER BY 1")
    assert joined["name"].to_pylist() == ["demo", "other"]


def test_a_folder_that_is_still_being_written_is_not_seen(catalog: Catalog) -> None:
    path = write_bars(catalog, "AAPL", bar())
    symbol_folder = path.parent.parent
    symbol_folder.rename(symbol_folder.with_name(".symbol=AAPL.17.ab.tmp"))
    write_backtest(catalog, "0a1b")
    (catalog.results / "backtests" / "0a1b").rename(catalog.results / "backtests" / ".0a1b.17.ab.tmp")
    assert catalog.query("SELECT * FROM bars").num_rows == 0
    assert catalog.query("SELECT * FROM equity").num_rows == 0


def test_times_are_utc_whatever_the_machine_says(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    write_bars(catalog, "AAPL", bar())
    assert catalog.query("SELECT hour(ts) AS h FROM bars")["h"].to_pylist() == [21]
    assert str(catalog.query("SELECT ts FROM bars").schema.field("ts").type) == "timestamp[us, tz=UTC]"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 AS one",
        "-- a comment\nSELECT 1 AS one;",
        "WITH a AS (SELECT 1 AS one) FROM a",
        "VALUES (1)",
        "SELECT 1 UNION ALL SELECT 2",
        "WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a WHERE n < 3) FROM a",
        "DESCRIBE bars",
        "SHOW TABLES",
        "SUMMARIZE bars",
        "EXPLAIN SELECT * FROM bars",
        "EXPLAIN ANALYZE SELECT * FROM bars",
    ],
)
def test_every_kind_of_reading_statement_is_answered(catalog: Catalog, sql: str) -> None:
    assert catalog.query(sql).num_columns > 0


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_parquet('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_json('/etc/passwd')",
        "SELECT * FROM read_duckdb('/etc/passwd')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM parquet_metadata('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM '/etc/passwd.csv'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM read_text('file:///etc/passwd')",
        "SELECT * FROM read_parquet('https://example.com/x.parquet')",
        "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
        "SELECT * FROM duckdb_secrets()",
        "SELECT getenv('HOME')",
        "EXPLAIN ANALYZE SELECT * FROM read_text('/etc/passwd')",
        "WITH a AS (SELECT * FROM read_text('/etc/passwd')) FROM a",
        "SELECT (SELECT content FROM read_text('/etc/passwd'))",
        "SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
    ],
)
def test_nothing_outside_the_project_can_be_read(catalog: Catalog, sql: str) -> None:
    with pytest.raises(QueryError, match=r"^sql: "):
        catalog.query(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{data}/out.csv'",
        "WITH a AS (COPY (SELECT 1) TO '{data}/out.csv') FROM a",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{data}/out.csv'",
        "EXPLAIN /* here */ ANALYZE COPY (SELECT 1) TO '{data}/out.csv'",
        "EXPLAIN ANALYZE WITH a AS (COPY (SELECT 1) TO '{data}/out.csv') FROM a",
        "SELECT * FROM query('WITH a AS (COPY (SELECT 1) TO ''{data}/out.csv'') FROM a')",
        "EXPORT DATABASE '{data}/out.csv'",
        "ATTACH '{data}/out.csv' AS other",
        "CREATE TABLE t AS SELECT 1",
        "CREATE OR REPLACE VIEW bars AS SELECT 1",
        "DROP VIEW bars",
        "INSERT INTO studies SELECT * FROM studies",
        "WITH a AS (INSERT INTO studies SELECT * FROM studies RETURNING 1) FROM a",
        "DELETE FROM bars",
        "UPDATE bars SET close = 1",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 1",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "PRAGMA enable_profiling",
        "CALL pragma_version()",
        "PREPARE p AS SELECT 1",
        "CREATE SECRET s (TYPE s3)",
        "CREATE MACRO m() AS 1",
        "SELECT * FROM enable_logging()",
        "BEGIN TRANSACTION",
        "CHECKPOINT",
        "VACUUM",
        "USE memory",
        "DETACH memory",
        "SELECT 1; SELECT 2",
        "SELECT 1; COPY (SELECT 1) TO '{data}/out.csv'",
        "",
        "-- nothing",
        "SELEC 1",
        "SELECT * FROM nowhere",
    ],
)
def test_whatever_does_not_only_read_is_refused_in_one_sentence(catalog: Catalog, sql: str) -> None:
    catalog.data.mkdir()
    with pytest.raises(QueryError, match=r"^sql: [^\n]+$"):
        catalog.query(sql.format(data=catalog.data))
    assert list(catalog.data.iterdir()) == []


def test_neither_a_link_nor_dots_lead_out_of_the_data_folder(catalog: Catalog, tmp_path: Path) -> None:
    catalog.data.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "data-other").mkdir()
    (tmp_path / "data-other" / "secret.txt").write_text("secret")
    (catalog.data / "link").symlink_to(tmp_path, target_is_directory=True)
    (catalog.data / "direct.txt").symlink_to(tmp_path / "secret.txt")
    for path in ("link/secret.txt", "link/*.txt", "direct.txt", "*.txt", "../secret.txt", "../data-other/secret.txt"):
        with pytest.raises(QueryError):
            catalog.query(f"SELECT content FROM read_text('{catalog.data}/{path}')")


def test_files_inside_the_data_folder_can_be_read_by_path(catalog: Catalog) -> None:
    path = write_bars(catalog, "AAPL", bar())
    assert catalog.query(f"SELECT close FROM read_parquet('{path}')").to_pylist() == [{"close": 102.0}]


def test_python_variables_are_no_tables(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warehouse.catalog.secret", pa.table({"password": ["x"]}), raising=False)
    with pytest.raises(QueryError, match="secret"):
        catalog.query("SELECT * FROM secret")


def test_the_published_file_answers_from_any_folder_and_holds_views_only(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_bars(catalog, "BRK B", bar("BRK B"))
    write_backtest(catalog, "0a1b")
    path = Catalog(Path("data"), Path("results")).publish()
    monkeypatch.chdir("/")
    with duckdb.connect(str(tmp_path / path), read_only=True) as client:
        assert client.sql("SELECT symbol, close FROM bars_unadjusted").fetchall() == [("BRK B", 102.0)]
        assert client.sql("SELECT backtest_id FROM equity").fetchall() == [("0a1b",)]
        assert client.sql("SELECT count(*) FROM duckdb_tables()").fetchall() == [(0,)]
        assert {name for (name,) in client.sql("SHOW TABLES").fetchall()} == VIEWS


def test_a_file_published_before_any_data_shows_the_data_that_comes_later(catalog: Catalog) -> None:
    with duckdb.connect(str(catalog.publish()), read_only=True) as client:
        assert client.sql("FROM bars").fetchall() == []
        write_bars(catalog, "AAPL", bar())
        write_backtest(catalog, "0a1b")
        assert client.sql("SELECT symbol FROM bars").fetchall() == [("AAPL",)]
        assert client.sql("SELECT id FROM backtests").fetchall() == [("0a1b",)]


def test_publishing_replaces_the_file_under_an_open_reader_and_leaves_no_other(catalog: Catalog) -> None:
    first = catalog.publish()
    with duckdb.connect(str(first), read_only=True) as client:
        before = first.stat().st_ino
        assert catalog.publish() == first
        assert first.stat().st_ino != before
        assert client.sql("FROM trades").fetchall() == []
    assert [path.name for path in catalog.data.iterdir()] == ["catalog.duckdb"]


def test_folder_names_full_of_glob_characters_and_quotes_work(tmp_path: Path) -> None:
    odd = tmp_path / "it's [a] *odd* place"
    catalog = Catalog(odd / "data", odd / "results")
    write_bars(catalog, "AAPL", bar())
    assert catalog.query("SELECT symbol FROM bars").to_pylist() == [{"symbol": "AAPL"}]
    with duckdb.connect(str(catalog.publish()), read_only=True) as client:
        assert client.sql("SELECT symbol FROM bars").fetchall() == [("AAPL",)]
