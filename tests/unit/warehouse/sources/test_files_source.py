from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from warehouse.errors import InvalidRequestError, SourceContractError, SourceError, UnknownSymbolError
from warehouse.resolution import Resolution
from warehouse.schema import VENDOR_SCHEMA
from warehouse.sources import BarRequest
from warehouse.sources.files import FilesSource, load_files_spec

OHLCV = "open: Open, high: High, low: Low, close: Close, volume: Volume"
MANY = f"""
path: bars.csv
columns: {{symbol: Ticker, stamp: Date, {OHLCV}, adj_close: "Adj Close"}}
"""
ONE_EACH = f"""
path: .
pattern: "{{symbol}}.csv"
columns: {{stamp: Date, {OHLCV}}}
"""
HEADER = "Ticker,Date,Open,High,Low,Close,Volume,Adj Close\n"
ROWS = "SPY,2024-07-01,10,11,9,10.5,100,5.25\nQQQ,2024-07-01,20,21,19,20.5,200,\nSPY,2024-07-02,10.5,12,10,11,110,5.5\n"
WEEK = (date(2024, 7, 1), date(2024, 7, 5))


def source(folder: Path, spec: str) -> FilesSource:
    (folder / "spec.yaml").write_text(spec, encoding="utf-8")
    return FilesSource(load_files_spec(folder / "spec.yaml"))


def fetch(
    files: FilesSource, symbol: str = "SPY", resolution: Resolution = Resolution.DAILY
) -> list[dict[str, object]]:
    answer = files.fetch(BarRequest(symbol, resolution, *WEEK))
    assert answer.table.schema == VENDOR_SCHEMA
    return answer.table.to_pylist()  # type: ignore[no-any-return]


def test_one_file_with_many_symbols(tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text(HEADER + ROWS)
    files = source(tmp_path, MANY)
    assert files.symbols() == ["QQQ", "SPY"]
    assert fetch(files) == [
        {"stamp": datetime(2024, 7, 1, tzinfo=UTC), "open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5,
         "volume": 100.0, "adj_close": 5.25, "split_factor": None, "dividend_factor": None},
        {"stamp": datetime(2024, 7, 2, tzinfo=UTC), "open": 10.5, "high": 12.0, "low": 10.0, "close": 11.0,
         "volume": 110.0, "adj_close": 5.5, "split_factor": None, "dividend_factor": None},
    ]  # fmt: skip
    assert fetch(files, "QQQ")[0]["adj_close"] is None


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text(HEADER + ROWS)
    files = source(tmp_path, MANY)
    assert len(fetch(files)) == 2
    (tmp_path / "bars.csv").write_text(HEADER + ROWS + "SPY,2024-07-03,11,12,10,11,110,5.5\n")
    assert len(fetch(files)) == 3


def test_one_file_a_symbol_with_names_that_are_not_plain(tmp_path: Path) -> None:
    for name in ("BRK B", "BF%2FB", "spy"):
        (tmp_path / f"{name}.csv").write_text("Date,Open,High,Low,Close,Volume\n2024-07-01,1,2,0.5,1.5,9\n")
    files = source(tmp_path, ONE_EACH)
    assert files.symbols() == ["BF%2FB", "BRK B", "spy"]
    assert fetch(files, "BRK B")[0]["close"] == 1.5
    assert fetch(files, "BF/B")[0]["close"] == 1.5


def test_symbol_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret.csv").write_text("Date,Open,High,Low,Close,Volume\n2024-07-01,1,2,0.5,1.5,9\n")
    with pytest.raises(UnknownSymbolError):
        fetch(source(inner, ONE_EACH), "../secret")


def test_semicolons_decimal_commas_and_german_dates(tmp_path: Path) -> None:
    (tmp_path / "SPY.csv").write_text("Date;Open;High;Low;Close;Volume\n01.07.2024;10,25;11,5;9;10,5;1000\n")
    spec = ONE_EACH + "delimiter: ';'\ndecimal: ','\ndate_format: '%d.%m.%Y'\n"
    (row,) = fetch(source(tmp_path, spec))
    assert (row["stamp"], row["open"], row["volume"]) == (datetime(2024, 7, 1, tzinfo=UTC), 10.25, 1000.0)


def test_local_minutes_become_utc_across_the_clock_change(tmp_path: Path) -> None:
    (tmp_path / "SPY.csv").write_text(
        "Date,Time,Open,High,Low,Close,Volume\n20240308,0930,1,2,0.5,1.5,9\n20240311,0930,1,2,0.5,1.5,9\n"
    )
    spec = (
        ONE_EACH.replace("stamp: Date", "stamp: Date, time: Time")
        + "resolution: Minute\nstamped: open\ntimezone: America/New_York\ndate_format: '%Y%m%d %H%M'\n"
    )
    answer = source(tmp_path, spec).fetch(BarRequest("SPY", Resolution.MINUTE, date(2024, 3, 1), date(2024, 3, 31)))
    assert answer.stamped == "open"
    assert [t.strftime("%d %H:%M") for t in answer.table["stamp"].to_pylist()] == ["08 14:30", "11 13:30"]


@pytest.mark.parametrize(
    ("text", "date_format"),
    [
        ("2024-07-01T13:30:00Z", "null"),
        ("2024-07-01 09:30:00-04:00", "null"),
        ("2024-07-01 09:30", "null"),
        ("1719840600", "epoch_s"),
        ("1719840600000", "epoch_ms"),
        ("2024-07-01 09:30:00-0400", "'%Y-%m-%d %H:%M:%S%z'"),
    ],
)
def test_one_moment_in_many_spellings(tmp_path: Path, text: str, date_format: str) -> None:
    (tmp_path / "SPY.csv").write_text(f"Date,Open,High,Low,Close,Volume\n{text},1,2,0.5,1.5,9\n")
    spec = ONE_EACH + f"resolution: 1h\nstamped: open\ntimezone: America/New_York\ndate_format: {date_format}\n"
    (row,) = fetch(source(tmp_path, spec), resolution=Resolution.HOURLY)
    assert row["stamp"] == datetime(2024, 7, 1, 13, 30, tzinfo=UTC)


def test_parquet_with_its_own_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "Date": pa.array([date(2024, 7, 1), date(2024, 7, 2)]),
            **{n: pa.array([1, 2], pa.int32()) for n in ("Open", "High", "Low", "Close", "Volume")},
        }
    )
    pq.write_table(table, tmp_path / "SPY.parquet")
    rows = fetch(source(tmp_path, ONE_EACH.replace(".csv", ".parquet")))
    assert [(r["stamp"].day, r["close"]) for r in rows] == [(1, 1.0), (2, 2.0)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + ROWS.replace("20.5", "n/a"), r"bars\.csv line 3: column 'Close' holds 'n/a', which is not a number"),
        (
            HEADER + ROWS.replace("QQQ,2024-07-01", "QQQ,01/07/2024"),
            r"bars\.csv line 3: time '01/07/2024' is not ISO 8601",
        ),
        (HEADER + ROWS.replace(",200,", ",200"), r"bars\.csv line 3: has 7 fields, not 8"),
        (HEADER.replace("Volume", "Vol") + ROWS, r"bars\.csv: column 'Volume' is not in the file; did you mean 'Vol'"),
        ("", r"bars\.csv: "),
    ],
)
def test_bad_values_are_named_with_file_line_and_field(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bars.csv").write_text(text)
    with pytest.raises(SourceContractError, match=message):
        fetch(source(tmp_path, MANY))


def test_time_that_clocks_skip_is_named(tmp_path: Path) -> None:
    (tmp_path / "SPY.csv").write_text("Date,Open,High,Low,Close,Volume\n2024-03-10 02:30,1,2,0.5,1.5,9\n")
    spec = ONE_EACH + "resolution: 1h\nstamped: open\ntimezone: America/New_York\n"
    with pytest.raises(SourceContractError, match=r"SPY\.csv line 2: time 2024-03-10 02:30:00 is skipped or repeated"):
        fetch(source(tmp_path, spec), resolution=Resolution.HOURLY)


def test_date_that_does_not_fit_the_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text(HEADER + ROWS)
    with pytest.raises(SourceContractError, match=r"line 2: time '2024-07-01' does not fit format %Y%m%d"):
        fetch(source(tmp_path, MANY + "date_format: '%Y%m%d'\n"))


def test_parquet_without_a_column_and_broken_parquet_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"Dat": ["x"]}), tmp_path / "SPY.parquet")
    (tmp_path / "QQQ.parquet").write_bytes(b"nothing")
    files = source(tmp_path, ONE_EACH.replace(".csv", ".parquet"))
    with pytest.raises(
        SourceContractError, match=r"SPY\.parquet: column 'Date' is not in the file; did you mean 'Dat'"
    ):
        fetch(files)
    with pytest.raises(SourceContractError, match=r"QQQ\.parquet: cannot be read as Parquet"):
        fetch(files, "QQQ")


