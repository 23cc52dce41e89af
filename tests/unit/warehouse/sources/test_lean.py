import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from warehouse.actions import rebuild_actions
from warehouse.calendar import TradingCalendar, get_calendar
from warehouse.cleaning import rebuild_clean
from warehouse.errors import SourceContractError, SourceError, UnknownSymbolError
from warehouse.ingest import update_raw
from warehouse.resolution import Resolution
from warehouse.sources import BarRequest
from warehouse.sources.lean import LeanSource
from warehouse.store import Warehouse

JULY = (date(2024, 7, 1), date(2024, 7, 31))
NOW = datetime(2024, 8, 1, tzinfo=UTC)


def write_zip(path: Path, name: str, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, "\n".join(lines) + "\n")


@pytest.fixture
def usa(tmp_path: Path) -> Path:
    return tmp_path / "lean" / "equity" / "usa"


@pytest.fixture
def lean(tmp_path: Path) -> LeanSource:
    return LeanSource(tmp_path / "lean")


def write_daily(usa: Path, ticker: str, *days: str, price: int = 100) -> None:
    p = price * 10_000
    lines = [f"{d} 00:00,{p},{p + 5000},{p - 5000},{p + 1234},1000" for d in days]
    write_zip(usa / "daily" / f"{ticker}.zip", f"{ticker}.csv", lines)


def write_text(usa: Path, name: str, *lines: str) -> None:
    path = usa / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def fetch(source: LeanSource, symbol: str, resolution: Resolution = Resolution.DAILY) -> list[dict[str, object]]:
    return source.fetch(BarRequest(symbol, resolution, *JULY)).table.to_pylist()  # type: ignore[no-any-return]


def test_daily_prices_are_dollars_and_days_open_at_new_york_midnight(usa: Path, lean: LeanSource) -> None:
    write_daily(usa, "spy", "20240628", "20240701", "20240702")
    answer = lean.fetch(BarRequest("SPY", Resolution.DAILY, *JULY))
    assert answer.stamped == "open"
    first = answer.table.to_pylist()[0]
    assert first["stamp"] == datetime(2024, 7, 1, 4, tzinfo=UTC)
    assert [first[k] for k in ("open", "high", "low", "close", "volume")] == [100.0, 100.5, 99.5, 100.1234, 1000.0]
    assert answer.table.num_rows == 2


def test_hours_are_new_york_wall_clock_on_both_sides_of_the_clock_change(usa: Path, lean: LeanSource) -> None:
    lines = [f"{d} 10:00,1000000,1000000,1000000,1000000,5" for d in ("20240308", "20240311")]
    write_zip(usa / "hour" / "spy.zip", "spy.csv", lines)
    answer = lean.fetch(BarRequest("SPY", Resolution.HOURLY, date(2024, 3, 1), date(2024, 3, 31)))
    assert [t.hour for t in answer.table["stamp"].to_pylist()] == [15, 14]


def test_minutes_count_from_midnight_in_one_file_a_day(usa: Path, lean: LeanSource) -> None:
    opening, last = 34_200_000, 57_540_000
    for day in ("20240701", "20240703", "20240801"):
        lines = [f"{ms},1000000,1010000,990000,1005000,7" for ms in (opening, last)]
        write_zip(usa / "minute" / "spy" / f"{day}_trade.zip", f"{day}_spy_minute_trade.csv", lines)
    stamps = [r["stamp"] for r in fetch(lean, "SPY", Resolution.MINUTE)]
    assert stamps == [datetime(2024, 7, d, h, m, tzinfo=UTC) for d in (1, 3) for h, m in ((13, 30), (19, 59))]


def test_clean_lean_bars_close_where_the_session_does(
    usa: Path, lean: LeanSource, store: Warehouse, xnys: TradingCalendar
) -> None:
    write_daily(usa, "spy", "20240702", "20240703")
    write_zip(
        usa / "hour" / "spy.zip", "spy.csv", [f"20240703 {h}:00,10000,10000,10000,10000,5" for h in ("09", "12", "13")]
    )
    for resolution in (Resolution.DAILY, Resolution.HOURLY):
        update_raw(store, lean, "SPY", resolution, *JULY, calendar=xnys, now=NOW)
        rebuild_actions(store, "SPY", xnys)
        rebuild_clean(store, "SPY", resolution, xnys)
    assert store.read_clean("SPY", Resolution.DAILY)["ts"].to_pylist() == [
        datetime(2024, 7, 2, 20, tzinfo=UTC),
        datetime(2024, 7, 3, 17, tzinfo=UTC),
    ]
    hours = store.read_clean("SPY", Resolution.HOURLY)
    assert [t.hour for t in hours["ts"].to_pylist()] == [14, 17, 18]
    assert hours["regular"].to_pylist() == [True, True, False]


