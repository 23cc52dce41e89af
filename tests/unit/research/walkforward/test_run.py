"""A walk-forward really runs: everything is tried, measured on both sides, stitched, kept and gone on with."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest

from research.engine import replay
from research.errors import StudyError
from research.study.trial import figure, with_params
from research.walkforward import run as running
from research.walkforward.files import EQUITY_SCHEMA, WINDOWS_SCHEMA, load_walk_forward, walk_forward_folder
from research.walkforward.run import Found, between, fingerprint, run_windows
from research.walkforward.warmup import closed, run_from
from research.walkforward.windows import WalkForwardSettings
from tests.unit.research.scenarios import walk as random_walk

NOW = datetime(2024, 5, 6, tzinfo=UTC)


def test_every_combination_is_tried_in_every_window(desk, tmp_path):
    record = run_windows(desk.made(), tmp_path)
    assert desk.searched == [0, 1, 2, 3, 4, 5]
    assert [window["trials"] for window in record.page["windows"]] == [4] * 6
    assert record.summary["trials"] == 24


def test_figures_of_the_search_are_never_empty(desk, tmp_path):
    for window in run_windows(desk.made(), tmp_path).page["windows"]:
        for side in ("in_sample", "out_of_sample"):
            assert window[side].keys() >= {"total_return", "sharpe_ratio", "max_drawdown", "trades", "fees"}
            assert window[side]["total_return"] is not None
        assert window["searched"] == pytest.approx(window["in_sample"]["total_return"])
        assert window["tested"] == pytest.approx(window["out_of_sample"]["total_return"])


def test_the_best_of_the_search_is_what_is_tested(desk, tmp_path):
    """One window by hand: all four combinations on the train range, the best on the test."""
    walk = desk.made()
    window = walk.schedule.windows[2]
    train = between(walk.prepared, window.train_start, window.train_end)
    assert {date.fromordinal(719163 + int(day)) for day in train.bars["A"].sessions[[0, -1]]} == {
        window.train_start,
        window.train_end,
    }
    values = {}
    for short in (3, 5):
        for long in (12, 20):
            params = {**walk.prepared.params, "sma_short": short, "sma_long": long}
            run = with_params(train, params)
            values[short, long] = figure(run.experiment, replay(run), "total_return")
    best = max(values, key=values.get)
    page = run_windows(walk, tmp_path).page["windows"][2]
    assert (page["params"]["sma_short"], page["params"]["sma_long"]) == best
    assert page["searched"] == values[best]
    test = with_params(between(walk.prepared, walk.prepared.experiment.start, window.test_end), page["params"])
    output, cost = closed(run_from(test, window.test_start), test)
    assert page["closing_costs"] == cost
    assert page["tested"] == pytest.approx(output.final_equity / output.starting_cash - 1.0)


def test_the_curve_is_the_tests_one_after_the_other(desk, tmp_path):
    record = run_windows(desk.made(), tmp_path)
    equity = record.equity
    assert equity.schema.equals(EQUITY_SCHEMA)
    assert record.windows.schema.equals(WINDOWS_SCHEMA)
    sessions = equity["session"].to_pylist()
    first, last = record.page["windows"][0], record.page["windows"][-1]
    assert (str(sessions[0]), str(sessions[-1])) == (first["test_start"], last["test_end"])
    assert sessions == sorted(set(sessions))
    assert np.allclose(equity["equity"].to_numpy(), 100_000.0 * np.cumprod(1.0 + equity["return"].to_numpy()))
    totals = np.prod([1.0 + window["tested"] for window in record.page["windows"]]) - 1.0
    assert record.metrics["total_return"] == pytest.approx(totals)
    assert np.unique(equity["window"].to_numpy()).tolist() == [0, 1, 2, 3, 4, 5]


def test_efficiency_and_degradation_by_hand(desk, tmp_path):
    record = run_windows(desk.made(), tmp_path)
    windows = record.page["windows"]
    searched = np.mean([window["searched"] for window in windows])
    tested = np.mean([window["tested"] for window in windows])
    assert record.summary["degradation"] == pytest.approx(searched - tested)
    assert record.summary["efficiency"] == (pytest.approx(tested / searched) if searched > 0 else None)
    for window in windows:
        expected = window["tested"] / window["searched"] if window["searched"] > 0 else None
        assert window["efficiency"] == expected
        assert window["degradation"] == window["searched"] - window["tested"]


def test_it_is_kept_and_loaded(desk, tmp_path):
    record = run_windows(desk.made(), tmp_path, now=NOW)
    loaded = load_walk_forward(tmp_path, "demo")
    assert loaded.page == record.page
    assert loaded.equity.equals(record.equity)
    assert loaded.windows.equals(record.windows)
    assert loaded.page["created_at"] == "2024-05-06T00:00:00+00:00"


def test_nothing_is_searched_twice_after_a_kill(desk, tmp_path):
    """Killed in the fourth window; afterwards three are kept and the result is that of an unbroken run."""
    unbroken = run_windows(desk.made(), tmp_path / "unbroken", now=NOW)
    desk.searched.clear()
    walk = desk.made()

    def killed(prepared, window):
        if window.number == 3:
            raise KeyboardInterrupt
        return desk.search(prepared, window)

    with pytest.raises(KeyboardInterrupt):
        run_windows(replace(walk, search=killed), tmp_path)
    with pytest.raises(StudyError, match="it was begun and is not finished"):
        load_walk_forward(tmp_path, "demo")
    told = []
    record = run_windows(walk, tmp_path, progress=told.append, now=NOW)
    assert desk.searched == [0, 1, 2, 3, 4, 5]
    assert [one.kept for one in told] == [True, True, True, False, False, False]
    assert [(one.done, one.total) for one in told] == [(at, 6) for at in range(1, 7)]
    assert record.page == unbroken.page
    assert record.equity.equals(unbroken.equity)


def test_other_circumstances_are_searched_again(desk, tmp_path):
    run_windows(desk.made(), tmp_path)
    changed = (
        {"identity": {"space": {"sma_short": [3]}}},
        {"bars": {"A": random_walk("A", 380, 4)}},
        {"cash": 50_000.0},
        {"settings": WalkForwardSettings(embargo=1)},
    )
    known = {fingerprint(desk.made())}
    for fields in changed:
        desk.searched.clear()
        walk = desk.made(**fields)
        assert fingerprint(walk) not in known
        known.add(fingerprint(walk))
        run_windows(walk, tmp_path)
        assert len(desk.searched) == len(walk.schedule.windows)


def test_a_damaged_fold_is_done_again(desk, tmp_path):
    run_windows(desk.made(), tmp_path)
    desk.searched.clear()
    (walk_forward_folder(tmp_path, "demo") / "folds" / "0002.json").write_text("{", encoding="utf-8")
    run_windows(desk.made(), tmp_path)
    assert desk.searched == [2]


def test_it_stops_between_windows_and_keeps_what_is_done(desk, tmp_path):
    assert run_windows(desk.made(), tmp_path, stop=lambda: len(desk.searched) >= 3) is None
    assert desk.searched == [0, 1, 2]
    assert run_windows(desk.made(), tmp_path).summary["folds"] == 6
    assert desk.searched == [0, 1, 2, 2, 3, 4, 5]  # the third was under way


def test_a_window_without_any_value_says_so_and_the_others_count(desk, tmp_path):
    walk = desk.made()

    def search(prepared, window):
        return Found(None, 4) if window.number == 1 else desk.search(prepared, window)

    record = run_windows(replace(walk, search=search), tmp_path)
    window = record.page["windows"][1]
    assert (window["params"], window["reason"]) == (None, "No trial of the search had a value.")
    assert record.summary["tested"] == 5
    assert any("1 of 6 windows were not tested" in note for note in record.page["notes"])
    assert record.windows["params"][1].as_py() is None


def test_a_strategy_that_decides_bar_by_bar_walks_too(desk, tmp_path):
    def search(prepared, _window):
        return Found({**prepared.params, "lookback": 30}, 1)

    walk = desk.made(
        strategy="strategies.momentum.DualMomentum", params={"lookback": 30}, bars={"A": random_walk("A", 380, 3)}
    )
    record = run_windows(replace(walk, search=search), tmp_path)
    assert record.summary["tested"] == 6
    assert any(window["out_of_sample"]["fills"] for window in record.page["windows"])


def test_nothing_is_read_from_after_the_test(desk, tmp_path):
    """Bars after a window may be anything: the window stays."""
    walk = desk.made()
    window = walk.schedule.windows[1]
    fold = running.run_window(walk, window)
    cut = between(walk.prepared, walk.prepared.experiment.start, window.test_end)
    shorter = replace(walk, prepared=replace(cut, experiment=walk.prepared.experiment))
    assert running.run_window(shorter, window) == fold


def test_a_walk_forward_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StudyError, match="'demo' has no finished result"):
        load_walk_forward(tmp_path, "demo")