def test_unknown_symbol_resolution_or_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text(HEADER + ROWS)
    files = source(tmp_path, MANY)
    with pytest.raises(UnknownSymbolError, match=r"'SPX' is not in .*; did you mean 'SPY'"):
        fetch(files, "SPX")
    with pytest.raises(SourceError, match="the files of files hold 1d bars, not 1m"):
        fetch(files, resolution=Resolution.MINUTE)
    with pytest.raises(SourceError, match=r"gone\.csv cannot be read"):
        fetch(source(tmp_path, MANY.replace("bars.csv", "gone.csv")))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (MANY + "delimeter: ';'\n", "field 'delimeter' is unknown; did you mean 'delimiter'"),
        (MANY.replace("close:", "clos:"), "columns.clos|columns.close"),
        (MANY.replace("path: bars.csv", ""), "field 'path' is missing"),
        (MANY + "timezone: New York\n", "timezone 'New York': is not an IANA time zone"),
        (MANY + "resolution: 2h\n", "resolution '2h': resolution: '2h' is not one of"),
        (MANY + "stamped: middle\n", "stamped 'middle'"),
        (MANY + "stamped: open\n", "timezone is needed for stamps that mark the open"),
        (MANY + "resolution: 1m\n", "stamped: session is for 1d bars, not 1m"),
        (MANY + "pattern: '{symbol}.csv'\n", "give either pattern"),
        (ONE_EACH.replace("{symbol}", "all"), "must hold {symbol} once"),
        (MANY + "decimal: ','\n", "decimal and delimiter are both ','"),
        ("- just\n- a list\n", "must hold fields, not list"),
        ("a: [", "not a readable YAML file"),
    ],
)
def test_wrong_specification_is_refused_with_field_and_value(tmp_path: Path, spec: str, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        source(tmp_path, spec)


def test_missing_specification_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"none\.yaml: not a readable YAML file"):
        load_files_spec(tmp_path / "none.yaml")
