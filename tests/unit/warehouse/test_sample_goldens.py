"""The sample data from source to adjusted bars, against the published numbers of its origin."""

import hashlib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from warehouse.actions import rebuild_actions
from warehouse.calendar import TradingCalendar
from warehouse.cleaning import CleanSummary, rebuild_clean
from warehouse.ingest import update_raw
from warehouse.resolution import Resolution
from warehouse.sources.sample import SAMPLE_FILE, SAMPLE_SYMBOLS, SampleSource
from warehouse.store import Warehouse

NOW = datetime(2024, 1, 5, 12, tzinfo=UTC)
DAILY = Resolution.DAILY


def load(store: Warehouse, calendar: TradingCalendar) -> dict[str, CleanSummary]:
    summaries = {}
    for symbol in SAMPLE_SYMBOLS:
        update_raw(store, SampleSource(), symbol, DAILY, date(2000, 1, 1), date(2013, 3, 1), calendar=calendar, now=NOW)
        rebuild_actions(store, symbol, calendar)
        summaries[symbol] = rebuild_clean(store, symbol, DAILY, calendar)
    return summaries


@pytest.fixture(scope="module")
def loaded(
    tmp_path_factory: pytest.TempPathFactory, xnys: TradingCalendar
) -> tuple[Warehouse, dict[str, CleanSummary]]:
    store = Warehouse(tmp_path_factory.mktemp("sample"))
    return store, load(store, xnys)


Loaded = tuple[Warehouse, dict[str, CleanSummary]]


def closes(store: Warehouse, symbol: str) -> np.ndarray:
    return store.read_bars(symbol, DAILY)["close"].to_numpy()


def test_every_bar_of_the_sample_is_clean(loaded: Loaded) -> None:
    _, summaries = loaded
    assert {s: c.rows for s, c in summaries.items()} == {
        "AAPL": 3270,
        "FB": 196,
        "GOOG": 2148,
        "IBM": 3270,
        "MSFT": 3270,
    }
    assert sum(c.rows for c in summaries.values()) == 12_154
    assert sum(c.quarantined + c.revisions for c in summaries.values()) == 0
    assert summaries["AAPL"].first == datetime(2000, 3, 1, 21, tzinfo=UTC)
    assert summaries["AAPL"].last == datetime(2013, 3, 1, 21, tzinfo=UTC)


def test_bars_stand_on_every_session_and_close_with_it(loaded: Loaded, xnys: TradingCalendar) -> None:
    bars = loaded[0].read_clean("IBM", DAILY)
    schedule = xnys.schedule(date(2000, 3, 1), date(2013, 3, 1))
    assert bars["session"].to_pylist() == schedule["session"].to_pylist()
    assert bars["ts"].to_pylist() == schedule["close"].to_pylist()


def test_splits_are_those_that_happened_and_crashes_are_none(loaded: Loaded) -> None:
    splits = {
        symbol: [
            (a["ex_date"], a["ratio"], a["evidence"])
            for a in loaded[0].read_actions(symbol).to_pylist()
            if a["kind"] == "split"
        ]
        for symbol in SAMPLE_SYMBOLS
    }
    assert splits == {
        "AAPL": [(date(2000, 6, 21), 0.5, "factor"), (date(2005, 2, 28), 0.5, "factor")],
        "FB": [],
        "GOOG": [],
        "IBM": [],
        "MSFT": [(date(2003, 2, 18), 0.5, "factor")],
    }


def test_apple_fell_by_half_on_2000_09_29_without_a_corporate_action(loaded: Loaded) -> None:
    store, _ = loaded
    window = {"start": date(2000, 9, 28), "end": date(2000, 9, 29)}
    for adjust in ("all", "splits", "none"):
        before, after = store.read_bars("AAPL", DAILY, adjust=adjust, **window)["close"].to_pylist()
        assert after / before == pytest.approx(25.75 / 53.5)
    assert date(2000, 9, 29) not in store.read_actions("AAPL")["ex_date"].to_pylist()


def test_special_dividend_of_microsoft_is_a_dividend(loaded: Loaded) -> None:
    actions = loaded[0].read_actions("MSFT").to_pylist()
    (special,) = [a for a in actions if a["ex_date"] == date(2004, 11, 15)]
    assert special["kind"] == "dividend"
    assert 1 / special["ratio"] == pytest.approx(1.1124, abs=5e-5)


