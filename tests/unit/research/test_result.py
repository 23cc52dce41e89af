"""A saved result is whole, the same every time, and free of NaN."""

import json
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from research.errors import ResearchError
from research.result import (
    CIRCUMSTANCES,
    TABLES,
    BacktestResult,
    find_page,
    latest_pages,
    load_result,
    mark_latest,
    read_pages,
    save_result,
    without_nan,
)


def test_what_was_saved_is_what_is_loaded(lab, tmp_path):
    result = lab.result(benchmark="B")

    path = save_result(result, tmp_path)
    loaded = load_result(tmp_path, result.id)

    assert path == tmp_path / "backtests" / f"{result.id}.json"
    assert loaded.page == json.loads(path.read_text())
    assert loaded.metrics == result.metrics
    assert all(loaded.tables[name].equals(result.tables[name]) for name in TABLES)


def test_the_names_others_rely_on_are_there(lab, tmp_path):
    result = lab.result()
    page = json.loads(save_result(result, tmp_path).read_text())
    folder = tmp_path / "backtests" / result.id

    assert page["metrics"]["total_return"] == pytest.approx(result.tables["equity"]["equity"][-1].as_py() / 10_000 - 1)
    assert page["metrics"]["max_drawdown"] < 0
    assert "sharpe_ratio" in page["metrics"]
    assert {"ts", "equity", "cash"} <= set(pq.read_schema(folder / "equity.parquet").names)
    fills = {"ts", "symbol", "side", "quantity", "price", "commission"}
    assert fills <= set(pq.read_schema(folder / "fills.parquet").names)


def test_the_same_run_gives_the_same_bytes(lab, tmp_path):
    for folder in ("one", "two"):
        save_result(lab.result(benchmark="B"), tmp_path / folder)

    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == len(TABLES) + 2
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)


def test_the_time_of_the_run_is_in_the_page_and_in_nothing_that_is_compared(lab):
    page = lab.result().page

    assert page["created_at"] == "2024-01-02T03:04:05+00:00"
    assert "created_at" in CIRCUMSTANCES
    assert "2024-01-02" not in json.dumps({key: page[key] for key in page if key not in CIRCUMSTANCES})


def test_the_page_names_the_engine_and_nothing_that_is_compared_does(lab):
    page = lab.result().page
    assert (page["engine"], page["engine_reason"]) == ("vanilla", None)
    assert {"engine", "engine_reason"} <= set(CIRCUMSTANCES)


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ({"engine": "kernel", "engine_reason": None}, "kernel"),
        ({"engine": "fast", "engine_reason": "S declares no signals."}, "fast. S declares no signals."),
        ({}, "unknown"),
    ],
)
def test_the_engine_is_told_with_the_reason_in_one_line(page, told):
    assert BacktestResult(page, {}).engine == told


def test_a_result_killed_before_its_page_is_not_a_result(lab, tmp_path):
    result = lab.result()
    save_result(result, tmp_path).unlink()

    assert (tmp_path / "backtests" / result.id / "equity.parquet").exists()
    assert latest_pages(tmp_path) == []
    with pytest.raises(ResearchError, match="no backtest"):
        load_result(tmp_path, result.id)


def test_the_page_is_written_after_its_tables(lab, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("research.result.write_parquet", lambda path, _: written.append(path.name))
    monkeypatch.setattr("research.result.write_bytes", lambda path, _: written.append(path.name))
    result = lab.result()

    save_result(result, tmp_path)

    assert written.index(f"{result.id}.json") == len(TABLES)


def test_a_prefix_finds_the_only_result_that_has_it(lab, tmp_path):
    result = lab.result()
    save_result(result, tmp_path)

    assert load_result(tmp_path, result.id[:5].upper()).id == result.id


def test_an_ambiguous_an_unknown_and_a_foreign_id_each_get_a_sentence(tmp_path):
    folder = tmp_path / "backtests"
    folder.mkdir()
    for name in ("abc1", "abc2"):
        (folder / f"{name}.json").write_text("{}")

    with pytest.raises(ResearchError, match="'abc' fits 2 backtests"):
        find_page(tmp_path, "abc")
    with pytest.raises(ResearchError, match="begins with 'fff'"):
        find_page(tmp_path, "fff")
    with pytest.raises(ResearchError, match=r"'\.\./x' is not the beginning of a backtest id"):
        find_page(tmp_path, "../x")


def test_a_damaged_page_loses_no_other(lab, tmp_path):
    result = lab.result()
    save_result(result, tmp_path)
    (tmp_path / "backtests" / "broken.json").write_text('{"id": ')

    pages, faults = read_pages(tmp_path)

    assert [page["id"] for page in pages] == [result.id]
    assert len(faults) == 1
    assert "broken.json" in faults[0]


def test_a_damaged_table_is_named(lab, tmp_path):
    result = lab.result()
    save_result(result, tmp_path)
    (tmp_path / "backtests" / result.id / "fills.parquet").write_bytes(b"no parquet")

    with pytest.raises(ResearchError, match=r"fills\.parquet"):
        load_result(tmp_path, result.id)


def test_the_latest_result_is_the_marked_one_not_the_one_made_last(lab, tmp_path):
    """An experiment changed and changed back has its first result again, which is not run anew."""
    first = lab.result()
    later = lab.result(cash=20_000.0)
    later = BacktestResult({**later.page, "created_at": "2030-01-01T00:00:00+00:00"}, later.tables)
    save_result(first, tmp_path)
    save_result(later, tmp_path)
    assert [page["id"] for page in latest_pages(tmp_path)] == [later.id]

    mark_latest(tmp_path, first)

    assert [page["id"] for page in latest_pages(tmp_path)] == [first.id]


def test_a_mark_of_a_result_that_is_gone_falls_back_to_the_one_made_last(lab, tmp_path):
    first, later = lab.result(), lab.result(cash=20_000.0)
    save_result(first, tmp_path)
    save_result(later, tmp_path).unlink()

    assert [page["id"] for page in latest_pages(tmp_path)] == [first.id]


def test_nan_and_infinity_become_null_with_a_reason_and_known_reasons_stay():
    reasons = {"b.0": "because"}

    clean = without_nan({"a": float("inf"), "b": [float("nan"), 1.5], "c": "nan"}, "", reasons)

    assert clean == {"a": None, "b": [None, 1.5], "c": "nan"}
    assert reasons == {"b.0": "because", "a": "the value is inf"}


def test_created_at_is_aware_utc(lab):
    created = lab.result().created_at

    assert created == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert created.utcoffset() == timedelta(0)