def test_factor_file_becomes_actions_and_adjusted_prices(
    usa: Path, lean: LeanSource, store: Warehouse, xnys: TradingCalendar
) -> None:
    write_zip(
        usa / "daily" / "xyz.zip",
        "xyz.csv",
        [
            f"202407{d:02d} 00:00,{p},{p},{p},{p},100"
            for d, p in ((1, 400000), (2, 400000), (3, 200000), (5, 200000), (8, 190000))
        ],
    )
    write_text(
        usa,
        "factor_files/xyz.csv",
        "20240102,0.9,0.5,40",
        "20240702,0.95,0.5,40",
        "20240705,0.95,1,20",
        "20501231,1,1,0",
    )
    update_raw(store, lean, "XYZ", Resolution.DAILY, *JULY, calendar=xnys, now=NOW)
    rebuild_actions(store, "XYZ", xnys)
    rebuild_clean(store, "XYZ", Resolution.DAILY, xnys)
    actions = [(a["ex_date"], a["kind"], a["ratio"]) for a in store.read_actions("XYZ").to_pylist()]
    assert actions == [(date(2024, 7, 3), "split", 0.5), (date(2024, 7, 8), "dividend", pytest.approx(0.95))]
    assert store.read_bars("XYZ", Resolution.DAILY)["close"].to_numpy() == pytest.approx([19.0] * 5)
    assert store.read_bars("XYZ", Resolution.DAILY, adjust="splits")["close"].to_pylist() == [20, 20, 20, 20, 19]


def test_bars_before_a_rename_come_from_the_old_ticker_and_never_from_a_stranger(usa: Path, lean: LeanSource) -> None:
    write_daily(usa, "fb", "20240701", "20240702", "20240703", price=100)
    write_daily(usa, "meta", "20240701", "20240703", "20240705", price=7)  # 07-01 is another company's bar
    write_text(usa, "map_files/meta.csv", "20120518,fb,Q", "20240702,fb,Q", "20501231,meta,Q")
    rows = fetch(lean, "META")
    assert [(r["stamp"].day, r["open"]) for r in rows] == [(1, 100.0), (2, 100.0), (3, 7.0), (5, 7.0)]  # type: ignore[attr-defined]


def test_symbols_of_all_resolutions_are_listed(usa: Path, lean: LeanSource) -> None:
    write_daily(usa, "spy", "20240701")
    write_zip(usa / "minute" / "aapl" / "20240701_trade.zip", "x.csv", ["34200000,1,1,1,1,1"])
    assert lean.symbols() == ["AAPL", "SPY"]


def test_unknown_symbol_is_named_with_what_is_near(usa: Path, lean: LeanSource) -> None:
    write_daily(usa, "spy", "20240701")
    with pytest.raises(UnknownSymbolError, match=r"'SPYY' has no 1d bars in the LEAN folder .*; it has SPY"):
        fetch(lean, "SPYY")
    with pytest.raises(UnknownSymbolError, match="'SPY' has no 1m bars"):
        fetch(lean, "SPY", Resolution.MINUTE)
    with pytest.raises(UnknownSymbolError, match="cannot be a LEAN ticker"):
        fetch(lean, "../../etc")


def test_wrong_folder_or_resolution_is_named(usa: Path, lean: LeanSource, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no equity/usa folder of LEAN data"):
        fetch(LeanSource(tmp_path / "nowhere"), "SPY")
    write_daily(usa, "spy", "20240701")
    with pytest.raises(SourceError, match="a LEAN folder has no 5s bars"):
        fetch(lean, "SPY", Resolution.SECONDS_5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("20240701 00:00,x,1,1,1,1", "spy.zip: .*'x'"),
        ("2024-07-01,1,1,1,1,1", "spy.zip line 1: time 2024-07-01 is not yyyyMMdd HH:mm"),
        ("20240701 00:00,1,1", "spy.zip: .*Expected 6 columns"),
    ],
)
def test_bad_lines_are_named(usa: Path, lean: LeanSource, line: str, message: str) -> None:
    write_zip(usa / "daily" / "spy.zip", "spy.csv", [line])
    with pytest.raises(SourceContractError, match=message):
        fetch(lean, "SPY")


def test_broken_zip_factor_and_map_files_are_named(usa: Path, lean: LeanSource) -> None:
    write_daily(usa, "spy", "20240701")
    write_text(usa, "factor_files/spy.csv", "20240102,zero,1,1")
    with pytest.raises(
        SourceContractError, match=r"factor_files/spy.csv line 1: factor 'zero' is not a positive number"
    ):
        fetch(lean, "SPY")
    write_text(usa, "map_files/spy.csv", "soon,spy,Q")
    with pytest.raises(SourceContractError, match=r"map_files/spy.csv line 1: date 'soon' is not yyyyMMdd"):
        fetch(lean, "SPY")
    write_daily(usa, "qqq", "20240701")
    (usa / "daily" / "qqq.zip").write_bytes(b"no zip")
    with pytest.raises(SourceContractError, match=r"qqq.zip: not a readable zip file"):
        fetch(lean, "QQQ")


def test_empty_day_is_no_error(usa: Path, lean: LeanSource) -> None:
    write_zip(usa / "minute" / "spy" / "20240701_trade.zip", "x.csv", [])
    assert fetch(lean, "SPY", Resolution.MINUTE) == []
    assert get_calendar("XNYS").is_session(date(2024, 7, 1))