@pytest.mark.parametrize(
    ("symbol", "total", "sharpe", "volatility", "drawdown", "trough"),
    [
        ("AAPL", 12.408616, 0.678402, 0.459643, -0.818018, date(2003, 4, 17)),
        ("MSFT", -0.183333, 0.117599, 0.330319, -0.674645, date(2009, 3, 9)),
        ("IBM", 1.379213, 0.378510, 0.279848, -0.583139, date(2002, 10, 9)),
    ],
)
def test_adjusted_closes_give_the_published_figures(  # noqa: PLR0917
    loaded: Loaded, symbol: str, total: float, sharpe: float, volatility: float, drawdown: float, trough: date
) -> None:
    bars = loaded[0].read_bars(symbol, DAILY)
    close = bars["close"].to_numpy()
    returns = close[1:] / close[:-1] - 1
    below = close / np.maximum.accumulate(close) - 1
    assert close[-1] / close[0] - 1 == pytest.approx(total, abs=1e-6)
    assert returns.mean() / returns.std(ddof=1) * np.sqrt(252) == pytest.approx(sharpe, abs=1e-6)
    assert returns.std(ddof=1) * np.sqrt(252) == pytest.approx(volatility, abs=1e-6)
    assert below.min() == pytest.approx(drawdown, abs=1e-6)
    assert bars["session"][int(below.argmin())].as_py() == trough


@pytest.mark.parametrize("symbol", SAMPLE_SYMBOLS)
def test_adjusted_closes_are_the_vendors_up_to_one_constant(loaded: Loaded, symbol: str) -> None:
    vendor = pq.read_table(SAMPLE_FILE, filters=pc.field("symbol") == symbol)["adj_close"].to_numpy()
    ratio = closes(loaded[0], symbol) / vendor
    assert ratio == pytest.approx(np.full(len(ratio), ratio[-1]), rel=1e-9)


def test_last_bar_is_not_adjusted(loaded: Loaded) -> None:
    for symbol in SAMPLE_SYMBOLS:
        last = loaded[0].read_clean(symbol, DAILY).slice(-1 + loaded[1][symbol].rows).to_pylist()[0]
        assert (last["split_factor"], last["dividend_factor"]) == (1.0, 1.0)


def test_traded_value_does_not_depend_on_splits(loaded: Loaded) -> None:
    store, _ = loaded
    raw, split = (store.read_bars("AAPL", DAILY, adjust=a) for a in ("none", "splits"))
    value = raw["close"].to_numpy() * raw["volume"].to_numpy()
    assert split["close"].to_numpy() * split["volume"].to_numpy() == pytest.approx(value)


def test_same_raw_gives_same_bytes(tmp_path: Path, loaded: Loaded, xnys: TradingCalendar) -> None:
    again = Warehouse(tmp_path)
    summaries = load(again, xnys)
    assert {s: c.version for s, c in summaries.items()} == {s: c.version for s, c in loaded[1].items()}
    files = [p.relative_to(tmp_path) for p in tmp_path.rglob("*.parquet")]
    assert len(files) > 40
    for file in files:
        assert (tmp_path / file).read_bytes() == (loaded[0].root / file).read_bytes(), file


def test_second_run_touches_no_file(loaded: Loaded, xnys: TradingCalendar) -> None:
    store, _ = loaded
    before = {p: p.stat().st_mtime_ns for p in store.root.rglob("*") if p.is_file()}
    update = update_raw(
        store,
        SampleSource(),
        "FB",
        DAILY,
        date(2000, 1, 1),
        date(2013, 3, 1),
        calendar=xnys,
        now=NOW + timedelta(days=3),
    )
    assert update.up_to_date
    load(store, xnys)
    assert {p: p.stat().st_mtime_ns for p in store.root.rglob("*") if p.is_file()} == before


def test_licence_note_names_the_file_that_ships() -> None:
    note = (SAMPLE_FILE.parent / "LICENSE.md").read_text()
    assert hashlib.sha256(SAMPLE_FILE.read_bytes()).hexdigest() in note
    assert "public domain" in note


def test_many_small_updates_give_the_same_version_as_one_download(
    tmp_path: Path, loaded: Loaded, xnys: TradingCalendar
) -> None:
    store = Warehouse(tmp_path)
    for end in (date(2000, 6, 20), date(2000, 6, 21), date(2005, 2, 25), date(2012, 8, 8), date(2013, 3, 1)):
        now = xnys.close_utc(end) + timedelta(hours=1)
        update_raw(store, SampleSource(), "AAPL", DAILY, date(2000, 1, 1), end, calendar=xnys, now=now)
    assert len(store.raw_batches("AAPL", DAILY)) == 5
    rebuild_actions(store, "AAPL", xnys)
    assert rebuild_clean(store, "AAPL", DAILY, xnys).version == loaded[1]["AAPL"].version
